// Patches of two views matched by what they look like and by where they lie, and held to be alike and alive: VICRegL's
// local criterion.
// Tests: tests/loss/local_variance_covariance.cpp (fixture vicregl_local).
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/loss/pieces.hpp>
#include <dssl/loss/variance_covariance.hpp>

namespace dssl {

/// Numbers of VICRegL's local criterion; defaults are the published ones.
struct LocalVarianceCovarianceNumbers {
  /// Of VICReg in a slot. `variance_share` is of the variances and of the covariances: both views make a mean of
  /// either, where VICReg itself adds the covariances.
  VarianceCovarianceNumbers slot{};
  Index first_matches = 20;         ///< patches of the first map that are kept, 0 for all
  Index second_matches = 4;         ///< of the second map
  bool all_feature_matches = true;  ///< matches by features keep all patches, whatever these numbers (l2_all_matches)
  /// The mean with the maps exchanged too, where the second one keeps `first_matches`: two large views, which the
  /// published criterion goes through in both orders. Not so a large and a small one.
  bool both_orders = true;
};

/// Buffers for `images` pairs of maps of at most `patches` patches each.
template <class T>
struct LocalVarianceCovarianceBuffers {
  MatrixView<T> similarity;              // (N,N) of one image
  MatrixView<T> nearest_key, d_unused;   // (N,max(D,2))
  VectorView<T> squares, half, distance, closeness, mark, ones;    // (N)
  VectorView<std::int32_t> by_distance;  // (N)
  MatrixView<std::int32_t> nearest, kept;  // (B,N) rows of an image
  MatrixView<std::int32_t> slots;        // (B,N) row of image b's k-th match: k B + b
  MatrixView<T> matched;                 // (N,D) of one image; then its gradient
  MatrixView<T> x, y, d_x, d_y;          // (N B,D) slot by slot
  VarianceCovarianceBuffers<T> slot;     // (B,D)

  template <Backend B>
  static LocalVarianceCovarianceBuffers take(const B& backend, Arena& arena, Index images, Index patches, Index width) {
    const Index key = std::max(width, Index{2}), rows = images * patches;
    LocalVarianceCovarianceBuffers buffers{
        arena.matrix<T>(patches, patches),
        arena.matrix<T>(patches, key),
        arena.matrix<T>(patches, key),
        arena.vector<T>(patches),
        arena.vector<T>(patches),
        arena.vector<T>(patches),
        arena.vector<T>(patches),
        arena.vector<T>(patches),
        arena.vector<T>(patches),
        arena.vector<std::int32_t>(patches),
        arena.matrix<std::int32_t>(images, patches),
        arena.matrix<std::int32_t>(images, patches),
        arena.matrix<std::int32_t>(images, patches),
        arena.matrix<T>(patches, width),
        arena.matrix<T>(rows, width),
        arena.matrix<T>(rows, width),
        arena.matrix<T>(rows, width),
        arena.matrix<T>(rows, width),
        VarianceCovarianceBuffers<T>::take(arena, images, width)};
    if (buffers.slots.data() == nullptr) return buffers;
    std::vector<std::int32_t> slots;
    slots.reserve(static_cast<std::size_t>(rows));
    for (Index image = 0; image < images; ++image) {
      for (Index k = 0; k < patches; ++k) slots.push_back(static_cast<std::int32_t>(k * images + image));
    }
    backend.upload(buffers.slots.data(), std::span<const std::int32_t>(slots));
    return buffers;
  }
};

namespace detail {

/// A view's maps, and what their rows are matched by.
template <Backend B>
struct MapSide {
  ConstMatrixOf<B> map;  // (B N,D)
  ConstMatrixOf<B> key;  // (B N,E): the map itself, or places
  MatrixOf<B> d_map;     // (B N,D)
};

/// nearest, kept (row `image`) = for each patch of the query its nearest candidate, and the `count` patches whose
/// nearest is nearest, in map order.
template <Backend B, class T = typename B::Scalar>
void match_nearest(const B& backend, const LocalVarianceCovarianceBuffers<T>& buffers, Index image,
                   ConstMatrixOf<B> query, ConstMatrixOf<B> candidate, Index count) {
  const Index n = query.rows(), m = candidate.rows(), width = query.cols();
  const VectorOf<B> half(buffers.half.data(), m), squares(buffers.squares.data(), m);
  const VectorOf<B> distance(buffers.distance.data(), n), closeness(buffers.closeness.data(), n);
  const VectorOf<B> mark(buffers.mark.data(), n), ones(buffers.ones.data(), count);
  const MatrixOf<B> similarity(buffers.similarity.data(), n, m);
  const MatrixOf<B> nearest_key(buffers.nearest_key.data(), n, width), unused(buffers.d_unused.data(), n, width);
  std::int32_t* const nearest = buffers.nearest.row(image);
  const auto column = [](std::int32_t* rows, Index size) { return MatrixView<std::int32_t>(rows, size, 1); };
  // |q - c|^2 is least where q c - |c|^2 / 2 is largest.
  backend.row_dots(squares, candidate, candidate);
  backend.fill(half, T{0});
  backend.add_scaled(half, squares, -0.5);
  backend.linear_forward(similarity, query, candidate, half);
  backend.largest_columns(MatrixView<std::int32_t>(nearest, 1, n), similarity, {});
  // Its distance from the numbers themselves.
  backend.copy_rows(nearest_key, {}, candidate, RowIndex(nearest, n));
  backend.compare_rows(distance, unused, query, nearest_key, Comparison::squared, 0.0);
  backend.fill(closeness, T{0});
  backend.add_scaled(closeness, distance, -1.0);
  backend.largest_columns(column(buffers.by_distance.data(), count), ConstMatrixOf<B>(closeness.data(), 1, n), {});
  // The kept ones are marked; of equal marks the lower column comes first, which is map order.
  backend.fill(mark, T{0});
  backend.fill(ones, T{1});
  backend.copy_rows(MatrixOf<B>(mark.data(), n, 1), RowIndex(buffers.by_distance.data(), count),
                    ConstMatrixOf<B>(ones.data(), count, 1), {});
  backend.largest_columns(column(buffers.kept.row(image), count), ConstMatrixOf<B>(mark.data(), 1, n), {});
}

/// One direction of one matching, rows of `query` with the rows of `candidate` whose keys are nearest: value (3) +=
/// VICReg's terms, meaned over slots and times `share`; gradients += weight times theirs.
template <Backend B, class T = typename B::Scalar>
void matched_terms(const B& backend, const LocalVarianceCovarianceBuffers<T>& buffers, VectorOf<B> value,
                   const MapSide<B>& query, const MapSide<B>& candidate, Index count,
                   const VarianceCovarianceNumbers& numbers, double share, double weight) {
  const Index images = buffers.slots.rows(), n = query.map.rows() / images, m = candidate.map.rows() / images;
  const MatrixOf<B> matched = buffers.matched.rows(0, n);
  for (Index image = 0; image < images; ++image) {
    match_nearest<B>(backend, buffers, image, query.key.rows(image * n, n), candidate.key.rows(image * m, m), count);
    const RowIndex slots(buffers.slots.row(image), count), kept(buffers.kept.row(image), count);
    backend.copy_rows(buffers.x, slots, query.map.rows(image * n, n), kept);
    backend.copy_rows(matched, {}, candidate.map.rows(image * m, m), RowIndex(buffers.nearest.row(image), n));
    backend.copy_rows(buffers.y, slots, matched, kept);
  }
  const double each = share / static_cast<double>(count);
  const VarianceCovarianceNumbers of_slot{.invariance = numbers.invariance * each,
                                          .variance = numbers.variance * each,
                                          .covariance = numbers.covariance * numbers.variance_share * each,
                                          .variance_share = numbers.variance_share,
                                          .epsilon = numbers.epsilon};
  backend.fill(numbers_of(buffers.d_x), T{0});
  backend.fill(numbers_of(buffers.d_y), T{0});
  for (Index k = 0; k < count; ++k) {
    const Index first = k * images;
    variance_covariance_loss(backend, buffers.slot, value, buffers.d_x.rows(first, images),
                             buffers.d_y.rows(first, images), buffers.x.rows(first, images),
                             buffers.y.rows(first, images), of_slot, weight);
  }
  for (Index image = 0; image < images; ++image) {
    const RowIndex slots(buffers.slots.row(image), count), kept(buffers.kept.row(image), count);
    backend.add_rows(query.d_map.rows(image * n, n), kept, buffers.d_x, slots);
    backend.fill(numbers_of(matched), T{0});
    backend.add_rows(matched, kept, buffers.d_y, slots);
    backend.add_rows(candidate.d_map.rows(image * m, m), RowIndex(buffers.nearest.row(image), n), matched, {});
  }
}

}  // namespace detail

/// value (3) += [invariance, variance, covariance] of the matched patches of two views; d_first (B N,D), d_second (B
/// M,D) += weight times the gradients of their sum.
///
/// first (B N,D), second (B M,D): projected maps, image by image, of the B images of `buffers`; first_places (B N,2),
/// second_places (B M,2): where their patches lie in the image, in any unit that both share (published: pixels). Two
/// matchings are added: by the distance of features, and by that of places. In each, each patch of a map meets its
/// nearest in the other map, the first of equals; so many patches with the least distances are kept, and stay in map
/// order; the k-th kept ones of all images and their partners are slot k, on which `variance_covariance_loss` is taken
/// across the batch. Its terms are meaned over the slots, over the two directions, and over the orders of the maps. The
/// gradient reaches both a patch and its partner, and none goes through the choice.
///
/// Pitfalls: variances and covariances are those of a slot, so that the order of what is kept changes them; covariances
/// of the two views are meaned, not added as in VICReg; another state of the published code (1345219) keeps the last
/// pair of maps instead of adding them, and its option fast_vc_reg the last covariance, neither of which is here.
/// Nearest is by q c - |c|^2 / 2: distances closer than that is rounded count as equal.
///
/// Throws `ShapeError` where maps, places, matches and buffers do not fit, and where B is below 2. Cost: 2 N M D
/// + 8 k D^2 FLOP an image, direction, matching and order, k patches being kept; (N,M) numbers. Source: Bardes et al.
/// 2022, VICRegL; its code, 803ae4c main_vicregl.py.
template <Backend B, class T = typename B::Scalar>
void local_variance_covariance_loss(const B& backend, const LocalVarianceCovarianceBuffers<T>& buffers,
                                    VectorOf<B> value, MatrixOf<B> d_first, MatrixOf<B> d_second,
                                    ConstMatrixOf<B> first, ConstMatrixOf<B> second, ConstMatrixOf<B> first_places,
                                    ConstMatrixOf<B> second_places, const LocalVarianceCovarianceNumbers& numbers = {},
                                    double weight = 1) {
  const Index images = buffers.slots.rows(), most = buffers.slots.cols();
  const Index m1 = numbers.first_matches, m2 = numbers.second_matches;
  const auto check = [&](const char* map, ConstMatrixOf<B> features, ConstMatrixOf<B> places, Index matches) {
    require_shape(features.rows() > 0 && features.rows() % images == 0 && features.rows() / images <= most,
                  "local_variance_covariance_loss: ", map, " has ", features.rows(), " rows; expected ", images,
                  " images of 1 to ", most, " patches");
    require_shape(places.rows() == features.rows() && places.cols() == 2, "local_variance_covariance_loss: ", map,
                  " has ", features.rows(), " rows and places (", places.rows(), ", ", places.cols(), ")");
    require_shape(std::min(m1, m2) >= 0 && matches <= features.rows() / images, "local_variance_covariance_loss: ", m1,
                  " and ", m2, " matches; expected 0 (all) to the ", features.rows() / images, " patches of ", map);
  };
  check("the first map", first, first_places, numbers.both_orders ? std::max(m1, m2) : m1);
  check("the second map", second, second_places, numbers.both_orders ? std::max(m1, m2) : m2);
  for (const bool by_features : {true, false}) {
    const detail::MapSide<B> one{first, by_features ? first : first_places, d_first};
    const detail::MapSide<B> other{second, by_features ? second : second_places, d_second};
    const auto add = [&](const detail::MapSide<B>& query, const detail::MapSide<B>& candidate, Index matches,
                         double share) {
      detail::matched_terms<B>(backend, buffers, value, query, candidate,
                               matches == 0 ? query.map.rows() / images : matches, numbers.slot, share, weight);
    };
    const bool all = by_features && numbers.all_feature_matches;
    // Two numbers of matches are two passes of each map, the same number is one.
    const bool twice = numbers.both_orders && m1 != m2 && !all;
    const double share = twice ? 0.25 : 0.5;
    add(one, other, all ? 0 : m1, share);
    add(other, one, all ? 0 : m2, share);
    if (!twice) continue;
    add(one, other, m2, share);
    add(other, one, m1, share);
  }
}

}  // namespace dssl
