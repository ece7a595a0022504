// MLPs: names, gradients against central differences, groups of rows, running statistics, and what is refused.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "../gradient_check.hpp"
#include "catch.hpp"
#include "nn/mlp_in_memory.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/nn/mlp.hpp>

using namespace dssl;
using dssl::test::gradient_difference;
using dssl::test::normal_values;

namespace {

using Names = std::vector<std::string>;

Names names_of(const MlpConfig& config, std::string_view prefix = "") {
  ParameterLayout layout;
  add_mlp_parameters(layout, config, 3, prefix);
  Names names;
  for (const auto& spec : layout.specs()) names.emplace_back(spec.name.view());
  return names;
}

constexpr Index parameters_of(const MlpConfig& config, Index width) {
  ParameterLayout layout;
  add_mlp_parameters(layout, config, width, "projector.");
  return layout.parameter_count();
}
// All of it can be known to the compiler.
static_assert(parameters_of(byol_mlp, 384) == 384 * 4096 + 3 * 4096 + 4096 * 256);
static_assert(moco_v3_predictor.width_of(1) == 256);

/// A published MLP, small.
constexpr MlpConfig small(MlpConfig config) {
  config.hidden = 7;
  config.out = 4;
  return config;
}

/// An MLP with drawn weights and inputs, whose gradients begin as drawn numbers.
template <class B>
class Run : public test::MlpInMemory<B> {
  using x_Mlp = test::MlpInMemory<B>;

 public:
  using T = typename B::Scalar;
  using x_Mlp::a, x_Mlp::g, x_Mlp::gradients, x_Mlp::layout, x_Mlp::statistics, x_Mlp::tensor, x_Mlp::weights, x_Mlp::x;

  Run(const B& backend, const MlpConfig& sizes, Index rows, Index groups, Index width = 5)
      : x_Mlp(backend, sizes, rows, groups, width) {
    std::uint64_t seed = 100;
    for (const auto& spec : layout.specs()) {
      draw(tensor(weights, spec), seed++, 0.4, spec.initial == InitialValues::one ? 1.0 : 0.0);
    }
    draw(x.flat(), 1);
    x_before = normal_values(static_cast<std::size_t>(layout.total()), 2);
    std::copy(x_before.begin(), x_before.end(), gradients.data());
    statistics.reset(backend);
  }

  static void draw(std::span<T> out, std::uint64_t seed, double scale = 1.0, double centre = 0.0) {
    const std::vector<double> values = normal_values(out.size(), seed, scale);
    std::transform(values.begin(), values.end(), out.begin(),
                   [centre](double v) { return static_cast<T>(v + centre); });
  }
  /// What the backward pass added to a tensor's gradient.
  [[nodiscard]] std::vector<T> added(const ParameterSpec& spec) const {
    std::vector<T> out(tensor(gradients, spec).begin(), tensor(gradients, spec).end());
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] -= static_cast<T>(x_before[static_cast<std::size_t>(spec.offset) + i]);
    }
    return out;
  }

  /// All that a training pass and an update leave behind.
  [[nodiscard]] std::vector<T> results() const {
    std::vector<T> all;
    const auto append = [&](std::span<const T> values) { all.insert(all.end(), values.begin(), values.end()); };
    append(a.out.flat());
    append(g.d_x.flat());
    for (const auto& spec : layout.specs()) append(tensor(gradients, spec));
    statistics.for_each("", [&](const std::string&, VectorView<T> v) { append(v.flat()); });
    return all;
  }

 private:
  std::vector<double> x_before;
};

/// Whether nothing of a tensor is felt: a bias that a batch norm takes away again.
bool is_unfelt(const MlpConfig& config, std::string_view name) {
  for (Index i = 0; i < config.layers; ++i) {
    if (config.norm_of(i) != BatchNorm::none && name == join(config.place_of(i), ".bias")) return true;
  }
  return false;
}

void check_gradients(const MlpConfig& config, Index groups, bool evaluated) {
  INFO(config.layers << " layers, " << groups << " groups, evaluated " << evaluated);
  const Reference<double> backend;
  Run<Reference<double>> run(backend, config, 12, groups);
  // Statistics of one kind of rows, for inference on others.
  if (evaluated) {
    run.forward();
    run.update();
    run.draw(run.x.flat(), 9);
  }
  const std::vector<double> upstream = normal_values(run.a.out.flat().size(), 3);
  const auto loss = [&] {
    if (evaluated) {
      run.evaluate();
    } else {
      run.forward();
    }
    return test::dot(run.a.out.flat(), upstream);
  };
  loss();
  std::copy(upstream.begin(), upstream.end(), run.g.d_out.data());
  if (evaluated) {
    run.evaluate_backward();
  } else {
    run.backward();
  }
  const std::vector<double> d_x(run.g.d_x.flat().begin(), run.g.d_x.flat().end());
  const auto found = gradient_difference(run.x.flat(), d_x, loss, 4, 4);
  CHECK(found.norm > 1e-3);
  CHECK(found.small());
  std::uint64_t seed = 500;
  for (const auto& spec : run.layout.specs()) {
    INFO("gradient of " << spec.name.view());
    const std::vector<double> added = run.added(spec);
    if (!spec.trained) {
      CHECK(std::all_of(added.begin(), added.end(), [](double v) { return v == 0; }));
      continue;
    }
    const auto of = gradient_difference(run.tensor(run.weights, spec), added, loss, seed++, 2);
    INFO("norm " << of.norm << ", difference " << of.difference);
    if (!evaluated && is_unfelt(config, spec.name.view())) {
      CHECK(of.norm < 1e-12);
    } else {
      CHECK(of.norm > 1e-3);
    }
    CHECK(of.small());
  }
}

const std::vector<MlpConfig> all_parts{
    small(byol_mlp),
    small(simsiam_projector),
    small(simsiam_predictor),
    small(moco_v2_projector),
    small(moco_v3_projector),
    small(simclr_projector),
    small(vicreg_expander),
    {.layers = 3, .hidden = 7, .out = 4, .last_bias = Bias::learned, .activation = Activation::gelu},
    {.layers = 4, .hidden = 7, .out = 4, .hidden_norm = BatchNorm::none, .last_norm = BatchNorm::plain,
     .activation = Activation::gelu},
    {.layers = 3, .hidden = 6, .out = 4, .hidden_bias = Bias::fixed, .hidden_norm = BatchNorm::plain},
    {.layers = 1, .hidden = 1, .out = 4, .last_bias = Bias::learned, .last_norm = BatchNorm::affine},
    {.layers = 1, .hidden = 1, .out = 4},
};

}  // namespace

TEST_CASE("MLPs have the published names, in order") {
  CHECK(names_of(byol_mlp, "projector.") == Names{"projector.0.weight", "projector.0.bias", "projector.1.weight",
                                                  "projector.1.bias", "projector.3.weight"});
  CHECK(names_of(simsiam_projector) == Names{"0.weight", "1.weight", "1.bias", "3.weight", "4.weight", "4.bias",
                                             "6.weight", "6.bias"});
  CHECK(names_of(simsiam_predictor) == Names{"0.weight", "1.weight", "1.bias", "3.weight", "3.bias"});
  CHECK(names_of(moco_v2_projector) == Names{"0.weight", "0.bias", "2.weight", "2.bias"});
  CHECK(names_of(moco_v3_projector) ==
        Names{"0.weight", "1.weight", "1.bias", "3.weight", "4.weight", "4.bias", "6.weight"});
  CHECK(names_of(moco_v3_predictor) == Names{"0.weight", "1.weight", "1.bias", "3.weight"});
  CHECK(names_of(simclr_projector) == Names{"0.weight", "1.weight", "1.bias", "3.weight", "4.weight", "4.bias"});
  CHECK(names_of(barlow_projector) ==
        Names{"0.weight", "1.weight", "1.bias", "3.weight", "4.weight", "4.bias", "6.weight"});
  CHECK(names_of(vicreg_expander) == Names{"0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias",
                                           "4.weight", "4.bias", "6.weight"});
  Arena measure;
  Names states;
  MlpStatistics<float>::take(measure, moco_v3_projector).for_each("head.", [&](const std::string& name, const auto& v) {
    states.push_back(join(name, " ", v.size()));
  });
  CHECK(states == Names{"head.1.running_mean 4096", "head.1.running_var 4096", "head.4.running_mean 4096",
                        "head.4.running_var 4096", "head.7.running_mean 256", "head.7.running_var 256"});
}

TEST_CASE("a fixed bias is stored and not trained") {
  ParameterLayout layout;
  add_mlp_parameters(layout, simsiam_projector, 3, "");
  for (const auto& spec : layout.specs()) CHECK(spec.trained == (spec.name.view() != "6.bias"));
}

TEST_CASE("an MLP's gradients are its slopes") {
  for (const MlpConfig& config : all_parts) {
    for (const Index groups : {1, 3}) check_gradients(config, groups, false);
  }
}

TEST_CASE("gradients of an MLP by running statistics are its slopes") {
  for (const MlpConfig& config : all_parts) check_gradients(config, 2, true);
}

TEST_CASE("groups of rows are what calls of their own are, to the bit") {
  const auto held = [](const auto& backend, const MlpConfig& config) {
    using B = std::decay_t<decltype(backend)>;
    using T = typename B::Scalar;
    INFO(backend.describe());
    const Index rows = 5;
    Run<B> whole(backend, config, 2 * rows, 2);
    Run<B> alone(backend, config, rows, 1);
    whole.draw(whole.g.d_out.flat(), 3);
    const auto view = [&](MatrixView<T> both, Index n) { return both.rows(n * rows, rows); };
    const std::vector<T> upstream(whole.g.d_out.flat().begin(), whole.g.d_out.flat().end());
    whole.forward();
    whole.update();
    whole.backward();
    for (const Index n : {0, 1}) {
      INFO("view " << n);
      std::copy_n(view(whole.x, n).data(), view(whole.x, n).size(), alone.x.data());
      alone.forward();
      alone.update();
      std::copy_n(upstream.data() + n * rows * config.out, rows * config.out, alone.g.d_out.data());
      alone.backward();
      const auto same = [&](MatrixView<T> both, MatrixView<T> one) {
        return std::equal(one.flat().begin(), one.flat().end(), view(both, n).data());
      };
      CHECK(same(whole.a.out, alone.a.out));
      CHECK(same(whole.g.d_x, alone.g.d_x));
    }
    for (std::size_t n = 0; n < whole.statistics.norms.size(); ++n) {
      INFO("norm " << n);
      const auto &both = whole.statistics.norms[n], &apart = alone.statistics.norms[n];
      CHECK(std::equal(both.mean.flat().begin(), both.mean.flat().end(), apart.mean.data()));
      CHECK(std::equal(both.variance.flat().begin(), both.variance.flat().end(), apart.variance.data()));
      CHECK(both.mean.flat()[0] != T{0});
    }
  };
  for (const MlpConfig& config : {small(simsiam_projector), small(byol_mlp)}) {
    held(Reference<double>(), config);
    held(Cpu({.threads = 1}), config);
  }
}

TEST_CASE("only an update moves running statistics, and inference takes each row alone") {
  const Reference<double> backend;
  Run<Reference<double>> run(backend, small(moco_v3_projector), 6, 1);
  const auto statistics = [&] {
    std::vector<double> all;
    run.statistics.for_each("", [&](const std::string&, VectorView<double> v) {
      all.insert(all.end(), v.flat().begin(), v.flat().end());
    });
    return all;
  };
  const std::vector<double> begun = statistics();
  run.forward();
  run.draw(run.g.d_out.flat(), 3);
  run.backward();
  run.evaluate();
  CHECK(statistics() == begun);
  run.forward();
  run.update();
  CHECK(statistics() != begun);
  run.evaluate();
  const std::vector<double> kept(run.a.out.row(2), run.a.out.row(3));
  run.draw(run.x.rows(3, 3).flat(), 17);
  run.evaluate();
  CHECK(std::equal(kept.begin(), kept.end(), run.a.out.row(2)));
  run.forward();
  CHECK_FALSE(std::equal(kept.begin(), kept.end(), run.a.out.row(2)));
}

TEST_CASE("an MLP has the same bits for any number of threads") {
  const MlpConfig config{.layers = 3, .hidden = 200, .out = 130, .last_norm = BatchNorm::plain};
  const auto results = [&](int threads) {
    const Cpu backend({.threads = threads});
    const Run<Cpu> run(backend, config, 300, 2, 70);
    run.draw(run.g.d_out.flat(), 3);
    run.forward();
    run.update();
    run.backward();
    return run.results();
  };
  const std::vector<float> one = results(1);
  CHECK(std::all_of(one.begin(), one.end(), [](float v) { return std::isfinite(v); }));
  for (const int threads : {2, 4}) {
    const std::vector<float> more = results(threads);
    REQUIRE(more.size() == one.size());
    CHECK(std::memcmp(more.data(), one.data(), one.size() * sizeof(float)) == 0);
  }
}

TEST_CASE("an MLP with ReLU takes no memory for what ReLU gives") {
  const auto bytes = [](Activation activation) {
    MlpConfig config = byol_mlp;
    config.activation = activation;
    Arena measure;
    const MlpActivations<float> a = MlpActivations<float>::take(measure, config, MatrixView<const float>(nullptr, 8, 16),
                                                                MatrixView<float>(nullptr, 8, 256));
    return measure.high_water();
  };
  CHECK(bytes(Activation::gelu) == bytes(Activation::relu) + 8 * 4096 * sizeof(float));
}

TEST_CASE("rows that make no groups, and groups without a variance, are refused") {
  Arena measure;
  const auto take = [&](Index rows, Index groups, Index out) {
    return MlpActivations<float>::take(measure, byol_mlp, MatrixView<const float>(nullptr, rows, 16),
                                       MatrixView<float>(nullptr, rows, out), groups);
  };
  CHECK_NOTHROW(take(6, 2, 256));
  CHECK_THROWS_WITH(take(7, 2, 256), Catch::Contains("7 rows in 2 groups"));
  CHECK_THROWS_AS(take(6, 0, 256), ShapeError);
  CHECK_THROWS_WITH(take(6, 2, 255), Catch::Contains("6 x 255") && Catch::Contains("expected 6 x 256"));
  const Reference<double> backend;
  const Run<Reference<double>> run(backend, small(byol_mlp), 2, 2);
  run.forward();
  CHECK_THROWS_AS(run.update(), ShapeError);
}
