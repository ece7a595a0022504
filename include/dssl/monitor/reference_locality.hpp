// Whether reference tokens know where they stand: what their outputs tell apart within an image, and whom they attend to.
// Tests: tests/monitor/feature_monitor.cpp.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/features/token_trace.hpp>
#include <dssl/nn/position.hpp>

namespace dssl {

/// The variance of tokens that stand at the same P places of I images, as shares that sum to 1.
///
/// With x_ip in R^D, their mean m, those of images m_i and of places m_p: between images P sum_i |m_i - m|^2, between
/// places I sum_p |m_p - m|^2, and the rest sum_ip |x_ip - m_i - m_p + m|^2, each over sum_ip |x_ip - m|^2. What a token
/// knows of its image as a whole is in the first, what it knows of its place whatever the image in the second; what there
/// is at that place of that image is in the rest.
struct VarianceShares {
  double images = 0;
  double places = 0;
  double rest = 0;

  /// What lies within images.
  [[nodiscard]] double within() const { return places + rest; }

  /// Of rows (I P,D) in host memory, those of an image after one another. Not a number where no row differs from another.
  /// Throws `ShapeError`.
  template <class T>
  [[nodiscard]] static VarianceShares of(MatrixView<const T> rows, Index places) {
    require_shape(places >= 1 && rows.rows() >= places && rows.rows() % places == 0, "variance of ", rows.rows(),
                  " tokens; expected as many at ", places, " places of each image");
    const Index images = rows.rows() / places;
    std::vector<double> of_image(static_cast<std::size_t>(images)), of_place(static_cast<std::size_t>(places));
    double total = 0, between_images = 0, between_places = 0;
    for (Index d = 0; d < rows.cols(); ++d) {
      std::fill(of_image.begin(), of_image.end(), 0.0);
      std::fill(of_place.begin(), of_place.end(), 0.0);
      double mean = 0;
      for (Index i = 0; i < images; ++i) {
        for (Index p = 0; p < places; ++p) {
          const auto x = static_cast<double>(rows(i * places + p, d));
          of_image[static_cast<std::size_t>(i)] += x / static_cast<double>(places);
          of_place[static_cast<std::size_t>(p)] += x / static_cast<double>(images);
          mean += x / static_cast<double>(rows.rows());
        }
      }
      for (Index row = 0; row < rows.rows(); ++row) {
        const double off = static_cast<double>(rows(row, d)) - mean;
        total += off * off;
      }
      for (const double m : of_image) between_images += static_cast<double>(places) * (m - mean) * (m - mean);
      for (const double m : of_place) between_places += static_cast<double>(images) * (m - mean) * (m - mean);
    }
    return {.images = between_images / total,
            .places = between_places / total,
            .rest = std::max(0.0, total - between_images - between_places) / total};
  }
};

/// What references tell of their places.
struct LocalityFigures {
  VarianceShares references;  ///< of the outputs of reference tokens at the centres of all patches
  VarianceShares patches;     ///< of those of the patches
  /// Of each block: attention of references to the patches next to their point, over what even attention would give:
  /// the mean over heads, references and images. 1: they do not look where they stand.
  std::vector<double> attention;

  [[nodiscard]] double attention_mean() const {
    double sum = 0;
    for (const double of_block : attention) sum += of_block;
    return sum / static_cast<double>(attention.size());
  }
  [[nodiscard]] double attention_most() const { return *std::max_element(attention.begin(), attention.end()); }

  /// Less than a quarter of what patches hold of their place is held by references, which then are a second class token:
  /// by `VarianceShares::rest`. False where either is not a number.
  [[nodiscard]] bool blind() const { return references.rest < patches.rest / 4; }
};

/// Sizes of what `ReferenceLocality` looks at.
struct LocalityOptions {
  Index height = 224;  ///< of the images in pixels; a multiple of the backbone's patch
  Index width = 224;
  Index channels = 0;              ///< 0: the backbone's own number
  Index attention_images = 4;      ///< whose attention is computed, on the host
  bool learned_reference = false;  ///< as in `TokenTraceOptions`
  bool content = false;
};

/// Measures how local a backbone's reference tokens are, again and again, on the same images.
///
/// A reference stands at the centre of each patch. Nothing of a run is touched: its bits are the same with it and without.
/// Under a relation in which references see each other the figures are of that. Memory: a second copy of the weights, the
/// activations of all blocks for one image with as many references as patches, and the tokens of all images on the host.
/// Cost: a forward pass an image; attention costs D N^2 products a block on one core of the host.
/// Test: tests/monitor/feature_monitor.cpp.
template <class Backbone, Backend B, AttentionRelation Relation = private_relation>
class ReferenceLocality {
 public:
  using T = typename B::Scalar;
  using Trace = TokenTrace<Backbone, B, Relation>;

  /// Of images (I,C,h,w) in host memory, at least 2. Throws `OptionError`, `ShapeError`.
  ReferenceLocality(const B& backend, const LocalityOptions& options, std::vector<float> images,
                    const typename Backbone::Config& config = Backbone::config)
      : x_options(options),
        x_images(std::move(images)),
        x_trace(backend,
                {.height = options.height,
                 .width = options.width,
                 .channels = options.channels,
                 .references = options.height / config.patch * (options.width / config.patch),
                 .learned_reference = options.learned_reference,
                 .content = options.content},
                config) {
    if (options.attention_images < 1) throw OptionError("attention_images", options.attention_images, "at least 1");
    const auto each = static_cast<std::size_t>(x_trace.image_size());
    require_shape(x_images.size() % each == 0 && x_images.size() >= 2 * each, "locality of ", x_images.size(),
                  " values; expected 2 or more images of ", each);
    for (const Taps<double>& centre : coordinate_reads<double>(x_trace.grid())) {
      x_centres.push_back({.x = centre.weight[1], .y = centre.weight[0]});
    }
  }

  [[nodiscard]] Index images() const { return static_cast<Index>(x_images.size()) / x_trace.image_size(); }

  /// The figures of weights that come with their layout, such as a trainer's `teacher()`; taken by name. Throws
  /// `ShapeError` for weights of another backbone.
  template <class Weights>
  [[nodiscard]] LocalityFigures measure(const Weights& weights) {
    std::vector<T> flat(static_cast<std::size_t>(x_trace.layout().total()), T{0});
    for (const auto& spec : x_trace.layout().specs()) {
      const auto& from = weights.layout.find(spec.name.view());
      require_shape(from.size == spec.size, "locality of '", spec.name.view(), "' with ", spec.size,
                    " values; the weights have ", from.size);
      std::copy_n(weights.values.begin() + from.offset, spec.size, flat.begin() + spec.offset);
    }
    x_trace.load(std::span<const T>(flat));
    const Index places = x_trace.grid().size(), width = x_trace.config().width;
    const auto each = static_cast<std::size_t>(places * width);
    const auto count = static_cast<std::size_t>(images());
    std::vector<T> references(count * each), patches(count * each);
    LocalityFigures out;
    out.attention.assign(static_cast<std::size_t>(x_trace.config().depth), 0.0);
    const Index looked = std::min(images(), x_options.attention_images);
    for (std::size_t i = 0; i < count; ++i) {
      const auto image = static_cast<std::size_t>(x_trace.image_size());
      x_trace.forward(std::span(x_images).subspan(i * image, image), x_centres);
      x_trace.backend().download(std::span(references).subspan(i * each, each), x_trace.references().data());
      x_trace.backend().download(std::span(patches).subspan(i * each, each), x_trace.patches().data());
      for (std::size_t block = 0; block < out.attention.size() && static_cast<Index>(i) < looked; ++block) {
        out.attention[block] += x_nearby(static_cast<Index>(block)) / static_cast<double>(looked);
      }
    }
    const auto rows = static_cast<Index>(count) * places;
    out.references = VarianceShares::of(MatrixView<const T>(references.data(), rows, width), places);
    out.patches = VarianceShares::of(MatrixView<const T>(patches.data(), rows, width), places);
    return out;
  }

 private:
  /// Attention of the last image's references to the patches next to them, over even attention; the mean.
  [[nodiscard]] double x_nearby(Index block) const {
    const std::vector<double> shares = x_trace.attention_to_patches(block);
    const GridSize grid = x_trace.grid();
    const Index places = grid.size(), rows = static_cast<Index>(shares.size()) / places;
    double sum = 0;
    for (Index row = 0; row < rows; ++row) {
      const Index y = row % places / grid.width, x = row % places % grid.width;
      double near = 0;
      Index patches = 0;
      for (Index v = std::max<Index>(0, y - 1); v <= std::min(grid.height - 1, y + 1); ++v) {
        for (Index u = std::max<Index>(0, x - 1); u <= std::min(grid.width - 1, x + 1); ++u) {
          near += shares[static_cast<std::size_t>(row * places + v * grid.width + u)];
          ++patches;
        }
      }
      sum += near * static_cast<double>(places) / static_cast<double>(patches);
    }
    return sum / static_cast<double>(rows);
  }

  LocalityOptions x_options;
  std::vector<float> x_images;
  std::vector<Point> x_centres;
  Trace x_trace;
};

}  // namespace dssl
