// From images to batches: the order of an epoch, the views of an image, the points that pair them.
// Tests: tests/train/trainer.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dssl/concepts.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/random.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/points/point_key.hpp>
#include <dssl/points/scene_points.hpp>
#include <dssl/points/teacher_points.hpp>
#include <dssl/train/view_batch.hpp>
#include <dssl/views/geometry.hpp>
#include <dssl/views/image.hpp>
#include <dssl/views/view_pack.hpp>

namespace dssl {

/// The order in which an epoch visits its images: a permutation drawn from (seed, epoch). Safe for threads.
class EpochOrder {
 public:
  EpochOrder(Index images, std::uint64_t seed) : x_images(images), x_seed(seed) {}

  /// The image at a position of an epoch.
  [[nodiscard]] Index operator()(Index epoch, Index position) {
    return Index{(*x_permutation(epoch))[static_cast<std::size_t>(position)]};
  }

 private:
  using Permutation = std::vector<std::uint32_t>;

  /// The two epochs used last are kept: loaders work ahead across the end of an epoch.
  std::shared_ptr<const Permutation> x_permutation(Index epoch) {
    const std::lock_guard lock(x_mutex);
    for (const auto& known : x_known) {
      if (known.second && known.first == epoch) return known.second;
    }
    auto made = std::make_shared<Permutation>(static_cast<std::size_t>(x_images));
    std::iota(made->begin(), made->end(), 0U);
    RandomStream random({.seed = x_seed, .epoch = static_cast<std::uint32_t>(epoch), .purpose = Purpose::shuffle});
    for (auto i = static_cast<std::uint32_t>(x_images); i > 1; --i) {
      std::swap((*made)[i - 1], (*made)[random.below(i)]);
    }
    auto& oldest = x_known[x_known[0].second && x_known[0].first > x_known[1].first ? 1 : 0];
    oldest = {epoch, made};
    return made;
  }

  Index x_images;
  std::uint64_t x_seed;
  std::mutex x_mutex;
  std::array<std::pair<Index, std::shared_ptr<const Permutation>>, 2> x_known{};
};

/// The views of one image and the points of its view pairs.
struct SampleViews {
  Index index = 0;                    ///< of the image: while it is made the one in use, then the one that was asked for
  std::vector<float> images;          ///< all views, one after the other: (C,h,w) each; none where they are packed
  ViewPack pack;                      ///< the image and what its views need, where a backend renders them
  std::vector<Point> teacher_points;  ///< (2,V,K)
  std::vector<Point> student_points;  ///< (V,2,K)
  std::vector<std::uint8_t> valid{};  ///< (2,V,K): 0 where a point takes its pair out of the loss; none where all count
  std::vector<ViewFrame> frames;      ///< (V); none where views are no boxes of the scene
  std::vector<SkippedImage> skipped;  ///< images that could not be read and were passed over
};

/// Copies a sample into its place b of a batch; without its images where the batch has none.
DSSL_INLINE void put_sample(ViewBatch& batch, Index b, const SampleViews& sample);

#if defined(DSSL_WITH_DEFINITIONS)
DSSL_INLINE void put_sample(ViewBatch& batch, Index b, const SampleViews& sample) {
  const BatchShape& shape = batch.shape;
  std::span<const float> rest(sample.images);
  for (std::size_t v = 0; v < batch.images.size(); ++v) {
    const std::size_t size = batch.images[v].size() / static_cast<std::size_t>(shape.batch);
    std::copy_n(rest.begin(), size, batch.images[v].begin() + static_cast<std::ptrdiff_t>(size) * b);
    rest = rest.subspan(size);
  }
  batch.samples[static_cast<std::size_t>(b)] = sample.index;
  for (std::size_t v = 0; v < sample.frames.size(); ++v) {
    batch.frames[v * static_cast<std::size_t>(shape.batch) + static_cast<std::size_t>(b)] = sample.frames[v];
  }
  if (shape.points == 0) return;
  // (2,V,K) of a sample into (2,B,V,K), (V,2,K) into (V,B,2,K).
  const auto copy = [&](auto& to, const auto& from, Index outer, Index inner) {
    for (Index o = 0; o < outer; ++o) {
      std::copy_n(from.begin() + o * inner, inner, to.begin() + (o * shape.batch + b) * inner);
    }
  };
  copy(batch.teacher_points, sample.teacher_points, 2, shape.view_count() * shape.points);
  copy(batch.student_points, sample.student_points, shape.view_count(), 2 * shape.points);
  if (shape.checked_points) copy(batch.valid, sample.valid, 2, shape.view_count() * shape.points);
}
#endif

/// Makes the views and points of one image.
///
/// A pure function of the image and the key (seed, epoch, sample): the same bits on every thread and after a resume.
template <class Views, class Points>
class SampleMaker {
 public:
  SampleMaker(const Views& views, const Points& points, Index image_channels, bool with_points)
      : x_views(views), x_points(points), x_channels(image_channels), x_with_points(with_points) {}

  [[nodiscard]] const Views& views() const { return x_views; }
  [[nodiscard]] const Points& points() const { return x_points; }

  /// Sizes of a batch of B such samples.
  [[nodiscard]] BatchShape shape(Index batch) const {
    BatchShape out{.batch = batch, .channels = x_channels, .points = x_with_points ? Index{x_points.count()} : 0, .views = {}};
    out.checked_points = x_with_points && x_checks;
    out.framed = x_framed;
    if (x_with_points) out.drawn = drawn_by_teacher(x_points);
    for (Index v = 0; v < x_views.views(); ++v) out.views.push_back({x_views.size(v).height, x_views.size(v).width});
    return out;
  }

  /// Views and points of an image whose channels are right; `out.index` is its number in the source.
  void make(SampleViews& out, const AnyImageView& image, const RandomKey& key, typename Views::Workspace& workspace) const {
    std::vector<typename Views::Plan> plans;
    x_views.plan(plans, height(image), width(image), key);
    std::size_t floats = 0;
    for (Index v = 0; v < x_views.views(); ++v) floats += x_floats(v);
    out.images.resize(floats);
    std::span<float> rest(out.images);
    for (Index v = 0; v < x_views.views(); ++v) {
      x_views.render(image, plans[static_cast<std::size_t>(v)], rest.first(x_floats(v)), workspace);
      rest = rest.subspan(x_floats(v));
    }
    x_make_frames(out, plans);
    if (x_with_points) x_make_points(out, image, plans, key);
  }

  /// The same with the image packed for a backend that renders its views.
  void make_packed(SampleViews& out, const AnyImageView& image, const RandomKey& key) const
    requires PacksViews<Views>
  {
    std::vector<typename Views::Plan> plans;
    x_views.plan(plans, height(image), width(image), key);
    pack_views(out.pack, image, x_views, plans);
    x_make_frames(out, plans);
    if (x_with_points) x_make_points(out, image, plans, key);
  }

 private:
  /// Whether there are points that are not valid.
  static constexpr bool x_checks = ChecksPoints<decltype(Views::Plan::map)>;
  static constexpr bool x_framed = is_framed<decltype(Views::Plan::map)>;

  [[nodiscard]] std::size_t x_floats(Index view) const {
    return static_cast<std::size_t>(x_channels * x_views.size(view).height * x_views.size(view).width);
  }

  static void x_make_frames(SampleViews& out, const std::vector<typename Views::Plan>& plans) {
    out.frames.clear();
    if constexpr (!x_framed) return;
    for (const auto& plan : plans) {
      const ScenePoint first = plan.map.to_scene(Point{-1, -1});
      const ScenePoint last = plan.map.to_scene(Point{1, 1});
      out.frames.push_back({{first.x, first.y}, {last.x, last.y}});
    }
  }

  void x_make_points(SampleViews& out, const AnyImageView& image, const std::vector<typename Views::Plan>& plans,
                     const RandomKey& key) const {
    const Index views = x_views.views();
    const Index k = x_points.count();
    const auto points = points_of_scene(x_points, SampledScene{image, out.index});
    out.teacher_points.resize(static_cast<std::size_t>(2 * views * k));
    out.student_points.resize(static_cast<std::size_t>(2 * views * k));
    if constexpr (x_checks) out.valid.resize(static_cast<std::size_t>(2 * views * k));
    std::vector<Point> relative(static_cast<std::size_t>(k));
    for (Index q = 0; q < 2; ++q) {
      for (Index v = 0; v < views; ++v) {
        const auto& teacher = plans[static_cast<std::size_t>(q)].map;
        const auto& student = plans[static_cast<std::size_t>(v)].map;
        RandomStream random(point_key(key, q, v, views));
        const auto count = static_cast<std::size_t>(k);
        std::span<std::uint8_t> valid(out.valid);
        if constexpr (x_checks) valid = valid.subspan(static_cast<std::size_t>((q * views + v) * k), count);
        sample_pair(relative, valid, teacher, student, height(image), width(image),
                    [&](std::span<Point> to, const ViewFrame& region) { points.sample(to, random, region); });
        pair_points(std::span(out.teacher_points).subspan(static_cast<std::size_t>((q * views + v) * k), count),
                    std::span(out.student_points).subspan(static_cast<std::size_t>((v * 2 + q) * k), count), teacher, student,
                    std::span<const Point>(relative));
      }
    }
  }

  Views x_views;
  Points x_points;
  Index x_channels;
  bool x_with_points;
};

/// Workspaces of view rendering, handed to whichever thread needs one.
template <class Workspace>
class Workspaces {
 public:
  std::unique_ptr<Workspace> take() {
    const std::lock_guard lock(x_mutex);
    if (x_free.empty()) return std::make_unique<Workspace>();
    auto out = std::move(x_free.back());
    x_free.pop_back();
    return out;
  }
  void give(std::unique_ptr<Workspace> workspace) {
    const std::lock_guard lock(x_mutex);
    x_free.push_back(std::move(workspace));
  }

 private:
  std::mutex x_mutex;
  std::vector<std::unique_ptr<Workspace>> x_free;
};

/// Which patches of a batch are masked: a generator without its type.
struct MaskDrawing {
  Index most = 0;  ///< patches that may be masked in a batch
  /// draw(masks (2,B,N), random); empty where nothing is masked.
  std::function<void(std::vector<std::uint8_t>& masks, RandomStream& random)> draw{};
  std::string words{};
};

/// How a run makes its samples: a recipe's views and points without their types, so that the run does not depend on them.
struct SampleMaking {
  using Make = std::function<void(SampleViews& out, const AnyImageView& image, const RandomKey& key)>;

  BatchShape shape;  ///< of one forward pass
  Make make;
  Make make_packed;  ///< for a backend that renders the views; empty where none can
  MaskDrawing masks{};
  std::string sampler{};  ///< of points, in words

  /// `Rendered`: whether the backend renders views. `batch`: images of a pass on this rank. `patch`: of the network, for
  /// views that are masked; masks are drawn for the batch of all `ranks`, whose images a rank has in turn.
  template <bool Rendered, class Views, class Points>
  static SampleMaking of(SampleMaker<Views, Points> maker, Index batch, Index patch, const Communicator& ranks = {}) {
    const auto shared = std::make_shared<const SampleMaker<Views, Points>>(std::move(maker));
    const auto workspaces = std::make_shared<Workspaces<typename Views::Workspace>>();
    SampleMaking out{.shape = shared->shape(batch), .make = {}, .make_packed = {}, .sampler = sampler_words(shared->points())};
    if constexpr (MasksPatches<Views>) {
      const GridSize grid{out.shape.views[0].height / patch, out.shape.views[0].width / patch};
      const auto& masks = shared->views().masks();
      const Index size = ranks.size(), rank = ranks.rank();
      // The views that are masked most may all be of one rank.
      out.masks = {.most = std::min(masks.most(2 * batch * size, grid), 2 * batch * grid.size()),
                   .draw = [masks, batch, grid, size, rank](std::vector<std::uint8_t>& to, RandomStream& random) {
                     to.resize(static_cast<std::size_t>(2 * batch * size * grid.size()));
                     masks.draw(to, 2 * batch * size, grid, random);
                     if (size == 1) return;
                     for (Index i = 0; i < 2 * batch; ++i) {  // forwards: never onto what is still to be read
                       std::copy_n(to.begin() + (i * size + rank) * grid.size(), grid.size(), to.begin() + i * grid.size());
                     }
                     to.resize(static_cast<std::size_t>(2 * batch * grid.size()));
                   },
                   .words = masks.words()};
      out.shape.masked = out.masks.most;
    }
    out.make = [shared, workspaces](SampleViews& sample, const AnyImageView& image, const RandomKey& key) {
      auto workspace = workspaces->take();
      shared->make(sample, image, key, *workspace);
      workspaces->give(std::move(workspace));
    };
    if constexpr (Rendered && PacksViews<Views>) {
      out.make_packed = [shared](SampleViews& sample, const AnyImageView& image, const RandomKey& key) {
        shared->make_packed(sample, image, key);
      };
    }
    return out;
  }
};

}  // namespace dssl
