// PixPro's propagation against its public code's numbers, and gradients against central differences.
#include <span>
#include <string>
#include <type_traits>
#include <vector>

#include "catch.hpp"
#include "loss/map_rows.hpp"
#include "loss/term_check.hpp"
#include "nn/mlp_in_memory.hpp"

#include <dssl/loss/cosine.hpp>
#include <dssl/loss/pixel_consistency.hpp>
#include <dssl/loss/pixel_propagation.hpp>
#include <dssl/nn/mlp.hpp>
#include <dssl/optim/schedule.hpp>

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

// Both published branches: patches through the propagation, and whole images, as the mean of what a predictor gives.
TEST_CASE("PixPro's whole step is the published one", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    using T = typename B::Scalar;
    const ObjectiveFixture fixture("pixpro");
    const auto& config = fixture.config();
    const auto size = [&](const char* name) { return config.template get<Index>(name); };
    const Index images = size("batch"), channels = size("channels"), dim = size("dim"), hidden = size("hidden");
    const Index patches = size("height") * size("width"), view = images * patches;
    Memory<B> memory(backend);

    // An MLP of the patches of both views, each of which it meets in a call of its own.
    struct Part {
      std::string name;
      MlpInMemory<B> mlp;

      /// What the published module calls a parameter.
      [[nodiscard]] std::string tensor(const ParameterSpec& spec) const {
        const std::string ours(spec.name.view());
        if (mlp.config.layers == 1) return name + ours.substr(1);
        const std::string module = ours[0] == '0' ? ".linear1" : ours[0] == '1' ? ".bn1" : ".linear2";
        return name + module + ours.substr(1);
      }
    };
    const auto part = [&](const std::string& name, const MlpConfig& sizes, Index width) {
      Part made{name, MlpInMemory<B>(backend, sizes, 2 * view, 2, width)};
      for (const ParameterSpec& spec : made.mlp.layout.specs()) {
        const auto values = fixture.read<T>("step.before." + made.tensor(spec));
        backend.upload(made.mlp.weights.data() + spec.offset, std::span<const T>(values));
      }
      made.mlp.clear_gradients();
      for (const auto& norm : made.mlp.statistics.norms) {
        backend.upload(norm.mean.data(),
                       std::span<const T>(fixture.read<T>("step.before." + name + ".bn1.running_mean")));
        backend.upload(norm.variance.data(),
                       std::span<const T>(fixture.read<T>("step.before." + name + ".bn1.running_var")));
      }
      return made;
    };
    const MlpConfig two_layers{.hidden = hidden, .out = dim, .last_bias = Bias::learned};
    Part projector = part("projector", two_layers, channels), projector_k = part("projector_k", two_layers, channels);
    Part instance = part("projector_instance", two_layers, channels);
    Part instance_k = part("projector_instance_k", two_layers, channels);
    Part predictor = part("predictor", two_layers, dim);
    Part transform = part("value_transform",
                          {.layers = 1, .out = dim, .last_bias = Bias::learned, .hidden_norm = BatchNorm::none}, dim);

    // The keys' weights follow first, by the momentum of the step that begins.
    const CosineSchedule momentum{.start = config.template get<double>("momentum"), .end = 1, .steps = size("steps")};
    const double m = momentum(size("step"));
    fixture.expect("step.momentum", std::vector<T>{static_cast<T>(m)});
    backend.lerp(projector_k.mlp.weights, projector.mlp.weights, m);
    backend.lerp(instance_k.mlp.weights, instance.mlp.weights, m);

    std::vector<T> maps;
    for (const char* map : {"step.map.1", "step.map.2"}) {
      const auto rows = transposed(fixture.read<T>(map), images, channels, patches);
      maps.insert(maps.end(), rows.begin(), rows.end());
    }
    const auto forward = [&](Part& of, MatrixView<const T> x) {
      backend.copy_rows(of.mlp.x, {}, x, {});
      of.mlp.forward();
      if (of.mlp.config.hidden_norm != BatchNorm::none) of.mlp.update(config.template get<double>("bn_momentum"));
    };
    const auto map = memory.matrix(maps, channels);
    for (Part* of : {&projector, &projector_k, &instance, &instance_k}) forward(*of, map);
    forward(predictor, instance.mlp.a.out);
    forward(transform, projector.mlp.a.out);
    const auto propagation =
        memory.buffers([&](Arena& arena) { return PixelPropagationBuffers<T>::take(arena, patches, dim, dim); });
    const auto query = memory.zeros(2 * view, dim), d_query = memory.zeros(2 * view, dim);
    pixel_propagation_forward(backend, propagation, query, projector.mlp.a.out, transform.mlp.a.out, size("p"));

    const auto pooled = [&](MatrixView<const T> rows) {
      const auto means = memory.zeros(2 * images, dim);
      for (Index b = 0; b < 2 * images; ++b) {
        backend.add_column_sum(numbers_of(means.rows(b, 1)), rows.rows(b * patches, patches), {},
                               1.0 / static_cast<double>(patches));
      }
      return means;
    };
    const auto of_image = pooled(predictor.mlp.a.out), key_of_image = pooled(instance_k.mlp.a.out);
    const auto d_of_image = memory.zeros(2 * images, dim);
    const auto value = memory.zeros(1);
    const auto pixels =
        memory.buffers([&](Arena& arena) { return PixelConsistencyBuffers<T>::take(arena, patches, patches, dim); });
    const auto cosines = memory.buffers([&](Arena& arena) { return CosineBuffers<T>::take(arena, images, dim); });
    const std::vector<double> boxes[] = {fixture.read<double>("box.1"), fixture.read<double>("box.2")};
    for (const Index own : {0, 1}) {
      const Index other = 1 - own;
      const auto grid = [&](Index of, Index b) {
        const double* at = boxes[of].data() + 4 * b;
        return PatchGrid{at[0], at[1], at[2], at[3], size("height"), size("width"), false};
      };
      const auto each = static_cast<std::size_t>(patches * patches);
      std::vector<T> near(static_cast<std::size_t>(images) * each);
      for (Index b = 0; b < images; ++b) {
        near_patches(std::span<T>(near).subspan(static_cast<std::size_t>(b) * each, each), grid(own, b), grid(other, b),
                     config.template get<double>("pos_ratio"));
      }
      pixel_consistency_loss(backend, pixels, value, d_query.rows(own * view, view), query.rows(own * view, view),
                             projector_k.mlp.a.out.rows(other * view, view), memory.matrix(near, patches));
      cosine_loss(backend, cosines, value, d_of_image.rows(own * images, images), of_image.rows(own * images, images),
                  key_of_image.rows(other * images, images), {.factor = 2, .offset = 0, .epsilon = unit_epsilon});
    }
    fixture.expect("step.loss", memory.read(value));

    const auto d_projected = memory.zeros(2 * view, dim), d_values = memory.zeros(2 * view, dim);
    pixel_propagation_backward(backend, propagation, d_projected, d_values, d_query, projector.mlp.a.out,
                               transform.mlp.a.out, size("p"));
    const auto backward = [&](Part& of, MatrixView<const T> d_out) {
      backend.copy_rows(of.mlp.g.d_out, {}, d_out, {});
      of.mlp.backward();
    };
    backward(transform, d_values);
    backend.accumulate(numbers_of(d_projected), numbers_of(transform.mlp.g.d_x));
    backward(projector, d_projected);
    const auto d_predicted = memory.zeros(2 * view, dim);
    for (Index row = 0; row < 2 * view; ++row) {
      backend.add_scaled(numbers_of(d_predicted.rows(row, 1)), numbers_of(d_of_image.rows(row / patches, 1)),
                         1.0 / static_cast<double>(patches));
    }
    backward(predictor, d_predicted);
    backward(instance, predictor.mlp.g.d_x);
    for (const Part* of : {&projector, &instance, &predictor, &transform}) {
      for (const ParameterSpec& spec : of->mlp.layout.specs()) {
        fixture.expect("step.grad." + of->tensor(spec),
                       memory.read(VectorView<T>(of->mlp.gradients.data() + spec.offset, spec.size)));
      }
    }
    backend.accumulate(numbers_of(projector.mlp.g.d_x), numbers_of(instance.mlp.g.d_x));
    for (const Index own : {0, 1}) {
      fixture.expect("step.d_map." + std::to_string(own + 1),
                     transposed(memory.read(projector.mlp.g.d_x.rows(own * view, view)), images, patches, channels));
    }
    for (const Part* of : {&projector, &projector_k, &instance, &instance_k, &predictor}) {
      for (const auto& norm : of->mlp.statistics.norms) {
        fixture.expect("step.after." + of->name + ".bn1.running_mean", memory.read(norm.mean));
        fixture.expect("step.after." + of->name + ".bn1.running_var", memory.read(norm.variance));
      }
    }
    for (const Part* of : {&projector_k, &instance_k}) {
      for (const ParameterSpec& spec : of->mlp.layout.specs()) {
        fixture.expect("step.after." + of->tensor(spec),
                       memory.read(VectorView<T>(of->mlp.weights.data() + spec.offset, spec.size)));
      }
    }
    for (const std::string& tensor : fixture.left_out()) {
      INFO(tensor);
      CHECK_FALSE(tensor.starts_with("step."));
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
