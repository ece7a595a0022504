// A frozen backbone as an ONNX model: images in, class token and patch map out, in any runtime.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <numbers>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/backbone_export.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/onnx_model.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/nn/position.hpp>

namespace dssl {

/// A linear layer on features: what a linear probe or a classifier learned, as torch.nn.Linear has it.
struct OnnxHead {
  Index classes = 0;
  std::vector<float> weight{};  ///< (classes, numbers of what it reads)
  std::vector<float> bias{};    ///< (classes); empty: none
};

/// A bank of normal patches, whose distances say what is a defect.
struct OnnxBank {
  std::vector<float> rows{};  ///< (n,W)
  Index neighbourhood = 3;    ///< a patch is the mean of so many by so many around it: 1 or 3
  Index reweighting = 9;      ///< neighbours that weigh an image's score; 0: its largest distance
};

/// What a backbone's model takes.
struct OnnxBackboneOptions {
  /// Of the images in pixels, multiples of the patch; both 0: any such size, another in each run if need be.
  Index height = 0;
  Index width = 0;
  Index heads = 0;  ///< H where the file does not say their number and it is not the usual one
  /// By channel, on the scale 0..1: images are pixels, and the model takes mean away and divides by
  /// deviation. Both empty: images come normalised.
  std::vector<float> mean{};
  std::vector<float> deviation{};
  float white = 1;  ///< the largest pixel where the model normalises: 1, or 255
  /// Blocks whose tokens are given, side by side in this order, and whether under the last norm: as
  /// `FeatureOptions` says.
  std::vector<Index> blocks{};
  bool norm = true;
  /// Further outputs. `logits` (B,classes) of a head on class tokens, or on these and behind them the mean of the patches of
  /// the last of `blocks`, as its weight is wide; `patch_logits` (B,classes,h,w) of a head on patches; with a bank
  /// `patch_scores` (B,h,w) and `score` (B), as `DefectBank` has them.
  std::optional<OnnxHead> head{};
  std::optional<OnnxHead> patch_head{};
  std::optional<OnnxBank> bank{};
};

namespace detail {

/// How a table is read that is published with this scheme.
[[nodiscard]] constexpr PositionRule rule_of_table(PositionScheme scheme) {
  constexpr std::array rules{PositionRule::offset, PositionRule::size, PositionRule::size_antialiased,
                             PositionRule::corners, PositionRule::offset};
  return rules[static_cast<std::size_t>(scheme)];
}

/// Builds the graph of one backbone.
class OnnxBackboneBuilder {
 public:
  OnnxBackboneBuilder(const BackboneFile& file, const OnnxBackboneOptions& options)
      : x_file(file), x_d(file.description()), x_options(options) {
    require_full_attention(file);
    x_heads = options.heads > 0 ? options.heads : x_d.heads;
    if (x_d.heads_are_known && x_heads != x_d.heads)
      throw OptionError("heads", options.heads, join(x_d.heads, ", which ", file.path(), " says itself"));
    if (x_heads < 1 || x_d.width % x_heads != 0) {
      throw OptionError(
          "heads", options.heads,
          join("the number of heads that ", file.path(), " of width ", x_d.width, " was trained with"));
    }
    x_d.heads = x_heads;
    x_d.heads_are_known = true;
    if (x_rotary() && x_head_width() % 4 != 0)
      throw OptionError("heads", x_heads,
                        join("heads whose width, of ", x_d.width, " in all, is a multiple of 4"));
    const auto check_extent = [&](const char* field, Index value) {
      if (x_any_size() || (value >= x_d.patch && value % x_d.patch == 0)) return;
      throw OptionError(field, value, join("a multiple of the patch, ", x_d.patch, " pixels"));
    };
    check_extent("height", options.height);
    check_extent("width", options.width);
    const auto channels = static_cast<std::size_t>(x_d.channels);
    if (!options.mean.empty() && options.mean.size() != channels)
      throw OptionError("mean", join(options.mean.size(), " values"), join("one a channel, ", channels));
    if (options.deviation.size() != options.mean.size())
      throw OptionError("deviation", join(options.deviation.size(), " values"), "as many as 'mean'");
    for (const float each : options.deviation) {
      if (!(each > 0)) throw OptionError("deviation", each, "positive values");
    }
    if (!(options.white > 0)) throw OptionError("white", options.white, "a positive value");
    for (const Index block : options.blocks) {
      const Index number = block < 0 ? block + x_d.depth : block;
      if (number < 0 || number >= x_d.depth || std::ranges::find(x_blocks, number) != x_blocks.end())
        throw OptionError("blocks", block, join("each block once, -", x_d.depth, " to ", x_d.depth - 1));
      x_blocks.push_back(number);
    }
    if (x_blocks.empty()) x_blocks.push_back(x_d.depth - 1);
    x_check_heads();
  }

  [[nodiscard]] OnnxModel build() {
    x_model.describe(describe(x_d));
    x_words();
    const std::string patches = x_embedding();
    std::string x = x_tokens(patches);
    std::vector<std::string> read(x_blocks.size());
    const Index needed = *std::ranges::max_element(x_blocks) + 1;
    for (Index i = 0; i < needed; ++i) {
      x = x_block(join("blocks.", i, "."), x);
      const auto place = std::ranges::find(x_blocks, i);
      if (place != x_blocks.end()) read[static_cast<std::size_t>(place - x_blocks.begin())] = x;
    }
    x_outputs(read);
    return std::move(x_model);
  }

 private:
  [[nodiscard]] bool x_any_size() const { return x_options.height == 0 && x_options.width == 0; }
  [[nodiscard]] bool x_rotary() const { return x_d.position == PositionScheme::rotary; }
  [[nodiscard]] Index x_head_width() const { return x_d.width / x_heads; }
  [[nodiscard]] GridSize x_grid() const {
    return {x_options.height / x_d.patch, x_options.width / x_d.patch};
  }

  /// W: numbers of a token.
  [[nodiscard]] Index x_width() const { return x_d.width * static_cast<Index>(x_blocks.size()); }

  void x_check_heads() const {
    const Index tokens = x_width();
    const auto check = [&](const char* field, const std::optional<OnnxHead>& head, Index most) {
      if (!head) return;
      const auto classes = static_cast<std::size_t>(std::max<Index>(head->classes, 0));
      const auto reads = [&](Index numbers) { return head->weight.size() == classes * static_cast<std::size_t>(numbers); };
      if (classes < 1 || !(reads(tokens) || reads(most)) || !(head->bias.empty() || head->bias.size() == classes)) {
        throw OptionError(field, join(head->weight.size(), " weights and ", head->bias.size(), " biases of ", head->classes, " classes"),
                          join("for each class ", tokens, " weights", most != tokens ? join(" or ", most) : "",
                               ", as many as the features have numbers, and one bias or none"));
      }
    };
    check("head", x_options.head, tokens + x_d.width);
    check("patch_head", x_options.patch_head, tokens);
    if (!x_options.bank) return;
    const OnnxBank& bank = *x_options.bank;
    if (bank.rows.empty() || bank.rows.size() % static_cast<std::size_t>(tokens) != 0)
      throw OptionError("bank", join(bank.rows.size(), " numbers"), join("rows of ", tokens, ", as wide as a patch"));
    if (bank.neighbourhood != 1 && bank.neighbourhood != 3) throw OptionError("neighbourhood", bank.neighbourhood, "1 or 3");
    if (bank.reweighting < 0) throw OptionError("reweighting", bank.reweighting, "0 (off) or more");
  }

  // ---- what is said of the model

  void x_words() {
    const auto list = [](const auto& values) {
      std::string text;
      for (const float value : values) text += join(text.empty() ? "" : ", ", value);
      return text;
    };
    x_model.metadata("backbone", describe(x_d));
    x_model.metadata("family", std::string(family_name(x_d.family)));
    x_model.metadata("patch", join(x_d.patch));
    x_model.metadata("width", join(x_d.width));
    x_model.metadata("heads", join(x_heads));
    x_model.metadata("registers", join(x_d.registers));
    std::string blocks;
    for (const Index block : x_blocks) blocks += join(blocks.empty() ? "" : ", ", block);
    x_model.metadata("blocks", blocks);
    x_model.metadata("last_norm", x_options.norm ? "yes" : "no");
    const bool own = !x_options.mean.empty();
    x_model.metadata("normalised_by", own ? "model" : "caller");
    if (own) x_model.metadata("white", join(x_options.white));
    if (own || x_d.channels == 3) {
      x_model.metadata("mean", own ? list(x_options.mean) : list(x_d.mean));
      x_model.metadata("deviation", own ? list(x_options.deviation) : list(x_d.deviation));
    }
    x_input_words =
        join(x_d.channels == 3 ? "RGB images" : "Images", ", height and width multiples of ", x_d.patch,
             " pixels: ",
             own ? join("values from 0 to ", x_options.white)
             : x_d.channels == 3
                 ? join("(v - mean) / deviation of values v from 0 to 1, as trained; if that was as usual "
                        "by mean ",
                        list(x_d.mean), " and deviation ", list(x_d.deviation))
                 : std::string("normalised as in training"));
  }

  // ---- weights

  /// The values of a tensor of the file, checked as those that are loaded.
  [[nodiscard]] static std::vector<float> x_read(const BackboneFile& file, const std::string& name) {
    std::vector<float> values = file.read<float>(name);
    require_weights(std::span<const float>(values), file.path(), StoredPart{.name = name}, name);
    return values;
  }

  /// A tensor of the file as it lies there, but for its extents; once, however often it is asked for.
  std::string x_weight(const std::string& name, std::vector<Index> shape = {}) {
    if (std::ranges::find(x_known, name) != x_known.end()) return name;
    x_known.push_back(name);
    if (shape.empty()) shape = x_file.shape(name);
    return x_model.weight(name, std::move(shape), [&file = x_file, name] { return x_read(file, name); });
  }

  /// A matrix (out,in) as (in,out), from whose left side rows come.
  std::string x_transposed(const std::string& name) {
    const std::vector<Index> shape = x_file.shape(name);
    const auto rows = static_cast<std::size_t>(shape[0]), columns = static_cast<std::size_t>(shape[1]);
    return x_model.weight(name, {shape[1], shape[0]}, [&file = x_file, name, rows, columns] {
      const std::vector<float> values = x_read(file, name);
      std::vector<float> out(values.size());
      for (std::size_t i = 0; i < rows; ++i) {
        for (std::size_t j = 0; j < columns; ++j) out[j * rows + i] = values[i * columns + j];
      }
      return out;
    });
  }

  std::string x_linear(const std::string& layer, const std::string& x) {
    const std::string product = x_model.node("MatMul", {x, x_transposed(layer + ".weight")});
    if (!x_file.contains(layer + ".bias")) return product;
    return x_model.node("Add", {product, x_weight(layer + ".bias")});
  }

  std::string x_norm(const std::string& layer, const std::string& x) {
    return x_model.node("LayerNormalization", {x, x_weight(layer + ".weight"), x_weight(layer + ".bias")},
                        {{"axis", -1}, {"epsilon", static_cast<float>(x_d.norm_epsilon)}});
  }

  // ---- constants that several nodes read, made when the first one asks

  std::string x_number(float value) {
    const std::string name = join("number_", value);
    if (std::ranges::find(x_known, name) == x_known.end()) {
      x_known.push_back(name);
      x_model.constant(name, value);
    }
    return name;
  }
  std::string x_row(const std::vector<Index>& values) {
    std::string name = "row";
    for (const Index value : values) name += join("_", value);
    if (std::ranges::find(x_known, name) == x_known.end()) {
      x_known.push_back(name);
      x_model.constant(name, values);
    }
    return name;
  }
  std::string x_whole(Index value) {
    const std::string name = join("whole_", value);
    if (std::ranges::find(x_known, name) == x_known.end()) {
      x_known.push_back(name);
      x_model.constant(name, {}, std::span<const Index>(&value, 1));
    }
    return name;
  }

  // ---- tokens

  /// Images -> (B,N,D) of their patches.
  std::string x_embedding() {
    const OnnxShape shape = x_any_size()
                                ? OnnxShape{"batch", x_d.channels, "height", "width"}
                                : OnnxShape{"batch", x_d.channels, x_options.height, x_options.width};
    x_image = x_model.input("image", shape, x_input_words);
    x_model.scope("patch_embed");
    std::string pixels = x_image;
    if (!x_options.mean.empty()) {
      std::vector<float> mean, deviation;
      for (const float each : x_options.mean) mean.push_back(each * x_options.white);
      for (const float each : x_options.deviation) deviation.push_back(each * x_options.white);
      const std::vector<Index> by_channel{1, x_d.channels, 1, 1};
      pixels = x_model.node("Sub", {pixels, x_model.constant<float>("mean", by_channel, mean)});
      pixels = x_model.node("Div", {pixels, x_model.constant<float>("deviation", by_channel, deviation)});
    }
    const std::vector<Index> patch{x_d.patch, x_d.patch};
    const std::string map =
        x_model.node("Conv", {pixels, x_weight("patch_embed.proj.weight"), x_weight("patch_embed.proj.bias")},
                     {{"kernel_shape", patch}, {"strides", patch}});
    if (x_any_size()) x_map_shape = x_model.node("Shape", {map});
    const std::string columns = x_model.node("Reshape", {map, x_row({0, x_d.width, -1})});
    return x_model.node("Transpose",
                        {
                            columns,
                        },
                        {{"perm", std::vector<Index>{0, 2, 1}}});
  }

  /// Patches -> (B,1+R+N,D): class token, registers and patches with their positions.
  std::string x_tokens(std::string patches) {
    x_model.scope("tokens");
    if (x_rotary()) {
      x_rotations();
    } else {
      patches = x_model.node("Add", {patches, x_any_size() ? x_positions_of_any_size() : x_positions()});
    }
    std::vector<std::string> first{x_model.weight("cls_token", {1, 1, x_d.width}, [&file = x_file] {
      std::vector<float> token = x_read(file, "cls_token");
      if (!file.contains("cls_pos_embed")) return token;
      const std::vector<float> place = x_read(file, "cls_pos_embed");
      for (std::size_t i = 0; i < token.size(); ++i) token[i] += place[i];
      return token;
    })};
    if (x_d.registers > 0) first.push_back(x_weight("register_tokens", {1, x_d.registers, x_d.width}));
    const std::string images =
        x_model.node("Gather", {x_model.node("Shape", {x_image}), x_row({0})}, {{"axis", 0}});
    const std::string each = x_model.node("Concat", {images, x_row({1, 1})}, {{"axis", 0}});
    std::vector<std::string> all;
    for (const std::string& token : first) all.push_back(x_model.node("Expand", {token, each}));
    all.push_back(patches);
    return x_model.node("Concat", all, {{"axis", 1}});
  }

  /// The table as this grid reads it, (1,N,D).
  std::string x_positions() {
    const GridSize grid = x_grid(), table{x_d.table_side, x_d.table_side};
    const auto width = static_cast<std::size_t>(x_d.width);
    return x_model.weight(
        "patch_pos_embed", {1, grid.size(), x_d.width},
        [&file = x_file, rule = rule_of_table(x_d.position), grid, table, width] {
          const std::vector<float> stored = x_read(file, "patch_pos_embed");
          std::vector<double> from(stored.begin(), stored.end());
          for (const std::vector<Taps<double>>& read : grid_reads<double>(grid, table, rule)) {
            std::vector<double> to(read.size() * width);
            for (std::size_t i = 0; i < read.size(); ++i) {
              for (std::size_t t = 0; t < read[i].row.size(); ++t) {
                const double* const row = from.data() + static_cast<std::size_t>(read[i].row[t]) * width;
                for (std::size_t c = 0; c < width; ++c) to[i * width + c] += read[i].weight[t] * row[c];
              }
            }
            from = std::move(to);
          }
          return std::vector<float>(from.begin(), from.end());
        });
  }

  /// An extent of the grid, as a scalar: of rows (0) or columns (1).
  std::string x_extent(std::size_t axis) {
    if (x_extents[axis].empty()) {
      x_extents[axis] =
          x_model.node("Gather", {x_map_shape, x_whole(2 + static_cast<Index>(axis))}, {{"axis", 0}});
    }
    return x_extents[axis];
  }
  std::string x_real(const std::string& whole) { return x_model.node("Cast", {whole}, {{"to", Index{1}}}); }
  std::string x_op(std::string_view type, const std::string& a, const std::string& b) {
    return x_model.node(type, {a, b});
  }
  std::string x_op(std::string_view type, const std::string& a, float b) {
    return x_op(type, a, x_number(b));
  }
  /// 0, 1, ... below an extent of the grid.
  std::string x_count(std::size_t axis) {
    return x_real(x_model.node("Range", {x_whole(0), x_extent(axis), x_whole(1)}));
  }

  /// Weights (h,g) by which h cells along an axis read those of the table: what `grid_reads` computes, as a
  /// graph.
  ///
  /// A cell at c reads the table's cells j by cubic(|c - j| / s), s the stretch: 1, or g / h by the
  /// antialiased rule where that is more. Beyond an edge cells repeat: g + 4 columns, whose outer ones are
  /// then added to the edge's. The antialiased rule cuts there, and makes each row's sum 1.
  std::string x_axis_weights(std::size_t axis) {
    const PositionRule rule = rule_of_table(x_d.position);
    const auto side = static_cast<float>(x_d.table_side);
    const bool cut = rule == PositionRule::size_antialiased;
    const std::string count = x_count(axis), extent = x_real(x_extent(axis));
    std::string centre, stretch;
    if (rule == PositionRule::corners) {
      const std::string gaps = x_op("Max", x_op("Sub", extent, 1), 1);
      centre = x_op("Div", x_op("Mul", count, side - 1), gaps);
    } else {
      const std::string cells = rule == PositionRule::offset ? x_op("Add", extent, 0.1F) : extent;
      const std::string scale = x_op("Div", x_number(side), cells);
      centre = x_op("Sub", x_op("Mul", x_op("Add", count, 0.5F), scale), 0.5F);
      if (cut) stretch = x_op("Max", scale, 1);
    }
    // At its own size the table is read as it is, also by the rule whose cells lie elsewhere.
    if (rule == PositionRule::offset) {
      const auto is_own = [&](std::size_t a) { return x_op("Equal", x_extent(a), x_whole(x_d.table_side)); };
      centre = x_model.node("Where", {x_op("And", is_own(0), is_own(1)), count, centre});
    }
    const Index beyond = cut ? 0 : 2;
    std::vector<float> places;
    for (Index j = -beyond; j < x_d.table_side + beyond; ++j) places.push_back(static_cast<float>(j));
    const std::string cells = x_shared("cells", {1, static_cast<Index>(places.size())}, places);
    std::string x = x_op("Sub", x_model.node("Unsqueeze", {centre, x_row({1})}), cells);
    x = x_model.node("Abs", {x});
    if (cut) x = x_op("Div", x, stretch);
    std::string weights = x_cubic(x, cut ? -0.5F : -0.75F);
    if (cut) {
      const std::string sums = x_model.node("ReduceSum", {weights, x_row({1})}, {{"keepdims", Index{1}}});
      return x_op("Div", weights, sums);
    }
    std::vector<float> fold(places.size() * static_cast<std::size_t>(x_d.table_side));
    for (std::size_t j = 0; j < places.size(); ++j) {
      const float at = std::clamp(places[j], 0.0F, side - 1);
      fold[j * static_cast<std::size_t>(x_d.table_side) + static_cast<std::size_t>(at)] = 1;
    }
    return x_op("MatMul", weights,
                x_shared("edges", {static_cast<Index>(places.size()), x_d.table_side}, fold));
  }

  std::string x_shared(const std::string& name, const std::vector<Index>& shape,
                       const std::vector<float>& values) {
    if (std::ranges::find(x_known, name) == x_known.end()) {
      x_known.push_back(name);
      x_model.constant<float>(name, shape, values);
    }
    return name;
  }

  /// The cubic kernel of x >= 0: ((a + 2) x - (a + 3)) x^2 + 1 below 1, ((a x - 5 a) x + 8 a) x - 4 a below
  /// 2, then 0.
  std::string x_cubic(const std::string& x, float a) {
    const std::string square = x_op("Mul", x, x);
    const std::string near = x_op("Add", x_op("Mul", x_op("Sub", x_op("Mul", x, a + 2), a + 3), square), 1);
    std::string far = x_op("Sub", x_op("Mul", x, a), 5 * a);
    far = x_op("Add", x_op("Mul", far, x), 8 * a);
    far = x_op("Sub", x_op("Mul", far, x), 4 * a);
    const std::string outer = x_model.node("Where", {x_op("Less", x, 2), far, x_number(0)});
    return x_model.node("Where", {x_op("Less", x, 1), near, outer});
  }

  /// The table read for the image's own grid, (1,N,D): down each column, then across each row.
  std::string x_positions_of_any_size() {
    x_model.scope("positions");
    const Index side = x_d.table_side;
    const std::string table = x_weight("patch_pos_embed", {side, side * x_d.width});
    const std::string down = x_op("MatMul", x_axis_weights(0), table);  // (h,g D)
    const std::string lines = x_model.node("Reshape", {down, x_row({-1, side, x_d.width})});
    const std::string all = x_op("MatMul", x_axis_weights(1), lines);  // (h,w,D)
    const std::string out = x_model.node("Reshape", {all, x_row({1, -1, x_d.width})});
    x_model.scope("tokens");
    return out;
  }

  /// Cosines and sines (1+R+N,D/H) by which every block turns queries and keys; 1 and 0 of class token and
  /// registers.
  void x_rotations() {
    const Index quarter = x_head_width() / 4;
    const std::vector<float> periods = x_read(x_file, "rope_embed.periods");
    require_shape(static_cast<Index>(periods.size()) == quarter, x_file.path(), ": ", periods.size(),
                  " periods of rotary positions for heads of ", x_head_width(), "; expected ", quarter);
    const Index others = 1 + x_d.registers;
    if (x_any_size()) {
      x_rotations_of_any_size(periods);
      return;
    }
    const GridSize grid = x_grid();
    const std::vector<Index> shape{others + grid.size(), x_head_width()};
    std::vector<float> cosines(static_cast<std::size_t>(others * x_head_width()), 1.0F);
    std::vector<float> sines(cosines.size(), 0.0F);
    for (Index cell = 0; cell < grid.size(); ++cell) {
      const double y =
          (2 * static_cast<double>(cell / grid.width) + 1) / static_cast<double>(grid.height) - 1;
      const double x = (2 * static_cast<double>(cell % grid.width) + 1) / static_cast<double>(grid.width) - 1;
      for (Index j = 0; j < x_head_width(); ++j) {
        const double period = static_cast<double>(periods[static_cast<std::size_t>(j % quarter)]);
        const double angle = 2 * std::numbers::pi * (j / quarter % 2 == 0 ? y : x) / period;
        cosines.push_back(static_cast<float>(std::cos(angle)));
        sines.push_back(static_cast<float>(std::sin(angle)));
      }
    }
    x_cosines = x_model.constant<float>("cosines", shape, cosines);
    x_sines = x_model.constant<float>("sines", shape, sines);
  }

  void x_rotations_of_any_size(const std::vector<float>& periods) {
    x_model.scope("rotations");
    const auto quarter = static_cast<Index>(periods.size());
    std::vector<float> factors;
    for (const float period : periods)
      factors.push_back(static_cast<float>(2 * std::numbers::pi / static_cast<double>(period)));
    x_model.constant<float>("angular_rates", {1, quarter}, factors);
    const auto angles = [&](std::size_t axis) {  // (n,D/H/4)
      const std::string odd = x_op("Add", x_op("Mul", x_count(axis), 2), 1);
      const std::string at = x_op("Sub", x_op("Div", odd, x_real(x_extent(axis))), 1);
      return x_op("Mul", x_model.node("Unsqueeze", {at, x_row({1})}), "angular_rates");
    };
    const std::string cells = x_model.node(
        "Concat",
        {x_model.node("Slice", {x_map_shape, x_row({2}), x_row({4}), x_row({0})}), x_row({quarter})},
        {{"axis", 0}});
    const std::string down =
        x_model.node("Expand", {x_model.node("Unsqueeze", {angles(0), x_row({1})}), cells});
    const std::string across =
        x_model.node("Expand", {x_model.node("Unsqueeze", {angles(1), x_row({0})}), cells});
    const std::string both = x_model.node("Concat", {down, across, down, across}, {{"axis", 2}});
    const std::string all = x_model.node("Reshape", {both, x_row({-1, x_head_width()})});
    const std::vector<Index> shape{1 + x_d.registers, x_head_width()};
    const std::vector<float> zeros(static_cast<std::size_t>(shape[0] * shape[1]));
    const std::string turned =
        x_model.node("Concat", {x_model.constant<float>("unturned", shape, zeros), all}, {{"axis", 0}});
    x_cosines = x_model.node("Cos", {turned});
    x_sines = x_model.node("Sin", {turned});
    x_model.scope("tokens");
  }

  /// Queries or keys (B,H,T,D/H), turned: x cos + [-second half, first half] sin.
  std::string x_turn(const std::string& x) {
    if (!x_rotary()) return x;
    const std::vector<std::string> halves = x_model.nodes("Split", {x}, 2, {{"axis", -1}});
    const std::string crossed =
        x_model.node("Concat", {x_model.node("Neg", {halves[1]}), halves[0]}, {{"axis", -1}});
    return x_op("Add", x_op("Mul", x, x_cosines), x_op("Mul", crossed, x_sines));
  }

  // ---- blocks

  std::string x_block(const std::string& block, const std::string& x) {
    x_model.scope(block + "attn");
    std::string branch = x_linear(block + "attn.proj", x_attention(block, x_norm(block + "norm1", x)));
    if (x_d.layer_scale) branch = x_op("Mul", branch, x_weight(block + "ls1.gamma"));
    const std::string middle = x_op("Add", x, branch);
    x_model.scope(block + "mlp");
    branch = x_mlp(block + "mlp.", x_norm(block + "norm2", middle));
    if (x_d.layer_scale) branch = x_op("Mul", branch, x_weight(block + "ls2.gamma"));
    return x_op("Add", middle, branch);
  }

  std::string x_attention(const std::string& block, const std::string& x) {
    const Index each = x_head_width();
    const std::string qkv =
        x_model.node("Reshape", {x_linear(block + "attn.qkv", x), x_row({0, 0, 3, x_heads, each})});
    const std::string by_head =
        x_model.node("Transpose", {qkv}, {{"perm", std::vector<Index>{2, 0, 3, 1, 4}}});
    std::array<std::string, 3> parts;  // (B,H,T,D/H)
    for (std::size_t i = 0; i < 3; ++i)
      parts[i] = x_model.node("Gather", {by_head, x_whole(static_cast<Index>(i))}, {{"axis", 0}});
    const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(each)));
    const std::string queries = x_op("Mul", x_turn(parts[0]), scale);
    const std::string keys =
        x_model.node("Transpose", {x_turn(parts[1])}, {{"perm", std::vector<Index>{0, 1, 3, 2}}});
    const std::string shares = x_model.node("Softmax", {x_op("MatMul", queries, keys)}, {{"axis", -1}});
    const std::string attended = x_model.node("Transpose", {x_op("MatMul", shares, parts[2])},
                                              {{"perm", std::vector<Index>{0, 2, 1, 3}}});
    return x_model.node("Reshape", {attended, x_row({0, 0, x_d.width})});
  }

  std::string x_mlp(const std::string& mlp, const std::string& x) {
    if (x_d.mlp == MlpKind::swiglu) {
      const std::vector<std::string> halves =
          x_model.nodes("Split", {x_linear(mlp + "w12", x)}, 2, {{"axis", -1}});
      const std::string gate = x_op("Mul", halves[0], x_model.node("Sigmoid", {halves[0]}));
      return x_linear(mlp + "w3", x_op("Mul", gate, halves[1]));
    }
    const std::string hidden = x_linear(mlp + "fc1", x);
    const auto root_half = static_cast<float>(1 / std::numbers::sqrt2);
    const std::string share = x_op("Add", x_model.node("Erf", {x_op("Mul", hidden, root_half)}), 1);
    return x_linear(mlp + "fc2", x_op("Mul", x_op("Mul", hidden, share), 0.5F));
  }

  // ---- outputs

  /// Outputs of what the blocks give that are read.
  void x_outputs(const std::vector<std::string>& blocks) {
    x_model.scope("out");
    const auto class_of = [&](const std::string& rows) {
      return x_model.node("Gather", {rows, x_whole(0)}, {{"axis", 1}});
    };
    std::vector<std::string> class_parts, patch_parts;
    for (const std::string& x : blocks) {
      const std::string rows = x_options.norm ? x_norm("norm", x) : x;
      const bool own_norm = x_options.norm && x_d.class_norm;
      class_parts.push_back(own_norm ? x_norm("cls_norm", class_of(x)) : class_of(rows));
      patch_parts.push_back(x_model.node("Slice", {rows, x_row({1 + x_d.registers}),
                                                   x_row({std::numeric_limits<Index>::max()}), x_row({1})}));
    }
    const auto beside = [&](const std::vector<std::string>& parts) {
      return parts.size() == 1 ? parts.front() : x_model.node("Concat", parts, {{"axis", -1}});
    };
    const Index width = x_width();
    const std::string after = x_options.norm ? "after the last norm" : "without the last norm";
    const std::string class_tokens = beside(class_parts);
    x_model.output("class_token", class_tokens, {"batch", width}, "Class tokens " + after);
    const std::string patches = beside(patch_parts);
    const std::string map = x_as_map(patches, width);
    x_model.output("patch_map", map, x_map_extents({width}), "Patch tokens " + after + ", where they stand in the image");
    if (x_options.head) x_class_logits(*x_options.head, class_tokens, patch_parts.back());
    if (x_options.patch_head) x_patch_logits(*x_options.patch_head, patches);
    if (x_options.bank) x_scores(*x_options.bank, patches, map);
  }

  /// The extents of an output that has a value, or a row of them, for each patch.
  [[nodiscard]] OnnxShape x_map_extents(const std::vector<Index>& each) const {
    OnnxShape out{"batch"};
    for (const Index extent : each) out.emplace_back(extent);
    const GridSize grid = x_grid();
    if (x_any_size()) {
      out.emplace_back("rows");
      out.emplace_back("columns");
    } else {
      out.emplace_back(grid.height);
      out.emplace_back(grid.width);
    }
    return out;
  }

  /// Reshapes to the batch, these extents, and the grid of patches.
  std::string x_on_grid(const std::string& x, std::vector<Index> first) {
    if (x_any_size()) {
      const std::string cells = x_model.node("Slice", {x_map_shape, x_row({2}), x_row({4}), x_row({0})});
      return x_model.node("Reshape", {x, x_model.node("Concat", {x_row(first), cells}, {{"axis", 0}})});
    }
    const GridSize grid = x_grid();
    first.push_back(grid.height);
    first.push_back(grid.width);
    return x_model.node("Reshape", {x, x_row(first)});
  }

  /// (B,N,c) as (B,c,h,w).
  std::string x_as_map(const std::string& rows, Index numbers) {
    return x_on_grid(x_model.node("Transpose", {rows}, {{"perm", std::vector<Index>{0, 2, 1}}}), {0, numbers});
  }

  // ---- heads

  /// x W^T + b, its tensors under this name.
  std::string x_head(const std::string& name, const OnnxHead& head, const std::string& x) {
    const auto classes = static_cast<std::size_t>(head.classes);
    const std::size_t numbers = head.weight.size() / classes;
    std::vector<float> turned(head.weight.size());
    for (std::size_t i = 0; i < classes; ++i) {
      for (std::size_t j = 0; j < numbers; ++j) turned[j * classes + i] = head.weight[i * numbers + j];
    }
    const std::vector<Index> shape{static_cast<Index>(numbers), head.classes};
    const std::string product = x_op("MatMul", x, x_model.weight(name + ".weight", shape, [turned] { return turned; }));
    if (head.bias.empty()) return product;
    return x_op("Add", product, x_model.weight(name + ".bias", {head.classes}, [bias = head.bias] { return bias; }));
  }

  void x_class_logits(const OnnxHead& head, const std::string& class_tokens, const std::string& last_patches) {
    x_model.scope("head");
    std::string x = class_tokens;
    const bool with_mean = head.weight.size() != static_cast<std::size_t>(head.classes * x_width());
    if (with_mean) {
      const std::string mean =
          x_model.node("ReduceMean", {last_patches}, {{"axes", std::vector<Index>{1}}, {"keepdims", Index{0}}});
      x = x_model.node("Concat", {class_tokens, mean}, {{"axis", -1}});
    }
    x_model.output("logits", x_head("head", head, x), {"batch", head.classes},
                   with_mean ? "Of class tokens and the mean of patches" : "Of class tokens");
  }

  void x_patch_logits(const OnnxHead& head, const std::string& patches) {
    x_model.scope("patch_head");
    x_model.output("patch_logits", x_as_map(x_head("patch_head", head, patches), head.classes), x_map_extents({head.classes}),
                   "Of each patch, where it stands in the image");
  }

  /// Sums of squares along the last axis, which goes.
  std::string x_squares(const std::string& x) {
    return x_model.node("ReduceSum", {x_op("Mul", x, x), x_row({-1})}, {{"keepdims", Index{0}}});
  }

  /// Distances to a bank as `DefectBank::score` has them. The nearest row is found by products, its distance then taken as it
  /// is, so that no digits are lost.
  void x_scores(const OnnxBank& bank, const std::string& patches, const std::string& map) {
    x_model.scope("bank");
    const Index width = x_width();
    const Index count = static_cast<Index>(bank.rows.size()) / width;
    const std::string rows = x_model.weight("bank", {count, width}, [all = bank.rows] { return all; });
    const std::string turned = x_model.node("Transpose", {rows}, {{"perm", std::vector<Index>{1, 0}}});
    const std::string lengths = x_squares(rows);  // (n)
    std::string x = patches;                      // (B,N,W)
    if (bank.neighbourhood == 3) {
      const std::string means = x_model.node("AveragePool", {map}, {{"kernel_shape", std::vector<Index>{3, 3}},
                                                                   {"pads", std::vector<Index>{1, 1, 1, 1}},
                                                                   {"count_include_pad", Index{0}}});
      x = x_model.node("Transpose", {x_model.node("Reshape", {means, x_row({0, width, -1})})},
                       {{"perm", std::vector<Index>{0, 2, 1}}});
    }
    // Squared distances but for the patch's own length, which changes no order.
    const auto away = [&](const std::string& from) { return x_op("Sub", lengths, x_op("Mul", x_op("MatMul", from, turned), 2)); };
    const std::string nearest = x_model.node("ArgMin", {away(x)}, {{"axis", -1}, {"keepdims", Index{0}}});  // (B,N)
    const auto rows_of = [&](const std::string& numbers) { return x_model.node("Gather", {rows, numbers}, {{"axis", 0}}); };
    const std::string distance = x_model.node("Sqrt", {x_squares(x_op("Sub", x, rows_of(nearest)))});  // (B,N)
    x_model.output("patch_scores", x_on_grid(distance, {0}), x_map_extents({}), "Distances to the nearest normal patches");

    const std::string largest = x_model.node("ReduceMax", {distance}, {{"axes", std::vector<Index>{1}}, {"keepdims", Index{1}}});
    std::string score = largest;  // (B,1)
    const Index neighbours = std::clamp<Index>(bank.reweighting, 1, count);
    if (neighbours > 1) {
      const std::string worst = x_model.node("ArgMax", {distance}, {{"axis", 1}, {"keepdims", Index{1}}});  // (B,1)
      const auto of_worst = [&](const std::string& each) { return x_model.node("GatherND", {each, worst}, {{"batch_dims", Index{1}}}); };
      const std::string around = away(rows_of(of_worst(nearest)));  // (B,n)
      const std::string numbers =
          x_model.nodes("TopK", {around, x_row({neighbours})}, 2, {{"axis", -1}, {"largest", Index{0}}})[1];
      const std::string patch = x_model.node("Unsqueeze", {of_worst(x), x_row({1})});
      const std::string apart = x_model.node("Sqrt", {x_squares(x_op("Sub", rows_of(numbers), patch))});  // (B,k)
      const std::string sum = x_model.node("ReduceSum", {x_model.node("Exp", {x_op("Sub", apart, largest)}), x_row({-1})},
                                           {{"keepdims", Index{1}}});
      score = x_op("Mul", largest, x_op("Sub", x_number(1), x_op("Div", x_number(1), sum)));
    }
    x_model.output("score", x_model.node("Reshape", {score, x_row({-1})}), {"batch"}, "How far each image is from normal ones");
  }

  const BackboneFile& x_file;
  BackboneDescription x_d;
  const OnnxBackboneOptions& x_options;
  OnnxModel x_model;
  Index x_heads = 0;
  std::vector<Index> x_blocks;
  std::string x_input_words, x_image, x_map_shape, x_cosines, x_sines;
  std::array<std::string, 2> x_extents;
  std::vector<std::string> x_known;
};

}  // namespace detail

/// The backbone of a file as an ONNX model, which reads the file when it is written and does not outlive it.
///
/// Input `image` (B,C,height,width), outputs `class_token` (B,D) and `patch_map` (B,D,height/p,width/p),
/// floats; B is free, and height and width are where the options leave them so: any multiples of the patch p
/// (what is beyond the last whole patch is not read). The position table is then read by products with two
/// matrices of weights, which the graph computes from the image's size, never by a `Resize`, on whose rules
/// runtimes differ; rotations likewise. With a fixed size positions are constants. The model's own strings
/// and the input's meaning tell who normalises, and how. Heads and a bank of normal patches give further outputs.
///
/// Throws `OptionError` naming the field, and as `require_full_attention`; what is not a ViT of this library is
/// refused when the file is opened. Test: tests/features/onnx_backbone.cpp (the nodes), tests/programs/export_onnx.py (features in
/// onnxruntime and OpenVINO).
[[nodiscard]] inline OnnxModel onnx_backbone(const BackboneFile& file,
                                             const OnnxBackboneOptions& options = {}) {
  return detail::OnnxBackboneBuilder(file, options).build();
}

}  // namespace dssl
