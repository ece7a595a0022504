// PixPro's propagation against its public code's numbers, and gradients against central differences.
#include <string>
#include <vector>

#include "catch.hpp"
#include "loss/map_rows.hpp"
#include "loss/term_check.hpp"

#include <dssl/loss/pixel_propagation.hpp>
#include <dssl/nn/mlp.hpp>

using namespace dssl;
using namespace dssl::test;

TEST_CASE("PixPro's propagation is the published one", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    using T = typename B::Scalar;
    const ObjectiveFixture fixture("pixpro");
    const auto size = [&](const char* name) { return fixture.config().template get<Index>(name); };
    const Index images = size("batch"), dim = size("dim"), patches = size("height") * size("width");
    const Index power = size("p");
    for (const Index layers : {0, 1, 2}) {
      const std::string run = "propagation." + std::to_string(layers);
      INFO(run);
      Memory<B> memory(backend);
      const auto rows = [&](const char* map) {
        return memory.matrix(transposed(fixture.file().template read<T>(map), images, dim, patches), dim);
      };
      const auto x = rows("propagation.in"), d_out = rows("propagation.d_out");
      const MlpConfig config{.layers = layers,
                             .hidden = dim,
                             .out = dim,
                             .last_bias = Bias::learned,
                             .hidden_norm = layers == 2 ? BatchNorm::affine : BatchNorm::none};
      MlpParameters<T> d_p;
      MlpParameters<const T> p;
      const auto vector = [&](const std::string& name) {
        const auto m = memory.matrix(fixture.file().template read<T>(run + ".weight." + name), dim);
        return VectorView<const T>(m.data(), dim);
      };
      for (Index i = 0; i < layers; ++i) {
        const std::string linear = layers == 1 ? "" : "linear" + std::to_string(i + 1) + ".";
        const auto weight = memory.matrix(fixture.file().template read<T>(run + ".weight." + linear + "weight"), dim);
        p.layers.push_back({.weight = weight, .bias = vector(linear + "bias"), .norm_weight = {}, .norm_bias = {}});
        d_p.layers.push_back({.weight = memory.zeros(dim, dim), .bias = memory.zeros(dim), .norm_weight = {}, .norm_bias = {}});
        if (layers < 2 || i > 0) continue;
        p.layers.back().norm_weight = vector("bn1.weight");
        p.layers.back().norm_bias = vector("bn1.bias");
        d_p.layers.back().norm_weight = memory.zeros(dim);
        d_p.layers.back().norm_bias = memory.zeros(dim);
      }
      MatrixView<T> values = x;
      MlpActivations<T> a;
      if (layers > 0) {
        values = memory.zeros(x.rows(), dim);
        a = memory.buffers([&](Arena& arena) { return MlpActivations<T>::take(arena, config, x, values); });
        mlp_forward(backend, a, p, config);
      }
      const auto buffers = memory.buffers([&](Arena& arena) { return PixelPropagationBuffers<T>::take(arena, patches, dim, dim); });
      const auto out = memory.zeros(x.rows(), dim);
      pixel_propagation_forward(backend, buffers, out, x, values, power);
      fixture.expect(run + ".out", transposed(memory.read(out), images, patches, dim));
      const auto d_x = memory.zeros(x.rows(), dim), d_values = memory.zeros(x.rows(), dim);
      pixel_propagation_backward(backend, buffers, d_x, d_values, d_out, x, values, power);
      if (layers > 0) {
        const auto d_in = memory.zeros(x.rows(), dim);
        const auto g = memory.buffers([&](Arena& arena) { return MlpGradients<T>::take(arena, config, d_values, d_in); });
        mlp_backward(backend, g, d_p, a, p, config);
        backend.accumulate(numbers_of(d_x), numbers_of(d_in));
        const std::string last = layers == 1 ? "" : "linear2.";
        fixture.expect(run + ".grad." + last + "weight", memory.read(d_p.layers.back().weight));
        fixture.expect(run + ".grad." + last + "bias", memory.read(d_p.layers.back().bias));
      } else {
        backend.accumulate(numbers_of(d_x), numbers_of(d_values));
      }
      if (layers == 2) {
        fixture.expect(run + ".grad.bn1.weight", memory.read(d_p.layers[0].norm_weight));
        fixture.expect(run + ".grad.bn1.bias", memory.read(d_p.layers[0].norm_bias));
        fixture.expect(run + ".grad.linear1.weight", memory.read(d_p.layers[0].weight));
        fixture.expect(run + ".grad.linear1.bias", memory.read(d_p.layers[0].bias));
      }
      fixture.expect(run + ".d_in", transposed(memory.read(d_x), images, patches, dim));
    }
  });
}

TEST_CASE("gradients of PixPro's propagation, by either power, values of another width", "[loss][gradients]") {
  const Reference<double> backend;
  for (const Index power : {1, 2}) {
    auto x = normal_values(40, 1), values = normal_values(24, 2);
    const auto slope = normal_values(24, 3);
    std::vector<double> d_x, d_values;
    const auto loss = [&](bool back) {
      Memory<Reference<double>> memory(backend);
      const auto in = memory.matrix(x, 5), v = memory.matrix(values, 3), d = memory.matrix(slope, 3);
      const auto buffers = memory.buffers([](Arena& arena) { return PixelPropagationBuffers<double>::take(arena, 4, 5, 3); });
      const auto out = memory.zeros(8, 3);
      pixel_propagation_forward(backend, buffers, out, in, v, power);
      double sum = 0;
      for (Index i = 0; i < out.size(); ++i) sum += out.data()[i] * slope[static_cast<std::size_t>(i)];
      if (!back) return sum;
      const auto to_x = memory.zeros(8, 5), to_values = memory.zeros(8, 3);
      backend.fill(numbers_of(to_x), 0.5);
      pixel_propagation_backward(backend, buffers, to_x, to_values, d, in, v, power);
      d_x = memory.read(to_x);
      for (double& value : d_x) value -= 0.5;  // gradients add
      d_values = memory.read(to_values);
      return sum;
    };
    loss(true);
    const auto of_x = gradient_difference(x, d_x, [&] { return loss(false); }, 1, 8);
    CHECK(of_x.norm > 1e-3);
    CHECK(of_x.small());
    const auto of_values = gradient_difference(values, d_values, [&] { return loss(false); }, 2, 8);
    CHECK(of_values.norm > 1e-3);
    CHECK(of_values.small());
  }
}

TEST_CASE("PixPro's propagation refuses other rows and powers", "[loss]") {
  const Reference<double> backend;
  Memory<Reference<double>> memory(backend);
  const auto buffers = memory.buffers([](Arena& arena) { return PixelPropagationBuffers<double>::take(arena, 4, 5, 3); });
  const auto out = memory.zeros(8, 3), x = memory.zeros(8, 5), values = memory.zeros(8, 3);
  CHECK_THROWS_AS(pixel_propagation_forward(backend, buffers, out, x, values, 3), ShapeError);
  CHECK_THROWS_AS(pixel_propagation_forward(backend, buffers, out, x, memory.zeros(4, 3), 2), ShapeError);
  CHECK_THROWS_AS(pixel_propagation_forward(backend, buffers, out, memory.zeros(6, 5), memory.zeros(6, 3), 1), ShapeError);
}
