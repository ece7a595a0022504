// What a training step eats: views of a batch of images and the points that pair them.
// Tests: tests/train/training_parity.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <utility>
#include <vector>

#include <dssl/core/arena.hpp>
#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/points/teacher_points.hpp>
#include <dssl/views/multi_crop_options.hpp>

namespace dssl {

/// Sizes of a batch: B images, V views of each (the first two are the global ones), K points a view pair, and so many
/// patches of the global views that may be masked in one batch.
struct BatchShape {
  Index batch = 0;
  Index channels = 0;
  Index points = 0;
  std::vector<ViewSize> views{};
  Index masked = 0;
  /// Whether points may be shared by two views in name only, as what one of them shows there is not the scene: batches say
  /// then which ones are (`ViewBatch::valid`).
  bool checked_points = false;
  bool framed = true;  ///< whether views are boxes of the scene, and frames say where
  /// Size at which a teacher that is a snapshot sees the two global views; 0 x 0: it sees the student's.
  ViewSize snapshot_view{0, 0};
  /// Points of each pair that the step draws anew once its teacher has seen the views; none where loaders drew all of them.
  std::vector<TeacherDrawn> drawn{};

  [[nodiscard]] bool has_snapshot_views() const { return snapshot_view.height != 0 || snapshot_view.width != 0; }
  /// The two views of a snapshot, alone.
  [[nodiscard]] BatchShape of_snapshot() const {
    if (!has_snapshot_views()) return *this;
    BatchShape out = *this;
    out.views = {snapshot_view, snapshot_view};
    return out;
  }
  [[nodiscard]] Index view_count() const { return static_cast<Index>(views.size()); }
  [[nodiscard]] bool operator==(const BatchShape&) const = default;

  /// Throws `OptionError` where a network of so many channels and pixels a patch cannot be trained on such batches.
  void validate(Index network_channels, Index patch, bool point_level, bool masks = false) const;
};

#if defined(DSSL_WITH_DEFINITIONS)
DSSL_INLINE void BatchShape::validate(Index network_channels, Index patch, bool point_level, bool masks) const {
  if (batch < 1) throw OptionError("batch", batch, "at least 1");
  if (view_count() < 2) throw OptionError("views", view_count(), "at least the two global views");
  if (!(views[0] == views[1])) throw OptionError("views", "of two sizes", "global views of one size");
  if (channels != network_channels) {
    throw OptionError("channels", channels, join(network_channels, ", the backbone's number"));
  }
  if (point_level && points < 1) throw OptionError("points", points, "at least 1 for a point loss");
  if (masks && masked < 1) {
    throw OptionError("masks", "of no patch",
                      "a generator that masks patches, as Masked<...>, and one at least by masks.views and masks.high, for a loss that reads them");
  }
  double tokens = 0;  // of all student views: numbered by 32 bits
  for (const ViewSize& view : views) {
    tokens += static_cast<double>(batch) * (static_cast<double>(view.height / patch * (view.width / patch)) +
                                            2 * static_cast<double>(points) + 1);
    if (view.height % patch != 0 || view.width % patch != 0 || view.height < patch || view.width < patch) {
      throw OptionError("views.size", join(view.height, " x ", view.width),
                        join("multiples of the patch, ", patch, " pixels"));
    }
  }
  if (has_snapshot_views() && (snapshot_view.height < patch || snapshot_view.width < patch ||
                               snapshot_view.height % patch != 0 || snapshot_view.width % patch != 0)) {
    throw OptionError("snapshot_view", join(snapshot_view.height, " x ", snapshot_view.width),
                      join("multiples of the patch, ", patch, " pixels, or 0 x 0 for the global views"));
  }
  if (tokens > std::numeric_limits<std::int32_t>::max()) {
    throw OptionError("batch", batch, join("fewer images or points: the views would have ", tokens,
                                           " tokens, and 2147483647 can be numbered"));
  }
}
#endif

/// Takes room for the views of a batch, a view each: (B,C,h,w). Views of one size that follow one another lie side by
/// side, so that they are also one tensor of several times B images.
template <class T>
[[nodiscard]] std::vector<TensorView<T, 4>> place_views(Arena& arena, const BatchShape& shape) {
  std::vector<TensorView<T, 4>> out;
  for (std::size_t v = 0; v < shape.views.size();) {
    const ViewSize size = shape.views[v];
    std::size_t end = v;
    while (end < shape.views.size() && shape.views[end] == size) ++end;
    const Index each = shape.batch * shape.channels * size.height * size.width;
    T* at = arena.take<T>(static_cast<Index>(end - v) * each);
    for (; v < end; ++v) {
      out.emplace_back(at, shape.batch, shape.channels, size.height, size.width);
      if (at != nullptr) at += each;
    }
  }
  return out;
}

/// The views of a batch in host memory.
struct ViewBatch {
  BatchShape shape;
  std::vector<std::vector<float>> images;  ///< a view each: (B,C,h,w), normalised; none: they are in the step's inputs
  std::vector<std::vector<float>> snapshot_images;  ///< the two global views as a snapshot sees them, or none
  std::vector<Point> teacher_points;       ///< (2,B,V,K): points of teacher view q shared with student view v
  std::vector<Point> student_points;       ///< (V,B,2,K): the same points in student view v
  std::vector<std::uint8_t> valid{};       ///< (2,B,V,K), as `teacher_points`: 0 where a point takes its pair out of the loss; none: all count
  std::vector<std::uint8_t> masks;         ///< (2,B,N): not 0 where the student does not see a global view's patch; or none
  std::vector<ViewFrame> frames;           ///< (V,B): where the views lie
  std::vector<std::int64_t> samples;       ///< (B) numbers of the images in the data set
  Index epoch = 0;

  /// A batch of zeros of that shape, with images or without.
  static ViewBatch of(const BatchShape& shape, bool with_images = true) {
    ViewBatch out;
    out.shape = shape;
    for (const ViewSize& size : shape.views) {
      if (!with_images) break;
      out.images.emplace_back(static_cast<std::size_t>(shape.batch * shape.channels * size.height * size.width));
    }
    if (with_images && shape.has_snapshot_views()) {
      const ViewSize size = shape.snapshot_view;
      out.snapshot_images.assign(
          2, std::vector<float>(static_cast<std::size_t>(shape.batch * shape.channels * size.height * size.width)));
    }
    const auto pairs = static_cast<std::size_t>(2 * shape.batch * shape.view_count() * shape.points);
    out.teacher_points.resize(pairs);
    out.student_points.resize(pairs);
    if (shape.checked_points) out.valid.assign(pairs, 1);
    out.frames.resize(static_cast<std::size_t>(shape.view_count() * shape.batch));
    out.samples.resize(static_cast<std::size_t>(shape.batch));
    return out;
  }
};

/// Share of the points of pairs of a global view and another view that are valid, as `ViewBatch::valid` says; 1 where it says
/// nothing.
[[nodiscard]] inline double share_of_valid(const BatchShape& shape, std::span<const std::uint8_t> valid) {
  if (valid.empty()) return 1;
  const Index views = shape.view_count();
  const auto each = static_cast<std::size_t>(shape.points);
  Index count = 0;
  for (std::size_t pair = 0; pair * each < valid.size(); ++pair) {
    const Index v = static_cast<Index>(pair) % views, q = static_cast<Index>(pair) / (views * shape.batch);
    if (q != v) count += std::ranges::count_if(valid.subspan(pair * each, each), [](std::uint8_t one) { return one != 0; });
  }
  return static_cast<double>(count) / static_cast<double>(2 * shape.batch * (views - 1) * shape.points);
}

}  // namespace dssl
