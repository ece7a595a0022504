// Patches that look alike to a backbone: similarity to one, and the best match of each in another image.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/pictures/colour_map.hpp>
#include <dssl/pictures/drawing.hpp>
#include <dssl/pictures/overlay.hpp>
#include <dssl/search/nearest.hpp>
#include <dssl/views/geometry.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// The patch that a point of [-1, 1]^2 lies in, numbered row by row; of a point outside, the nearest.
[[nodiscard]] inline Index patch_at(const Point& point, GridSize grid) {
  const auto cell = [](double at, Index extent) {
    const double scaled = 0.5 * (std::clamp(at, -1.0, 1.0) + 1) * static_cast<double>(extent);
    return std::min(static_cast<Index>(scaled), extent - 1);
  };
  return cell(point.y, grid.height) * grid.width + cell(point.x, grid.width);
}

/// The middle of a patch, in [-1, 1]^2.
[[nodiscard]] inline Point patch_middle(Index patch, GridSize grid) {
  const auto middle = [](Index cell, Index extent) {
    return static_cast<double>(2 * cell + 1) / static_cast<double>(extent) - 1;
  };
  return {middle(patch % grid.width, grid.width), middle(patch / grid.width, grid.height)};
}

/// A point of [-1, 1]^2 in the pixels of a picture.
[[nodiscard]] constexpr ScenePoint pixel_of(const Point& point, Index height, Index width) {
  return CropMap{.box = {0, 0, height, width}}.to_scene(point);
}

/// out (N) =: the cosine of each of rows (N,D) with `query` (D), all in host memory; sums in double. A row of
/// zeros has cosine 0. Throws `ShapeError`. Test: tests/pictures/patch_matches.cpp.
template <class T>
void cosines(std::span<double> out, std::span<const T> query, MatrixView<const T> rows) {
  require_shape(
      static_cast<Index>(query.size()) == rows.cols() && static_cast<Index>(out.size()) == rows.rows(),
      "cosines of ", rows.rows(), " x ", rows.cols(), " with a query of ", query.size(), ", room for ",
      out.size());
  const auto product = [&](const T* a, const T* b) {
    double sum = 0;
    for (std::size_t d = 0; d < query.size(); ++d)
      sum += static_cast<double>(a[d]) * static_cast<double>(b[d]);
    return sum;
  };
  const double length = product(query.data(), query.data());
  for (Index i = 0; i < rows.rows(); ++i) {
    const double both = std::sqrt(length * product(rows.row(i), rows.row(i)));
    const double cosine = both > 0 ? product(query.data(), rows.row(i)) / both : 0.0;
    out[static_cast<std::size_t>(i)] = std::clamp(cosine, -1.0, 1.0);
  }
}

/// A patch of one image and the one of another that is most like it.
struct PatchMatch {
  Index from = 0;
  Index to = 0;
  double cosine = 0;
  bool mutual = false;  ///< the other's best match is this one again
};

/// The best match of every patch of `from` (N,D) among `to` (M,D), both in the backend's memory, by cosine;
/// among equals the lower number. Cost: 4 N M D FLOP. Throws `ShapeError`. Test:
/// tests/pictures/patch_matches.cpp.
template <Backend B>
[[nodiscard]] std::vector<PatchMatch> match_patches(const B& backend,
                                                    MatrixView<const typename B::Scalar> from,
                                                    MatrixView<const typename B::Scalar> to) {
  require_shape(from.cols() == to.cols() && from.rows() >= 1 && to.rows() >= 1, "matches of patches ",
                from.rows(), " x ", from.cols(), " in ", to.rows(), " x ", to.cols());
  const auto best = [&](MatrixView<const typename B::Scalar> queries,
                        MatrixView<const typename B::Scalar> bank) {
    NearestRows<B> rows(backend, {.width = bank.cols(), .capacity = bank.rows()});
    rows.add(bank);
    std::vector<Neighbour> nearest(static_cast<std::size_t>(queries.rows()));
    rows.find(nearest, queries, 1);
    return nearest;
  };
  const std::vector<Neighbour> there = best(from, to);
  const std::vector<Neighbour> back = best(to, from);
  std::vector<PatchMatch> out;
  for (Index i = 0; i < from.rows(); ++i) {
    const Neighbour& match = there[static_cast<std::size_t>(i)];
    out.push_back({.from = i,
                   .to = match.row,
                   .cosine = match.nearness,
                   .mutual = back[static_cast<std::size_t>(match.row)].row == i});
  }
  return out;
}

/// Two points that belong together, in the pixels of two pictures, and the colour they are joined with.
struct JoinedPoints {
  ScenePoint left, right;
  Colour colour{};
};

/// Two RGB pictures of one height side by side with a line between each pair of points. Throws `ShapeError`.
/// Test: tests/pictures/patch_matches.cpp.
[[nodiscard]] inline Image<std::uint8_t> match_picture(const Image<std::uint8_t>& left,
                                                       const Image<std::uint8_t>& right,
                                                       std::span<const JoinedPoints> pairs, Index gap = 8) {
  const std::array<Image<std::uint8_t>, 2> both{left, right};
  Image<std::uint8_t> out = side_by_side(both, gap);
  const auto moved = [&](ScenePoint p) {
    return ScenePoint{p.x + static_cast<double>(left.width() + gap), p.y};
  };
  const double thickness = std::max(1.0, 0.004 * static_cast<double>(out.width()));
  for (const JoinedPoints& pair : pairs) draw_line(out, pair.left, moved(pair.right), pair.colour, thickness);
  for (const JoinedPoints& pair : pairs) {
    draw_point(out, pair.left, 1.5 * thickness, pair.colour);
    draw_point(out, moved(pair.right), 1.5 * thickness, pair.colour);
  }
  return out;
}

}  // namespace dssl
