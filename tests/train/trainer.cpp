// Whole runs: the same bits for any number of threads and after a resume; bad input; what is reported.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "noise_images.hpp"
#include "train/figures.hpp"
#include "train/instances.hpp"
#include "train/tiny_run.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/data/source.hpp>
#include <dssl/points/any_sampler.hpp>
#include <dssl/points/grid_points.hpp>
#include <dssl/points/mixed_points.hpp>
#include <dssl/points/salient_points.hpp>
#include <dssl/points/teacher_points.hpp>
#include <dssl/points/weighted_points.hpp>
#include <dssl/train/trainer.hpp>
#include <dssl/views/warped_views.hpp>

using namespace dssl;
using test::NoiseImages;
using test::Tiny;
using test::tiny_options;

namespace {

using Turned = Tiny::with_views<Warped<MultiCrop<>>>;

/// A file name in the test's own folder, removed at the end.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& name)
      : x_path((std::filesystem::temp_directory_path() / ("dssl-trainer-test-" + name)).string()) {
    std::filesystem::remove_all(x_path);
  }
  ~TemporaryFile() { std::filesystem::remove_all(x_path); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  [[nodiscard]] const std::string& path() const { return x_path; }

 private:
  std::string x_path;
};

/// Every lasting number of a run.
template <class R, class B>
std::vector<typename B::Scalar> state_of(const Trainer<R, B>& trainer) {
  std::vector<typename B::Scalar> out;
  detail::for_each_state(trainer.step(), [&](const auto&, const auto& values, const auto&) {
    out.insert(out.end(), values.flat().begin(), values.flat().end());
  });
  return out;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
}

template <class R>
void check_resume(const std::string& name, const TrainerOptions& options = tiny_options()) {
  const NoiseImages images(9);
  const TemporaryFile file("resume-" + name);
  Trainer<R, Cpu> whole(options, Cpu({.threads = 2}));
  CHECK(whole.fit(images).finished);
  const auto expected = state_of(whole);

  TrainerOptions with_file = options;
  with_file.checkpoint = file.path();
  for (const Index cut : {Index{1}, Index{3}, Index{4}}) {
    INFO(name << " cut after step " << cut);
    Trainer<R, Cpu> first(with_file, Cpu({.threads = 1}));
    first.on_step([&](const StepReport& report) { return report.step + 1 == cut ? stop : proceed; });
    const RunSummary half = first.fit(images);
    CHECK_FALSE(half.finished);
    CHECK(half.steps == cut);

    // How activations are kept is no part of what a run computes: it may change on the way.
    TrainerOptions other = with_file;
    other.recompute = cut == 3;
    Trainer<R, Cpu> second(other, Cpu({.threads = 2}));
    CHECK((second.memory_plan().total() < first.memory_plan().total()) == other.recompute);
    second.resume(file.path());
    CHECK(second.fit(images).finished);
    CHECK(same_bits(state_of(second), expected));
  }
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "nothing was thrown";
}

std::vector<char> bytes_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

}  // namespace

TEST_CASE("a run resumed in the middle of an epoch gives the same bits as one that was not interrupted") {
  check_resume<Tiny>("densedino");
  check_resume<Tiny::with_tokens<ClassToken>::with_loss<ImageLoss>>("dino");
  check_resume<Tiny::with_tokens<FeatureMap>::with_points<GridPoints<2>>>("feature map");
  TrainerOptions turned = tiny_options();
  turned.views.rotation = 40;
  turned.views.perspective = 0.3;
  check_resume<Turned>("turned");
}

TEST_CASE("a run of turned views tells how many points are valid, and is another run than one of boxes") {
  const NoiseImages images(9);
  TrainerOptions options = tiny_options();
  const TemporaryFile file("turned");
  options.checkpoint = file.path();
  Trainer<Tiny, Cpu> upright(options, Cpu({.threads = 1}));
  double of_boxes = 0;
  upright.on_step([&](const StepReport& report) { return of_boxes = report.valid_points, proceed; });
  upright.fit(images);
  CHECK(of_boxes == 1);
  options.views.rotation = 40;
  Trainer<Turned, Cpu> turned(options, Cpu({.threads = 1}));
  CHECK_THROWS_WITH(turned.resume(file.path()), Catch::Contains("was made with option 'views.rotation' 0; this run has 40"));
  double least = 1, loss = 0;
  turned.on_step([&](const StepReport& report) {
    least = std::min(least, report.valid_points);
    loss = report.term("point").loss;
    return proceed;
  });
  CHECK(turned.fit(images).finished);
  CHECK(least > 0.5);
  CHECK(std::isfinite(loss));
  CHECK(loss > 0);
  CHECK_THROWS_WITH((Trainer<Tiny, Cpu>(options, Cpu())), Catch::Contains("option 'rotation' is 40; expected 0 where views are boxes"));
}

TEST_CASE("a run may go on with its views one after the other, in less memory") {
  using Doubles = BasicCpu<double>;
  const NoiseImages images(9);
  const TemporaryFile file("streamed");
  TrainerOptions options = tiny_options();
  Trainer<Tiny, Doubles> whole(options, Doubles({.threads = 1}));
  CHECK(whole.fit(images).finished);
  const auto expected = state_of(whole);

  options.checkpoint = file.path();
  Trainer<Tiny, Doubles> first(options, Doubles({.threads = 1}));
  first.on_step([](const StepReport& report) { return report.step == 2 ? stop : proceed; });
  CHECK(first.fit(images).steps == 3);
  options.stream_views = true;
  Trainer<Tiny, Doubles> second(options, Doubles({.threads = 2}));
  CHECK(second.memory_plan().total() < first.memory_plan().total());
  second.resume(file.path());
  CHECK(second.fit(images).finished);
  const auto actual = state_of(second);
  REQUIRE(actual.size() == expected.size());
  double off = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) off = std::max(off, std::abs(actual[i] - expected[i]));
  INFO("off by " << off);
  CHECK(off < 1e-9);
  CHECK(off > 0);  // the order of sums is another
}

TEST_CASE("a run gives the same bits for any number of threads") {
  const NoiseImages images(8, {2, 5});
  std::vector<std::vector<float>> states;
  for (const int threads : {1, 2, 4}) {
    TrainerOptions options = tiny_options();
    options.loader_threads = threads;
    Trainer<Tiny, Cpu> trainer(options, Cpu({.threads = threads}));
    trainer.fit(images);
    states.push_back(state_of(trainer));
  }
  CHECK(same_bits(states[0], states[1]));
  CHECK(same_bits(states[0], states[2]));
}

TEST_CASE("a sampler chosen at run time has the bits, words and checkpoints of the recipe that names it") {
  using Chosen = Tiny::with_points<AnySampler>;
  const NoiseImages images(9);
  const TemporaryFile file("chosen");
  TrainerOptions options = tiny_options();
  Trainer<Tiny, Cpu> own(options, Cpu({.threads = 2}));
  own.fit(images);
  Trainer<Chosen, Cpu> chosen(options, Cpu({.threads = 2}));  // random ones, as published
  CHECK(chosen.recipe() == own.recipe());
  chosen.fit(images);
  CHECK(same_bits(state_of(chosen), state_of(own)));

  // One that looks at the images, and those that the teacher has a say in: the same bits for any number of threads, and when
  // it is cut.
  Trainer<Chosen, Cpu> random(options, Cpu({.threads = 2}), RandomPoints<>(3));
  random.fit(images);
  for (const AnySampler& sampler :
       {AnySampler(SalientPoints<>(3)), AnySampler(MixedPoints<AttentionPoints<2>, RandomPoints<1>>()), AnySampler(DisagreementPoints<>(3))}) {
    INFO(sampler.words());
    options.checkpoint.clear();
    options.loader_threads = 0;
    Trainer<Chosen, Cpu> whole(options, Cpu({.threads = 2}), sampler);
    CHECK_THAT(whole.recipe(), Catch::Contains("points: " + sampler.words() + " 3"));
    whole.fit(images);
    CHECK_FALSE(same_bits(state_of(whole), state_of(random)));
    options.checkpoint = file.path();
    options.loader_threads = 1;
    Trainer<Chosen, Cpu> first(options, Cpu({.threads = 1}), sampler);
    first.on_step([](const StepReport& report) { return report.step == 2 ? stop : proceed; });
    first.fit(images);
    Trainer<Chosen, Cpu> second(options, Cpu({.threads = 1}), sampler);
    second.resume(file.path());
    second.fit(images);
    CHECK(same_bits(state_of(second), state_of(whole)));
    // Other points are another run.
    Trainer<Chosen, Cpu> other(options, Cpu({.threads = 1}), RandomPoints<>(3));
    CHECK_THAT(message_of([&] { other.resume(file.path()); }),
               Catch::Contains("points: " + sampler.words() + " 3") && Catch::Contains("points: random 3"));
  }
}

TEST_CASE("a sampler is shown the image in use, by its own number, where it stands in for an unreadable one") {
  std::mutex mutex;
  std::map<Index, int> shown;
  bool are_those = true;
  const AnySampler sampler = WeightedPoints(2, [&](const SampledScene& scene) -> std::optional<PointWeights> {
    const std::lock_guard lock(mutex);
    ++shown[scene.index];
    are_those = are_those && height(scene.image) == 24 + scene.index % 5;  // as NoiseImages has them
    return std::nullopt;
  });
  TrainerOptions options = tiny_options();
  options.epochs = 1;
  Trainer<Tiny::with_points<AnySampler>, Cpu> trainer(options, Cpu({.threads = 2}), sampler);
  trainer.fit(NoiseImages(8, {2, 5}));
  CHECK(are_those);
  CHECK(shown == std::map<Index, int>{{0, 1}, {1, 1}, {3, 2}, {4, 1}, {6, 2}, {7, 1}});
}

TEST_CASE("training moves the weights, and another seed moves them elsewhere") {
  const NoiseImages images(8);
  TrainerOptions options = tiny_options();
  Trainer<Tiny, Cpu> trainer(options);
  const auto before = state_of(trainer);
  trainer.fit(images);
  CHECK_FALSE(same_bits(before, state_of(trainer)));
  options.seed = 12;
  Trainer<Tiny, Cpu> other(options);
  CHECK_FALSE(same_bits(before, state_of(other)));
  other.fit(images);
  CHECK_FALSE(same_bits(state_of(trainer), state_of(other)));
}

TEST_CASE("equal recipes are the same type in whatever order their parts are named") {
  STATIC_REQUIRE(std::is_same_v<DenseDino::with_points<GridPoints<3>>::with_loss<PointLoss>,
                                DenseDino::with_loss<PointLoss>::with_points<GridPoints<3>>>);
  STATIC_REQUIRE(
      std::is_same_v<Dino::with_tokens<ReferenceTokens<>>::with_loss<ImageAndPointLoss>, DenseDino>);
}

TEST_CASE("reports hold what was asked for") {
  const NoiseImages images(9);
  Trainer<Tiny, Reference<float>> trainer(tiny_options());
  std::vector<StepReport> reports;
  Index epochs = 0;
  trainer.on_step([&](const StepReport& r) { return reports.push_back(r), proceed; });
  trainer.on_epoch([&](const StepReport&) { return ++epochs, proceed; });
  const RunSummary summary = trainer.fit(images);
  CHECK(summary.finished);
  CHECK(summary.steps == 6);
  CHECK(epochs == 3);
  REQUIRE(reports.size() == 6);
  CHECK(reports[0].learning_rate == 0.0);
  CHECK(reports[1].learning_rate == Approx(0.05 * 4 / 256));
  CHECK(reports[5].images == 24);
  for (const StepReport& r : reports) {
    CHECK(r.loss == Approx(0.5 * test::loss_of(r, "image") + 0.5 * test::loss_of(r, "point")));
    REQUIRE(r.each_term().size() == 2);
    for (const TermReport& level : r.each_term()) {
      CHECK(level.divergence == Approx(level.loss - level.teacher_entropy).margin(1e-9));
      CHECK(level.divergence > -1e-3);
      CHECK(level.teacher_entropy > 0);
      CHECK(level.teacher_entropy < std::log(32.0) + 1e-3);
      CHECK(level.centre_norm > 0);
    }
    CHECK(r.gradient_norm > 0);
    CHECK(r.feature_spread > 0);
    CHECK(r.feature_spread < 1 / std::sqrt(16.0) + 1e-6);
    CHECK(r.images_per_second > 0);
    CHECK(r.data_wait_seconds <= r.seconds);
    CHECK(r.collapse == Collapse::none);
  }
  CHECK(trainer.memory_plan().total() > 0);
}

TEST_CASE("a collapse is named in words once it lasts") {
  CHECK(collapse_of({.loss = std::log(64.0), .teacher_entropy = std::log(64.0)}, 64) == Collapse::uniform);
  CHECK(collapse_of({.loss = 3.0, .teacher_entropy = std::log(64.0)}, 64) == Collapse::none);
  CHECK(collapse_of({.loss = std::log(64.0), .teacher_entropy = 2.0}, 64) == Collapse::none);
  CHECK(collapse_of({.loss = 1e-4, .teacher_entropy = 1e-5}, 64) == Collapse::peaked);
  CHECK(collapse_of({.loss = 5.0, .teacher_entropy = 1e-5}, 64) == Collapse::none);
  // Sure of each image, and of another prototype for each: no collapse; of one for all: one.
  CHECK(collapse_of({.loss = 1e-4, .teacher_entropy = 1e-5, .mean_entropy = std::log(8.0)}, 64) == Collapse::none);
  CHECK(collapse_of({.loss = 1e-4, .teacher_entropy = 1e-5, .mean_entropy = 1e-4}, 64) == Collapse::peaked);

  // A teacher of enormous temperature is flat: its student learns to be flat, too.
  const NoiseImages images(8);
  TrainerOptions options = tiny_options();
  options.epochs = 12;
  options.teacher.temperature = options.teacher.warmup_temperature = 1e6;
  options.optimiser.learning_rate = 0.5;
  options.loss.student_temperature = 1e3;
  options.collapse_patience = 3;
  Trainer<Tiny, Cpu> trainer(options);
  std::vector<std::string> warnings;
  Index named = 0;
  trainer.on_warning([&](std::string_view w) { warnings.emplace_back(w); });
  trainer.on_step([&](const StepReport& r) {
    if (r.collapse == Collapse::uniform && r.advice.find("temperature") != std::string::npos) ++named;
    return proceed;
  });
  trainer.fit(images);
  CHECK(named > 0);
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].find("collapse") != std::string::npos);
  CHECK(warnings[0].find(" (term 'image': loss 3.4") != std::string::npos);
  CHECK(warnings[0].find("; ln P 3.46574)") != std::string::npos);
}

TEST_CASE("unreadable images are named, counted and replaced; too many end the run") {
  TrainerOptions options = tiny_options();
  options.max_unreadable = 0.5;
  Trainer<Tiny, Cpu> trainer(options);
  std::vector<std::string> warnings;
  trainer.on_warning([&](std::string_view w) { warnings.emplace_back(w); });
  const RunSummary summary = trainer.fit(NoiseImages(8, {3}));
  CHECK(summary.unreadable == 3);
  REQUIRE(warnings.size() == 1);
  CHECK(warnings[0].find("noise 3") != std::string::npos);

  options.max_unreadable = 0.1;
  options.epochs = 50;
  Trainer<Tiny, Cpu> strict(options);
  CHECK_THAT(message_of([&] { strict.fit(NoiseImages(8, {1, 3, 5})); }), Catch::Contains("cannot be read"));
}

TEST_CASE("grey images serve a colour recipe; other channel counts are unreadable") {
  TrainerOptions options = tiny_options();
  Trainer<Tiny, Cpu> grey(options);
  CHECK(grey.fit(NoiseImages(8, {}, 1)).unreadable == 0);
  Trainer<Tiny, Cpu> wrong(options);
  CHECK_THAT(message_of([&] { wrong.fit(NoiseImages(8, {}, 5)); }),
             Catch::Contains("has 5 channels; expected 3"));
  options.channels = 5;
  Trainer<Tiny, Cpu> five(options);
  CHECK(five.fit(NoiseImages(8, {}, 5)).finished);
}

TEST_CASE("impossible options are named") {
  const auto message = [](auto change) {
    TrainerOptions options = tiny_options();
    change(options);
    return message_of([&] { Trainer<Tiny, Cpu> trainer(options); });
  };
  CHECK_THAT(message([](auto& o) { o.batch = 0; }), Catch::Contains("'batch' is 0; expected at least 1"));
  CHECK_THAT(message([](auto& o) { o.loss.alpha = 1.5; }), Catch::Contains("'loss.alpha' is 1.5"));
  CHECK_THAT(message([](auto& o) { o.optimiser.learning_rate = -1; }),
             Catch::Contains("optimiser.learning_rate"));
  CHECK_THAT(message([](auto& o) { o.optimiser.learning_rate = std::nan(""); }),
             Catch::Contains("optimiser.learning_rate"));
  CHECK_THAT(message([](auto& o) { o.optimiser.learning_rate = HUGE_VAL; }),
             Catch::Contains("'optimiser.learning_rate' is inf; expected a finite number"));
  CHECK_THAT(message([](auto& o) { o.teacher.temperature = HUGE_VAL; }),
             Catch::Contains("'teacher.temperature' is inf; expected a finite number"));
  CHECK_THAT(message([](auto& o) { o.teacher.temperature = 0; }), Catch::Contains("teacher.temperature"));
  CHECK_THAT(message([](auto& o) {
               o.views.global_size = {18, 16};
             }),
             Catch::Contains("multiples of the patch"));
  CHECK_THAT(message([](auto& o) { o.prototypes = 1; }), Catch::Contains("'prototypes' is 1"));
  CHECK_THAT(message([](auto& o) { o.stochastic_depth = 1; }), Catch::Contains("stochastic_depth"));
  Trainer<Tiny, Cpu> trainer(tiny_options());
  CHECK_THAT(message_of([&] { trainer.fit(NoiseImages(3)); }), Catch::Contains("3 images"));
}

TEST_CASE("a checkpoint of another run, or a damaged one, is refused and nothing is changed") {
  const NoiseImages images(8);
  const TemporaryFile file("refused");
  TrainerOptions options = tiny_options();
  options.checkpoint = file.path();
  Trainer<Tiny, Cpu> trainer(options);
  trainer.fit(images);
  const auto good = bytes_of(file.path());

  const auto refused = [&](auto& other) {
    const auto before = state_of(other);
    const std::string message = message_of([&] { other.resume(file.path()); });
    CHECK(same_bits(before, state_of(other)));
    CHECK_THAT(message, Catch::Contains(file.path()));
    return message;
  };
  Trainer<Tiny::with_loss<PointLoss>, Cpu> other_recipe(options);
  CHECK_THAT(refused(other_recipe), Catch::Contains("another recipe"));
  TrainerOptions changed = options;
  changed.optimiser.weight_decay = 0.05;
  Trainer<Tiny, Cpu> other_option(changed);
  CHECK_THAT(refused(other_option), Catch::Contains("'optimiser.weight_decay' 0.04; this run has 0.05"));
  Trainer<Tiny, Cpu> fresh(options);

  const auto write = [&](const std::vector<char>& bytes) {
    std::ofstream(file.path(), std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  };
  for (const std::size_t size : {std::size_t{0}, std::size_t{5}, good.size() / 3, good.size() - 1}) {
    write({good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)});
    INFO("cut to " << size << " bytes");
    refused(fresh);
  }
  auto flipped = good;
  flipped[flipped.size() - 100] = static_cast<char>(flipped[flipped.size() - 100] ^ 4);
  write(flipped);
  CHECK_THAT(refused(fresh), Catch::Contains("damaged"));
  // A position that is no number is found before anything is put in place.
  auto lost = good;
  const std::string key = "\"step\":\"";
  const auto at = std::search(lost.begin(), lost.end(), key.begin(), key.end());
  REQUIRE(lost.end() - at > static_cast<std::ptrdiff_t>(key.size()));
  at[static_cast<std::ptrdiff_t>(key.size())] = 'x';
  write(lost);
  CHECK_THAT(refused(fresh), Catch::Contains("'step' is 'x"));
  write(good);
  fresh.resume(file.path());
  CHECK(same_bits(state_of(fresh), state_of(trainer)));
  CHECK_THAT(message_of([&] { fresh.fit(NoiseImages(9)); }), Catch::Contains("begun on 8 images"));
}

TEST_CASE("a loss that is not finite stops the run and leaves the last good checkpoint") {
  class Poisoned {
   public:
    [[nodiscard]] Index size() const { return 8; }
    [[nodiscard]] std::string name(Index i) const { return "poisoned " + std::to_string(i); }
    [[nodiscard]] AnyImage load(Index i) const {
      Image<float> image(20, 20, 3);
      for (auto& p : image.pixels()) p = 0.3F + 0.05F * static_cast<float>(i);
      if (i == 5)
        std::fill(image.pixels().begin(), image.pixels().end(), std::numeric_limits<float>::quiet_NaN());
      return image;
    }
  };
  const TemporaryFile file("finite");
  TrainerOptions options = tiny_options();
  options.checkpoint = file.path();
  options.checkpoint_steps = 1;
  options.accumulate = 1;
  Trainer<Tiny, Cpu> trainer(options);
  std::vector<char> last;
  trainer.on_step([&](const StepReport&) { return last = bytes_of(file.path()), proceed; });
  const std::string message = message_of([&] { trainer.fit(Poisoned{}); });
  CHECK_THAT(message, Catch::Contains("level loss is"));
  REQUIRE(trainer.steps_done() > 0);
  {
    Trainer<Tiny, Cpu> again(options);
    again.resume(file.path());
    CHECK(again.steps_done() == trainer.steps_done());
    const auto state = state_of(again);
    CHECK(std::all_of(state.begin(), state.end(), [](float v) { return std::isfinite(v); }));
  }
}

TEST_CASE("weights that an update threw too far replace no checkpoint, finite or not") {
  const TemporaryFile file("far");
  TrainerOptions options = tiny_options();
  options.checkpoint = file.path();
  options.epochs = 1;
  Trainer<Tiny, Cpu>(options).fit(NoiseImages(8));
  const auto good = bytes_of(file.path());
  REQUIRE_FALSE(good.empty());
  options.accumulate = 1;
  options.optimiser.warmup_epochs = 0;
  options.optimiser.clip = 0;
  options.optimiser.kind = OptimiserKind::sgd;
  for (const double rate : {1e30, 1e41}) {
    for (const Index images : {2, 8}) {  // the last update of an epoch, and of a run, is looked at too
      INFO("rate " << rate << ", " << images << " images");
      options.optimiser.learning_rate = rate;
      Trainer<Tiny, Cpu> trainer(options);
      bool epoch = false;
      trainer.on_epoch([&](const StepReport&) { return epoch = true, proceed; });
      const std::string message = message_of([&] { trainer.fit(NoiseImages(images)); });
      CHECK_THAT(message,
                 Catch::Contains("of no use") || Catch::Contains("loss is") || Catch::Contains("not finite"));
      CHECK_FALSE(epoch);
      CHECK(bytes_of(file.path()) == good);
    }
  }
}

TEST_CASE("too many unreadable images end the run with the steps before them saved") {
  const TemporaryFile file("unreadable");
  TrainerOptions options = tiny_options();
  options.checkpoint = file.path();
  options.accumulate = 1;
  options.prefetch = 1;
  options.loader_threads = 1;
  options.max_unreadable = 0;
  Trainer<Tiny, Cpu> trainer(options);
  CHECK_THAT(message_of([&] { trainer.fit(NoiseImages(64, {40})); }), Catch::Contains("cannot be read"));
  REQUIRE(trainer.steps_done() > 0);
  Trainer<Tiny, Cpu> again(options);
  again.resume(file.path());
  CHECK(again.steps_done() == trainer.steps_done());
}

TEST_CASE("a stop token ends a run cleanly") {
  Trainer<Tiny, Cpu> trainer(tiny_options());
  std::stop_source source;
  trainer.on_step([&](const StepReport& r) {
    if (r.step == 1) source.request_stop();
    return proceed;
  });
  const RunSummary summary = trainer.fit(NoiseImages(8), source.get_token());
  CHECK_FALSE(summary.finished);
  CHECK(summary.steps == 2);
  CHECK(trainer.fit(NoiseImages(8)).finished);
}

TEST_CASE("a stop while images are waited for saves the steps that were made, and no others") {
  /// Asks for a stop while it loads its n-th image.
  class StoppingImages {
   public:
    StoppingImages(std::stop_source& source, Index last) : x_stop(source), x_last(last) {}
    [[nodiscard]] Index size() const { return 8; }
    [[nodiscard]] std::string name(Index i) const { return NoiseImages(8).name(i); }
    [[nodiscard]] AnyImage load(Index i) const {
      if (++x_loads == x_last) x_stop.request_stop();
      return NoiseImages(8).load(i);
    }

   private:
    std::stop_source& x_stop;
    Index x_last;
    mutable std::atomic<Index> x_loads = 0;
  };
  const TemporaryFile file("stopped");
  TrainerOptions options = tiny_options();
  options.checkpoint = file.path();
  options.prefetch = 1;
  Trainer<Tiny, Cpu> trainer(options);
  std::stop_source stop_later;
  const RunSummary summary = trainer.fit(StoppingImages(stop_later, 7), stop_later.get_token());
  CHECK(summary.steps == 1);  // in the middle of an epoch
  Trainer<Tiny, Cpu> again(options);
  again.resume(file.path());
  CHECK(same_bits(state_of(again), state_of(trainer)));

  // A new run that ends before its first step does not cost the old one its checkpoint.
  const auto good = bytes_of(file.path());
  Trainer<Tiny, Cpu> fresh(options);
  std::stop_source stop_now;
  CHECK(fresh.fit(StoppingImages(stop_now, 1), stop_now.get_token()).steps == 0);
  CHECK(bytes_of(file.path()) == good);
}

TEST_CASE("a checkpoint that cannot be written is an error that names the file") {
  TrainerOptions options = tiny_options();
  options.checkpoint = "/proc/no-such-folder/checkpoint.safetensors";
  Trainer<Tiny, Cpu> trainer(options);
  int steps = 0;
  trainer.on_step([&](const StepReport&) {
    ++steps;
    return proceed;
  });
  CHECK_THAT(message_of([&] { trainer.fit(NoiseImages(8)); }), Catch::Contains("/proc/no-such-folder"));
  CHECK(steps == 0);  // before an epoch is spent on what cannot be kept
}
