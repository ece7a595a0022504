// A whole small ViT in double: gradients against central differences, packing, and what references change.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "../gradient_check.hpp"
#include "backbone/vit_runner.hpp"
#include "catch.hpp"

#include <dssl/backend/reference.hpp>

using namespace dssl;
using dssl::test::fill_normal;
using dssl::test::gradient_difference;
using dssl::test::normal_values;

namespace {

using Runner = test::VitRunner<Reference<double>>;

constexpr ViTConfig config{.image = 8, .patch = 2, .width = 8, .depth = 2, .heads = 2, .mlp_ratio = 2, .channels = 2};

const std::vector<ViewGroup> two_sizes{{.count = 2, .grid = {3, 4}, .references = 3},
                                       {.count = 1, .grid = {5, 2}, .references = 2}};

// Points of all references of `two_sizes`, some outside the view.
const std::vector<double> points{0.1,  -0.3, -1.1, 0.2, 0.95, 1.2, -0.5, -0.9,  //
                                 0.33, 0.77, -0.2, -1.0, 1.3, -0.1, 0.6, 0.45};

std::span<double> tensor(std::span<double> flat, const ParameterSpec& spec) {
  return flat.subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size));
}

/// Draws weights, images and points. Images of a group start with numbers of their own.
void draw(Runner& runner) {
  std::uint64_t seed = 10;
  for (const auto& spec : runner.parameters().specs()) {
    fill_normal(tensor(runner.weights(), spec), seed++, 0.4, spec.initial == InitialValues::one ? 1.0 : 0.0);
  }
  for (std::size_t g = 0; g < runner.tokens().groups().size(); ++g) fill_normal(runner.image(g), 1000 + g);
  runner.points(std::span(points).first(static_cast<std::size_t>(2 * runner.tokens().reference_count())));
}

/// The points of the references of a runner.
std::span<const double> points_of(const Runner& runner) {
  return std::span(points).first(static_cast<std::size_t>(2 * runner.tokens().reference_count()));
}

/// Multipliers of the residual branches of each block: some dropped, some scaled up.
struct Keep {
  std::vector<double> values;
  std::vector<BranchKeep<double>> branches;

  explicit Keep(Index sequences) {
    const auto each = static_cast<std::size_t>(sequences);
    for (std::size_t i = 0; i < 2 * each * static_cast<std::size_t>(config.depth); ++i) {
      values.push_back(i % 5 == 1 ? 0.0 : 1.0 + 0.25 * static_cast<double>(i % 3));
    }
    for (std::size_t i = 0; i < static_cast<std::size_t>(config.depth); ++i) {
      const double* at = values.data() + 2 * i * each;
      branches.push_back({VectorView<const double>(at, sequences), VectorView<const double>(at + each, sequences)});
    }
  }
};

template <AttentionRelation R>
void check_gradients(GroupSet reads, bool learned, bool with_keep, bool content = false) {
  Runner runner({}, config, learned, two_sizes, reads);
  draw(runner);
  if (content) runner.content(points_of(runner), true);
  const Keep keep(runner.tokens().sequence_count());
  const std::span<const BranchKeep<double>> branches =
      with_keep ? std::span<const BranchKeep<double>>(keep.branches) : std::span<const BranchKeep<double>>();
  const auto size = static_cast<std::size_t>(runner.tokens().read_count() * config.width);
  const std::vector<double> upstream = normal_values(size, 7);
  const auto loss = [&] { return test::dot(runner.forward<R>(branches).flat(), upstream); };
  loss();
  runner.backward<R>(MatrixView<const double>(upstream.data(), runner.tokens().read_count(), config.width), false,
                     branches);
  std::uint64_t seed = 400;
  for (const auto& spec : runner.parameters().specs()) {
    INFO("gradient of " << spec.name.view());
    const auto d_x = tensor(runner.gradients(), spec);
    const auto found = gradient_difference(tensor(runner.weights(), spec), d_x, loss, seed++);
    INFO("norm " << found.norm << ", difference " << found.difference);
    CHECK(found.small());
    // Nobody sees a reference in most relations: unread, its vector has no gradient. All else has one.
    if (spec.name.view() == "ref_learn_token" && !reads.reference && R != open_relation) CHECK(found.norm == 0);
    else CHECK(found.norm > 1e-3);
  }
}

/// Outputs of one sequence: its class row, its reference rows, its patch rows.
std::vector<double> rows_of(const TokenLayout& tokens, MatrixView<const double> out, std::size_t sequence) {
  std::vector<double> rows;
  for (const TokenGroup group : {TokenGroup::class_token, TokenGroup::reference, TokenGroup::patch}) {
    Index first = tokens.output_begin(group);
    for (std::size_t s = 0; s < sequence; ++s) first += tokens.sequences()[s].count(group);
    const auto part = out.rows(first, tokens.sequences()[sequence].count(group));
    rows.insert(rows.end(), part.flat().begin(), part.flat().end());
  }
  return rows;
}

double largest_difference(std::span<const double> a, std::span<const double> b) {
  REQUIRE(a.size() == b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

}  // namespace

TEST_CASE("a ViT's gradients are its slopes") {
  for (const auto& [name, published_name, relation] : named_relations) {
    INFO("relation " << name);
    test::with_relation(std::string(published_name), []<AttentionRelation R>() {
      for (const GroupSet reads : {GroupSet{.class_token = true}, GroupSet{.class_token = true, .reference = true},
                                   GroupSet{.class_token = true, .patch = true}, all_groups}) {
        INFO("reads class " << reads.class_token << ", reference " << reads.reference << ", patch " << reads.patch);
        // Each reading goes with the learned vector or the multipliers, and one with both.
        check_gradients<R>(reads, reads.reference || reads.patch, !reads.reference || reads.patch);
      }
    });
  }
}

TEST_CASE("references with what is embedded at their points: slopes") {
  check_gradients<private_relation>(all_groups, true, true, true);
  check_gradients<private_relation>({.class_token = true, .reference = true}, false, false, true);
  check_gradients<open_relation>({.class_token = true}, true, false, true);
}

TEST_CASE("a reference at a patch's centre begins as that patch, with its content; between patches as a mean of them") {
  const auto row_of = [](const Runner& runner, std::int32_t row) {
    const auto at = runner.activations().x.rows(row, 1).flat();
    return std::vector<double>(at.begin(), at.end());
  };
  // A view of the native size: the table is read there unchanged.
  const GridSize grid = config.native_grid();
  const std::vector<double> centres{-0.25, 0.75, 0, 0.25};  // of cell (3, 1), and half way between (2, 1) and (2, 2)
  Runner runner({}, config, false, {{.count = 2, .grid = grid, .references = 1}}, all_groups);
  draw(runner);
  runner.points(std::span<const double>(centres));
  runner.content(std::span<const double>(centres), true);
  runner.forward<private_relation>();
  const auto& tokens = runner.tokens();
  const auto patch = row_of(runner, tokens.patch_rows()[3 * 4 + 1]);
  CHECK(largest_difference(row_of(runner, tokens.reference_rows()[0]), patch) < 1e-13);

  // Of the second image, 16 patches on: the means of bicubic reads at the middle, -0.09375 and 0.59375 along the row.
  const auto between = row_of(runner, tokens.reference_rows()[1]);
  std::vector<double> expected(between.size(), 0.0);
  const std::vector<double> weights{-0.09375, 0.59375, 0.59375, -0.09375};
  for (std::size_t j = 0; j < 4; ++j) {
    const auto cell = row_of(runner, tokens.patch_rows()[16 + 2 * 4 + j]);
    for (std::size_t d = 0; d < cell.size(); ++d) expected[d] += weights[j] * cell[d];
  }
  CHECK(largest_difference(between, expected) < 1e-13);
}

TEST_CASE("detached content is a vector that the weights do not move") {
  // One reference: content that is held fixed is part of its learned vector.
  const std::vector<ViewGroup> one{{.count = 1, .grid = {3, 4}, .references = 1}};
  Runner runner({}, config, true, one, all_groups), fixed({}, config, true, one, all_groups);
  draw(runner);
  draw(fixed);
  const std::vector<double> upstream =
      normal_values(static_cast<std::size_t>(runner.tokens().read_count() * config.width), 7);
  const MatrixView<const double> d_out(upstream.data(), runner.tokens().read_count(), config.width);
  const auto gradients_of = [&](Runner& of) {
    of.forward<private_relation>();
    const auto tokens = of.activations().out.flat();
    std::vector<double> all(tokens.begin(), tokens.end());
    of.backward<private_relation>(d_out);
    all.insert(all.end(), of.gradients().begin(), of.gradients().end());
    return all;
  };
  const std::vector<double> without = gradients_of(runner);
  runner.content(points_of(runner), false);
  const std::vector<double> detached = gradients_of(runner);
  CHECK(largest_difference(without, detached) > 1e-2);

  const std::int32_t row = runner.tokens().reference_rows()[0];
  const auto with_content = runner.activations().x.rows(row, 1).flat();
  fixed.forward<private_relation>();
  const auto plain = fixed.activations().x.rows(row, 1).flat();
  const auto vector = tensor(fixed.weights(), fixed.parameters().find("ref_learn_token"));
  for (std::size_t d = 0; d < vector.size(); ++d) vector[d] += with_content[d] - plain[d];
  CHECK(largest_difference(gradients_of(fixed), detached) < 1e-11);

  runner.content(points_of(runner), true);
  const std::vector<double> attached = gradients_of(runner);
  const std::size_t outputs = upstream.size();
  for (const auto& spec : runner.parameters().specs()) {
    INFO("gradient of " << spec.name.view());
    const auto part = [&](const std::vector<double>& all) {
      return std::span(all).subspan(outputs + static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size));
    };
    const double difference = largest_difference(part(attached), part(detached));
    if (spec.name.view().starts_with("patch_embed")) CHECK(difference > 1e-3);
    else CHECK(difference == 0);
  }
}

TEST_CASE("registers and masked patches: slopes, and who sees what") {
  ViTConfig with_registers = config;
  with_registers.registers = 2;
  std::vector<ViewGroup> groups = two_sizes;
  for (ViewGroup& group : groups) group.registers = 2;
  const GroupSet reads{.class_token = true, .patch = true};
  const bool all_read = GENERATE(false, true);
  groups[1].patches_read = all_read;
  Runner runner({}, with_registers, LearnedTokens{.mask = true}, groups, reads);
  CHECK(runner.tokens().patch_count() == 2 * 12 + 10);
  CHECK(runner.tokens().read_count() == 3 + 2 * 12 + (all_read ? 10 : 0));
  CHECK(runner.tokens().rows() == 2 * (1 + 2 + 12 + 3) + 1 + 2 + 10 + 2);
  draw(runner);
  runner.spoil();
  const std::vector<std::int32_t> masked{1, 2, 7, 12, 25};
  runner.mask(masked);
  const auto size = static_cast<std::size_t>(runner.tokens().read_count() * config.width);
  const std::vector<double> upstream = normal_values(size, 7);
  const auto loss = [&] { return test::dot(runner.forward<private_relation>().flat(), upstream); };
  const double first = loss();
  runner.backward<private_relation>(MatrixView<const double>(upstream.data(), runner.tokens().read_count(), config.width));
  std::uint64_t seed = 400;
  for (const auto& spec : runner.parameters().specs()) {
    INFO("gradient of " << spec.name.view());
    const auto d_x = tensor(runner.gradients(), spec);
    const auto found = gradient_difference(tensor(runner.weights(), spec), d_x, loss, seed++);
    CHECK(found.small());
    CHECK(found.norm > 1e-3);
  }
  // What lies under a masked patch is not seen: patch 7 is row 1, column 3 of the first image's 3 x 4, 2 x 2 pixels each.
  const auto pixel = static_cast<std::size_t>(2 * 8 + 6);
  runner.image(0)[pixel] += 1;
  CHECK(loss() == first);
  // One that is not masked (patch 8, row 2, column 0) is.
  runner.image(0)[static_cast<std::size_t>(4 * 8)] += 1;
  CHECK(loss() != first);
  // Nothing masked: the token has no gradient, and all pixels are seen.
  runner.mask({});
  const double unmasked = loss();
  runner.image(0)[pixel] += 1;
  CHECK(loss() != unmasked);
  runner.backward<private_relation>(MatrixView<const double>(upstream.data(), runner.tokens().read_count(), config.width));
  const auto token = tensor(runner.gradients(), runner.parameters().find("mask_token"));
  CHECK(std::all_of(token.begin(), token.end(), [](double v) { return v == 0; }));
}

TEST_CASE("a detached point read stops the gradient there and nowhere else") {
  // One reference: what a change of the table does to it, its learned vector can undo.
  Runner runner({}, config, true, {{.count = 1, .grid = {3, 4}, .references = 1}}, all_groups);
  draw(runner);
  const std::vector<double> upstream =
      normal_values(static_cast<std::size_t>(runner.tokens().read_count() * config.width), 7);
  const MatrixView<const double> d_out(upstream.data(), runner.tokens().read_count(), config.width);
  runner.forward<private_relation>();
  runner.backward<private_relation>(d_out, false);
  const std::vector<double> attached(runner.gradients().begin(), runner.gradients().end());
  runner.forward<private_relation>();
  runner.backward<private_relation>(d_out, true);
  for (const auto& spec : runner.parameters().specs()) {
    INFO("gradient of " << spec.name.view());
    const auto before = std::span(attached).subspan(static_cast<std::size_t>(spec.offset),
                                                    static_cast<std::size_t>(spec.size));
    const double difference = largest_difference(before, tensor(runner.gradients(), spec));
    if (spec.name.view() == "patch_pos_embed") CHECK(difference > 1e-3);
    else CHECK(difference == 0);
  }

  const auto& table = runner.parameters().find("patch_pos_embed");
  const auto& learned = runner.parameters().find("ref_learn_token");
  const auto weights = tensor(runner.weights(), table);
  const std::vector<double> d_table(tensor(runner.gradients(), table).begin(), tensor(runner.gradients(), table).end());
  const std::vector<double> table_before(weights.begin(), weights.end());
  const std::vector<double> learned_before(tensor(runner.weights(), learned).begin(),
                                           tensor(runner.weights(), learned).end());
  const auto taps = point_read<double>({points[0], points[1]}, config.native_grid());
  const auto loss = [&] {
    const auto vector = tensor(runner.weights(), learned);
    std::copy(learned_before.begin(), learned_before.end(), vector.begin());
    for (std::size_t t = 0; t < taps.row.size(); ++t) {
      for (std::size_t c = 0; c < vector.size(); ++c) {
        const std::size_t at = static_cast<std::size_t>(taps.row[t]) * vector.size() + c;
        vector[c] -= taps.weight[t] * (weights[at] - table_before[at]);
      }
    }
    return test::dot(runner.forward<private_relation>().flat(), upstream);
  };
  const auto found = gradient_difference(weights, d_table, loss, 8, 4);
  CHECK(found.norm > 1e-3);
  CHECK(found.small());
}

TEST_CASE("a view gives the same alone and packed with others") {
  for (const auto& [name, published_name, relation] : named_relations) {
    INFO("relation " << name);
    test::with_relation(std::string(published_name), []<AttentionRelation R>() {
      Runner packed({}, config, true, two_sizes, all_groups);
      draw(packed);
      packed.content(points_of(packed), true);
      const auto out = packed.forward<R>();
      const std::vector<double> upstream =
          normal_values(static_cast<std::size_t>(packed.tokens().read_count() * config.width), 7);
      const MatrixView<const double> d_out(upstream.data(), packed.tokens().read_count(), config.width);
      packed.backward<R>(d_out);
      std::vector<double> sum(packed.gradients().size(), 0.0);
      std::size_t first_reference = 0;
      std::size_t in_group = 0;
      for (std::size_t s = 0; s < packed.tokens().sequences().size(); ++s) {
        const std::size_t g = s < 2 ? 0 : 1;
        in_group = s < 2 ? s : 0;
        ViewGroup group = two_sizes[g];
        group.count = 1;
        Runner alone({}, config, true, {group}, all_groups);
        std::copy(packed.weights().begin(), packed.weights().end(), alone.weights().begin());
        const auto image = packed.image(g).subspan(in_group * alone.image(0).size(), alone.image(0).size());
        std::copy(image.begin(), image.end(), alone.image(0).begin());
        const auto own_points = std::span(points).subspan(2 * first_reference, static_cast<std::size_t>(2 * group.references));
        alone.points(own_points);
        alone.content(own_points, true);
        first_reference += static_cast<std::size_t>(group.references);
        const auto expected = rows_of(packed.tokens(), out, s);
        CHECK(largest_difference(alone.forward<R>().flat(), expected) < 1e-12);

        const auto d_alone = rows_of(packed.tokens(), d_out, s);
        alone.backward<R>(MatrixView<const double>(d_alone.data(), alone.tokens().read_count(), config.width));
        for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += alone.gradients()[i];
      }
      CHECK(largest_difference(sum, packed.gradients()) < 1e-11);
    });
  }
}

TEST_CASE("references that nobody sees change nothing for class and patches") {
  constexpr GroupSet content{.class_token = true, .patch = true};
  std::vector<ViewGroup> without = two_sizes;
  for (ViewGroup& group : without) group.references = 0;
  for (const auto& [name, published_name, relation] : named_relations) {
    INFO("relation " << name);
    test::with_relation(std::string(published_name), [&]<AttentionRelation R>() {
      Runner full({}, config, false, two_sizes, content);
      Runner bare({}, config, false, without, content);
      draw(full);
      draw(bare);
      const double difference = largest_difference(full.forward<R>().flat(), bare.forward<R>().flat());
      if (R == open_relation) CHECK(difference > 1e-3);
      else CHECK(difference < 1e-12);
    });
  }
}

TEST_CASE("a pass that keeps nothing for the backward pass gives the same outputs") {
  for (const GroupSet reads : {GroupSet{.class_token = true}, GroupSet{.class_token = true, .reference = true},
                               GroupSet{.class_token = true, .patch = true}, all_groups}) {
    Runner saved({}, config, true, two_sizes, reads, true);
    Runner forward_only({}, config, true, two_sizes, reads, false);
    draw(saved);
    draw(forward_only);
    const auto expected = saved.forward<private_relation>();
    // Twice: the second pass finds the buffers as the first one left them.
    forward_only.forward<private_relation>();
    CHECK(largest_difference(forward_only.forward<private_relation>().flat(), expected.flat()) == 0);
    CHECK(largest_difference(expected.flat(), std::vector<double>(expected.flat().size(), 0.0)) > 0.1);
  }
}

TEST_CASE("other references through the blocks again are what a whole pass makes of them") {
  const std::vector<double> elsewhere = normal_values(points.size(), 6, 0.5);
  for (const NamedRelation& named : named_relations) {
    test::with_relation(std::string(named.published_name), [&]<AttentionRelation R>() {
      CHECK(hides_references(R) == (R != open_relation));
      if constexpr (hides_references(R)) {
        for (const bool content : {false, true}) {
          INFO("relation " << named.name << ", content " << content);
          Runner again({}, config, true, two_sizes, all_groups);
          Runner whole({}, config, true, two_sizes, all_groups);
          draw(again);
          draw(whole);
          if (content) again.content(points_of(again), true);
          const auto before = again.forward<R>().flat();
          const std::vector<double> at_first(before.begin(), before.end());
          const auto there = std::span<const double>(elsewhere).first(points_of(again).size());
          for (Runner* runner : {&again, &whole}) {
            runner->points(there);
            if (content) runner->content(there, true);
          }
          const auto expected = whole.forward<R>();
          CHECK(largest_difference(again.forward_references<R>().flat(), expected.flat()) == 0);
          CHECK(largest_difference(at_first, expected.flat()) > 1e-2);  // the points matter
        }
      }
    });
  }
}
