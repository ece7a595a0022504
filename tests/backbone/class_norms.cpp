// Last norms of class tokens' own: slopes, which rows go through which, one backend against another.
#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "../compare.hpp"
#include "../gradient_check.hpp"
#include "backbone/vit_runner.hpp"
#include "catch.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>

using namespace dssl;
using dssl::test::gradient_difference;
using dssl::test::normal_values;
using dssl::test::relative_difference;

namespace {

constexpr GroupSet class_and_patches{.class_token = true, .patch = true};

/// Two global views, and a local one of another size.
const std::vector<ViewGroup> views{{.count = 2, .grid = {3, 4}, .references = 1, .registers = 2},
                                   {.count = 3, .grid = {2, 2}, .references = 1, .registers = 2, .local = true}};

/// The same, of which registers are read too: of all, or of the local one.
std::vector<ViewGroup> views_with_registers(bool all) {
  std::vector<ViewGroup> groups = views;
  groups[0].registers_read = all;
  groups[1].registers_read = true;
  return groups;
}

/// Which class tokens have a norm of their own.
struct OwnNorms {
  bool classes = false, locals = false;
};
/// Both, and each without the other.
constexpr std::array<OwnNorms, 3> own_norms{{{true, true}, {true, false}, {false, true}}};

ViTConfig config_of(bool own, bool local) {
  return {.image = 8,
          .patch = 2,
          .width = 8,
          .depth = 2,
          .heads = 2,
          .mlp_ratio = 2,
          .channels = 2,
          .registers = 2,
          .class_norm = own,
          .local_class_norm = local};
}

template <class T>
std::span<T> tensor(std::span<T> flat, const ParameterSpec& spec) {
  return flat.subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size));
}

/// Weights that are the same for a tensor of the same name, images and points.
template <class B>
void draw(test::VitRunner<B>& runner) {
  using T = typename B::Scalar;
  for (const auto& spec : runner.parameters().specs()) {
    std::uint64_t seed = 7;
    for (const char c : spec.name.view()) seed = 31 * seed + static_cast<unsigned char>(c);
    const auto values = normal_values(static_cast<std::size_t>(spec.size), seed, 0.4);
    const double about = spec.initial == InitialValues::one ? 1 : 0;
    const std::span<T> to = tensor<T>(runner.weights(), spec);
    for (std::size_t i = 0; i < values.size(); ++i) to[i] = static_cast<T>(values[i] + about);
  }
  for (std::size_t g = 0; g < views.size(); ++g) {
    const auto values = normal_values(runner.image(g).size(), 1000 + g);
    std::transform(values.begin(), values.end(), runner.image(g).begin(), [](double v) { return static_cast<T>(v); });
  }
  const auto points = normal_values(static_cast<std::size_t>(2 * runner.tokens().reference_count()), 5, 0.5);
  runner.points(std::span<const double>(points));
}

template <class B>
std::vector<typename B::Scalar> upstream_of(const test::VitRunner<B>& runner) {
  const auto values = normal_values(static_cast<std::size_t>(runner.activations().out.size()), 7);
  return {values.begin(), values.end()};
}

/// Multipliers of branches: some are dropped.
template <class T>
std::vector<T> keep_of(std::size_t size) {
  std::vector<T> keep(size, T{1});
  for (std::size_t i = 0; i < keep.size(); i += 4) keep[i] = i % 8 == 0 ? T{0} : T(1.5);
  return keep;
}

template <class B>
void check_backend(const B& backend, const ViTConfig& config, bool drop) {
  using T = typename B::Scalar;
  INFO(backend.describe() << ", " << ViTFamily::describe(config) << ", branches dropped " << drop);
  const std::vector<ViewGroup> groups = drop ? views_with_registers(false) : views;
  test::VitRunner<Reference<double>> oracle({}, config, true, groups, class_and_patches);
  test::VitRunner<B> runner(backend, config, true, groups, class_and_patches);
  draw(oracle);
  draw(runner);
  // Branches that are dropped, too: each backend leaves out the rows that nobody computes in its own way.
  const auto size = static_cast<std::size_t>(2 * config.depth * runner.tokens().sequence_count());
  const auto kept = keep_of<double>(size);
  const auto same = keep_of<T>(size);
  const auto of_oracle = drop ? oracle.branches(kept) : std::span<const BranchKeep<double>>();
  const auto branches = drop ? runner.branches(same) : std::span<const BranchKeep<T>>();
  const auto expected = oracle.template forward<private_relation>(of_oracle);
  const auto out = runner.template forward<private_relation>(branches);
  CHECK(relative_difference<T, double>(out.flat(), expected.flat()) < 1e-5);
  const auto d_expected = upstream_of(oracle);
  const auto d_out = upstream_of(runner);
  oracle.template backward<private_relation>(MatrixView<const double>(d_expected.data(), out.rows(), out.cols()), false, of_oracle);
  runner.template backward<private_relation>(MatrixView<const T>(d_out.data(), out.rows(), out.cols()), false, branches);
  for (const auto& spec : runner.parameters().specs()) {
    if (spec.name.view() == "ref_learn_token") continue;  // nobody reads references here
    INFO("gradient of " << spec.name.view());
    CHECK(relative_difference<T, double>(tensor<T>(runner.gradients(), spec), tensor<double>(oracle.gradients(), spec)) < 1e-4);
  }
}

}  // namespace

TEST_CASE("norms of class tokens' own: all gradients are slopes") {
  for (const auto& [own, local] : own_norms) {
    for (const GroupSet reads : {class_and_patches, GroupSet{.class_token = true}, all_groups}) {
      for (const bool recompute : {false, true}) {
        const ViTConfig config = config_of(own, local);
        INFO(ViTFamily::describe(config) << ", recompute " << recompute);
        test::VitRunner<Reference<double>> runner({}, config, true, recompute ? views_with_registers(false) : views, reads,
                                                  true, recompute);
        draw(runner);
        const auto keep = keep_of<double>(static_cast<std::size_t>(2 * config.depth * runner.tokens().sequence_count()));
        const auto branches = recompute ? runner.branches(keep) : std::span<const BranchKeep<double>>();
        const auto upstream = upstream_of(runner);
        const auto loss = [&] { return test::dot(runner.forward<private_relation>(branches).flat(), upstream); };
        runner.spoil();
        loss();
        const MatrixView<const double> d_out(upstream.data(), runner.tokens().read_count(), config.width);
        runner.backward<private_relation>(d_out, false, branches);
        std::uint64_t seed = 400;
        for (const auto& spec : runner.parameters().specs()) {
          INFO("gradient of " << spec.name.view());
          const auto found = gradient_difference(tensor<double>(runner.weights(), spec),
                                                 tensor<double>(runner.gradients(), spec), loss, seed++);
          INFO("norm " << found.norm << ", difference " << found.difference);
          CHECK(found.small());
          // With class tokens alone, each of which has a norm of its own, the common one has nothing to do.
          const bool unread = (spec.name.view() == "ref_learn_token" && !reads.reference) ||
                              (spec.name.view().starts_with("norm.") && own && !reads.patch);
          CHECK((found.norm > 1e-3 || unread));
        }
      }
    }
  }
}

TEST_CASE("norms of class tokens' own: each token goes through its own") {
  for (const auto& [own, local] : own_norms) {
    const ViTConfig config = config_of(own, local);
    INFO(ViTFamily::describe(config));
    ViTConfig plain_config = config_of(false, false);
    const std::vector<ViewGroup> groups = views_with_registers(true);
    test::VitRunner<Reference<double>> runner({}, config, true, groups, all_groups);
    draw(runner);
    const auto got = runner.forward<private_relation>();
    test::VitRunner<Reference<double>> plain({}, plain_config, true, groups, all_groups, false);
    draw(plain);
    // The first four registers, which are the last rows, are global views', as are the first two class tokens.
    const Index classes = runner.tokens().sequence_count(), registers = got.rows() - runner.tokens().read_register_count();
    REQUIRE(got.rows() - registers == 10);
    for (const std::string norm : {"norm.", "cls_norm.", "local_cls_norm."}) {
      if ((norm == "cls_norm." && !own) || (norm == "local_cls_norm." && !local)) continue;
      INFO(norm);
      for (const std::string part : {"weight", "bias"}) {
        const auto from = tensor<double>(runner.weights(), runner.parameters().find(norm + part));
        std::copy(from.begin(), from.end(), tensor<double>(plain.weights(), plain.parameters().find("norm." + part)).begin());
      }
      const auto expected = plain.forward<private_relation>();
      for (Index row = 0; row < got.rows(); ++row) {
        const bool is_class = row < classes || row >= registers;
        const bool is_local = local && is_class && (row < classes ? row >= 2 : row >= registers + 4);
        const std::string through = is_local ? "local_cls_norm." : is_class && own ? "cls_norm." : "norm.";
        const std::span<const double> is(got.row(row), 8), of(expected.row(row), 8);
        CHECK((relative_difference<double, double>(is, of) < 1e-14) == (through == norm));
      }
    }
  }
}

TEST_CASE("norms of class tokens' own: names, first values, sizes in words, backends") {
  const ParameterLayout layout = vit_layout(config_of(true, true));
  CHECK(layout.size() == vit_layout(config_of(false, false)).size() + 4);
  std::vector<double> flat(static_cast<std::size_t>(layout.total()));
  initialise(std::span<double>(flat), layout, 3);
  for (const std::string norm : {"cls_norm.", "local_cls_norm."}) {
    CHECK_FALSE(layout.find(norm + "weight").decayed());
    for (const double v : tensor<double>(flat, layout.find(norm + "weight"))) CHECK(v == 1);
    for (const double v : tensor<double>(flat, layout.find(norm + "bias"))) CHECK(v == 0);
  }
  CHECK(ViTFamily::describe(config_of(true, true)).ends_with(", a norm of class tokens, a norm of local class tokens"));
  CHECK(ViTFamily::describe(config_of(false, false)).ends_with(", registers 2"));
  for (const auto& [own, local] : own_norms) {
    for (const bool drop : {false, true}) {
      check_backend(Cpu({.threads = 2}), config_of(own, local), drop);
      check_backend(Reference<float>(), config_of(own, local), drop);
    }
  }
}
