// A small model with its recipes, weights and batches, for tests of whole training steps.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/core/random.hpp>
#include <dssl/loss/objective.hpp>
#include <dssl/nn/head.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/tokens/schemes.hpp>
#include <dssl/train/view_batch.hpp>

namespace dssl::test {

/// The parts of a recipe that a training step asks for.
template <class TokensT, class LossT, ViTConfig Size, HeadConfig HeadSize>
struct TinyRecipe {
  using Backbone = ViT<Size>;
  using Tokens = TokensT;
  using Loss = LossT;
  using Head = ProjectionHead<HeadSize>;
};

/// A flat host buffer of weights, large enough to make every part of the model matter; scales around 1.
template <class T>
std::vector<T> drawn_weights(const ParameterLayout& layout, std::uint64_t seed, double scale = 0.3) {
  std::vector<T> out(static_cast<std::size_t>(layout.total()), T{0});
  RandomStream random({.seed = seed});
  for (const auto& spec : layout.specs()) {
    for (Index i = 0; i < spec.size; ++i) {
      const double centre = spec.initial == InitialValues::one ? 1.0 : 0.0;
      const double value = spec.trained ? centre + scale * random.normal() : centre;
      out[static_cast<std::size_t>(spec.offset + i)] = static_cast<T>(value);
    }
    if (spec.initial == InitialValues::rotary_periods) {  // which are divided by
      draw_initial(std::span(out).subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size)), spec,
                   random);
    }
  }
  return out;
}

/// Masks some patches of an image's global views, where the shape has room to mask all of them; none of view 1 of image 1.
inline void mask_some(ViewBatch& batch, std::uint64_t seed, Index b, std::uint64_t sample) {
  if (batch.shape.masked == 0) return;
  batch.masks.resize(static_cast<std::size_t>(batch.shape.masked));
  const Index patches = batch.shape.masked / (2 * batch.shape.batch);
  for (Index v = 0; v < 2; ++v) {
    RandomStream random({.seed = seed, .sample = sample, .view = static_cast<std::uint32_t>(v), .purpose = Purpose::masks});
    for (Index n = 0; n < patches; ++n) {
      const bool masked = random.bernoulli(0.4) && !(v == 1 && sample == 1);
      batch.masks[static_cast<std::size_t>((v * batch.shape.batch + b) * patches + n)] = masked ? 1 : 0;
    }
  }
}

/// Views, points, some of which are not valid where the shape has that, and masks of random numbers. Those of image b depend on the seed and on `first_sample` + b alone, so
/// that two batches of 2 hold the same images as one batch of 4.
inline ViewBatch drawn_batch(const BatchShape& shape, std::uint64_t seed, Index first_sample = 0) {
  ViewBatch batch = ViewBatch::of(shape);
  const Index views = shape.view_count();
  for (Index b = 0; b < shape.batch; ++b) {
    const auto sample = static_cast<std::uint64_t>(first_sample + b);
    batch.samples[static_cast<std::size_t>(b)] = first_sample + b;
    for (Index v = 0; v < views; ++v) {
      RandomStream random({.seed = seed, .sample = sample, .view = static_cast<std::uint32_t>(v)});
      std::vector<float>& images = batch.images[static_cast<std::size_t>(v)];
      const Index size = static_cast<Index>(images.size()) / shape.batch;
      for (Index i = 0; i < size; ++i) images[static_cast<std::size_t>(b * size + i)] = static_cast<float>(random.normal());
    }
    mask_some(batch, seed, b, sample);
    for (Index v = 0; v < views; ++v) {
      RandomStream box({.seed = seed, .sample = sample, .view = static_cast<std::uint32_t>(v), .purpose = Purpose::box});
      const Point corner{box.uniform(0, 0.3), box.uniform(0, 0.3)};
      const double size = box.uniform(0.5, 1);
      batch.frames[static_cast<std::size_t>(v * shape.batch + b)] = {corner, {corner.x + size, corner.y + size}};
    }
    RandomStream random({.seed = seed, .sample = sample, .purpose = Purpose::points});
    for (Index q = 0; q < 2; ++q) {
      for (Index v = 0; v < views; ++v) {
        for (Index k = 0; k < shape.points; ++k) {
          const auto drawn = [&] {
            const double x = random.uniform(-1.1, 1.1);
            return Point{x, random.uniform(-1.1, 1.1)};
          };
          batch.teacher_points[static_cast<std::size_t>(((q * shape.batch + b) * views + v) * shape.points + k)] = drawn();
          batch.student_points[static_cast<std::size_t>(((v * shape.batch + b) * 2 + q) * shape.points + k)] = drawn();
        }
      }
    }
    if (!shape.checked_points) continue;
    for (Index q = 0; q < 2; ++q) {
      for (Index i = 0; i < views * shape.points; ++i) {
        batch.valid[static_cast<std::size_t>((q * shape.batch + b) * views * shape.points + i)] = random.bernoulli(0.6) ? 1 : 0;
      }
    }
  }
  return batch;
}

/// The part of a flat buffer that one tensor lies in.
template <class T>
std::span<T> tensor_of(std::span<T> flat, const ParameterSpec& spec) {
  return flat.subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size));
}

}  // namespace dssl::test
