// Work that is not done: dropped branches, and what is computed again instead of kept.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "../gradient_check.hpp"
#include "backbone/vit_runner.hpp"
#include "catch.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>

using namespace dssl;

namespace {

constexpr ViTConfig config{.image = 8, .patch = 2, .width = 24, .depth = 3, .heads = 2, .mlp_ratio = 2, .channels = 2};
const std::vector<ViewGroup> two_sizes{{.count = 3, .grid = {3, 4}, .references = 3},
                                       {.count = 2, .grid = {5, 2}, .references = 2}};
constexpr Index sequences = 5;

/// The Cpu backend without its optional operations: the primitives alone.
template <class T>
struct PlainCpu : BasicCpu<T> {
  using BasicCpu<T>::BasicCpu;
  void residual_norm_forward() const {}
  void gelu_again_backward() const {}
};
static_assert(Backend<PlainCpu<double>> && !ResidualNorms<PlainCpu<double>> && !GeluAgain<PlainCpu<double>>);

/// The Cpu backend, counting the rows that go through linear layers, forward and backward.
struct CountingCpu : BasicCpu<double> {
  using BasicCpu<double>::BasicCpu;
  void linear_forward(Matrix y, ConstMatrix x, ConstMatrix weight, ConstVector bias) const {
    *forward_rows += x.rows();
    BasicCpu<double>::linear_forward(y, x, weight, bias);
  }
  void linear_backward_input(Matrix d_x, ConstMatrix d_y, ConstMatrix weight) const {
    *backward_rows += d_y.rows();
    BasicCpu<double>::linear_backward_input(d_x, d_y, weight);
  }
  void linear_backward_weight(Matrix d_weight, Vector d_bias, ConstMatrix d_y, ConstMatrix x) const {
    *backward_rows += d_y.rows();
    BasicCpu<double>::linear_backward_weight(d_weight, d_bias, d_y, x);
  }
  std::shared_ptr<Index> forward_rows = std::make_shared<Index>(0);
  std::shared_ptr<Index> backward_rows = std::make_shared<Index>(0);
};

template <class B>
void draw(test::VitRunner<B>& runner) {
  using T = typename B::Scalar;
  std::mt19937_64 random(5);
  std::normal_distribution<double> normal;
  for (const auto& spec : runner.parameters().specs()) {
    for (Index i = 0; i < spec.size; ++i) {
      runner.weights()[static_cast<std::size_t>(spec.offset + i)] =
          static_cast<T>((spec.initial == InitialValues::one ? 1.0 : 0.0) + 0.3 * normal(random));
    }
  }
  for (std::size_t g = 0; g < two_sizes.size(); ++g) {
    for (T& v : runner.image(g)) v = static_cast<T>(normal(random));
  }
  std::vector<double> points;
  for (Index i = 0; i < 2 * runner.tokens().reference_count(); ++i) points.push_back(0.5 * normal(random));
  runner.points(std::span<const double>(points));
  runner.content(std::span<const double>(points), true);
}

/// What a pass gives: output rows, then gradients.
template <AttentionRelation R, class B>
std::vector<double> outcome(test::VitRunner<B>& runner, const std::vector<double>& keep, bool set) {
  using T = typename B::Scalar;
  const std::vector<T> multipliers(keep.begin(), keep.end());
  std::vector<BranchKeep<T>> unset;
  for (std::size_t i = 0; !set && i < static_cast<std::size_t>(config.depth); ++i) {
    const T* at = multipliers.data() + 2 * i * sequences;
    unset.push_back({VectorView<const T>(at, sequences), VectorView<const T>(at + sequences, sequences)});
  }
  const std::span<const BranchKeep<T>> branches =
      set ? runner.branches(std::span<const T>(multipliers)) : std::span<const BranchKeep<T>>(unset);
  const auto out = runner.template forward<R>(branches);
  std::vector<T> upstream;
  for (const double v : test::normal_values(static_cast<std::size_t>(out.size()), 7)) {
    upstream.push_back(static_cast<T>(v));
  }
  std::vector<double> all(out.flat().begin(), out.flat().end());
  runner.template backward<R>(MatrixView<const T>(upstream.data(), out.rows(), out.cols()), false, branches);
  all.insert(all.end(), runner.gradients().begin(), runner.gradients().end());
  return all;
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double off = std::abs(a[i] - b[i]);
    if (!(off <= largest)) largest = off;
  }
  return largest;
}

/// Some ways of dropping: nothing, all of it, single sequences, whole branches.
std::vector<std::vector<double>> ways_to_drop() {
  const auto count = static_cast<std::size_t>(2 * config.depth * sequences);
  std::vector<std::vector<double>> ways{std::vector<double>(count, 1.0), std::vector<double>(count, 0.0),
                                        std::vector<double>(count, 1.25)};
  std::mt19937_64 random(3);
  for (int way = 0; way < 6; ++way) {
    std::vector<double> keep(count);
    for (std::size_t i = 0; i < count; ++i) {
      const bool whole_branch = static_cast<int>(i / sequences) == way;
      keep[i] = whole_branch || random() % 3 == 0 ? 0.0 : 1.0 + 0.25 * static_cast<double>(random() % 3);
    }
    ways.push_back(keep);
  }
  return ways;
}

constexpr GroupSet readings[] = {{.class_token = true}, {.class_token = true, .reference = true},
                                 {.class_token = true, .patch = true}, all_groups};

}  // namespace

TEST_CASE("a dropped branch is not computed, and changes nothing") {
  for (const GroupSet reads : readings) {
    INFO("reads reference " << reads.reference << ", patch " << reads.patch);
    test::VitRunner<Reference<double>> oracle({}, config, true, two_sizes, reads);
    test::VitRunner<PlainCpu<double>> plain(PlainCpu<double>({.threads = 1}), config, true, two_sizes, reads);
    const CountingCpu counting({.threads = 2});
    test::VitRunner<CountingCpu> cpu(counting, config, true, two_sizes, reads);
    draw(oracle);
    draw(plain);
    draw(cpu);
    const TokenLayout& tokens = cpu.tokens();
    const auto rows_of = [&](std::size_t branch, const std::vector<double>& keep, std::span<const std::int32_t> of) {
      return std::count_if(of.begin(), of.end(), [&](std::int32_t s) {
        return keep[branch * sequences + static_cast<std::size_t>(s)] != 0;
      });
    };
    for (const std::vector<double>& keep : ways_to_drop()) {
      const auto expected = outcome<private_relation>(oracle, keep, false);
      CHECK(largest_difference(outcome<private_relation>(oracle, keep, true), expected) == 0);
      CHECK(largest_difference(outcome<private_relation>(plain, keep, true), expected) < 1e-10);
      // Multipliers alone, without rows that are left out: the same numbers by another way.
      CHECK(largest_difference(outcome<private_relation>(cpu, keep, false), expected) < 1e-10);
      *counting.forward_rows = 0;
      *counting.backward_rows = 0;
      CHECK(largest_difference(outcome<private_relation>(cpu, keep, true), expected) < 1e-10);

      Index wanted = 0;  // qkv and projection, first and second layer of the MLP
      for (Index i = 0; i < config.depth; ++i) {
        const bool last = i + 1 == config.depth;
        const auto beyond = last ? tokens.sequence_of_read_row() : tokens.sequence_of_row();
        const auto branch = static_cast<std::size_t>(2 * i);
        wanted += rows_of(branch, keep, tokens.sequence_of_row()) + rows_of(branch, keep, beyond) +
                  2 * rows_of(branch + 1, keep, beyond);
      }
      CHECK(*counting.forward_rows == wanted + tokens.patch_count());
      CHECK(*counting.backward_rows == 2 * wanted + tokens.patch_count());
    }
  }
}

TEST_CASE("a block more keeps ten numbers a token and channel, and a few a token") {
  const auto bytes_of = [](Index depth) {
    ViTConfig deep = config;
    deep.mlp_ratio = 4;
    deep.depth = depth;
    Arena measure;
    static_cast<void>(ViTActivations<float>::take(measure, deep, TokenLayout(two_sizes, {.class_token = true}), true));
    return measure.high_water();
  };
  const TokenLayout tokens(two_sizes, {.class_token = true});
  const auto rows = static_cast<std::size_t>(tokens.rows());
  const auto width = static_cast<std::size_t>(config.width);
  // Logs of attention's sums a head, two norms' means and deviations; buffers begin at whole cache lines.
  const std::size_t few = rows * (static_cast<std::size_t>(config.heads) + 4) + 9 * Arena::alignment / sizeof(float);
  CHECK(bytes_of(5) - bytes_of(4) <= (10 * rows * width + few) * sizeof(float));
  CHECK(bytes_of(5) - bytes_of(4) >= 10 * rows * width * sizeof(float));
}

namespace {

template <class B>
void check_recompute(const B& backend) {
  for (const GroupSet reads : readings) {
    INFO("reads reference " << reads.reference << ", patch " << reads.patch << " on " << backend.describe());
    test::VitRunner<B> kept(backend, config, true, two_sizes, reads);
    test::VitRunner<B> again(backend, config, true, two_sizes, reads, true, true);
    draw(kept);
    draw(again);
    CHECK(again.bytes() < kept.bytes());
    for (const std::vector<double>& keep : ways_to_drop()) {
      const auto expected = outcome<private_relation>(kept, keep, true);
      CHECK(std::any_of(expected.begin(), expected.end(), [](double v) { return std::abs(v) > 0.1; }));
      CHECK((outcome<private_relation>(again, keep, true) == expected));
    }
  }
}

}  // namespace

TEST_CASE("activations computed again give the same bits") {
  check_recompute(Reference<double>());
  check_recompute(Cpu({.threads = 2}));
  check_recompute(PlainCpu<float>({.threads = 1}));
}

TEST_CASE("references with content: every number of threads gives the same bits, and the oracle's numbers") {
  const std::vector<double> none = ways_to_drop().front();
  test::VitRunner<Reference<double>> oracle({}, config, true, two_sizes, all_groups);
  draw(oracle);
  const auto expected = outcome<private_relation>(oracle, none, false);
  std::vector<double> bits;
  for (const int threads : {1, 2, 4}) {
    test::VitRunner<Cpu> cpu(Cpu({.threads = threads}), config, true, two_sizes, all_groups);
    draw(cpu);
    const auto got = outcome<private_relation>(cpu, none, false);
    CHECK(largest_difference(got, expected) < 2e-3);
    if (bits.empty()) bits = got;
    CHECK((got == bits));
  }
}
