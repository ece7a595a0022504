// Gradients of a part of one's own against central differences, in double.
// Tests: tests/testing/gradients.cpp; every test of this library's gradients uses it.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include <dssl/core/random.hpp>
#include <dssl/train/report.hpp>
#include <dssl/train/view_batch.hpp>

namespace dssl {

/// How far a tensor's gradient is from central differences.
struct GradientDifference {
  double difference = 0;  ///< the largest that was seen
  double norm = 0;        ///< of the gradient

  /// Within 1e-6 of the norm, or within what rounding makes of a gradient of zero.
  [[nodiscard]] bool small() const { return difference <= 1e-6 * norm + 1e-9; }
};

/// Compares the gradient `d_x` of loss() with central differences of a distance of 1e-5: along one random direction, in
/// which every entry has its part, in the entry with the largest gradient and in `entries` entries drawn at random.
/// `loss` reads `x`, in double, which is left as it was. A gradient that is not finite differs by infinity. Cost: 2 (2 +
/// entries) calls of `loss`.
template <class Loss>
GradientDifference gradient_difference(std::span<double> x, std::span<const double> d_x, const Loss& loss,
                                       std::uint64_t seed, int entries = 1) {
  constexpr double step = 1e-5;
  GradientDifference result;
  const auto dot = [](std::span<const double> a, std::span<const double> b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
    return sum;
  };
  result.norm = std::sqrt(dot(d_x, d_x));
  if (!std::isfinite(result.norm) || x.size() != d_x.size()) return {.difference = HUGE_VAL, .norm = 0};
  if (x.empty()) return result;
  const std::vector<double> before(x.begin(), x.end());
  const auto along = [&](std::span<const double> direction) {
    const auto at = [&](double distance) {
      for (std::size_t i = 0; i < x.size(); ++i) x[i] = before[i] + distance * direction[i];
      return loss();
    };
    const double slope = (at(step) - at(-step)) / (2 * step);
    std::copy(before.begin(), before.end(), x.begin());
    result.difference = std::max(result.difference, std::abs(slope - dot(d_x, direction)));
  };
  RandomStream normals({.seed = seed});
  std::vector<double> direction(x.size());
  for (double& value : direction) value = normals.normal();
  const double length = std::sqrt(dot(direction, direction));
  for (double& value : direction) value /= length;
  along(direction);
  RandomStream random({.seed = seed, .sample = 1});
  std::size_t entry = 0;
  for (std::size_t i = 0; i < d_x.size(); ++i) {
    if (std::abs(d_x[i]) > std::abs(d_x[entry])) entry = i;
  }
  for (int i = 0; i <= entries; ++i) {
    std::fill(direction.begin(), direction.end(), 0.0);
    direction[entry] = 1.0;
    along(direction);
    entry = random.below(static_cast<std::uint32_t>(x.size()));
  }
  return result;
}

/// A parameter's gradient in a whole training step.
struct ParameterGradient {
  std::string name;
  bool trained = true;    ///< false: by the layout; what differs is then all of its gradient, which must be 0
  GradientDifference found;
};

/// Every parameter's gradient of a step's loss on a batch: for a term, a backbone or a token scheme of one's own, in a
/// network of a few numbers. The step is one on `Reference<double>` (or another backend of doubles in host memory), with
/// weights that are drawn and without stochastic depth; its weights are as they were afterwards.
///
///   TrainingStep<Mine, Reference<double>> step({}, options);
///   for (const auto& p : gradient_differences(step, batch, 0.1)) assert(p.found.small());
///
/// `entries`: as in `gradient_difference`.
template <class Step>
std::vector<ParameterGradient> gradient_differences(Step& step, const ViewBatch& batch, double teacher_temperature,
                                                    int entries = 0, std::uint64_t seed = 100) {
  static_assert(std::is_same_v<typename Step::T, double>, "gradient_differences: slopes are taken in double: Reference<double>");
  StepReport report;
  step.begin();
  step.forward_backward(report, batch, teacher_temperature);
  const std::vector<double> gradients(step.gradients().flat().begin(), step.gradients().flat().end());
  const auto loss = [&] {
    StepReport again;
    step.forward_backward(again, batch, teacher_temperature);
    return again.loss;
  };
  std::vector<ParameterGradient> out;
  for (const auto& spec : step.layout().specs()) {
    const auto offset = static_cast<std::size_t>(spec.offset), size = static_cast<std::size_t>(spec.size);
    const auto d_x = std::span(gradients).subspan(offset, size);
    ParameterGradient& p = out.emplace_back(ParameterGradient{std::string(spec.name.view()), spec.trained, {}});
    if (spec.trained) {
      p.found = gradient_difference(step.student().flat().subspan(offset, size), d_x, loss, seed++, entries);
    } else {
      for (const double d : d_x) p.found.norm = std::max(p.found.norm, std::abs(d));
      p.found.difference = p.found.norm;
    }
  }
  return out;
}

}  // namespace dssl
