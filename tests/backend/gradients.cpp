// The oracle's backward primitives, and fused operations, against central differences of their forward ones, in double.
#include "catch.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/nn/prototype_loss.hpp>

namespace {

using dssl::Index;
using dssl::MatrixView;
using dssl::Reference;
using dssl::VectorView;

const Reference<double> oracle;

std::vector<double> random_numbers(Index count, std::uint64_t seed, double scale = 1.0) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(0.0, scale);
  std::vector<double> values(static_cast<std::size_t>(count));
  for (double& v : values) v = normal(random);
  return values;
}

MatrixView<double> matrix(std::vector<double>& v, Index rows, Index cols) { return {v.data(), {rows, cols}}; }
MatrixView<const double> matrix(const std::vector<double>& v, Index rows, Index cols) {
  return {v.data(), {rows, cols}};
}
VectorView<double> vector(std::vector<double>& v) { return {v.data(), {static_cast<Index>(v.size())}}; }
VectorView<const double> vector(const std::vector<double>& v) { return {v.data(), {static_cast<Index>(v.size())}}; }

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

/// Checks `gradient` of value() with respect to `input`, element by element.
void check_gradient(const std::string& what, std::vector<double>& input, const std::vector<double>& gradient,
                    const std::function<double()>& value) {
  INFO(what);
  REQUIRE(input.size() == gradient.size());
  double largest = 1e-3;
  for (const double g : gradient) largest = std::max(largest, std::abs(g));
  constexpr double step = 1e-5;
  double worst = 0;
  for (std::size_t i = 0; i < input.size(); ++i) {
    const double kept = input[i];
    input[i] = kept + step;
    const double above = value();
    input[i] = kept - step;
    const double below = value();
    input[i] = kept;
    const double difference = (above - below) / (2 * step);
    REQUIRE(std::isfinite(gradient[i]));
    worst = std::max(worst, std::abs(difference - gradient[i]));
  }
  CHECK(worst / largest < 1e-7);
}

/// What "=" outputs hold beforehand.
std::vector<double> infinities(std::size_t count) {
  return std::vector<double>(count, std::numeric_limits<double>::infinity());
}

}  // namespace

TEST_CASE("gradients of linear layers", "[backend][gradients]") {
  const Index m = 5, in = 4, out = 3;
  auto x = random_numbers(m * in, 1), w = random_numbers(out * in, 2), b = random_numbers(out, 3);
  const auto d_y = random_numbers(m * out, 4);
  const auto value = [&] {
    auto y = infinities(d_y.size());
    oracle.linear_forward(matrix(y, m, out), matrix(x, m, in), matrix(w, out, in), vector(b));
    return dot(y, d_y);
  };
  auto d_x = infinities(x.size());
  std::vector<double> d_w(w.size()), d_b(b.size());
  oracle.linear_backward_input(matrix(d_x, m, in), matrix(d_y, m, out), matrix(w, out, in));
  oracle.linear_backward_weight(matrix(d_w, out, in), vector(d_b), matrix(d_y, m, out), matrix(x, m, in));
  check_gradient("x", x, d_x, value);
  check_gradient("weight", w, d_w, value);
  check_gradient("bias", b, d_b, value);
}

TEST_CASE("gradients of layer norm", "[backend][gradients]") {
  const Index m = 4, d = 7;
  auto x = random_numbers(m * d, 1, 2.0), w = random_numbers(d, 2), b = random_numbers(d, 3);
  const auto d_y = random_numbers(m * d, 4);
  std::vector<double> mean(m), inverse_std(m);
  const auto value = [&] {
    auto y = infinities(x.size());
    oracle.layer_norm_forward(matrix(y, m, d), vector(mean), vector(inverse_std), matrix(x, m, d), vector(w),
                              vector(b), 1e-6);
    return dot(y, d_y);
  };
  value();
  std::vector<double> d_x(x.size()), d_w(d), d_b(d);
  const auto saved_mean = mean;
  const auto saved_std = inverse_std;
  oracle.layer_norm_backward(matrix(d_x, m, d), vector(d_w), vector(d_b), matrix(d_y, m, d), matrix(x, m, d),
                             vector(saved_mean), vector(saved_std), vector(w));
  check_gradient("x", x, d_x, value);
  check_gradient("weight", w, d_w, value);
  check_gradient("bias", b, d_b, value);
}

TEST_CASE("gradients of batch norm", "[backend][gradients]") {
  const Index m = 6, d = 5;
  for (const double epsilon : {1e-5, 0.5}) {
    INFO("epsilon " << epsilon);
    auto x = random_numbers(m * d, 1, 2.0), w = random_numbers(d, 2), b = random_numbers(d, 3);
    // Without variance the slope is 1 / sqrt(epsilon): only with a large one do central differences find it.
    if (epsilon > 0.1) {
      for (Index row = 0; row < m; ++row) x[static_cast<std::size_t>(row * d + 1)] = 3.25;
    }
    const auto d_y = random_numbers(m * d, 4);
    std::vector<double> mean(d), inverse_std(d);
    const auto value = [&] {
      auto y = infinities(x.size());
      oracle.batch_norm_forward(matrix(y, m, d), vector(mean), vector(inverse_std), matrix(x, m, d), vector(w),
                                vector(b), epsilon);
      return dot(y, d_y);
    };
    value();
    auto d_x = infinities(x.size());
    std::vector<double> d_w(d), d_b(d);
    const auto saved_mean = mean;
    const auto saved_std = inverse_std;
    oracle.batch_norm_backward(matrix(d_x, m, d), vector(d_w), vector(d_b), matrix(d_y, m, d), matrix(x, m, d),
                               vector(saved_mean), vector(saved_std), vector(w));
    check_gradient("x", x, d_x, value);
    check_gradient("weight", w, d_w, value);
    check_gradient("bias", b, d_b, value);
  }
}

TEST_CASE("gradients of GELU and residual", "[backend][gradients]") {
  const Index m = 3, d = 9;
  auto x = random_numbers(m * d, 1, 2.0);
  const auto d_y = random_numbers(m * d, 2);
  auto d_x = infinities(x.size());
  oracle.gelu_backward(matrix(d_x, m, d), matrix(d_y, m, d), matrix(x, m, d));
  check_gradient("gelu", x, d_x, [&] {
    auto y = infinities(x.size());
    oracle.gelu_forward(matrix(y, m, d), matrix(x, m, d));
    return dot(y, d_y);
  });
  auto branch = random_numbers(m * d, 3);
  const std::vector<double> keep{0.0, 1.25};
  const std::vector<std::int32_t> sequence{1, 0, 1};
  const dssl::RowIndex rows(sequence.data(), m);
  auto d_branch = infinities(branch.size());
  oracle.residual_backward(matrix(d_branch, m, d), matrix(d_y, m, d), vector(keep), rows);
  check_gradient("residual", branch, d_branch, [&] {
    auto y = infinities(x.size());
    oracle.residual_forward(matrix(y, m, d), matrix(std::as_const(x), m, d), matrix(std::as_const(branch), m, d),
                            vector(keep), rows);
    return dot(y, d_y);
  });
}

namespace {

template <dssl::AttentionRelation R>
void check_attention(const std::string& name) {
  const Index heads = 2, d = 3, width = heads * d;
  const std::vector<dssl::Sequence> sequences{{.first = 0, .patches = 4, .references = 3},
                                              {.first = 8, .patches = 2}};
  const dssl::SequenceBatch batch{.sequences = {sequences.data(), {2}}, .rows = 11, .longest = 8};
  for (const dssl::GroupSet& queries :
       {dssl::all_groups, dssl::GroupSet{.class_token = true},
        dssl::GroupSet{.class_token = true, .reference = true}}) {
    auto qkv = random_numbers(batch.rows * 3 * width, 5);
    auto d_out = random_numbers(batch.rows * width, 6);
    std::vector<double> out(d_out.size()), log_sum(static_cast<std::size_t>(batch.rows * heads));
    const auto value = [&] {
      // Rows outside the queries keep what they hold: zeros, which do not count.
      std::fill(out.begin(), out.end(), 0.0);
      oracle.attention_forward<R>(matrix(out, batch.rows, width), matrix(log_sum, batch.rows, heads),
                                  matrix(std::as_const(qkv), batch.rows, 3 * width), batch, heads, queries);
      return dot(out, d_out);
    };
    value();
    const auto saved_out = out;
    const auto saved_sum = log_sum;
    auto d_qkv = infinities(qkv.size());
    oracle.attention_backward<R>(matrix(d_qkv, batch.rows, 3 * width), matrix(std::as_const(d_out), batch.rows, width),
                                 matrix(saved_out, batch.rows, width), matrix(saved_sum, batch.rows, heads),
                                 matrix(std::as_const(qkv), batch.rows, 3 * width), batch, heads, queries);
    check_gradient(name, qkv, d_qkv, value);
  }
}

}  // namespace

TEST_CASE("gradients of attention under every relation", "[backend][gradients]") {
  check_attention<dssl::open_relation>("open");
  check_attention<dssl::hidden_relation>("hidden");
  check_attention<dssl::hidden_no_class_relation>("hidden-no-class");
  check_attention<dssl::private_relation>("private");
  check_attention<dssl::all_query_relation>("all-query");
}

TEST_CASE("gradients of interpolated reads", "[backend][gradients]") {
  const Index g = 5, m = 4, d = 3;
  auto table = random_numbers(g * d, 1);
  const auto d_out = random_numbers(m * d, 2);
  const auto weights = random_numbers(m * 16, 3);
  std::vector<dssl::Taps<double>> taps(static_cast<std::size_t>(m));
  for (std::size_t i = 0; i < taps.size(); ++i) {
    for (std::size_t t = 0; t < 16; ++t) {
      taps[i].row[t] = static_cast<std::int32_t>((i * 3 + t * t) % 5);
      taps[i].weight[t] = weights[i * 16 + t];
    }
  }
  const VectorView<const dssl::Taps<double>> reads(taps.data(), m);
  std::vector<double> d_table(table.size());
  oracle.sample_rows_backward(matrix(d_table, g, d), matrix(d_out, m, d), reads);
  check_gradient("table", table, d_table, [&] {
    auto out = infinities(d_out.size());
    oracle.sample_rows_forward(matrix(out, m, d), matrix(std::as_const(table), g, d), reads);
    return dot(out, d_out);
  });
}

TEST_CASE("gradients of the two normalisations", "[backend][gradients]") {
  const Index m = 4, d = 6;
  const auto d_y = random_numbers(m * d, 2);
  std::vector<double> norm(static_cast<std::size_t>(m));
  // The second bound lies above some of the lengths and below others.
  for (const double epsilon : {1e-12, 2.2}) {
    auto x = random_numbers(m * d, 1);
    auto y = infinities(x.size());
    const auto value = [&] {
      oracle.l2_normalise_forward(matrix(y, m, d), vector(norm), matrix(std::as_const(x), m, d), epsilon);
      return dot(y, d_y);
    };
    value();
    const auto saved_y = y;
    const auto saved_norm = norm;
    auto d_x = infinities(x.size());
    oracle.l2_normalise_backward(matrix(d_x, m, d), matrix(d_y, m, d), matrix(saved_y, m, d), vector(saved_norm),
                                 epsilon);
    check_gradient("l2_normalise", x, d_x, value);
  }
  auto v = random_numbers(m * d, 3), g = random_numbers(m, 4);
  auto w = infinities(v.size());
  const auto value = [&] {
    oracle.weight_norm_forward(matrix(w, m, d), vector(norm), matrix(std::as_const(v), m, d),
                               vector(std::as_const(g)));
    return dot(w, d_y);
  };
  value();
  const auto saved_norm = norm;
  std::vector<double> d_v(v.size()), d_g(g.size());
  oracle.weight_norm_backward(matrix(d_v, m, d), vector(d_g), matrix(d_y, m, d), matrix(std::as_const(v), m, d),
                              vector(std::as_const(g)), vector(saved_norm));
  check_gradient("weight_norm v", v, d_v, value);
  check_gradient("weight_norm g", g, d_g, value);
}

TEST_CASE("gradients of cross-entropy", "[backend][gradients]") {
  const Index m = 4, p = 6;
  auto logits = random_numbers(m * p, 1);
  auto targets = random_numbers(3 * p, 2);
  for (double& t : targets) t = std::abs(t);
  for (Index r = 0; r < 3; ++r) {
    double sum = 0;
    for (Index c = 0; c < p; ++c) sum += targets[static_cast<std::size_t>(r * p + c)];
    for (Index c = 0; c < p; ++c) targets[static_cast<std::size_t>(r * p + c)] /= sum;
  }
  const std::vector<dssl::TargetRows> rows{{0, 1}, {-1, 2}, {1, 1}, {-1, -1}};
  const VectorView<const dssl::TargetRows> target_rows(rows.data(), m);
  constexpr double scale = 0.3;
  std::vector<double> loss(static_cast<std::size_t>(m));
  auto d_logits = infinities(logits.size());
  const auto value = [&] {
    auto gradient = infinities(logits.size());
    oracle.cross_entropy(vector(loss), matrix(gradient, m, p), matrix(std::as_const(logits), m, p),
                         matrix(std::as_const(targets), 3, p), target_rows, 0.5, scale);
    double sum = 0;
    for (const double l : loss) sum += scale * l;
    return sum;
  };
  oracle.cross_entropy(vector(loss), matrix(d_logits, m, p), matrix(std::as_const(logits), m, p),
                       matrix(std::as_const(targets), 3, p), target_rows, 0.5, scale);
  check_gradient("logits", logits, d_logits, value);
}

namespace {

template <class B>
void check_prototype_loss(const B& backend, const std::vector<dssl::TargetRows>& rows, Index prototypes) {
  INFO(backend.describe() << ", " << rows.size() << " rows on " << prototypes << " prototypes");
  const auto m = static_cast<Index>(rows.size());
  const Index n = 3, d = 4, p = prototypes;
  auto unit = random_numbers(m * d, 1, 0.4), v = random_numbers(p * d, 2), g = random_numbers(p, 3);
  const auto t_unit = random_numbers(n * d, 4, 0.4), t_v = random_numbers(p * d, 5), centre = random_numbers(p, 6);
  const auto weights = random_numbers(m, 7, 0.5);
  std::vector<double> loss(rows.size()), entropy(3), sum(static_cast<std::size_t>(p));
  const std::size_t bytes = dssl::prototype_loss_workspace(backend, std::span<const dssl::TargetRows>(rows), n, p, d);
  const dssl::Buffer workspace = backend.allocate(bytes);
  const dssl::PrototypeLossNumbers numbers{.teacher_temperature = 0.7, .student_temperature = 0.3, .scale = 0.6};
  const auto run = [&](std::vector<double>& d_unit, std::vector<double>& d_v, std::vector<double>& d_g) {
    dssl::prototype_loss(
        backend,
        dssl::PrototypeLossResult<double>{vector(loss), vector(entropy), matrix(d_unit, m, d), matrix(d_v, p, d),
                                          vector(d_g), vector(sum)},
        dssl::PrototypeRows<double>{matrix(std::as_const(unit), m, d), matrix(std::as_const(v), p, d),
                                    vector(std::as_const(g))},
        dssl::PrototypeRows<double>{matrix(t_unit, n, d), matrix(t_v, p, d), {}},
        dssl::PrototypeTargets<double>{vector(centre), VectorView<const dssl::TargetRows>(rows.data(), m), {}, vector(weights)},
        numbers,
        VectorView<std::byte>(workspace.data(), static_cast<Index>(bytes)));
    double total = 0;
    for (std::size_t i = 0; i < loss.size(); ++i) total += numbers.scale * weights[i] * loss[i];
    return total;
  };
  auto d_unit = infinities(unit.size());
  std::vector<double> d_v(v.size()), d_g(g.size());
  run(d_unit, d_v, d_g);
  const auto value = [&] {
    auto other_unit = infinities(unit.size());
    std::vector<double> other_v(v.size()), other_g(g.size());
    return run(other_unit, other_v, other_g);
  };
  check_gradient("unit vectors", unit, d_unit, value);
  check_gradient("prototypes", v, d_v, value);
  check_gradient("norms", g, d_g, value);
}

}  // namespace

TEST_CASE("gradients of the loss over prototypes", "[backend][gradients]") {
  const std::vector<dssl::TargetRows> rows{{0, 1}, {-1, 2}, {2, -1}, {-1, -1}};
  check_prototype_loss(oracle, rows, 7);
  check_prototype_loss(dssl::BasicCpu<double>({.threads = 2}), rows, 7);
  check_prototype_loss(dssl::BasicCpu<double>({.threads = 2}), {{2, -1}, {0, -1}, {1, -1}}, 203);
}

TEST_CASE("a unit vector that is not a number makes the loss over prototypes none", "[backend]") {
  const std::vector<dssl::TargetRows> rows{{0, -1}, {1, -1}};
  const Index p = 500, d = 20;
  const std::size_t bytes = dssl::Cpu().prototype_loss_workspace(rows, 2, p, d);
  for (const bool teacher : {false, true}) {
    const dssl::Cpu cpu({.threads = 2});
    const auto floats = [](Index count, std::uint64_t seed) {
      const auto drawn = random_numbers(count, seed, 0.2);
      return std::vector<float>(drawn.begin(), drawn.end());
    };
    auto unit = floats(2 * d, 1), t_unit = floats(2 * d, 2), v = floats(p * d, 3), centre = floats(p, 4);
    (teacher ? t_unit : unit)[25] = std::numeric_limits<float>::quiet_NaN();
    std::vector<float> loss(2), entropy(2), d_unit(unit.size()), d_v(v.size()), sum(centre.size());
    const dssl::Buffer workspace = cpu.allocate(bytes);
    const dssl::MatrixView<const float> prototypes(v.data(), p, d);
    cpu.prototype_loss({VectorView<float>(loss.data(), 2), VectorView<float>(entropy.data(), 2),
                        MatrixView<float>(d_unit.data(), 2, d), MatrixView<float>(d_v.data(), p, d), {},
                        VectorView<float>(sum.data(), p)},
                       {MatrixView<const float>(unit.data(), 2, d), prototypes, {}},
                       {MatrixView<const float>(t_unit.data(), 2, d), prototypes, {}},
                       {VectorView<const float>(centre.data(), p),
                        VectorView<const dssl::TargetRows>(rows.data(), 2), {}},
                       {}, VectorView<std::byte>(workspace.data(), static_cast<Index>(bytes)));
    CHECK(std::isfinite(loss[0]));
    CHECK(std::isnan(loss[1]));
  }
}
