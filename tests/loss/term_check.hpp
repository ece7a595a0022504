// Runs a check of a loss on the backends, and a loss's gradients against central differences.
#pragma once

#include <cstdint>
#include <vector>

#include "catch.hpp"
#include "gradient_check.hpp"
#include "objective_fixture.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>

namespace dssl::test {

/// check(backend) on the oracle in double and on Cpu in float.
template <class Check>
void on_backends(const Check& check) {
  check(Reference<double>());
  check(Cpu({.threads = 2}));
}

/// Holds the gradients of a loss to central differences in double, and that values and gradients are added.
///
/// run(memory, value, d, x): adds the loss, in `values` parts, to `value` and `weight` times its gradients to the matrices
/// `d` of the inputs `x`.
template <class Run>
void check_term_gradients(std::vector<std::vector<double>> inputs, Index cols, Index values, double weight,
                          const Run& run) {
  using B = Reference<double>;
  const B backend;
  const auto total = [&](std::vector<std::vector<double>>* gradients) {
    Memory<B> memory(backend);
    std::vector<MatrixView<double>> x, d;
    for (const auto& input : inputs) {
      x.push_back(memory.matrix(input, cols));
      d.push_back(memory.matrix(std::vector<double>(input.size(), 0.5), cols));
    }
    const VectorView<double> value = memory.zeros(values);
    backend.fill(value, 3.0);
    run(backend, memory, value, d, x);
    double sum = 0;
    for (const double v : memory.read(value)) sum += v - 3.0;
    if (gradients != nullptr) {
      for (const auto& one : d) {
        gradients->push_back(memory.read(one));
        for (double& v : gradients->back()) v -= 0.5;
      }
    }
    return weight * sum;
  };
  std::vector<std::vector<double>> gradients;
  total(&gradients);
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    INFO("input " << i);
    const auto difference = gradient_difference(inputs[i], gradients[i], [&] { return total(nullptr); }, i + 1, 8);
    INFO("difference " << difference.difference << ", norm " << difference.norm);
    CHECK(difference.norm > 1e-3);
    CHECK(difference.small());
  }
}

}  // namespace dssl::test
