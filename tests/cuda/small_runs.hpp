// Small runs that tests of training compare.
#pragma once

#include "catch.hpp"
#include "cuda/kinds.hpp"
#include "noise_images.hpp"
#include "train/tiny_run.hpp"

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

/// Largest distance of a part, by its norm and `least`.
inline double distance(const std::vector<std::vector<float>>& a, const std::vector<std::vector<float>>& b, double least = 0) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (std::size_t part = 0; part < a.size(); ++part) {
    REQUIRE(a[part].size() == b[part].size());
    double off = 0;
    double size = least * least;
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
  static_cast<void>(trainer.fit(NoiseImages(9)));
  out.state = state_of(trainer);
  return out;
}

}  // namespace dssl::test
