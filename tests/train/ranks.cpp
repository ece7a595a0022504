// Whole runs over ranks on threads: the run of the whole batch however it is cut, checkpoints that go on with another number
// of ranks, what is sent, and runs in which a rank fails.
#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "noise_images.hpp"
#include "ranks.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"
#include "train/tiny_run.hpp"

#include <dssl/backend/reference.hpp>
#include <dssl/points/mixed_points.hpp>
#include <dssl/points/teacher_points.hpp>
#include <dssl/train/bucket_sums.hpp>
#include <dssl/train/rank_agreement.hpp>
#include <dssl/train/recipes.hpp>
#include <dssl/train/trainer.hpp>

using namespace dssl;

namespace {

/// The backend of these runs, which tells of the last gradients of a backward pass before they are computed.
struct Host : Reference<double> {
  std::shared_ptr<std::function<void()>> before_patches = std::make_shared<std::function<void()>>();

  void linear_backward_weight(MatrixView<double> d_weight, VectorView<double> d_bias, MatrixView<const double> d_y,
                              MatrixView<const double> x) const {
    if (*before_patches && x.cols() == 3 * 4 * 4) (*before_patches)();
    Reference<double>::linear_backward_weight(d_weight, d_bias, d_y, x);
  }
};
using Dense = test::Tiny;
using Choosing = Dense::with_points<MixedPoints<AttentionPoints<2>, DisagreementPoints<2>>>;  // of the same step
template <Index Hidden>
using NormedOf = Dense::with_head<ProjectionHead<HeadConfig{.hidden = Hidden, .bottleneck = 6, .prototypes = 10, .batch_norm = true}>>;
using Normed = NormedOf<12>;
/// A recipe of two views at small sizes.
template <class Recipe>
using Small = typename Recipe::template with_backbone<
    ViT<ViTConfig{.image = 16, .patch = 4, .width = 16, .depth = 2, .heads = 2}>>::template with_head<
    ProjectionHead<HeadConfig{.hidden = 12, .bottleneck = 6, .prototypes = 10}>>;
using Apart = Small<Dino>::with_loss<WeightedSum<SinkhornImageLevel<>, KoLeo>>;
using Masking = DinoV2::with_backbone<ViT<ViTConfig{.image = 16, .patch = 4, .width = 8, .depth = 2, .heads = 2}>>::
    with_loss<WeightedSum<SinkhornImageLevel<>, MaskedLevel>>::with_head<
        ProjectionHead<HeadConfig{.hidden = 12, .bottleneck = 6, .prototypes = 10}>>;

/// Four images a pass, two passes an update, three epochs of two updates on 17 images.
template <class Recipe>
TrainerOptionsOf<Recipe> options_of() {
  TrainerOptionsOf<Recipe> options;
  options.epochs = 3;
  options.batch = 4;
  options.accumulate = 2;
  options.seed = 11;
  options.views.global_size = {16, 16};
  options.views.local_size = {8, 12};
  options.views.locals = 1;
  options.stochastic_depth = 0.3;
  options.optimiser.kind = OptimiserKind::sgd;  // which does not make much of little
  options.optimiser.warmup_epochs = 1;
  options.optimiser.learning_rate = 0.5;
  options.optimiser.freeze_prototypes_epochs = 0;
  options.max_unreadable = 1;
  return options;
}

/// What a run leaves behind and told.
struct Ended {
  RunSummary summary;
  std::vector<double> state;
  std::vector<double> moments;  ///< of the optimiser: whole, but of a sharded run on the first rank alone
  std::vector<StepReport> steps;
  RankTraffic before_step, after_step;  ///< of the second step
  MemoryPlan plan;
  std::size_t sum_room = 0;  ///< bytes that sums over ranks have kept
  std::string words;
};

template <class Recipe>
struct Rank {
  using Options = TrainerOptionsOf<Recipe>;

  Options options;
  const test::NoiseImages& images;
  std::string resumed{};
  Index stop_after = -1;  ///< steps, by the callback
  std::function<void(Trainer<Recipe, Host>&, const StepReport&)> meanwhile{};
  Host backend{};

  Ended run(const Communicator& ranks) const {
    Options own = options;
    own.ranks = ranks;
    if (!own.checkpoint.empty() && !ranks.first()) own.checkpoint += ".of-another-rank";  // which writes none
    Trainer<Recipe, Host> trainer(own, backend);
    if (!resumed.empty()) trainer.resume(resumed);
    Ended out;
    trainer.on_step([&](const StepReport& report) {
      out.steps.push_back(report);
      if (report.step == 2) out.before_step = ranks.traffic();
      if (report.step == 3) out.after_step = ranks.traffic();
      if (meanwhile) meanwhile(trainer, report);
      return report.step + 1 == stop_after ? stop : proceed;
    });
    out.summary = trainer.fit(images);
    const LastingStateOf state(trainer.step());
    state.gather();
    for (const LastingTensor& tensor : state.tensors()) {
      const std::span values(static_cast<const double*>(tensor.data), static_cast<std::size_t>(tensor.size));
      auto& to = tensor.name.starts_with("optimiser.") ? out.moments : out.state;
      to.insert(to.end(), values.begin(), values.end());
    }
    out.plan = trainer.memory_plan();
    out.sum_room = own.ranks.sum_room();
    return out;
  }

  /// Of so many ranks, each on its thread.
  std::vector<Ended> on(Index size, std::chrono::milliseconds timeout = std::chrono::seconds(60)) const {
    std::vector<Ended> out(static_cast<std::size_t>(size));
    const auto words = test::on_ranks(
        size, [&](const Communicator& ranks) { out[static_cast<std::size_t>(ranks.rank())] = run(ranks); }, timeout);
    for (std::size_t r = 0; r < out.size(); ++r) out[r].words = words[r];
    return out;
  }
};

/// Of ranks that came to the end of the run, all alike to the bit.
void require_alike(const std::vector<Ended>& ranks) {
  for (const Ended& rank : ranks) {
    REQUIRE(rank.words.empty());
    CHECK((rank.state == ranks[0].state));
    CHECK((rank.moments == ranks[0].moments || rank.moments.empty()));
    CHECK(rank.summary.steps == ranks[0].summary.steps);
    CHECK(rank.summary.unreadable == ranks[0].summary.unreadable);
  }
}

/// Carries what another one carries, which counts; on one rank throws in the place of one exchange, and counts those that are
/// asked for on another thread.
class Through final : public RankExchange {
 public:
  Through(Communicator through, Index throws_at, std::atomic<int>* elsewhere = nullptr)
      : x_through(std::move(through)), x_throws_at(throws_at), x_elsewhere(elsewhere) {}

  [[nodiscard]] Index rank() const override { return x_through.rank(); }
  [[nodiscard]] Index size() const override { return x_through.size(); }
  void all_to_all(std::span<std::byte> out, std::span<const std::byte> in) override {
    std::vector<std::byte> all(in.size() * static_cast<std::size_t>(size()));
    all_gather(all, in);
    const std::size_t each = in.size() / static_cast<std::size_t>(size());
    for (std::size_t from = 0; from < static_cast<std::size_t>(size()); ++from) {
      const auto block = std::span(all).subspan(from * in.size() + static_cast<std::size_t>(rank()) * each, each);
      std::ranges::copy(block, out.begin() + static_cast<std::ptrdiff_t>(from * each));
    }
  }
  void all_gather(std::span<std::byte> out, std::span<const std::byte> in) override {
    if (x_done++ == x_throws_at) throw std::bad_alloc();
    x_through.all_gather(out, in);
    if (x_elsewhere != nullptr && std::this_thread::get_id() != x_thread) ++*x_elsewhere;
  }
  void leave(std::string_view why) noexcept override { x_through.leave(why); }

 private:
  Communicator x_through;
  Index x_throws_at, x_done = 0;
  std::atomic<int>* x_elsewhere;
  std::thread::id x_thread = std::this_thread::get_id();
};

bool near(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double off = 0, largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    off = std::max(off, std::abs(a[i] - b[i]));
    largest = std::max(largest, std::abs(b[i]));
  }
  INFO("off by " << off << " of " << largest);
  CHECK(off <= 1e-12 * std::max(1.0, largest));
  return off <= 1e-12 * std::max(1.0, largest);
}

std::size_t planned(const Ended& rank, std::string_view part) {
  for (const MemoryPlanEntry& entry : rank.plan.entries) {
    if (entry.name == part) return entry.bytes;
  }
  return 0;
}

template <class Recipe>
void check_cuts(bool damaged, const TrainerOptionsOf<Recipe>& options = options_of<Recipe>()) {
  const test::NoiseImages images(17, damaged ? std::vector<Index>{3, 8} : std::vector<Index>{});
  const Rank<Recipe> rank{.options = options, .images = images};
  const Ended whole = rank.run({});
  REQUIRE(whole.summary.finished);
  REQUIRE(whole.steps.size() == 6);
  CHECK((whole.summary.unreadable > 0) == damaged);
  for (const Index size : {2, 4}) {
    INFO(size << " ranks");
    const auto ended = rank.on(size);
    require_alike(ended);
    CHECK(near(ended[0].state, whole.state));
    CHECK(near(ended[0].moments, whole.moments));
    const auto n = static_cast<double>(size);
    const double share = static_cast<double>(planned(ended[0], "optimiser")) / static_cast<double>(planned(whole, "optimiser"));
    CHECK((options.shard ? share < 1 / n + 0.1 : share == 1));
    CHECK(ended[1].moments.empty() == options.shard);
    CHECK(planned(whole, "gradients between ranks") == 0);
    CHECK(ended[0].sum_room == planned(ended[0], "gradients between ranks"));
    CHECK(ended[0].summary.finished);
    CHECK(ended[0].summary.unreadable == whole.summary.unreadable);
    for (const Ended& one : ended) {
      REQUIRE(one.steps.size() == whole.steps.size());
      for (std::size_t i = 0; i < whole.steps.size(); ++i) {
        const StepReport& is = one.steps[i];
        const StepReport& should = whole.steps[i];
        CHECK(is.loss == Approx(should.loss).epsilon(1e-12));
        CHECK(is.gradient_norm == Approx(should.gradient_norm).epsilon(1e-12));
        CHECK(is.feature_spread == Approx(should.feature_spread).epsilon(1e-11));
        CHECK(is.images == should.images);
        CHECK(is.learning_rate == should.learning_rate);
        CHECK(is.unreadable == should.unreadable);
      }
    }
  }
  const auto first = rank.on(2), again = rank.on(2);
  CHECK((again[1].state == first[0].state));
}

}  // namespace

TEST_CASE("a run is that of its whole batches, on however many ranks these are cut") {
  SECTION("reference tokens") { check_cuts<Dense>(false); }
  SECTION("reference tokens, and images that cannot be read") { check_cuts<Dense>(true); }
  SECTION("points that the teacher chooses") { check_cuts<Choosing>(false); }
  SECTION("heads with batch norm") { check_cuts<Normed>(false); }
  SECTION("masks, Sinkhorn's centre, and one that is the mean of masked patches") { check_cuts<Masking>(false); }
  SECTION("the optimiser's state in parts") {
    auto options = options_of<Dense>();
    options.shard = true;
    options.optimiser.clip = 0.01;
    SECTION("each tensor clipped by itself") { check_cuts<Dense>(false, options); }
    SECTION("all clipped together, by AdamW, which does not make much of little with such an epsilon") {
      options.optimiser.kind = OptimiserKind::adamw;
      options.optimiser.epsilon = 0.1;
      options.optimiser.clip_over = ClipOver::network;
      options.optimiser.freeze_prototypes_epochs = 1;
      SECTION("after the backward pass") {}
      SECTION("in buckets, while it goes on") { options.bucket_bytes = 1; }
      check_cuts<Dense>(false, options);
    }
  }
}

TEST_CASE("gradients that are sent while others are computed are the same, to the bit") {
  const test::NoiseImages images(17);
  const auto check = [&]<class Recipe>(Rank<Recipe> rank, const std::vector<Index>& sizes, const std::vector<Index>& buckets) {
    rank.stop_after = 3;
    for (const Index size : sizes) {
      rank.options.bucket_bytes = 0;
      const auto after = rank.on(size);
      for (const Index bytes : buckets) {
        INFO(size << " ranks, buckets of " << bytes);
        rank.options.bucket_bytes = bytes;
        const auto ended = rank.on(size);
        require_alike(ended);
        CHECK((ended[0].state == after[0].state));
        CHECK((ended[0].moments == after[0].moments));
        CHECK(ended[0].sum_room == planned(ended[0], "gradients between ranks"));
      }
    }
  };
  Rank<Dense> dense{.options = options_of<Dense>(), .images = images};
  SECTION("of all views at once") { check(dense, {2, 4}, {1, 1 << 14, 1 << 30}); }
  SECTION("in bf16, of one view after the other, recomputed") {
    dense.options.reduce = SentAs::bf16;
    dense.options.stream_views = true;
    dense.options.recompute = true;
    check(dense, {2}, {1});
  }
  SECTION("of which each rank has a part of each bucket") {
    dense.options.shard = true;
    dense.options.optimiser.clip = 0;  // norms of other parts are added in another order
    check(dense, {2, 4}, {1, 1 << 14, 1 << 30});
  }
  SECTION("of which each rank has a part, in bf16") {
    dense.options.shard = true;
    dense.options.optimiser.clip = 0;
    dense.options.reduce = SentAs::bf16;
    check(dense, {2}, {1});
  }
  SECTION("of a recipe that exchanges in the midst of a pass") {
    check(Rank<Masking>{.options = options_of<Masking>(), .images = images}, {2}, {1});
  }
  SECTION("of one that exchanges on the way back through its heads") {
    check(Rank<Normed>{.options = options_of<Normed>(), .images = images}, {2}, {1});
  }
  SECTION("and sent before they are") {
    // Before the patch embedding's gradients each rank waits until those of both blocks, a bucket each, are exchanged.
    dense.options.bucket_bytes = 1;
    dense.options.shard = GENERATE(false, true);
    const int messages = dense.options.shard ? 1 : 2;
    dense.options.accumulate = 1;
    dense.stop_after = 1;
    std::atomic<int> missed{0};
    std::array<std::atomic<int>, 2> elsewhere{};
    const auto words = test::on_ranks(2, [&](const Communicator& ranks) {
      std::atomic<int>& own = elsewhere.at(static_cast<std::size_t>(ranks.rank()));
      const auto both_blocks = [&] {
        for (int i = 0; i < 5000 && own < 2 * messages; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(1));
        if (own < 2 * messages) ++missed;
      };
      Rank<Dense> rank = dense;
      rank.backend.before_patches = std::make_shared<std::function<void()>>(both_blocks);  // its own: copies share theirs
      rank.run(Communicator(std::make_shared<Through>(ranks, -1, &own)));
    });
    CHECK(words == test::no_words(2));
    CHECK(missed == 0);
    for (const auto& exchanges : elsewhere) CHECK(exchanges == 3 * messages);  // and none by the look at the end
  }
}

TEST_CASE("buckets are of whole blocks, from the last one on") {
  ParameterLayout layout;
  for (const auto* name : {"backbone.cls_token", "backbone.blocks.0.a", "backbone.blocks.0.b", "backbone.blocks.1.a",
                           "backbone.blocks.2.a", "backbone.norm.weight", "head.a"}) {
    layout.add(name, {16}, {});
  }
  using Begins = std::vector<Index>;
  const GradientBuckets each = GradientBuckets::of(layout, 0);
  CHECK(each.block_begins == Begins{16, 48, 64});
  CHECK(each.begins == Begins{64, 48, 16, 0});
  CHECK(each.largest(layout.total()) == 48);
  CHECK(GradientBuckets::of(layout, 49).begins == Begins{48, 0});
  CHECK(GradientBuckets::of(layout, 1000).begins == Begins{0});
  CHECK(GradientBuckets::of(layout, 1000).largest(layout.total()) == 112);
  layout.add("backbone.scale", {16}, {});  // of which no one says when it is there
  CHECK(GradientBuckets::of(layout, 0).begins == Begins{0});
  CHECK(GradientBuckets::of(layout, 0).block_begins.empty());
}

TEST_CASE("gradients that are sent in bf16 change a run by little") {
  const test::NoiseImages images(17);
  const Ended whole = Rank<Dense>{.options = options_of<Dense>(), .images = images}.run({});
  for (const bool shard : {false, true}) {
    for (const Index size : {2, 4}) {
      INFO(size << " ranks, " << shard);
      Rank<Dense> bf16{.options = options_of<Dense>(), .images = images};
      bf16.options.reduce = SentAs::bf16;
      bf16.options.shard = shard;
      const auto ended = bf16.on(size);
      require_alike(ended);
      CHECK(ended[0].sum_room == planned(ended[0], "gradients between ranks"));
      double off = 0, moved = 0;
      for (std::size_t i = 0; i < whole.moments.size(); ++i) {
        off += std::pow(ended[0].moments[i] - whole.moments[i], 2);
        moved += std::pow(whole.moments[i], 2);
      }
      // Each number of a rank is off by 2^-8 at most, and their sum once more; six updates go on from what came of it.
      CHECK(off > 0);
      CHECK(std::sqrt(off / moved) < 0x1p-6);
      CHECK(ended[0].summary.loss == Approx(whole.summary.loss).epsilon(5e-3));
    }
  }
}

TEST_CASE("numbers in the host's memory are added there, whatever devices the ranks have") {
  struct Unasked final : DeviceExchange {
    void all_sum(const DeviceNumbers&) override { throw Error("a device is asked"); }
    void sum_parts(const DeviceNumbers&, const RankPart&) override { throw Error("a device is asked"); }
    void gather_parts(const DeviceNumbers&, const RankPart&) override { throw Error("a device is asked"); }
  };
  const auto planned_by = [](const Communicator& ranks) {
    auto options = options_of<Dense>();
    options.reduce = SentAs::bf16;
    options.ranks = ranks;
    Ended made;
    made.plan = Trainer<Dense, Host>(options).step().memory_plan();
    return planned(made, "gradients between ranks");
  };
  const Communicator host = ThreadRanks(2).communicator(0);
  CHECK(planned_by(host) > 0);
  CHECK(planned_by(host.with(std::make_shared<Unasked>())) == planned_by(host));
}

TEST_CASE("a checkpoint of a run over ranks is written once, and goes on with another number of them") {
  const test::NoiseImages images(17);
  const test::TemporaryFolder folder;
  const Ended whole = Rank<Dense>{.options = options_of<Dense>(), .images = images}.run({});
  Rank<Dense> rank{.options = options_of<Dense>(), .images = images, .stop_after = 3};
  rank.options.checkpoint = folder / "checkpoint.safetensors";
  const auto stopped = rank.on(2);
  require_alike(stopped);
  CHECK(stopped[0].summary.steps == 3);
  CHECK_FALSE(stopped[1].summary.finished);
  CHECK(folder.entries() == 1);
  rank.options.checkpoint.clear();
  rank.stop_after = -1;
  rank.resumed = folder / "checkpoint.safetensors";
  for (const Index size : {1, 2, 4}) {
    INFO(size << " ranks");
    const auto ended = rank.on(size);
    require_alike(ended);
    CHECK(ended[0].summary.finished);
    CHECK(near(ended[0].state, whole.state));
    CHECK((rank.on(size)[0].state == ended[0].state));
  }
}

TEST_CASE("a checkpoint is the same file where each rank has a part of the optimiser's state, and goes on either way") {
  const test::NoiseImages images(17);
  const test::TemporaryFolder folder;
  Rank<Dense> rank{.options = options_of<Dense>(), .images = images, .stop_after = 3};
  rank.options.optimiser.kind = OptimiserKind::adamw;
  rank.options.optimiser.epsilon = 0.1;
  rank.options.optimiser.clip = 0;  // norms of parts are added in another order
  const Ended whole = [&] {
    Rank<Dense> one = rank;
    one.stop_after = -1;
    return one.run({});
  }();
  for (const auto* file : {"whole", "parts", "buckets"}) {
    rank.options.shard = file != std::string_view("whole");
    rank.options.bucket_bytes = file == std::string_view("buckets") ? 1 : 0;
    rank.options.checkpoint = folder / file;
    require_alike(rank.on(2));
  }
  CHECK(folder.entries() == 3);
  CHECK((test::read_text(folder / "parts") == test::read_text(folder / "whole")));
  CHECK((test::read_text(folder / "buckets") == test::read_text(folder / "whole")));
  rank.resumed = rank.options.checkpoint;
  rank.options.checkpoint.clear();
  rank.stop_after = -1;
  for (const Index size : {1, 2, 4}) {
    for (const auto& [shard, bucket_bytes] : {std::pair<bool, Index>{false, 0}, {false, 1}, {true, 0}, {true, 1}}) {
      INFO(size << " ranks, " << shard << ", buckets of " << bucket_bytes);
      rank.options.shard = shard;
      rank.options.bucket_bytes = bucket_bytes;
      const auto ended = rank.on(size);
      require_alike(ended);
      CHECK(ended[0].summary.finished);
      CHECK(near(ended[0].state, whole.state));
      CHECK(near(ended[0].moments, whole.moments));
    }
  }
  // Each rank has put its part back, and `save` writes all of them.
  const auto words = test::on_ranks(2, [&](const Communicator& ranks) {
    auto options = rank.options;
    options.ranks = ranks;
    Trainer<Dense, Host> trainer(options);
    trainer.resume(rank.resumed);
    trainer.save(folder / "again");
  });
  CHECK(words == test::no_words(2));
  CHECK((test::read_text(folder / "again") == test::read_text(folder / "whole")));
}

/// What a recipe's terms exchange with each other rank, which has so many images of a pass: in each pass, and in an update.
struct OfTerms {
  RankTraffic pass{}, update{};
};

/// Bytes and messages to each other rank of an update of two passes at the end of an epoch, by docs/processes.md: what so many
/// terms exchange, whose numbers are of 8 bytes, and what every recipe does.
template <class Recipe>
void check_sent(int terms, double width, const std::function<OfTerms(Index images)>& of_terms,
                const TrainerOptionsOf<Recipe>& options = options_of<Recipe>()) {
  const test::NoiseImages images(17);
  const Rank<Recipe> rank{.options = options, .images = images};
  const ParameterLayout layout = Trainer<Recipe, Host>(rank.options).step().layout();
  for (const Index size : {2, 4}) {
    INFO(size << " ranks");
    const auto ended = rank.on(size);
    require_alike(ended);
    const auto n = static_cast<double>(size);
    const double sent = options.reduce == SentAs::bf16 ? 2 : 8;
    // In parts gradients go where they belong, weights come back, and norms of tensors are added.
    const double norms = options.shard ? 8 * static_cast<double>(layout.size()) : 0;
    REQUIRE(norms <= static_cast<double>(Communicator::few_bytes));
    double gradients = (n - 1) * norms;
    std::int64_t buckets = 0;
    const auto bucket = [&](Index /*begin*/, Index numbers) {
      const auto all = static_cast<double>(numbers);
      REQUIRE(all * 8 > static_cast<double>(Communicator::few_bytes));
      const double share = options.shard ? 16 * std::ceil(all / n / 16) : std::ceil(all / n);
      gradients += (n - 1) * share * (sent + (options.shard ? 8 : sent));
      ++buckets;
    };
    if (options.bucket_bytes > 0) {
      GradientBuckets::of(layout, options.bucket_bytes / 8).each(layout.total(), bucket);
      REQUIRE(buckets > 1);
    } else {
      bucket(0, layout.total());
    }
    const double figures = 32 * terms, spread = 16 * width, said = 2 * 536 + 1;
    // The look at the state that the end of an epoch takes is one pass more, by done_on_all, as whether all is finite; and a
    // check sum of the state.
    const double look = 2 * 256 + 8;
    const auto [pass, update] = of_terms(options.batch / size);
    CHECK(ended[0].after_step.bytes - ended[0].before_step.bytes ==
          static_cast<std::int64_t>(gradients + (n - 1) * (figures + spread + said + look) +
                                    (n - 1) * static_cast<double>(3 * pass.bytes + update.bytes)));
    CHECK(ended[0].after_step.exchanges - ended[0].before_step.exchanges ==
          2 * buckets + (options.shard ? 1 : 0) + 1 + 2 + 2 * 3 + 1 + 3 + update.exchanges + 3 * pass.exchanges);
  }
}

TEST_CASE("what a rank sends in a step is as docs/processes.md says") {
  SECTION("two levels whose centres are means") {
    const auto centres = [](Index /*images*/) { return OfTerms{.update = {.exchanges = 2, .bytes = 2 * 8 * 32}}; };
    auto options = options_of<Dense>();
    SECTION("whole") {}
    SECTION("gradients in bf16") { options.reduce = SentAs::bf16; }
    SECTION("the optimiser's state in parts") { options.shard = true; }
    SECTION("both") {
      options.reduce = SentAs::bf16;
      options.shard = true;
    }
    SECTION("in buckets") { options.bucket_bytes = 1; }
    SECTION("in buckets, and parts of them in bf16") {
      options.bucket_bytes = 1;
      options.reduce = SentAs::bf16;
      options.shard = true;
    }
    check_sent<Dense>(2, 16, centres, options);
  }
  // Sums of 600 numbers, of which each rank adds a share.
  SECTION("centres above 4 KiB") {
    auto options = options_of<Dense>();
    options.prototypes = 600;
    check_sent<Dense>(2, 16, [](Index images) {
      return OfTerms{.update = {.exchanges = 2 * 2, .bytes = 2 * 2 * 8 * 150 * images}};
    }, options);
  }
  SECTION("Sinkhorn's rounds above 4 KiB") {
    auto options = options_of<Masking>();
    options.prototypes = 600;
    check_sent<Masking>(2, 8, [](Index images) {
      return OfTerms{.pass = {.exchanges = 3 * 2 + 1, .bytes = 3 * 2 * 8 * 150 * images + 8},
                     .update = {.exchanges = 2, .bytes = 2 * 8 * 150 * images}};
    }, options);
  }
  SECTION("batch norms above 4 KiB") {
    check_sent<NormedOf<300>>(2, 16, [](Index images) {
      const Index back = 150 * images, forward = back + 1;  // whose sums are 601
      return OfTerms{.pass = {.exchanges = 2 * 2 * 3 * 2, .bytes = 2 * 2 * 2 * 8 * (2 * forward + back)},
                     .update = {.exchanges = 2, .bytes = 2 * 80}};
    });
  }
  SECTION("Sinkhorn's three rounds, and the number of masked patches") {
    check_sent<Masking>(2, 8, [](Index /*images*/) {
      return OfTerms{.pass = {.exchanges = 3 + 1, .bytes = 3 * 80 + 8}, .update = {.exchanges = 1, .bytes = 80}};
    });
  }
  SECTION("batch norms of two levels, two of each head: of the teacher's rows, the student's, and on the way back") {
    check_sent<Normed>(2, 16, [](Index /*images*/) {
      return OfTerms{.pass = {.exchanges = 2 * 2 * 3, .bytes = 2 * 2 * (3 * 16 * 12 + 2 * 8)}, .update = {.exchanges = 2, .bytes = 2 * 80}};
    });
  }
  SECTION("batch norms of PixPro, of each view") {
    check_sent<Small<PixPro>>(1, 16, [](Index /*images*/) { return OfTerms{.pass = {.exchanges = 2 * 3, .bytes = 2 * (3 * 16 * 12 + 2 * 8)}}; });
  }
  SECTION("class tokens of two views") {
    check_sent<Small<SimClr>>(1, 16, [](Index images) { return OfTerms{.pass = {.exchanges = 1, .bytes = 2 * images * 16 * 8}}; });
  }
  SECTION("and eight points of each view") {
    check_sent<Small<DenseSimClr>>(2, 16, [](Index images) {
      return OfTerms{.pass = {.exchanges = 2, .bytes = (1 + 8) * 2 * images * 16 * 8}};
    });
  }
  SECTION("a teacher's class tokens too, and keys of patches") {
    auto options = options_of<Small<DenseCl>>();
    options.loss.of<QueueContrast<by_head(moco_v2_projector)>>().options.keys = 8;
    options.loss.of<DenseContrast<by_head(moco_v2_projector)>>().options.keys = 8;
    const auto of_terms = [](Index images) {
      return OfTerms{.pass = {.exchanges = 2, .bytes = 2 * 2 * images * 16 * 8}, .update = {.exchanges = 1, .bytes = images * 6 * 8}};
    };
    check_sent<Small<DenseCl>>(2, 16, of_terms, options);
  }
  SECTION("SwAV's class tokens of all views") {
    check_sent<Small<Swav>>(1, 16, [](Index images) { return OfTerms{.pass = {.exchanges = 1, .bytes = 3 * images * 16 * 8}}; });
  }
  SECTION("class tokens that KoLeo compares among all ranks") {
    auto options = options_of<Apart>();
    options.loss.of<KoLeo>().options.all_ranks = true;
    const auto of_terms = [](Index images) { return OfTerms{.pass = {.exchanges = 3 + 1, .bytes = 3 * 80 + 2 * images * 16 * 8}}; };
    check_sent<Apart>(2, 16, of_terms, options);
  }
}

TEST_CASE("a rank that fails ends the run on all of them, in words, and leaves the last checkpoint") {
  const test::NoiseImages images(17);
  const test::TemporaryFolder folder;
  Rank<Dense> rank{.options = options_of<Dense>(), .images = images};
  rank.options.checkpoint = folder / "checkpoint.safetensors";
  const auto words_of = [](const std::vector<Ended>& ranks) {
    std::vector<std::string> out;
    for (const Ended& one : ranks) out.push_back(one.words);
    return out;
  };
  SECTION("by an error of its own") {
    rank.meanwhile = [](const auto& trainer, const StepReport& report) {
      if (trainer.options().ranks.rank() == 1 && report.step == 2) throw FileError("log", "the disk is full");
    };
    const auto words = words_of(rank.on(2));
    CHECK(words == std::vector<std::string>{"rank 1 left the run: log: the disk is full", "log: the disk is full"});
  }
  SECTION("by a loss that is not finite on its images") {
    rank.meanwhile = [](auto& trainer, const StepReport& report) {
      if (trainer.options().ranks.rank() != 1 || report.step != 2) return;
      trainer.step().student()(0) = std::numeric_limits<double>::quiet_NaN();
    };
    const auto words = words_of(rank.on(2));
    CHECK(test::contains(words[0], "rank 1: the image-level loss is nan"));
    CHECK(test::contains(words[0], "found not finite: student."));
    CHECK(test::contains(words[1], "the image-level loss is nan"));
    CHECK(test::contains(words[1], "found not finite: student."));
  }
  SECTION("by a moment of its part alone") {
    rank.options.shard = true;
    rank.options.bucket_bytes = 1;
    rank.meanwhile = [](auto& trainer, const StepReport& report) {
      if (trainer.options().ranks.rank() != 1 || report.step != 2) return;
      REQUIRE(trainer.step().optimiser_states().size() == 3);
      trainer.step().optimiser_states().back().first()(0) = std::numeric_limits<double>::infinity();
    };
    const auto words = words_of(rank.on(2));
    CHECK(test::contains(words[0], "rank 1: the weights after step 4 are of no use, and were not saved: student."));
    CHECK(test::contains(words[1], "the weights after step 4 are of no use, and were not saved: student."));
  }
  SECTION("by weights that drift from those of the others") {
    rank.meanwhile = [](auto& trainer, const StepReport& report) {
      if (trainer.options().ranks.rank() == 1 && report.step == 2) trainer.step().teacher()(0) += 1e-9;
    };
    CHECK(words_of(rank.on(2)) ==
          std::vector<std::string>(2, "rank 1 has other weights and state after step 4 than rank 0, the first of them "
                                      "teacher.backbone.cls_token; expected the same on all ranks, whose processors round alike"));
  }
  SECTION("by what it does not do") {
    rank.meanwhile = [](auto& trainer, const StepReport& report) {
      if (trainer.options().ranks.rank() == 1 && report.step == 2) throw 1;
    };
    const auto ended = rank.on(2);
    CHECK(ended[0].words == "rank 1 left the run: by an error without words");
  }
  // What was written is the epoch before, whole.
  Rank<Dense> resumed{.options = options_of<Dense>(), .images = images, .resumed = folder / "checkpoint.safetensors"};
  const Ended ended = resumed.run({});
  CHECK(ended.steps.front().step == 2);
  CHECK(ended.summary.finished);
}

TEST_CASE("the rank whose weights drift from those of most is named before a checkpoint, with the first tensor that did") {
  const test::NoiseImages images(17);
  const test::TemporaryFolder folder;
  Rank<Dense> rank{.options = options_of<Dense>(), .images = images};
  rank.options.batch = 6;
  rank.options.accumulate = 1;
  rank.options.checkpoint = folder / "checkpoint.safetensors";
  rank.options.checkpoint_steps = 3;  // in the midst of an epoch
  const Index odd = GENERATE(0, 1, 2);
  INFO("rank " << odd);
  rank.meanwhile = [odd](auto& trainer, const StepReport& report) {
    if (trainer.options().ranks.rank() != odd || report.step != 2) return;
    const ParameterSpec& second = trainer.step().layout().specs()[1];
    trainer.step().student()(second.offset) += 1e-9;
    trainer.step().teacher()(0) += 1e-9;
  };
  const ParameterLayout layout = Trainer<Dense, Host>(options_of<Dense>()).step().layout();
  for (const Ended& one : rank.on(3)) {
    CHECK(one.words == join("rank ", odd, " has other weights and state after step 3 than most ranks, the first of them student.",
                            layout.specs()[1].name.view(), "; expected the same on all ranks, whose processors round alike"));
  }
  CHECK(folder.entries() == 1);  // of the epoch before
}

TEST_CASE("ranks name the one that most others differ from, and of halves the first that differs from rank 0") {
  const auto words_of = [](const std::vector<std::string>& colours) {
    return test::on_ranks(static_cast<Index>(colours.size()), [&](const Communicator& ranks) {
      const std::pair<std::string_view, std::string> thing("colour", colours[static_cast<std::size_t>(ranks.rank())]);
      require_same(ranks, std::span(&thing, 1));
    });
  };
  CHECK(words_of({"red", "red", "red"}) == test::no_words(3));
  CHECK(words_of({"blue", "red", "red"}) ==
        std::vector<std::string>(3, "rank 0 has other colour than most ranks; expected the same on all ranks"));
  CHECK(words_of({"red", "red", "red", "blue", "green"}).front() == "rank 3 has other colour than most ranks; expected the same on all ranks");
  for (const auto& halves : std::vector<std::vector<std::string>>{{"red", "red", "blue", "blue"}, {"red", "red", "blue", "green"}}) {
    CHECK(words_of(halves).front() == "rank 2 has other colour than rank 0; expected the same on all ranks");
  }
}

TEST_CASE("wherever a rank fails between two exchanges, the others hear of that and of nothing else") {
  const test::NoiseImages images(17);
  const Index bucket_bytes = GENERATE(0, 1);
  // What is agreed on before the run, the loading and the pass of a first step, in which Sinkhorn's sums are exchanged.
  Index failed = 0;
  for (Index at = 0; at < (bucket_bytes == 0 ? 24 : 36); ++at) {
    INFO("exchange " << at);
    const auto words = test::on_ranks(2, [&](const Communicator& ranks) {
      Rank<Masking> rank{.options = options_of<Masking>(), .images = images, .stop_after = 1};
      rank.options.bucket_bytes = bucket_bytes;
      rank.run(Communicator(std::make_shared<Through>(ranks, ranks.first() ? -1 : at)));
    });
    if (words == test::no_words(2)) continue;
    ++failed;
    CHECK(words == std::vector<std::string>{join("rank 1 left the run: ", words[1]), std::bad_alloc().what()});
  }
  CHECK(failed >= 12);
}

TEST_CASE("where one rank is told to stop, all stop after the same step") {
  const test::NoiseImages images(17);
  std::vector<Ended> ended(2);
  const auto words = test::on_ranks(2, [&](const Communicator& ranks) {
    const Rank<Dense> rank{.options = options_of<Dense>(), .images = images, .stop_after = ranks.first() ? -1 : 2};
    ended[static_cast<std::size_t>(ranks.rank())] = rank.run(ranks);
  });
  CHECK(words == test::no_words(2));
  require_alike(ended);
  for (const Ended& rank : ended) {
    CHECK(rank.summary.steps == 2);
    CHECK_FALSE(rank.summary.finished);
  }
}

TEST_CASE("an image that one rank alone cannot read is counted on all, and ends the run of all in the same words") {
  const test::NoiseImages images(17), damaged(17, {5});
  const auto run = [&](double share) {
    std::vector<Ended> ended(2);
    const auto words = test::on_ranks(2, [&](const Communicator& ranks) {
      Rank<Dense> rank{.options = options_of<Dense>(), .images = ranks.first() ? images : damaged};
      rank.options.max_unreadable = share;
      ended[static_cast<std::size_t>(ranks.rank())] = rank.run(ranks);
    });
    for (std::size_t r = 0; r < 2; ++r) ended[r].words = words[r];
    return ended;
  };
  const auto borne = run(1);
  require_alike(borne);
  CHECK(borne[0].summary.unreadable > 0);
  const auto refused = run(0);
  CHECK(test::contains(refused[0].words, "1 of "));
  CHECK(test::contains(refused[0].words, "images cannot be read; expected at most 0 %; the last: noise 5: is damaged"));
  CHECK(refused[1].words == refused[0].words);
}

TEST_CASE("unreadable images of any rank count for all of them") {
  std::vector<Index> damaged(16);
  for (std::size_t i = 0; i < damaged.size(); ++i) damaged[i] = static_cast<Index>(i);
  const test::NoiseImages images(17, damaged);
  Rank<Dense> rank{.options = options_of<Dense>(), .images = images};
  rank.options.max_unreadable = 0.2;
  const auto ended = rank.on(2);
  for (const Ended& one : ended) CHECK(test::contains(one.words, "images cannot be read"));
}

TEST_CASE("ranks that do not run the same run say so before the first step") {
  const test::NoiseImages images(17), others(18);
  std::vector<std::string> words = test::on_ranks(2, [&](const Communicator& ranks) {
    Rank<Dense> rank{.options = options_of<Dense>(), .images = images};
    if (ranks.rank() == 1) rank.options.optimiser.weight_decay = 0.1;
    rank.run(ranks);
  });
  CHECK(words == std::vector<std::string>(2, "rank 1 has other options than rank 0; expected the same on all ranks"));
  words = test::on_ranks(2, [&](const Communicator& ranks) {
    Rank<Dense>{.options = options_of<Dense>(), .images = ranks.first() ? images : others}.run(ranks);
  });
  CHECK(words == std::vector<std::string>(2, "rank 1 has other images than rank 0; expected the same on all ranks"));
  words = test::on_ranks(2, [&](const Communicator& ranks) {
    auto options = options_of<Dense>();
    options.ranks = ranks;
    Trainer<Dense, Host> trainer(options);
    if (ranks.rank() == 1) trainer.step().teacher()(0) += 1;
    trainer.fit(images);
  });
  CHECK(words == std::vector<std::string>(2, "rank 1 has other weights and state than rank 0, the first of them "
                                             "teacher.backbone.cls_token; expected the same on all ranks"));

  words = test::on_ranks(2, [&](const Communicator& ranks) {
    Rank<Dense> rank{.options = options_of<Dense>(), .images = images};
    rank.options.reduce = ranks.first() ? SentAs::whole : SentAs::bf16;
    rank.run(ranks);
  });
  CHECK(words == std::vector<std::string>(2, "rank 1 has other options than rank 0; expected the same on all ranks"));

  auto lars = options_of<Dense>();
  lars.optimiser.kind = OptimiserKind::lars;
  lars.shard = true;
  static_cast<void>(Trainer<Dense, Host>(lars));
  lars.ranks = ThreadRanks(2).communicator(0);
  CHECK(test::contains(test::thrown_by<OptionError>([&] { Trainer<Dense, Host> trainer(lars); }),
                       "option 'shard' is true; expected false with the optimiser lars"));

  auto options = options_of<Dense>();
  options.ranks = ThreadRanks(3).communicator(0);
  CHECK(test::contains(test::thrown_by<OptionError>([&] { Trainer<Dense, Host> trainer(options); }),
                       "option 'batch' is 4; expected a multiple of the ranks, 3"));

  const SharedStep shared{.ranks = ThreadRanks(2).communicator(0)};
  CHECK(test::thrown_by<OptionError>([&] { detail::require_shared_step(shared, OptimiserKind::sgd, false, false, "own"); }) ==
        "option 'ranks' is 2; expected 1: the term 'own' compares the images of one rank alone");
}
