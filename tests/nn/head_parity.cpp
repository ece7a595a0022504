// The projection head against the reference numbers: logits, and the gradients of input and parameters.
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "../compare.hpp"
#include "../fixtures.hpp"
#include "catch.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/nn/head.hpp>
#include <dssl/nn/prototype_loss.hpp>

using namespace dssl;
using dssl::test::relative_difference;

namespace {

template <class B>
void check(const B& backend) {
  using T = typename B::Scalar;
  const auto file = SafetensorsFile::open(test::fixture_path("head.safetensors"));
  const test::FixtureConfig json(file);
  INFO(backend.describe());
  const Index width = json.get<Index>("dim");
  const HeadConfig config{.hidden = json.get<Index>("hidden"),
                          .bottleneck = json.get<Index>("bottleneck"),
                          .prototypes = json.get<Index>("prototypes"),
                          .learned_norm = true};
  const Index rows = file.shape("in")[0];
  ParameterLayout layout;
  add_head_parameters(layout, config, width, "");

  VectorView<T> weights, gradients;
  HeadActivations<T> a;
  HeadGradients<T> g;
  NormalisedPrototypes<T> normalised;
  MatrixView<T> logits, d_prototypes;
  const auto place = [&](Arena& arena) {
    weights = arena.vector<T>(layout.total());
    gradients = arena.vector<T>(layout.total());
    a = HeadActivations<T>::take(arena, config, width, arena.matrix<T>(rows, config.bottleneck));
    g = HeadGradients<T>::take(arena, config, width, rows);
    normalised = NormalisedPrototypes<T>::take(arena, config.prototypes, config.bottleneck);
    logits = arena.matrix<T>(rows, config.prototypes);
    d_prototypes = arena.matrix<T>(config.prototypes, config.bottleneck);
  };
  Arena measure;
  place(measure);
  const Buffer buffer = backend.allocate(measure.high_water());
  Arena live(buffer);
  place(live);

  const auto tensor = [&](VectorView<T> flat, const ParameterSpec& spec) {
    return flat.flat().subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size));
  };
  for (const auto& spec : layout.specs()) {
    file.read_into(tensor(weights, spec), "weight." + std::string(spec.name.view()));
  }
  file.read_into(a.x.flat(), "in");
  ParameterCursor<const T> weight_cursor(layout, weights.data());
  ParameterCursor<T> gradient_cursor(layout, gradients.data());
  const auto p = HeadParameters<const T>::bind(weight_cursor, config);
  const auto d_p = HeadParameters<T>::bind(gradient_cursor, config);

  const PrototypeRows<T> prototypes{a.unit, p.prototypes, p.prototype_norm};
  head_forward(backend, a, p);
  prototype_logits(backend, logits, normalised, prototypes);
  const auto out = file.read<double>("out");
  CHECK(relative_difference<T, double>(logits.flat(), out) < 1e-5);

  auto d_out = file.read<T>("d_out");
  prototype_logits_backward(backend, g.d_unit, d_p.prototypes, d_p.prototype_norm, d_prototypes,
                            MatrixView<const T>(d_out.data(), rows, config.prototypes), normalised, prototypes);
  head_backward(backend, g, d_p, a, p);
  const auto d_in = file.read<double>("d_in");
  CHECK(relative_difference<T, double>(g.d_x.flat(), d_in) < 1e-4);
  for (const auto& spec : layout.specs()) {
    INFO("gradient of " << spec.name.view());
    const auto expected = file.read<double>("grad." + std::string(spec.name.view()));
    CHECK(relative_difference<T, double>(tensor(gradients, spec), expected) < 1e-4);
  }
}

}  // namespace

TEST_CASE("the projection head gives the published outputs and gradients") {
  check(Reference<double>());
  check(Reference<float>());
  check(Cpu({.threads = 1}));
  check(Cpu({.threads = 2}));
}
