// Batch norm and the MLPs of BYOL, SimSiam and MoCo v3 against the reference numbers: outputs, gradients, running
// statistics, and inference by them; of MoCo v3 the whole step of its loss.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "../compare.hpp"
#include "../fixtures.hpp"
#include "catch.hpp"
#include "nn/mlp_in_memory.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/loss/contrastive.hpp>
#include <dssl/nn/mlp.hpp>

using namespace dssl;
using dssl::test::relative_difference;

namespace {

/// How far a number of the format may be from one in float64.
template <class T>
constexpr double tolerance = std::is_same_v<T, double> ? 1e-10 : 2e-5;

/// Compares tensors with those of a file, which names those whose exact value is zero.
template <class T>
class Expected {
 public:
  explicit Expected(const std::string& name) : file(SafetensorsFile::open(test::objective_path(name + ".safetensors"))) {
    const auto zero = file.metadata().find("zero");
    if (zero != file.metadata().end()) x_zero = nlohmann::json::parse(zero->second).get<std::vector<std::string>>();
  }

  void check(const std::string& name, std::span<const T> got) const {
    INFO(name);
    if (std::find(x_zero.begin(), x_zero.end(), name) != x_zero.end()) {
      double largest = 0;
      for (const T v : got) largest = std::max(largest, std::abs(static_cast<double>(v)));
      CHECK(largest <= tolerance<T>);
      return;
    }
    const auto expected = file.template read<double>(name);
    CHECK(relative_difference<T, double>(got, expected) < tolerance<T>);
  }

  SafetensorsFile file;

 private:
  std::vector<std::string> x_zero;
};

template <class T>
std::span<T> tensor(VectorView<T> flat, const ParameterSpec& spec) {
  return flat.flat().subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size));
}

/// A tensor (M,D), or (B,D,H,W) with its channels last.
template <class T>
std::vector<T> as_rows(std::vector<T> values, const std::vector<Index>& shape) {
  if (shape.size() == 2) return values;
  const auto channels = static_cast<std::size_t>(shape[1]);
  const auto places = static_cast<std::size_t>(shape[2] * shape[3]);
  std::vector<T> rows(values.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t image = i / (channels * places);
    const std::size_t channel = i / places % channels;
    rows[(image * places + i % places) * channels + channel] = values[i];
  }
  return rows;
}

template <class B>
void check_batch_norm(const B& backend, const std::string& run) {
  using T = typename B::Scalar;
  INFO(backend.describe() << ", " << run);
  const Expected<T> held("batchnorm");
  const auto& file = held.file;
  const test::FixtureConfig config(file);
  const test::FixtureConfig options = config.section("runs").section(run);
  const bool affine = options.template get<bool>("affine");
  const double epsilon = options.get("eps", config.template get<double>("eps"));
  const double momentum = options.template get<double>("momentum");

  const Index d = config.template get<Index>("dim");
  const auto numbers = [&](const std::string& name) { return file.template read<T>(run + "." + name); };
  const auto vector = [d](std::vector<T>& v) { return VectorView<T>(v.data(), v.empty() ? 0 : d); };
  auto running_mean = numbers("before.running_mean"), running_variance = numbers("before.running_var");
  std::vector<T> weight, bias;
  if (affine) weight = numbers("before.weight"), bias = numbers("before.bias");
  for (const std::string step : {"0", "1", "eval"}) {
    INFO("step " << step);
    const auto rows_of = [&](const std::string& name) {
      return as_rows(numbers(step + "." + name), file.shape(run + "." + step + "." + name));
    };
    const auto x = rows_of("in"), d_y = rows_of("d_out");
    const Index m = static_cast<Index>(x.size()) / d;
    const auto matrix = [m, d](auto& v) { return MatrixView<std::remove_reference_t<decltype(v[0])>>(v.data(), m, d); };
    std::vector<T> y(x.size()), d_x(x.size()), mean(running_mean.size()), inverse_std(mean), d_weight(weight.size()),
        d_bias(bias.size());
    if (step == "eval") {
      backend.batch_norm_evaluate_forward(matrix(y), matrix(x), vector(running_mean), vector(running_variance),
                                          vector(weight), vector(bias), epsilon);
      backend.batch_norm_evaluate_backward(matrix(d_x), vector(d_weight), vector(d_bias), matrix(d_y), matrix(x),
                                           vector(running_mean), vector(running_variance), vector(weight), epsilon);
    } else {
      backend.batch_norm_forward(matrix(y), vector(mean), vector(inverse_std), matrix(x), vector(weight), vector(bias),
                                 epsilon);
      backend.batch_norm_backward(matrix(d_x), vector(d_weight), vector(d_bias), matrix(d_y), matrix(x), vector(mean),
                                  vector(inverse_std), vector(weight));
      backend.batch_norm_update(vector(running_mean), vector(running_variance), vector(mean), vector(inverse_std), m,
                                momentum, epsilon);
    }
    const auto near = [&](const std::string& name, const std::vector<T>& got) {
      INFO(name);
      const std::string full = run + "." + step + "." + name;
      const auto expected = as_rows(file.template read<double>(full), file.shape(full).size() == 4
                                                                         ? file.shape(full)
                                                                         : std::vector<Index>{m, d});
      CHECK(relative_difference<T, double>(got, expected) < tolerance<T>);
    };
    near("out", y);
    near("d_in", d_x);
    near("after.running_mean", running_mean);
    near("after.running_var", running_variance);
    if (affine) near("grad.weight", d_weight);
    if (affine) near("grad.bias", d_bias);
  }
}

/// An MLP with the weights and running statistics of a file.
template <class B>
class Held : public test::MlpInMemory<B> {
  using x_Mlp = test::MlpInMemory<B>;

 public:
  using T = typename B::Scalar;
  using x_Mlp::gradients, x_Mlp::layout, x_Mlp::statistics, x_Mlp::tensor, x_Mlp::weights;

  /// `before`: what stands before the names in the file.
  Held(const B& backend, const SafetensorsFile& file, const std::string& before, const MlpConfig& sizes, Index width,
       Index rows, Index groups)
      : x_Mlp(backend, sizes, rows, groups, width) {
    for (const auto& spec : layout.specs()) {
      file.read_into(tensor(weights, spec), before + std::string(spec.name.view()));
    }
    statistics.for_each(before, [&](const std::string& name, VectorView<T> v) { file.read_into(v.flat(), name); });
    this->clear_gradients();
  }

  /// Gradients, those that the file has; what it leaves out has none.
  void check_gradients(const Expected<T>& held, const std::string& before) const {
    for (const auto& spec : layout.specs()) {
      const std::string name = before + std::string(spec.name.view());
      if (spec.trained) {
        held.check(name, tensor(gradients, spec));
      } else {
        INFO(name);
        CHECK_FALSE(held.file.contains(name));
        CHECK(std::all_of(tensor(gradients, spec).begin(), tensor(gradients, spec).end(), [](T v) { return v == 0; }));
      }
    }
  }
  void check_statistics(const Expected<T>& held, const std::string& before) const {
    statistics.for_each(before, [&](const std::string& name, VectorView<T> v) { held.check(name, v.flat()); });
  }
};

template <class B>
void check_byol(const B& backend) {
  using T = typename B::Scalar;
  INFO(backend.describe());
  const Expected<T> held("byol_mlp");
  const auto& file = held.file;
  const test::FixtureConfig json(file);
  REQUIRE(json.get<double>("eps") == batch_norm_epsilon);
  MlpConfig config = byol_mlp;
  config.hidden = json.get<Index>("hidden");
  config.out = json.get<Index>("output");
  const Held<B> mlp(backend, file, "weight.", config, json.get<Index>("width"), file.shape("eval.in")[0], 1);
  for (const std::string step : {"1", "2", "eval"}) {
    INFO("step " << step);
    file.read_into(mlp.x.flat(), step + ".in");
    file.read_into(mlp.g.d_out.flat(), step + ".d_out");
    mlp.clear_gradients();
    if (step == "eval") {
      mlp.evaluate();
      mlp.evaluate_backward();
    } else {
      mlp.forward();
      mlp.backward();
      mlp.update(json.get<double>("momentum"));
      mlp.check_statistics(held, step + ".after.");
    }
    held.check(step + ".out", mlp.a.out.flat());
    held.check(step + ".d_in", mlp.g.d_x.flat());
    mlp.check_gradients(held, step + ".grad.");
  }
}

/// d_p = the gradient of -cos(p, z) scale, the mean over rows; returns the mean cosine.
template <class T>
double cosine_backward(MatrixView<T> d_p, MatrixView<T> p, MatrixView<T> z, double scale) {
  double mean = 0;
  const auto rows = static_cast<double>(p.rows());
  for (Index m = 0; m < p.rows(); ++m) {
    double dot = 0, pp = 0, zz = 0;
    for (Index d = 0; d < p.cols(); ++d) {
      const auto u = static_cast<double>(p(m, d)), v = static_cast<double>(z(m, d));
      dot += u * v;
      pp += u * u;
      zz += v * v;
    }
    const double norms = std::sqrt(pp) * std::sqrt(zz);
    mean += dot / norms / rows;
    for (Index d = 0; d < p.cols(); ++d) {
      const double slope = static_cast<double>(z(m, d)) / norms - dot / norms * static_cast<double>(p(m, d)) / pp;
      d_p(m, d) = static_cast<T>(-scale * slope / rows);
    }
  }
  return mean;
}

template <class B>
void check_simsiam(const B& backend) {
  using T = typename B::Scalar;
  INFO(backend.describe());
  const Expected<T> held("simsiam");
  const auto& file = held.file;
  const test::FixtureConfig json(file);
  REQUIRE(json.get<double>("eps") == batch_norm_epsilon);
  MlpConfig config = simsiam_projector;
  config.hidden = file.shape("weight.encoder.fc.0.weight")[0];
  config.out = json.get<Index>("dim");
  const Index batch = file.shape("in.1")[0];
  const Held<B> projector(backend, file, "weight.encoder.fc.", config, json.get<Index>("width"), 2 * batch, 2);
  config = simsiam_predictor;
  config.hidden = json.get<Index>("predictor");
  config.out = projector.config.out;
  const Held<B> predictor(backend, file, "weight.predictor.", config, projector.config.out, 2 * batch, 2);

  const auto view = [batch](MatrixView<T> both, Index n) { return both.rows((n - 1) * batch, batch); };
  file.read_into(view(projector.x, 1).flat(), "in.1");
  file.read_into(view(projector.x, 2).flat(), "in.2");
  projector.forward();
  std::copy(projector.a.out.flat().begin(), projector.a.out.flat().end(), predictor.x.data());
  predictor.forward();
  const MatrixView<T> z = projector.a.out, p = predictor.a.out;
  held.check("z1", view(z, 1).flat());
  held.check("z2", view(z, 2).flat());
  held.check("p1", view(p, 1).flat());
  held.check("p2", view(p, 2).flat());

  const MatrixView<T> d_p = predictor.g.d_out;
  const auto loss = static_cast<T>(-0.5 * (cosine_backward(view(d_p, 1), view(p, 1), view(z, 2), 0.5) +
                                           cosine_backward(view(d_p, 2), view(p, 2), view(z, 1), 0.5)));
  held.check("loss", std::span<const T>(&loss, 1));
  predictor.backward();
  std::copy(predictor.g.d_x.flat().begin(), predictor.g.d_x.flat().end(), projector.g.d_out.data());
  projector.backward();
  held.check("d_in.1", view(projector.g.d_x, 1).flat());
  held.check("d_in.2", view(projector.g.d_x, 2).flat());
  projector.check_gradients(held, "grad.encoder.fc.");
  predictor.check_gradients(held, "grad.predictor.");

  projector.update(json.get<double>("momentum"));
  predictor.update(json.get<double>("momentum"));
  projector.check_statistics(held, "after.encoder.fc.");
  predictor.check_statistics(held, "after.predictor.");
  projector.evaluate();
  std::copy(projector.a.out.flat().begin(), projector.a.out.flat().end(), predictor.x.data());
  predictor.evaluate();
  held.check("eval.p1", view(p, 1).flat());
}

/// MoCo v3's step: queries of the projector and predictor, keys of a momentum projector that has moved before, each
/// view's against the other's.
template <class B>
void check_moco_v3(const B& backend) {
  using T = typename B::Scalar;
  INFO(backend.describe());
  const Expected<T> held("mocov3");
  const auto& file = held.file;
  const test::FixtureConfig json(file);
  REQUIRE(json.get<double>("eps") == batch_norm_epsilon);
  const Index batch = json.get<Index>("batch");
  const Index dim = json.get<Index>("dim");
  MlpConfig config = moco_v3_projector;
  config.hidden = json.get<Index>("hidden");
  config.out = dim;
  const Index width = json.get<Index>("width");
  const Held<B> base(backend, file, "base.before.head.", config, width, 2 * batch, 2);
  const Held<B> momentum(backend, file, "momentum.before.head.", config, width, 2 * batch, 2);
  config = moco_v3_predictor;
  config.hidden = json.get<Index>("hidden");
  config.out = dim;
  const Held<B> predictor(backend, file, "predictor.before.", config, dim, 2 * batch, 2);

  backend.lerp(momentum.weights, base.weights, json.get<double>("momentum"));
  for (const auto& spec : momentum.layout.specs()) {
    held.check("momentum.after.head." + std::string(spec.name.view()), momentum.tensor(momentum.weights, spec));
  }
  const auto view = [batch](MatrixView<T> both, Index n) { return both.rows((n - 1) * batch, batch); };
  for (const Index n : {1, 2}) {
    file.read_into(view(base.x, n).flat(), "in." + std::to_string(n));
    file.read_into(view(momentum.x, n).flat(), "in." + std::to_string(n));
  }
  base.forward();
  std::copy(base.a.out.flat().begin(), base.a.out.flat().end(), predictor.x.data());
  predictor.forward();
  momentum.forward();

  InfoNceBuffers<T> buffers;
  VectorView<T> value;
  const auto place = [&](Arena& arena) {
    buffers = InfoNceBuffers<T>::take(arena, batch, batch, dim);
    value = arena.vector<T>(1);
  };
  Arena measure;
  place(measure);
  const Buffer memory = backend.allocate(measure.high_water());
  Arena live(memory);
  place(live);
  backend.fill(value, T{0});
  backend.fill(VectorView<T>(predictor.g.d_out.data(), 2 * batch * dim), T{0});
  for (const Index n : {1, 2}) {
    info_nce_loss(backend, buffers, value, view(predictor.g.d_out, n), view(predictor.a.out, n),
                  view(momentum.a.out, 3 - n), {}, json.get<double>("temperature"));
  }
  held.check("loss", std::span<const T>(value.data(), 1));
  predictor.backward();
  std::copy(predictor.g.d_x.flat().begin(), predictor.g.d_x.flat().end(), base.g.d_out.data());
  base.backward();
  held.check("d_in.1", view(base.g.d_x, 1).flat());
  held.check("d_in.2", view(base.g.d_x, 2).flat());
  base.check_gradients(held, "grad.base.head.");
  predictor.check_gradients(held, "grad.predictor.");
  for (const Held<B>* mlp : {&base, &momentum, &predictor}) mlp->update(json.get<double>("bn_momentum"));
  base.check_statistics(held, "base.after.head.");
  momentum.check_statistics(held, "momentum.after.head.");
  predictor.check_statistics(held, "predictor.after.");
}

}  // namespace

TEST_CASE("batch norm gives PyTorch's outputs, gradients and running statistics") {
  for (const std::string run : {"affine", "plain", "slow", "map"}) {
    check_batch_norm(Reference<double>(), run);
    check_batch_norm(Reference<float>(), run);
    check_batch_norm(Cpu({.threads = 2}), run);
  }
}

TEST_CASE("BYOL's MLP gives the published outputs, gradients and running statistics") {
  check_byol(Reference<double>());
  check_byol(Reference<float>());
  check_byol(Cpu({.threads = 2}));
}

TEST_CASE("SimSiam's projector and predictor give the published outputs, gradients and running statistics") {
  check_simsiam(Reference<double>());
  check_simsiam(Reference<float>());
  check_simsiam(Cpu({.threads = 2}));
}

TEST_CASE("MoCo v3's step gives the published loss, gradients and running statistics") {
  check_moco_v3(Reference<double>());
  check_moco_v3(Reference<float>());
  check_moco_v3(Cpu({.threads = 2}));
}
