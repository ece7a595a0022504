// NaN and infinity put into each kind of tensor of a run: it stops in words, and the last good checkpoint stays.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/backend/cpu.hpp>
#include <dssl/core/hash.hpp>
#include <dssl/data/source.hpp>
#include <dssl/instances.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/recipes.hpp>
#include <dssl/train/trainer.hpp>
#include "catch.hpp"
#include "noise_images.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using test::contains;

namespace {

constexpr ViTConfig size{.image = 16, .patch = 8, .width = 16, .depth = 2, .heads = 2};
constexpr HeadConfig head{.hidden = 16, .bottleneck = 8, .prototypes = 8};
using Recipe = DenseDino::with_backbone<ViT<size>>::with_head<ProjectionHead<head>>;
template <class R>
using RunOf = TrainingRun<NetworkKindOf<R>, Cpu>;
using Run = RunOf<Recipe>;

/// A queue, and running statistics of student and teacher.
using QueueTerm = QueueContrast<by_head(byol_mlp)>;
using QueueRecipe = TwoViewRecipe<QueueTerm, 16, 8>::with_backbone<ViT<size>>;

/// Four steps an epoch, three epochs.
TrainerOptions options_of(const std::string& checkpoint, Index checkpoint_steps) {
  TrainerOptions options{.epochs = 3, .batch = 1, .accumulate = 2, .seed = 11, .stochastic_depth = 0};
  options.views.locals = 1;
  options.views.global_size = options.views.local_size = {16, 16};
  options.optimiser.warmup_epochs = 0;
  options.optimiser.freeze_prototypes_epochs = 0;
  options.max_unreadable = 1;
  options.checkpoint = checkpoint;
  options.checkpoint_steps = checkpoint_steps;
  return options;
}

/// The same steps, of both images at once.
TrainerOptionsOf<QueueRecipe> queue_options_of(const std::string& checkpoint, Index checkpoint_steps) {
  TrainerOptionsOf<QueueRecipe> options{.epochs = 3, .batch = 2, .seed = 11, .stochastic_depth = 0};
  options.views.global_size = {16, 16};
  options.optimiser.warmup_epochs = 0;
  options.loss.of<QueueTerm>().options.keys = 6;
  options.checkpoint = checkpoint;
  options.checkpoint_steps = checkpoint_steps;
  return options;
}

/// How the recipe makes samples, but for a pixel of view 1 of every image of an epoch: the 5th of it becomes `value`.
SampleMaking making_of(const TrainerOptions& options, std::uint32_t epoch, float value) {
  SampleMaking making = SampleMaking::of<false>(
      SampleMaker<Recipe::Views, Recipe::Points>(Recipe::Views(options.views), Recipe::Points(), 3, true), options.batch, 8);
  making.make = [inner = making.make, epoch, value](SampleViews& out, const AnyImageView& image, const RandomKey& key) {
    inner(out, image, key);
    if (key.epoch == epoch && key.sample == 5) out.images[std::size_t{3} * 16 * 16 + 4] = value;
  };
  return making;
}

constexpr std::uint32_t never = 1000;

Run run_of(const TrainerOptions& options, SampleMaking making) {
  return Run(options, Cpu({.threads = 1}), std::move(making), network_config<Recipe>(3), "a recipe of tests");
}
Run run_of(const TrainerOptions& options) { return run_of(options, making_of(options, never, 0)); }
RunOf<QueueRecipe> run_of(const TrainerOptionsOf<QueueRecipe>& options) {
  SampleMaking making = SampleMaking::of<false>(
      SampleMaker<QueueRecipe::Views, QueueRecipe::Points>(QueueRecipe::Views(options.views), QueueRecipe::Points(), 3, false),
      options.batch, 8);
  return {options.plain(), Cpu({.threads = 1}), std::move(making), network_config<QueueRecipe>(3), "a recipe of tests"};
}

/// A lasting tensor by its name in checkpoints.
template <class R>
VectorView<float> tensor_of(const R& run, const std::string& wanted) {
  VectorView<float> found;
  detail::for_each_state(run.step(), [&](std::string_view name, VectorView<float> values, const auto&) {
    if (name == wanted) found = values;
  });
  REQUIRE_FALSE(found.empty());
  return found;
}

/// Goes on to the end of the run, from a checkpoint where there is one: the teacher's bits.
template <class Options>
std::vector<float> finished(const Options& options, const std::string& checkpoint, const test::NoiseImages& images) {
  auto run = run_of(options);
  if (!checkpoint.empty()) run.resume(checkpoint);
  CHECK(run.fit(SourceView(images)).finished);
  return run.teacher().values;
}
std::vector<float> finished_from(const std::string& path, const test::NoiseImages& images) {
  return finished(options_of("", 0), path, images);
}
std::vector<float> undisturbed(const test::NoiseImages& images) { return finished(options_of("", 0), "", images); }

const float values[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                        -std::numeric_limits<float>::infinity()};

/// What is not finite in any of these tensors stops a run of such options. `parts`: with what a message names a tensor that
/// it came to.
template <class OptionsOf>
void check_stops(const OptionsOf& options_of_run, const std::vector<std::string>& names, const std::vector<std::string>& parts) {
  const test::NoiseImages images(8);
  const std::vector<float> whole = finished(options_of_run("", 0), "", images);
  for (const std::string& name : names) {
    for (const float value : values) {
      // Put in within an epoch, so that it meets a step first; the same where it meets a save first; and between the look
      // at an epoch's end and the save there.
      for (const auto& [at, checkpoint_steps] : {std::pair<Index, Index>{5, 0}, {5, 1}, {7, 0}}) {
        INFO(name << " is " << value << " after step " << at << ", a checkpoint every " << checkpoint_steps << " steps");
        const test::TemporaryFolder folder;
        const std::string path = folder / "checkpoint.safetensors";
        auto run = run_of(options_of_run(path, checkpoint_steps));
        Index last = -1;
        std::string good;
        run.on_step([&, here = at](const StepReport& report) {
          last = report.step;
          if (report.step == here) {
            good = test::read_text(path);
            const VectorView<float> tensor = tensor_of(run, name);
            tensor.data()[tensor.size() / 2] = value;
          }
          return proceed;
        });
        const std::string message = test::thrown_by<NonFiniteError>([&] { run.fit(SourceView(images)); });
        INFO(message);
        CHECK(!contains(message, "\n"));
        if (checkpoint_steps == 1) {
          CHECK(contains(message, join("step 6 are of no use, and were not saved: ", name, " is not finite")));
        } else if (at == 7) {
          CHECK(contains(message, join(path, ": was not written: ", name, " is not finite")));
        } else {
          // By its own name, or where an update spread it before a loss met it, by that of a tensor that it came to.
          const auto names_it = [&](const std::string& part) { return contains(message, part); };
          CHECK((names_it(name) || std::ranges::any_of(parts, names_it)));
        }
        CHECK(last < 8);  // no later than its epoch's end
        REQUIRE_FALSE(good.empty());
        CHECK(test::read_text(path) == good);
        CHECK(folder.entries() == 1);
        if (checkpoint_steps == 0) {
          CHECK(finished(options_of_run("", 0), path, images) == whole);
        }
      }
    }
  }
}

}  // namespace

TEST_CASE("A tensor that is not finite stops the run by its name and leaves a checkpoint to go on from", "[not-finite]") {
  // Of every kind: what is multiplied, added, scaled by; what only the teacher has; the optimiser's; the centres; and
  // what no step ever reads.
  check_stops(options_of,
              {"student.backbone.patch_embed.proj.weight", "student.backbone.blocks.1.norm2.weight",
               "student.backbone.blocks.0.attn.qkv.bias", "student.head.last_layer.weight_v", "student.ref_head.mlp.0.weight",
               "teacher.backbone.cls_token", "teacher.ref_head.last_layer.weight_v",
               "optimiser.first.backbone.blocks.0.mlp.fc1.weight", "optimiser.second.backbone.blocks.0.mlp.fc1.weight",
               "optimiser.second.head.last_layer.weight_g", "center", "ref_center"},
              {": student.", ": teacher."});
}

TEST_CASE("So does one of a queue, or of running statistics, which no step reads", "[not-finite]") {
  check_stops(queue_options_of,
              {"queue", "statistics.projector.1.running_mean", "statistics.projector.1.running_var",
               "teacher_statistics.projector.1.running_mean", "teacher_statistics.projector.1.running_var"},
              {});
}

TEST_CASE("A gradient that is not finite stops the run by its name and changes no weight", "[not-finite]") {
  // An unreadable image is told of between the two passes of an update, which add up in the same gradients.
  const Index in_third_update = EpochOrder(8, 11)(0, 5);
  const test::NoiseImages images(8, {in_third_update});
  const std::vector<float> whole = undisturbed(images);
  for (const float value : values) {
    for (const char* const name : {"backbone.blocks.0.attn.proj.weight", "head.last_layer.weight_v", "backbone.norm.bias"}) {
      INFO(name << " is " << value);
      const test::TemporaryFolder folder;
      const std::string path = folder / "checkpoint.safetensors";
      Run run = run_of(options_of(path, 1));
      std::vector<float> before;
      std::string good;
      bool told = false;
      run.on_warning([&](std::string_view) {
        told = true;
        before = run.student().values;
        good = test::read_text(path);
        const auto& spec = run.step().layout().find(name);
        run.step().gradients().data()[spec.offset + spec.size / 2] = value;
      });
      const std::string message = test::thrown_by<NonFiniteError>([&] { run.fit(SourceView(images)); });
      REQUIRE(told);
      CHECK(contains(message, join("the gradient of ", name, " is not finite")));
      CHECK(run.student().values == before);
      CHECK(run.steps_done() == 2);
      REQUIRE_FALSE(good.empty());
      CHECK(test::read_text(path) == good);
      CHECK(finished_from(path, images) == whole);
    }
  }
}

TEST_CASE("A view with a pixel that is not finite stops the run by the name of its image", "[not-finite]") {
  const test::NoiseImages images(8);
  const std::vector<float> whole = undisturbed(images);
  for (const float value : values) {
    INFO(value);
    const test::TemporaryFolder folder;
    const std::string path = folder / "checkpoint.safetensors";
    const TrainerOptions options = options_of(path, 1);
    Run run = run_of(options, making_of(options, 1, value));
    std::string last;
    run.on_step([&](const StepReport&) {
      last = test::read_text(path);
      return proceed;
    });
    const std::string message = test::thrown_by<NonFiniteError>([&] { run.fit(SourceView(images)); });
    CHECK(contains(message, "level loss is"));
    CHECK(contains(message, "found not finite: view 1 of noise 5"));
    REQUIRE(run.steps_done() >= 4);
    CHECK(run.steps_done() < 8);
    CHECK(finished_from(path, images) == whole);
  }
}

TEST_CASE("A checkpoint that holds what is not finite is refused by the tensor's name", "[not-finite]") {
  const test::NoiseImages images(8);
  const test::TemporaryFolder folder;
  const std::string path = folder / "checkpoint.safetensors";
  Run run = run_of(options_of("", 0));
  run.save(path);
  const std::string good = test::read_text(path);
  tensor_of(run, "teacher.backbone.norm.bias").data()[3] = values[1];
  CHECK(contains(test::thrown_by<NonFiniteError>([&] { run.save(path); }),
                 "checkpoint.safetensors: was not written: teacher.backbone.norm.bias is not finite"));
  CHECK(test::read_text(path) == good);
  CHECK(folder.entries() == 1);

  // One from elsewhere, whole by its check sum.
  const SafetensorsFile file = SafetensorsFile::open(path);
  SafetensorsWriter writer;
  std::vector<std::vector<float>> host;
  std::uint64_t sum = 0;
  detail::for_each_state(run.step(), [&](std::string_view name, const auto&, const std::vector<Index>& shape) {
    std::vector<float>& copy = host.emplace_back(file.read<float>(name));
    if (name == "optimiser.second.backbone.cls_token") copy[2] = values[0];
    sum = detail::check_sum(sum, std::as_bytes(std::span(copy)));
    writer.add(std::string(name), shape, std::span<const float>(copy));
  });
  for (const auto& [key, value] : file.metadata()) writer.metadata(key, key == "check_sum" ? std::to_string(sum) : value);
  const std::string other = folder / "other.safetensors";
  writer.write(other);
  Run again = run_of(options_of("", 0));
  CHECK(contains(test::thrown_by<CheckpointError>([&] { again.resume(other); }),
                 "tensor 'optimiser.second.backbone.cls_token' is not finite"));
  again.resume(path);
}

TEST_CASE("A checkpoint with a tensor that is not of the run is refused by the tensor's name") {
  const test::TemporaryFolder folder;
  const std::string path = folder / "checkpoint.safetensors";
  Run run = run_of(options_of("", 0));
  run.save(path);
  const SafetensorsFile file = SafetensorsFile::open(path);
  std::vector<std::vector<float>> host;
  const auto written = [&](const std::string& name, std::vector<float> surplus) {
    SafetensorsWriter writer;
    for (const StoredTensor& tensor : file.tensors()) {
      writer.add(tensor.name, tensor.shape, std::span<const float>(host.emplace_back(file.read<float>(tensor.name))));
    }
    if (!surplus.empty()) writer.add(name, {static_cast<Index>(surplus.size())}, std::span<const float>(surplus));
    for (const auto& [key, value] : file.metadata()) writer.metadata(key, value);
    const std::string other = folder / "other.safetensors";
    writer.write(other);
    return other;
  };
  const std::string surplus = written("snapshot.backbone.norm.bias", {1, 2});
  Run again = run_of(options_of("", 0));
  CHECK(contains(test::thrown_by<CheckpointError>([&] { again.resume(surplus); }),
                 "other.safetensors: has a tensor 'snapshot.backbone.norm.bias' that is not of this run"));
  again.resume(written("", {}));
}
