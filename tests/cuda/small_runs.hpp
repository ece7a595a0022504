// Small runs that tests of training compare.
#pragma once

#include "catch.hpp"

#include "cuda/kinds.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <dssl/data/source.hpp>
#include <dssl/train/trainer.hpp>

namespace dssl::test {

using Tiny =
    DenseDino::with_backbone<ViT<ViTConfig{.image = 16, .patch = 4, .width = 16, .depth = 2, .heads = 2}>>::
        with_head<ProjectionHead<HeadConfig{.hidden = 24, .bottleneck = 8, .prototypes = 32}>>;

/// Images of noise.
class NoiseImages {
 public:
  [[nodiscard]] Index size() const { return 9; }
  [[nodiscard]] std::string name(Index i) const { return "noise " + std::to_string(i); }
  [[nodiscard]] AnyImage load(Index i) const {
    Image<std::uint8_t> image(24 + i % 5, 30, 3);
    RandomStream random({.seed = 3, .sample = static_cast<std::uint64_t>(i), .purpose = Purpose::user});
    for (auto& p : image.pixels()) p = static_cast<std::uint8_t>(random.bits() & 255U);
    return image;
  }
};

inline TrainerOptions tiny_options() {
  TrainerOptions options{.epochs = 3, .batch = 2, .accumulate = 2, .seed = 11};
  options.views.global_size = {16, 16};
  options.views.local_size = {8, 12};
  options.views.locals = 1;
  options.optimiser.warmup_epochs = 1;
  options.optimiser.learning_rate = 0.05;
  return options;
}

/// Every lasting number of a run, part after part.
template <class R, class B>
std::vector<std::vector<float>> state_of(const Trainer<R, B>& trainer) {
  using T = typename B::Scalar;
  std::vector<std::vector<float>> out;
  detail::for_each_state(trainer.step(), [&](const auto&, const auto& values, const auto&) {
    std::vector<T> host(values.flat().size());
    trainer.step().backend().download(std::span<T>(host), static_cast<const T*>(values.data()));
    std::vector<float>& part = out.emplace_back();
    for (const T v : host) part.push_back(static_cast<float>(v));
  });
  return out;
}

inline bool same_bits(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), [](const auto& x, const auto& y) {
    return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size() * sizeof(float)) == 0;
  });
}

/// Largest distance of a part, by norm.
inline double distance(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (std::size_t part = 0; part < a.size(); ++part) {
    REQUIRE(a[part].size() == b[part].size());
    double off = 0;
    double size = 0;
    for (std::size_t i = 0; i < a[part].size(); ++i) {
      const double difference = static_cast<double>(a[part][i]) - static_cast<double>(b[part][i]);
      off += difference * difference;
      size += static_cast<double>(b[part][i]) * static_cast<double>(b[part][i]);
    }
    if (size > 0) most = std::max(most, std::sqrt(off / size));
  }
  return most;
}

struct Run {
  std::vector<std::vector<float>> state;
  std::vector<double> losses;
};

/// A run from the beginning or from a checkpoint, which may stop after some steps.
template <class R, class B>
Run run(const B& backend, const TrainerOptions& options, const std::string& resumed = {}, Index cut = -1) {
  Trainer<R, B> trainer(options, backend);
  if (!resumed.empty()) trainer.resume(resumed);
  Run out;
  trainer.on_step([&](const StepReport& report) {
    out.losses.push_back(report.loss);
    return report.step + 1 == cut ? stop : proceed;
  });
  static_cast<void>(trainer.fit(NoiseImages()));
  out.state = state_of(trainer);
  return out;
}

}  // namespace dssl::test
