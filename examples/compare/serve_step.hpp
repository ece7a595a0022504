// The work of one combination, in a process of its own: makes the step that it is told to make.
#pragma once

#include <concepts>
#include <cstddef>
#include <string>
#include <tuple>

#include <nlohmann/json.hpp>

#include <dssl/backend/concept.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/training_step.hpp>

#include "common/machine.hpp"
#include "common/measured_step.hpp"
#include "common/recipes.hpp"
#include "common/serve.hpp"
#include "compare/settings.hpp"

namespace dssl::programs {

template <class Recipe, Backend B>
void serve_step_of(const CompareSettings& s, const B& backend) {
  constexpr bool on_device = requires { backend.synchronise(); };
  const std::size_t at_start = resident_bytes("VmRSS");
  MeasuredStep<BasicTrainingStep<NetworkKindOf<Recipe>, B>> measured(backend, s.step(), s.network());
  draw_weights(measured.step());
  const std::size_t plan = measured.step().memory_plan().total();
  const nlohmann::json description{{"describe", backend.describe()},
                                   {"plan", plan},
                                   {"parameters", measured.step().layout().parameter_count()}};
  const auto step = [&] {
    measured.run();
    if constexpr (on_device) backend.synchronise();
  };
  const auto check = [&] { return measured.check(); };
  if constexpr (on_device) {
    serve(description, 0, step, check, [&] { return plan; });  // of the device: all that the step takes
  } else {
    serve(description, at_start, step, check);
  }
}

/// Serves the step of the settings' recipe on this backend until nobody asks any more.
template <Backend B>
void serve_step(const CompareSettings& s, const B& backend) {
  const RecipeFacts& wanted = s.facts();
  const auto serve_if = [&]<class Recipe>(const KnownRecipe<Recipe>& known) {
    if (known.facts.name == wanted.name) serve_step_of<Recipe>(s, backend);
  };
  std::apply([&](const auto&... known) { (serve_if(known), ...); }, recipes_of_all);
}

// Each in the file that compiles it.
void serve_reference(const CompareSettings& s);
void serve_own(const CompareSettings& s, const Combination& c);
void serve_library(const CompareSettings& s, const Combination& c);
void serve_cuda(const CompareSettings& s, const Combination& c);

}  // namespace dssl::programs
