// Where patches stand, in an ONNX graph: the grid, a position table read at any size, rotations.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/features/onnx_layers.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/onnx_model.hpp>
#include <dssl/nn/position.hpp>

namespace dssl::detail {

/// How a table is read that is published with this scheme.
[[nodiscard]] constexpr PositionRule rule_of_table(PositionScheme scheme) {
  constexpr std::array rules{PositionRule::offset, PositionRule::size, PositionRule::size_antialiased,
                             PositionRule::corners, PositionRule::offset};
  return rules[static_cast<std::size_t>(scheme)];
}

/// What a graph computes of the places of patches, for images of one size or, where height and width are 0,
/// of any.
class OnnxPositions : protected OnnxLayers {
 protected:
  OnnxPositions(const BackboneFile& file, BackboneDescription vit, Index height, Index width)
      : OnnxLayers(file, std::move(vit)), x_height(height), x_width(width) {}

  [[nodiscard]] bool any_size() const { return x_height == 0 && x_width == 0; }
  [[nodiscard]] bool rotary() const { return vit().position == PositionScheme::rotary; }
  [[nodiscard]] Index head_width() const { return vit().width / vit().heads; }
  [[nodiscard]] GridSize map_size() const { return {x_height / vit().patch, x_width / vit().patch}; }

  /// Takes the extents of the grid from a map (B,D,h,w) of its patches, where they are free.
  void measure(const std::string& map) {
    if (any_size()) x_map_shape = model().node("Shape", {map});
  }

  /// The extents of an output that has a value, or a row of them, for each patch.
  [[nodiscard]] OnnxShape map_extents(const std::vector<Index>& each) const {
    OnnxShape out{"batch"};
    for (const Index extent : each) out.emplace_back(extent);
    const GridSize grid = map_size();
    if (any_size()) {
      out.emplace_back("rows");
      out.emplace_back("columns");
    } else {
      out.emplace_back(grid.height);
      out.emplace_back(grid.width);
    }
    return out;
  }

  /// Reshapes to the batch, these extents and those of the grid of patches.
  std::string on_grid(const std::string& x, std::vector<Index> first) {
    if (any_size()) {
      const std::string cells = x_map_cells();
      return model().node("Reshape", {x, model().node("Concat", {row(first), cells}, {{"axis", 0}})});
    }
    const GridSize grid = map_size();
    first.push_back(grid.height);
    first.push_back(grid.width);
    return model().node("Reshape", {x, row(first)});
  }

  /// (B,N,c) as (B,c,h,w).
  std::string as_map(const std::string& rows, Index numbers) {
    return on_grid(model().node("Transpose", {rows}, {{"perm", std::vector<Index>{0, 2, 1}}}), {0, numbers});
  }

  /// The table as the grid reads it, (1,N,D).
  std::string positions() { return any_size() ? x_positions_of_any_size() : x_positions_of_grid(); }

  /// Cosines and sines (1+R+N,D/H) by which every block turns queries and keys; 1 and 0 of class token and
  /// registers.
  void make_rotations() {
    const Index quarter = head_width() / 4;
    const std::vector<float> periods = read_weights(file(), "rope_embed.periods");
    require_shape(static_cast<Index>(periods.size()) == quarter, file().path(), ": ", periods.size(),
                  " periods of rotary positions for heads of ", head_width(), "; expected ", quarter);
    const Index others = 1 + vit().registers;
    if (any_size()) {
      x_rotations_of_any_size(periods);
      return;
    }
    const GridSize grid = map_size();
    const std::vector<Index> shape{others + grid.size(), head_width()};
    std::vector<float> cosines(static_cast<std::size_t>(others * head_width()), 1.0F);
    std::vector<float> sines(cosines.size(), 0.0F);
    for (Index cell = 0; cell < grid.size(); ++cell) {
      const double y =
          (2 * static_cast<double>(cell / grid.width) + 1) / static_cast<double>(grid.height) - 1;
      const double x = (2 * static_cast<double>(cell % grid.width) + 1) / static_cast<double>(grid.width) - 1;
      for (Index j = 0; j < head_width(); ++j) {
        const double period = static_cast<double>(periods[static_cast<std::size_t>(j % quarter)]);
        const double angle = 2 * std::numbers::pi * (j / quarter % 2 == 0 ? y : x) / period;
        cosines.push_back(static_cast<float>(std::cos(angle)));
        sines.push_back(static_cast<float>(std::sin(angle)));
      }
    }
    x_cosines = model().constant<float>("cosines", shape, cosines);
    x_sines = model().constant<float>("sines", shape, sines);
  }

  /// Queries or keys (B,H,T,D/H), turned: x cos + [-second half, first half] sin.
  std::string turn(const std::string& x) {
    if (!rotary()) return x;
    const std::vector<std::string> halves = model().nodes("Split", {x}, 2, {{"axis", -1}});
    const std::string crossed =
        model().node("Concat", {model().node("Neg", {halves[1]}), halves[0]}, {{"axis", -1}});
    return op("Add", op("Mul", x, x_cosines), op("Mul", crossed, x_sines));
  }

 private:
  /// The free extents of the grid, as a row of two.
  std::string x_map_cells() { return model().node("Slice", {x_map_shape, row({2}), row({4}), row({0})}); }

  /// The table as this grid reads it, (1,N,D).
  std::string x_positions_of_grid() {
    const GridSize grid = map_size(), table{vit().table_side, vit().table_side};
    const auto width = static_cast<std::size_t>(vit().width);
    return model().weight(
        "patch_pos_embed", {1, grid.size(), vit().width},
        [&file = file(), rule = rule_of_table(vit().position), grid, table, width] {
          const std::vector<float> stored = read_weights(file, "patch_pos_embed");
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
          model().node("Gather", {x_map_shape, whole(2 + static_cast<Index>(axis))}, {{"axis", 0}});
    }
    return x_extents[axis];
  }

  /// 0, 1, ... below an extent of the grid.
  std::string x_count(std::size_t axis) {
    return real(model().node("Range", {whole(0), x_extent(axis), whole(1)}));
  }

  /// Weights (h,g) by which h cells along an axis read those of the table: what `grid_reads` computes, as a
  /// graph.
  ///
  /// A cell at c reads the table's cells j by cubic(|c - j| / s), s the stretch: 1, or g / h by the
  /// antialiased rule where that is more. Beyond an edge cells repeat: g + 4 columns, whose outer ones are
  /// then added to the edge's. The antialiased rule cuts there, and makes each row's sum 1.
  std::string x_axis_weights(std::size_t axis) {
    const PositionRule rule = rule_of_table(vit().position);
    const auto side = static_cast<float>(vit().table_side);
    const bool cut = rule == PositionRule::size_antialiased;
    const std::string count = x_count(axis), extent = real(x_extent(axis));
    std::string centre, stretch;
    if (rule == PositionRule::corners) {
      const std::string gaps = op("Max", op("Sub", extent, 1), 1);
      centre = op("Div", op("Mul", count, side - 1), gaps);
    } else {
      const std::string cells = rule == PositionRule::offset ? op("Add", extent, 0.1F) : extent;
      const std::string scale = op("Div", number(side), cells);
      centre = op("Sub", op("Mul", op("Add", count, 0.5F), scale), 0.5F);
      if (cut) stretch = op("Max", scale, 1);
    }
    // At its own size the table is read as it is, also by the rule whose cells lie elsewhere.
    if (rule == PositionRule::offset) {
      const auto is_own = [&](std::size_t a) { return op("Equal", x_extent(a), whole(vit().table_side)); };
      centre = model().node("Where", {op("And", is_own(0), is_own(1)), count, centre});
    }
    const Index beyond = cut ? 0 : 2;
    std::vector<float> places;
    for (Index j = -beyond; j < vit().table_side + beyond; ++j) places.push_back(static_cast<float>(j));
    const std::string cells = shared("cells", {1, static_cast<Index>(places.size())}, places);
    std::string x = op("Sub", model().node("Unsqueeze", {centre, row({1})}), cells);
    x = model().node("Abs", {x});
    if (cut) x = op("Div", x, stretch);
    std::string weights = x_cubic(x, cut ? -0.5F : -0.75F);
    if (cut) {
      const std::string sums = model().node("ReduceSum", {weights, row({1})}, {{"keepdims", Index{1}}});
      return op("Div", weights, sums);
    }
    std::vector<float> fold(places.size() * static_cast<std::size_t>(vit().table_side));
    for (std::size_t j = 0; j < places.size(); ++j) {
      const float at = std::clamp(places[j], 0.0F, side - 1);
      fold[j * static_cast<std::size_t>(vit().table_side) + static_cast<std::size_t>(at)] = 1;
    }
    return op("MatMul", weights,
              shared("edges", {static_cast<Index>(places.size()), vit().table_side}, fold));
  }

  /// The cubic kernel of x >= 0: ((a + 2) x - (a + 3)) x^2 + 1 below 1, ((a x - 5 a) x + 8 a) x - 4 a below
  /// 2, then 0.
  std::string x_cubic(const std::string& x, float a) {
    const std::string square = op("Mul", x, x);
    const std::string near = op("Add", op("Mul", op("Sub", op("Mul", x, a + 2), a + 3), square), 1);
    std::string far = op("Sub", op("Mul", x, a), 5 * a);
    far = op("Add", op("Mul", far, x), 8 * a);
    far = op("Sub", op("Mul", far, x), 4 * a);
    const std::string outer = model().node("Where", {op("Less", x, 2), far, number(0)});
    return model().node("Where", {op("Less", x, 1), near, outer});
  }

  /// The table read for the image's own grid, (1,N,D): down each column, then across each row.
  std::string x_positions_of_any_size() {
    model().scope("positions");
    const Index side = vit().table_side;
    const std::string table = weight("patch_pos_embed", {side, side * vit().width});
    const std::string down = op("MatMul", x_axis_weights(0), table);  // (h,g D)
    const std::string lines = model().node("Reshape", {down, row({-1, side, vit().width})});
    const std::string all = op("MatMul", x_axis_weights(1), lines);  // (h,w,D)
    const std::string out = model().node("Reshape", {all, row({1, -1, vit().width})});
    model().scope("tokens");
    return out;
  }

  void x_rotations_of_any_size(const std::vector<float>& periods) {
    model().scope("rotations");
    const auto quarter = static_cast<Index>(periods.size());
    std::vector<float> factors;
    for (const float period : periods)
      factors.push_back(static_cast<float>(2 * std::numbers::pi / static_cast<double>(period)));
    model().constant<float>("angular_rates", {1, quarter}, factors);
    const auto angles = [&](std::size_t axis) {  // (n,D/H/4)
      const std::string odd = op("Add", op("Mul", x_count(axis), 2), 1);
      const std::string at = op("Sub", op("Div", odd, real(x_extent(axis))), 1);
      return op("Mul", model().node("Unsqueeze", {at, row({1})}), "angular_rates");
    };
    const std::string cells = model().node("Concat", {x_map_cells(), row({quarter})}, {{"axis", 0}});
    const std::string down =
        model().node("Expand", {model().node("Unsqueeze", {angles(0), row({1})}), cells});
    const std::string across =
        model().node("Expand", {model().node("Unsqueeze", {angles(1), row({0})}), cells});
    const std::string both = model().node("Concat", {down, across, down, across}, {{"axis", 2}});
    const std::string all = model().node("Reshape", {both, row({-1, head_width()})});
    const std::vector<Index> shape{1 + vit().registers, head_width()};
    const std::vector<float> zeros(static_cast<std::size_t>(shape[0] * shape[1]));
    const std::string turned =
        model().node("Concat", {model().constant<float>("unturned", shape, zeros), all}, {{"axis", 0}});
    x_cosines = model().node("Cos", {turned});
    x_sines = model().node("Sin", {turned});
    model().scope("tokens");
  }

  Index x_height = 0, x_width = 0;
  std::string x_map_shape, x_cosines, x_sines;
  std::array<std::string, 2> x_extents;
};

}  // namespace dssl::detail
