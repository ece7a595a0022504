// Gradients of the block and of the projection head against central differences, in double.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../gradient_check.hpp"
#include "catch.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/nn/block.hpp>
#include <dssl/nn/head.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/nn/prototype_loss.hpp>
#include <dssl/nn/token_layout.hpp>

using namespace dssl;
using dssl::test::fill_normal;
using dssl::test::gradient_difference;
using dssl::test::normal_values;

namespace {

using Span = std::span<double>;

Span tensor(VectorView<double> flat, const ParameterSpec& spec) {
  return flat.flat().subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size));
}

/// Calls place(arena) measuring and live, over doubles that all begin as infinity: what a pass reads, it must
/// have written.
template <class Place>
Buffer place_over_infinity(const Reference<double>& backend, const Place& place) {
  Arena measure;
  place(measure);
  Buffer buffer = backend.allocate(measure.high_water());
  std::fill_n(reinterpret_cast<double*>(buffer.data()), buffer.bytes() / sizeof(double),
              std::numeric_limits<double>::infinity());
  Arena live(buffer);
  place(live);
  return buffer;
}

/// Weights around 0, but for scales of norms around 1.
void draw_weights(VectorView<double> weights, const ParameterLayout& layout) {
  std::uint64_t seed = 100;
  std::fill(weights.flat().begin(), weights.flat().end(), 0.0);
  for (const auto& spec : layout.specs()) {
    fill_normal(tensor(weights, spec), seed++, 0.4, spec.initial == InitialValues::one ? 1.0 : 0.0);
  }
}

/// Checks every tensor's gradient in `gradients`, which held `before` when the backward pass added to it. Those of
/// `unfelt` tensors must be zero but for rounding.
template <class Loss>
void check_parameters(const ParameterLayout& layout, VectorView<double> weights, VectorView<double> gradients,
                      const std::vector<double>& before, const Loss& loss,
                      const std::set<std::string>& unfelt = {}) {
  std::uint64_t seed = 500;
  for (const auto& spec : layout.specs()) {
    INFO("gradient of " << spec.name.view());
    std::vector<double> added(tensor(gradients, spec).begin(), tensor(gradients, spec).end());
    for (std::size_t i = 0; i < added.size(); ++i) added[i] -= before[static_cast<std::size_t>(spec.offset) + i];
    if (!spec.trained) {
      CHECK(std::all_of(added.begin(), added.end(), [](double v) { return v == 0; }));
      continue;
    }
    const auto found = gradient_difference(tensor(weights, spec), added, loss, seed++, 2);
    INFO("norm " << found.norm << ", difference " << found.difference);
    if (unfelt.contains(std::string(spec.name.view()))) {
      CHECK(found.norm < 1e-12);
    } else {
      CHECK(found.norm > 1e-3);
    }
    CHECK(found.small());
  }
}

template <AttentionRelation R>
void check_block(GroupSet reads, bool last, bool with_keep) {
  const Reference<double> backend;
  const BlockSize size{.width = 6, .heads = 2, .hidden = 10};
  ParameterLayout layout;
  add_block_parameters(layout, size);
  const TokenLayout tokens({{.count = 2, .grid = {2, 2}, .references = 3}, {.count = 1, .grid = {1, 3}, .references = 2}},
                           reads);
  const Index rows = tokens.rows();
  const Index tail = last ? tokens.read_count() : rows;

  DeviceTokenLayout device;
  Arena measure;
  device = DeviceTokenLayout::place(backend, measure, tokens);
  const Buffer indices = backend.allocate(measure.high_water());
  Arena live(indices);
  device = DeviceTokenLayout::place(backend, live, tokens);

  VectorView<double> weights, gradients;
  MatrixView<double> x, branch;
  BlockScratch<double> scratch;
  BlockActivations<double> a;
  BlockGradients<double> g;
  const Buffer memory = place_over_infinity(backend, [&](Arena& arena) {
    weights = arena.vector<double>(layout.total());
    gradients = arena.vector<double>(layout.total());
    x = arena.matrix<double>(rows, size.width);
    branch = arena.matrix<double>(rows, size.width);
    scratch = BlockScratch<double>::take(arena, size, rows);
    a = BlockActivations<double>::saved(arena, size, scratch, tail, last);
    g = BlockGradients<double>::take(arena, size, rows, tokens.read_count());
  });
  draw_weights(weights, layout);
  fill_normal(x.flat(), 1);
  const std::vector<double> before = normal_values(static_cast<std::size_t>(layout.total()), 2);
  std::copy(before.begin(), before.end(), gradients.flat().begin());
  const std::vector<double> upstream = normal_values(static_cast<std::size_t>(tail * size.width), 3);
  const std::vector<double> multipliers{0.0, 1.25, 0.5, 1.5, 0.0, 2.0};
  BranchKeep<double> keep;
  if (with_keep) keep = {VectorView<const double>(multipliers.data(), 3), VectorView<const double>(multipliers.data() + 3, 3)};

  ParameterCursor<const double> weight_cursor(layout, weights.data());
  ParameterCursor<double> gradient_cursor(layout, gradients.data());
  const auto p = BlockParameters<const double>::bind(weight_cursor);
  const auto d_p = BlockParameters<double>::bind(gradient_cursor);
  const auto loss = [&] {
    norm_alone(backend, MatrixView<const double>(x), first_norm(a, p, keep));
    block_forward<R>(backend, a, MatrixView<const double>(x), p, size, device, keep, branch, reads, last);
    return test::dot(a.out.flat(), upstream);
  };
  loss();
  std::copy(upstream.begin(), upstream.end(), (last ? g.d_tail : g.d_x).data());
  branch_alone(backend, last ? g.d_tail : g.d_x, mlp_branch(g, d_p, a, device, keep, last));
  block_backward<R>(backend, g, d_p, a, scratch, MatrixView<const double>(x), p, size, device, keep, reads, last);

  const auto d_x = gradient_difference(x.flat(), g.d_x.flat(), loss, 4, 4);
  CHECK(d_x.norm > 1e-3);
  CHECK(d_x.small());
  check_parameters(layout, weights, gradients, before, loss);
}

void check_head(Index layers, bool learned_norm, bool batch_norm = false) {
  INFO(layers << " layers, learned norm " << learned_norm << ", batch norm " << batch_norm);
  const Reference<double> backend;
  const Index width = 5;
  const Index rows = batch_norm ? 9 : 4;
  const HeadConfig config{.layers = layers,
                          .hidden = 7,
                          .bottleneck = 6,
                          .prototypes = 9,
                          .learned_norm = learned_norm,
                          .batch_norm = batch_norm};
  ParameterLayout layout;
  add_head_parameters(layout, config, width, "head.");

  VectorView<double> weights, gradients;
  HeadActivations<double> a;
  HeadGradients<double> g;
  NormalisedPrototypes<double> normalised;
  MatrixView<double> logits, d_prototypes;
  const Buffer memory = place_over_infinity(backend, [&](Arena& arena) {
    weights = arena.vector<double>(layout.total());
    gradients = arena.vector<double>(layout.total());
    a = HeadActivations<double>::take(arena, config, width, arena.matrix<double>(rows, config.bottleneck));
    g = HeadGradients<double>::take(arena, config, width, rows);
    normalised = NormalisedPrototypes<double>::take(arena, config.prototypes, config.bottleneck);
    logits = arena.matrix<double>(rows, config.prototypes);
    d_prototypes = arena.matrix<double>(config.prototypes, config.bottleneck);
  });
  draw_weights(weights, layout);
  fill_normal(a.x.flat(), 1);
  const std::vector<double> before = normal_values(static_cast<std::size_t>(layout.total()), 2);
  std::copy(before.begin(), before.end(), gradients.flat().begin());
  const std::vector<double> upstream = normal_values(static_cast<std::size_t>(rows * config.prototypes), 3);

  ParameterCursor<const double> weight_cursor(layout, weights.data());
  ParameterCursor<double> gradient_cursor(layout, gradients.data());
  const auto p = HeadParameters<const double>::bind(weight_cursor, config);
  const auto d_p = HeadParameters<double>::bind(gradient_cursor, config);
  const PrototypeRows<double> prototypes{a.unit, p.prototypes, p.prototype_norm};
  const auto loss = [&] {
    head_forward(backend, a, p);
    prototype_logits(backend, logits, normalised, prototypes);
    return test::dot(logits.flat(), upstream);
  };
  loss();
  prototype_logits_backward(backend, g.d_unit, d_p.prototypes, learned_norm ? d_p.prototype_norm : VectorView<double>{},
                            d_prototypes, MatrixView<const double>(upstream.data(), rows, config.prototypes),
                            normalised, prototypes);
  head_backward(backend, g, d_p, a, p);

  const auto d_x = gradient_difference(a.x.flat(), g.d_x.flat(), loss, 4, 4);
  CHECK(d_x.norm > 1e-3);
  CHECK(d_x.small());
  // A batch norm takes away what the bias before it adds to every row.
  std::set<std::string> unfelt;
  for (Index i = 0; batch_norm && i + 1 < layers; ++i) unfelt.insert("head.mlp." + std::to_string(3 * i) + ".bias");
  check_parameters(layout, weights, gradients, before, loss, unfelt);
}

/// A head of three layers with batch norm against the same written out.
template <class B>
void check_head_with_batch_norm(const B& backend, double tolerance) {
  using T = typename B::Scalar;
  using Rows = std::vector<std::vector<double>>;
  INFO(backend.describe());
  const Index width = 5;
  const std::size_t count = 40;
  const HeadConfig config{.layers = 3, .hidden = 7, .bottleneck = 6, .prototypes = 9, .batch_norm = true};
  ParameterLayout layout;
  add_head_parameters(layout, config, width, "");
  std::vector<double> drawn(static_cast<std::size_t>(layout.total()));
  draw_weights(VectorView<double>(drawn.data(), layout.total()), layout);
  const std::vector<double> in = normal_values(count * static_cast<std::size_t>(width), 1);

  HeadActivations<T> a;
  VectorView<T> weights;
  const auto place = [&](Arena& arena) {
    weights = arena.vector<T>(layout.total());
    a = HeadActivations<T>::take(arena, config, width,
                                 arena.matrix<T>(static_cast<Index>(count), config.bottleneck));
  };
  Arena measure;
  place(measure);
  const Buffer memory = backend.allocate(measure.high_water());
  Arena live(memory);
  place(live);
  std::transform(drawn.begin(), drawn.end(), weights.data(), [](double v) { return static_cast<T>(v); });
  std::transform(in.begin(), in.end(), a.x.data(), [](double v) { return static_cast<T>(v); });
  ParameterCursor<const T> cursor(layout, weights.data());
  head_forward(backend, a, HeadParameters<const T>::bind(cursor, config));

  const auto values = [&](const std::string& name) { return tensor(VectorView<double>(drawn.data(), layout.total()), layout.find(name)); };
  Rows x(count);
  for (std::size_t m = 0; m < count; ++m) {
    x[m].assign(in.begin() + static_cast<std::ptrdiff_t>(m) * width, in.begin() + static_cast<std::ptrdiff_t>(m + 1) * width);
  }
  const auto linear = [&](const std::string& name) {
    const auto weight = values(name + ".weight");
    const auto bias = values(name + ".bias");
    for (auto& row : x) {
      std::vector<double> out(bias.begin(), bias.end());
      for (std::size_t o = 0; o < out.size(); ++o) {
        for (std::size_t i = 0; i < row.size(); ++i) out[o] += weight[o * row.size() + i] * row[i];
      }
      row = out;
    }
  };
  const auto norm_and_gelu = [&](const std::string& name) {
    const auto gamma = values(name + ".weight");
    const auto beta = values(name + ".bias");
    for (std::size_t d = 0; d < gamma.size(); ++d) {
      double mean = 0;
      for (const auto& row : x) mean += row[d] / static_cast<double>(count);
      double variance = 0;
      for (const auto& row : x) variance += (row[d] - mean) * (row[d] - mean) / static_cast<double>(count);
      for (auto& row : x) {
        const double y = (row[d] - mean) / std::sqrt(variance + 1e-5) * gamma[d] + beta[d];
        row[d] = y * 0.5 * (1 + std::erf(y / std::sqrt(2.0)));
      }
    }
  };
  linear("mlp.0");
  norm_and_gelu("mlp.1");
  linear("mlp.3");
  norm_and_gelu("mlp.4");
  linear("mlp.6");
  double off = 0;
  for (std::size_t m = 0; m < count; ++m) {
    const double length = std::sqrt(test::dot(x[m], x[m]));
    for (std::size_t d = 0; d < x[m].size(); ++d) {
      const auto got = static_cast<double>(a.unit(static_cast<Index>(m), static_cast<Index>(d)));
      off = std::max(off, std::abs(got - x[m][d] / length));
    }
  }
  CHECK(off <= tolerance);
}

}  // namespace

TEST_CASE("a block's gradients are its slopes") {
  SECTION("every row goes on") {
    for (const bool keep : {false, true}) {
      INFO("keep " << keep);
      check_block<private_relation>(all_groups, false, keep);
      check_block<open_relation>(all_groups, false, keep);
    }
  }
  SECTION("the last block, of which some rows are read") {
    for (const GroupSet reads : {GroupSet{.class_token = true}, GroupSet{.reference = true},
                                 GroupSet{.class_token = true, .reference = true},
                                 GroupSet{.class_token = true, .patch = true}, all_groups}) {
      INFO("reads class " << reads.class_token << ", reference " << reads.reference << ", patch " << reads.patch);
      for (const bool keep : {false, true}) {
        INFO("keep " << keep);
        check_block<private_relation>(reads, true, keep);
        check_block<all_query_relation>(reads, true, keep);
      }
    }
  }
}

TEST_CASE("a projection head's gradients are its slopes") {
  for (const Index layers : {1, 2, 3, 4}) {
    check_head(layers, false);
    check_head(layers, true);
  }
}

TEST_CASE("a head's gradients with batch norm are its slopes") {
  for (const Index layers : {1, 2, 3}) {
    check_head(layers, false, true);
    check_head(layers, true, true);
  }
}

TEST_CASE("a head with batch norm norms each channel over all its rows") {
  check_head_with_batch_norm(Reference<double>(), 1e-12);
  check_head_with_batch_norm(Reference<float>(), 1e-5);
  check_head_with_batch_norm(Cpu({.threads = 2}), 1e-5);
}

TEST_CASE("a head without batch norm takes no memory for it") {
  const auto bytes = [](bool batch_norm) {
    const HeadConfig config{.layers = 3, .hidden = 64, .bottleneck = 16, .prototypes = 32, .batch_norm = batch_norm};
    Arena measure;
    const auto a = HeadActivations<float>::take(measure, config, 16, measure.matrix<float>(32, config.bottleneck));
    CHECK(a.normed.size() == (batch_norm ? 2 : 0));
    return measure.high_water();
  };
  CHECK(bytes(true) == bytes(false) + 2 * (32 * 64 + 2 * 64) * sizeof(float));
}
