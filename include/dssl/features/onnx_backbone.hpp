// A frozen backbone as an ONNX model: images in, class token and patch map out, in any runtime.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <numbers>
#include <numeric>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/features/onnx_positions.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/backbone_export.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/json_writer.hpp>
#include <dssl/io/onnx_model.hpp>
#include <dssl/io/pixel_scale.hpp>

namespace dssl {

/// A linear layer on features: what a linear probe or a classifier learned, as torch.nn.Linear has it.
struct OnnxHead {
  Index classes = 0;
  std::vector<float> weight{};  ///< (classes, numbers of what it reads)
  std::vector<float> bias{};    ///< (classes); empty: none
  std::vector<std::string> names{};  ///< of the classes, which the model tells; empty: not known
};

/// A bank of normal patches, whose distances say what is a defect.
struct OnnxBank {
  std::vector<float> rows{};  ///< (n,W)
  Index neighbourhood = 3;    ///< a patch is the mean of so many by so many around it: 1 or 3
  Index reweighting = 9;      ///< neighbours that weigh an image's score; 0: its largest distance
};

/// Training features whose classes vote, as `KnnClassifier` has them.
struct OnnxKnn {
  Index classes = 0;
  std::vector<float> rows{};           ///< (n,W'), finite, of any length
  std::vector<std::int64_t> labels{};  ///< (n), 0 to classes - 1
  Index k = 20;                        ///< neighbours that vote
  double temperature = 0.07;           ///< 0.002 or more, as `KnnClassifier`'s
  /// What a row is of: class tokens, the mean of an image's patches, or the one behind the other.
  GroupSet reads{.class_token = true};
  std::vector<std::string> names{};  ///< of the classes, which the model tells; empty: not known
};

/// What a backbone's model takes.
struct OnnxBackboneOptions {
  /// Of the images in pixels, multiples of the patch; both 0: any such size, another in each run if need be.
  Index height = 0;
  Index width = 0;
  Index heads = 0;  ///< H where the file does not say their number and it is not the usual one
  /// By channel, on the scale 0..1: what pixels are normalised by. Both empty: images come normalised, by what `pixels_of` says.
  std::vector<float> mean{};
  std::vector<float> deviation{};
  bool normalise = true;  ///< with mean and deviation: images are pixels, and the model does it; off: they come normalised by these
  float white = 1;        ///< the largest pixel where the model normalises: 1, or 255
  /// Blocks whose tokens are given, side by side in this order, and whether under the last norm: as
  /// `FeatureOptions` says.
  std::vector<Index> blocks{};
  bool norm = true;
  /// Further outputs. `logits` (B,classes) of a head on class tokens, or on these and behind them the mean of the patches of
  /// the last of `blocks`, or of all, as its weight is wide; `patch_logits` (B,classes,h,w) of a head on patches; `votes`
  /// (B,classes) of the nearest training features, each image's as shares of their sum; with a bank `patch_scores` (B,h,w)
  /// and `score` (B), as `DefectBank` has them.
  std::optional<OnnxHead> head{};
  std::optional<OnnxHead> patch_head{};
  std::optional<OnnxKnn> knn{};
  std::optional<OnnxBank> bank{};
};

namespace detail {

/// Builds the graph of one backbone.
class OnnxBackboneBuilder : OnnxPositions {
 public:
  OnnxBackboneBuilder(const BackboneFile& file, const OnnxBackboneOptions& options)
      : OnnxPositions(file, x_with_heads(file, options), options.height, options.width), x_options(options) {
    if (rotary() && head_width() % 4 != 0)
      throw OptionError("heads", vit().heads,
                        join("heads whose width, of ", vit().width, " in all, is a multiple of 4"));
    const auto check_extent = [&](const char* field, Index value) {
      if (any_size() || (value >= vit().patch && value % vit().patch == 0)) return;
      throw OptionError(field, value, join("a multiple of the patch, ", vit().patch, " pixels"));
    };
    check_extent("height", options.height);
    check_extent("width", options.width);
    if (!options.mean.empty() || !options.deviation.empty()) {
      x_pixels = {options.mean, options.deviation};
      require_pixels(x_pixels, vit().channels);
    } else {
      const std::optional<PixelScale> stated = stated_pixels(file);
      x_pixels_are_known = stated.has_value();
      x_pixels = stated.value_or(usual_pixels(vit().channels));
    }
    if (!(options.white > 0)) throw OptionError("white", options.white, "a positive value");
    for (const Index block : options.blocks) {
      const Index number = block < 0 ? block + vit().depth : block;
      if (number < 0 || number >= vit().depth || std::ranges::find(x_blocks, number) != x_blocks.end())
        throw OptionError("blocks", block, join("each block once, -", vit().depth, " to ", vit().depth - 1));
      x_blocks.push_back(number);
    }
    if (x_blocks.empty()) x_blocks.push_back(vit().depth - 1);
    x_check_heads();
  }

  [[nodiscard]] OnnxModel build() {
    model().describe(describe(vit()));
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
    return std::move(model());
  }

 private:
  /// The file's description with the number of heads that the options give.
  [[nodiscard]] static BackboneDescription x_with_heads(const BackboneFile& file, const OnnxBackboneOptions& options) {
    require_full_attention(file);
    BackboneDescription vit = file.description();
    const Index heads = options.heads > 0 ? options.heads : vit.heads;
    if (vit.heads_are_known && heads != vit.heads)
      throw OptionError("heads", options.heads, join(vit.heads, ", which ", file.path(), " says itself"));
    if (heads < 1 || vit.width % heads != 0) {
      throw OptionError(
          "heads", options.heads,
          join("the number of heads that ", file.path(), " of width ", vit.width, " was trained with"));
    }
    vit.heads = heads;
    vit.heads_are_known = vit.heads_are_known || options.heads > 0;
    return vit;
  }

  /// W: numbers of a token.
  [[nodiscard]] Index x_width() const { return vit().width * static_cast<Index>(x_blocks.size()); }

  void x_check_heads() const {
    const Index tokens = x_width();
    const auto check = [&](const char* field, const std::optional<OnnxHead>& head, const std::vector<Index>& widths) {
      if (!head) return;
      const auto classes = static_cast<std::size_t>(std::max<Index>(head->classes, 0));
      const auto fits = [&](Index numbers) { return head->weight.size() == classes * static_cast<std::size_t>(numbers); };
      if (classes >= 1 && std::ranges::any_of(widths, fits) && (head->bias.empty() || head->bias.size() == classes)) return;
      std::string either;
      for (const Index width : widths) either += join(either.empty() ? "" : " or ", width, either.empty() ? " weights" : "");
      throw OptionError(field, join(head->weight.size(), " weights and ", head->bias.size(), " biases of ", head->classes, " classes"),
                        join("for each class ", either, ", as many as the features have numbers, and one bias or none"));
    };
    std::vector<Index> widths{tokens, tokens + vit().width};
    if (x_blocks.size() > 1) widths.push_back(2 * tokens);
    check("head", x_options.head, widths);
    check("patch_head", x_options.patch_head, {tokens});
    x_each_classes([](const char* output, Index classes, const std::vector<std::string>& names) {
      if (names.empty() || static_cast<Index>(names.size()) == classes) return;
      throw OptionError("names", join(names.size(), " of the ", classes, " classes of ", output), "one for each class, or none");
    });
    if (x_options.knn) x_check_knn(*x_options.knn);
    if (!x_options.bank) return;
    const OnnxBank& bank = *x_options.bank;
    if (bank.rows.empty() || bank.rows.size() % static_cast<std::size_t>(tokens) != 0)
      throw OptionError("bank", join(bank.rows.size(), " numbers"), join("rows of ", tokens, ", as wide as a patch"));
    if (bank.neighbourhood != 1 && bank.neighbourhood != 3) throw OptionError("neighbourhood", bank.neighbourhood, "1 or 3");
    if (bank.reweighting < 0) throw OptionError("reweighting", bank.reweighting, "0 (off) or more");
  }

  void x_check_knn(const OnnxKnn& knn) const {
    const Index width = x_width() * ((knn.reads.class_token ? 1 : 0) + (knn.reads.patch ? 1 : 0));
    if (width == 0 || knn.reads.reference) throw OptionError("knn", "of other tokens", "features of class tokens, of patches, or of both");
    const auto rows = static_cast<Index>(knn.rows.size()) / width;
    if (knn.rows.empty() || knn.rows.size() != static_cast<std::size_t>(rows * width) || knn.labels.size() != static_cast<std::size_t>(rows)) {
      throw OptionError("knn", join(knn.rows.size(), " numbers and ", knn.labels.size(), " labels"),
                        join("features of ", width, " numbers, as many as are read of an image, and a label of each"));
    }
    if (knn.classes < 1) throw OptionError("knn", join("of ", knn.classes, " classes"), "at least 1");
    for (const std::int64_t label : knn.labels) {
      if (label < 0 || label >= knn.classes) throw OptionError("knn", join("of the label ", label), join("labels from 0 to ", knn.classes - 1));
    }
    const auto wrong = std::ranges::find_if_not(knn.rows, [](float value) { return std::isfinite(value); });
    if (wrong != knn.rows.end())
      throw OptionError("knn", join("of the number ", *wrong, " in training feature ", (wrong - knn.rows.begin()) / width), "finite numbers");
    if (knn.k < 1 || knn.k > rows) throw OptionError("k", knn.k, join("1 to the number of training features, ", rows));
    if (!(knn.temperature >= 0.002 && std::isfinite(knn.temperature)))
      throw OptionError("knn", join("of temperature ", knn.temperature), "a temperature of 0.002 or more");
  }

  // ---- what is said of the model

  /// each(output, number of classes, their names) for outputs by class.
  template <class F>
  void x_each_classes(const F& each) const {
    if (x_options.head) each("logits", x_options.head->classes, x_options.head->names);
    if (x_options.patch_head) each("patch_logits", x_options.patch_head->classes, x_options.patch_head->names);
    if (x_options.knn) each("votes", x_options.knn->classes, x_options.knn->names);
  }

  void x_words() {
    model().metadata("backbone", describe(vit()));
    model().metadata("family", std::string(family_name(vit().family)));
    model().metadata("patch", join(vit().patch));
    model().metadata("width", join(vit().width));
    model().metadata("heads", join(vit().heads));
    model().metadata("registers", join(vit().registers));
    std::string blocks;
    for (const Index block : x_blocks) blocks += join(blocks.empty() ? "" : ", ", block);
    model().metadata("blocks", blocks);
    model().metadata("last_norm", x_options.norm ? "yes" : "no");
    model().metadata("normalised_by", x_normalises() ? "model" : "caller");
    if (x_normalises()) model().metadata("white", join(x_options.white));
    model().metadata("mean", number_list(x_pixels.mean, ", "));
    model().metadata("deviation", number_list(x_pixels.deviation, ", "));
    x_each_classes([&](const char* output, Index, const std::vector<std::string>& names) {
      std::string list;
      for (const std::string& name : names) list += join(list.empty() ? "" : ",", json_string(name));
      if (!names.empty()) model().metadata(join(output, "_classes"), join("[", list, "]"));
    });
    x_input_words = join(vit().channels == 3 ? "RGB images" : "Images", ", height and width multiples of ", vit().patch, " pixels: ",
                         x_normalises() ? join("values from 0 to ", x_options.white)
                                        : join("(v - mean) / deviation of values v from 0 to 1, as trained",
                                               x_pixels_are_known ? "," : "; if that was as usual", " by mean ", number_list(x_pixels.mean, ", "), " and deviation ", number_list(x_pixels.deviation, ", ")));
  }

  /// Whether the model normalises images itself.
  [[nodiscard]] bool x_normalises() const { return x_options.normalise && !x_options.mean.empty(); }

  // ---- tokens

  /// Images -> (B,N,D) of their patches.
  std::string x_embedding() {
    const OnnxShape shape = any_size()
                                ? OnnxShape{"batch", vit().channels, "height", "width"}
                                : OnnxShape{"batch", vit().channels, x_options.height, x_options.width};
    x_image = model().input("image", shape, x_input_words);
    model().scope("patch_embed");
    std::string pixels = x_image;
    if (x_normalises()) {
      std::vector<float> mean, deviation;
      for (const float each : x_options.mean) mean.push_back(each * x_options.white);
      for (const float each : x_options.deviation) deviation.push_back(each * x_options.white);
      const std::vector<Index> by_channel{1, vit().channels, 1, 1};
      pixels = model().node("Sub", {pixels, model().constant<float>("mean", by_channel, mean)});
      pixels = model().node("Div", {pixels, model().constant<float>("deviation", by_channel, deviation)});
    }
    const std::vector<Index> patch{vit().patch, vit().patch};
    const std::string map =
        model().node("Conv", {pixels, weight("patch_embed.proj.weight"), weight("patch_embed.proj.bias")},
                     {{"kernel_shape", patch}, {"strides", patch}});
    measure(map);
    const std::string columns = model().node("Reshape", {map, row({0, vit().width, -1})});
    return model().node("Transpose",
                        {
                            columns,
                        },
                        {{"perm", std::vector<Index>{0, 2, 1}}});
  }

  /// Patches -> (B,1+R+N,D): class token, registers and patches with their positions.
  std::string x_tokens(std::string patches) {
    model().scope("tokens");
    if (rotary()) {
      make_rotations();
    } else {
      patches = model().node("Add", {patches, positions()});
    }
    std::vector<std::string> first{model().weight("cls_token", {1, 1, vit().width}, [&file = file()] {
      std::vector<float> token = read_weights(file, "cls_token");
      if (!file.contains("cls_pos_embed")) return token;
      const std::vector<float> place = read_weights(file, "cls_pos_embed");
      for (std::size_t i = 0; i < token.size(); ++i) token[i] += place[i];
      return token;
    })};
    if (vit().registers > 0) first.push_back(weight("register_tokens", {1, vit().registers, vit().width}));
    const std::string images =
        model().node("Gather", {model().node("Shape", {x_image}), row({0})}, {{"axis", 0}});
    const std::string each = model().node("Concat", {images, row({1, 1})}, {{"axis", 0}});
    std::vector<std::string> all;
    for (const std::string& token : first) all.push_back(model().node("Expand", {token, each}));
    all.push_back(patches);
    return model().node("Concat", all, {{"axis", 1}});
  }

  // ---- blocks

  std::string x_block(const std::string& block, const std::string& x) {
    model().scope(block + "attn");
    std::string branch = linear(block + "attn.proj", x_attention(block, norm(block + "norm1", x)));
    if (vit().layer_scale) branch = op("Mul", branch, weight(block + "ls1.gamma"));
    const std::string middle = op("Add", x, branch);
    model().scope(block + "mlp");
    branch = x_mlp(block + "mlp.", norm(block + "norm2", middle));
    if (vit().layer_scale) branch = op("Mul", branch, weight(block + "ls2.gamma"));
    return op("Add", middle, branch);
  }

  std::string x_attention(const std::string& block, const std::string& x) {
    const Index each = head_width();
    const std::string qkv =
        model().node("Reshape", {linear(block + "attn.qkv", x), row({0, 0, 3, vit().heads, each})});
    const std::string by_head =
        model().node("Transpose", {qkv}, {{"perm", std::vector<Index>{2, 0, 3, 1, 4}}});
    std::array<std::string, 3> parts;  // (B,H,T,D/H)
    for (std::size_t i = 0; i < 3; ++i)
      parts[i] = model().node("Gather", {by_head, whole(static_cast<Index>(i))}, {{"axis", 0}});
    const auto scale = static_cast<float>(1 / std::sqrt(static_cast<double>(each)));
    const std::string queries = op("Mul", turn(parts[0]), scale);
    const std::string keys =
        model().node("Transpose", {turn(parts[1])}, {{"perm", std::vector<Index>{0, 1, 3, 2}}});
    const std::string shares = model().node("Softmax", {op("MatMul", queries, keys)}, {{"axis", -1}});
    const std::string attended = model().node("Transpose", {op("MatMul", shares, parts[2])},
                                              {{"perm", std::vector<Index>{0, 2, 1, 3}}});
    return model().node("Reshape", {attended, row({0, 0, vit().width})});
  }

  std::string x_mlp(const std::string& mlp, const std::string& x) {
    if (vit().mlp == MlpKind::swiglu) {
      const std::vector<std::string> halves =
          model().nodes("Split", {linear(mlp + "w12", x)}, 2, {{"axis", -1}});
      const std::string gate = op("Mul", halves[0], model().node("Sigmoid", {halves[0]}));
      return linear(mlp + "w3", op("Mul", gate, halves[1]));
    }
    const std::string hidden = linear(mlp + "fc1", x);
    const auto root_half = static_cast<float>(1 / std::numbers::sqrt2);
    const std::string share = op("Add", model().node("Erf", {op("Mul", hidden, root_half)}), 1);
    return linear(mlp + "fc2", op("Mul", op("Mul", hidden, share), 0.5F));
  }

  // ---- outputs

  /// Outputs of what the blocks give that are read.
  void x_outputs(const std::vector<std::string>& blocks) {
    model().scope("out");
    const auto class_of = [&](const std::string& rows) {
      return model().node("Gather", {rows, whole(0)}, {{"axis", 1}});
    };
    std::vector<std::string> class_parts, patch_parts;
    for (const std::string& x : blocks) {
      const std::string rows = x_options.norm ? norm("norm", x) : x;
      const bool own_norm = x_options.norm && vit().class_norm;
      class_parts.push_back(own_norm ? norm("cls_norm", class_of(x)) : class_of(rows));
      patch_parts.push_back(model().node("Slice", {rows, row({1 + vit().registers}),
                                                   row({std::numeric_limits<Index>::max()}), row({1})}));
    }
    const auto beside = [&](const std::vector<std::string>& parts) {
      return parts.size() == 1 ? parts.front() : model().node("Concat", parts, {{"axis", -1}});
    };
    const Index width = x_width();
    const std::string after = x_options.norm ? "after the last norm" : "without the last norm";
    const std::string class_tokens = beside(class_parts);
    model().output("class_token", class_tokens, {"batch", width}, "Class tokens " + after);
    const std::string patches = beside(patch_parts);
    const std::string map = as_map(patches, width);
    model().output("patch_map", map, map_extents({width}), "Patch tokens " + after + ", where they stand in the image");
    if (x_options.head) x_class_logits(*x_options.head, class_tokens, patch_parts.back(), patches);
    if (x_options.patch_head) x_patch_logits(*x_options.patch_head, patches);
    if (x_options.knn) x_votes(*x_options.knn, class_tokens, patches);
    if (x_options.bank) x_scores(*x_options.bank, patches, map);
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
    const std::string product = op("MatMul", x, model().weight(name + ".weight", shape, [turned] { return turned; }));
    if (head.bias.empty()) return product;
    return op("Add", product, model().weight(name + ".bias", {head.classes}, [bias = head.bias] { return bias; }));
  }

  /// (B,N,W) -> (B,W).
  std::string x_mean(const std::string& patches) {
    return model().node("ReduceMean", {patches}, {{"axes", std::vector<Index>{1}}, {"keepdims", Index{0}}});
  }

  void x_class_logits(const OnnxHead& head, const std::string& class_tokens, const std::string& last_patches, const std::string& patches) {
    model().scope("head");
    std::string x = class_tokens;
    const Index numbers = static_cast<Index>(head.weight.size()) / head.classes;
    const bool with_mean = numbers != x_width();
    if (with_mean) {
      const std::string mean = x_mean(numbers == 2 * x_width() ? patches : last_patches);
      x = model().node("Concat", {class_tokens, mean}, {{"axis", -1}});
    }
    model().output("logits", x_head("head", head, x), {"batch", head.classes},
                   with_mean ? "Of class tokens and the mean of patches" : "Of class tokens");
  }

  void x_patch_logits(const OnnxHead& head, const std::string& patches) {
    model().scope("patch_head");
    model().output("patch_logits", as_map(x_head("patch_head", head, patches), head.classes), map_extents({head.classes}),
                   "Of each patch, where it stands in the image");
  }

  /// Sums of squares along the last axis, which goes, or is kept as 1.
  std::string x_squares(const std::string& x, bool keep = false) {
    return model().node("ReduceSum", {op("Mul", x, x), row({-1})}, {{"keepdims", Index{keep ? 1 : 0}}});
  }

  /// The votes of `KnnClassifier` over their sum, which changes neither their order nor the class: softmax(cosines /
  /// temperature) of the k nearest, summed by class. TopK takes the lower index among equal
  /// cosines, as the classifier does.
  void x_votes(const OnnxKnn& knn, const std::string& class_tokens, const std::string& patches) {
    model().scope("knn");
    std::vector<std::string> parts;
    if (knn.reads.class_token) parts.push_back(class_tokens);
    if (knn.reads.patch) parts.push_back(x_mean(patches));
    const std::string x = parts.size() == 1 ? parts.front() : model().node("Concat", parts, {{"axis", -1}});  // (B,W')
    const std::string unit = op("Div", x, op("Max", model().node("Sqrt", {x_squares(x, true)}), 1e-12F));
    const auto count = static_cast<Index>(knn.labels.size()), width = static_cast<Index>(knn.rows.size()) / count;
    const std::string rows = model().weight("knn.features", {width, count}, [all = knn.rows, n = knn.labels.size()] {
      const std::size_t d = all.size() / n;
      std::vector<float> out(all.size());
      for (std::size_t i = 0; i < n; ++i) {
        double square = 0;
        for (std::size_t j = 0; j < d; ++j) square += static_cast<double>(all[i * d + j]) * static_cast<double>(all[i * d + j]);
        const double length = std::max(std::sqrt(square), 1e-12);
        for (std::size_t j = 0; j < d; ++j) out[j * n + i] = static_cast<float>(static_cast<double>(all[i * d + j]) / length);
      }
      return out;
    });
    const auto nearest = model().nodes("TopK", {op("MatMul", unit, rows), row({knn.k})}, 2, {{"axis", -1}, {"largest", Index{1}}});
    const std::string shares =
        model().node("Softmax", {op("Div", nearest[0], static_cast<float>(knn.temperature))}, {{"axis", -1}});  // (B,k)
    const std::string labels = model().constant<Index>("knn.labels", {count}, std::vector<Index>(knn.labels.begin(), knn.labels.end()));
    const std::string voted = model().node("Unsqueeze", {model().node("Gather", {labels, nearest[1]}, {{"axis", 0}}), row({2})});
    std::vector<Index> classes(static_cast<std::size_t>(knn.classes));
    std::iota(classes.begin(), classes.end(), Index{0});
    const std::string of_class = real(op("Equal", voted, model().constant("knn.classes", classes)));  // (B,k,C)
    const std::string sums = op("MatMul", model().node("Unsqueeze", {shares, row({1})}), of_class);   // (B,1,C)
    model().output("votes", model().node("Reshape", {sums, row({-1, knn.classes})}), {"batch", knn.classes},
                   join("Shares of the votes of the ", knn.k, " nearest training features, by class"));
  }

  /// Distances to a bank as `DefectBank::score` has them. The nearest row is found by products, its distance then taken as it
  /// is, so that no digits are lost.
  void x_scores(const OnnxBank& bank, const std::string& patches, const std::string& map) {
    model().scope("bank");
    const Index width = x_width();
    const Index count = static_cast<Index>(bank.rows.size()) / width;
    const std::string rows = model().weight("bank", {count, width}, [all = bank.rows] { return all; });
    const std::string turned = model().node("Transpose", {rows}, {{"perm", std::vector<Index>{1, 0}}});
    const std::string lengths = x_squares(rows);  // (n)
    std::string x = patches;                      // (B,N,W)
    if (bank.neighbourhood == 3) {
      const std::string means = model().node("AveragePool", {map}, {{"kernel_shape", std::vector<Index>{3, 3}},
                                                                   {"pads", std::vector<Index>{1, 1, 1, 1}},
                                                                   {"count_include_pad", Index{0}}});
      x = model().node("Transpose", {model().node("Reshape", {means, row({0, width, -1})})},
                       {{"perm", std::vector<Index>{0, 2, 1}}});
    }
    // Squared distances but for the patch's own length, which changes no order.
    const auto away = [&](const std::string& from) { return op("Sub", lengths, op("Mul", op("MatMul", from, turned), 2)); };
    const std::string nearest = model().node("ArgMin", {away(x)}, {{"axis", -1}, {"keepdims", Index{0}}});  // (B,N)
    const auto rows_of = [&](const std::string& numbers) { return model().node("Gather", {rows, numbers}, {{"axis", 0}}); };
    const std::string distance = model().node("Sqrt", {x_squares(op("Sub", x, rows_of(nearest)))});  // (B,N)
    model().output("patch_scores", on_grid(distance, {0}), map_extents({}), "Distances to the nearest normal patches");

    const std::string largest = model().node("ReduceMax", {distance}, {{"axes", std::vector<Index>{1}}, {"keepdims", Index{1}}});
    std::string score = largest;  // (B,1)
    const Index neighbours = std::clamp<Index>(bank.reweighting, 1, count);
    if (neighbours > 1) {
      const std::string worst = model().node("ArgMax", {distance}, {{"axis", 1}, {"keepdims", Index{1}}});  // (B,1)
      const auto of_worst = [&](const std::string& each) { return model().node("GatherND", {each, worst}, {{"batch_dims", Index{1}}}); };
      const std::string around = away(rows_of(of_worst(nearest)));  // (B,n)
      const std::string numbers =
          model().nodes("TopK", {around, row({neighbours})}, 2, {{"axis", -1}, {"largest", Index{0}}})[1];
      const std::string patch = model().node("Unsqueeze", {of_worst(x), row({1})});
      const std::string apart = model().node("Sqrt", {x_squares(op("Sub", rows_of(numbers), patch))});  // (B,k)
      const std::string sum = model().node("ReduceSum", {model().node("Exp", {op("Sub", apart, largest)}), row({-1})},
                                           {{"keepdims", Index{1}}});
      score = op("Mul", largest, op("Sub", number(1), op("Div", number(1), sum)));
    }
    model().output("score", model().node("Reshape", {score, row({-1})}), {"batch"}, "How far each image is from normal ones");
  }

  const OnnxBackboneOptions& x_options;
  std::vector<Index> x_blocks;
  PixelScale x_pixels;
  bool x_pixels_are_known = true;
  std::string x_input_words, x_image;
};

}  // namespace detail

/// The backbone of a file as an ONNX model, which reads the file when it is written and does not outlive it.
///
/// Input `image` (B,C,height,width), outputs `class_token` (B,D) and `patch_map` (B,D,height/p,width/p),
/// floats; B is free, and height and width are where the options leave them so: any multiples of the patch p
/// (what is beyond the last whole patch is not read). The position table is then read by products with two
/// matrices of weights, which the graph computes from the image's size, never by a `Resize`, on whose rules
/// runtimes differ; rotations likewise. With a fixed size positions are constants. The model's own strings
/// and the input's meaning tell who normalises, and how. Heads, training features and a bank of normal patches give further outputs.
///
/// Throws `OptionError` naming the field, and as `require_full_attention`; what is not a ViT of this library is
/// refused when the file is opened. Test: tests/features/onnx_backbone.cpp (the nodes), tests/programs/export_onnx.py (features in
/// onnxruntime and OpenVINO).
[[nodiscard]] inline OnnxModel onnx_backbone(const BackboneFile& file,
                                             const OnnxBackboneOptions& options = {}) {
  return detail::OnnxBackboneBuilder(file, options).build();
}

}  // namespace dssl
