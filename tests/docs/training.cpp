// Training from inside a program: callbacks, stop tokens, checkpoints, errors, several models.
#include <cstddef>
#include <cstdio>
#include <future>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <dssl/dssl.hpp>

namespace snippets {

// [names]
using Recipe = dssl::DenseDino::with_backbone<dssl::ViT<dssl::vit_nano8>>;
using Trainer = dssl::Trainer<Recipe, dssl::Cpu>;
using Scenes = dssl::ImagesOf<dssl::SyntheticScenes>;
// [names end]

// [callbacks]
/// What the program around the training knows of it.
struct Progress {
  std::vector<double> losses;
  std::vector<std::string> warnings;
};

void watch(Trainer& trainer, Progress& progress) {
  trainer.on_step([&progress](const dssl::StepReport& report) {
    progress.losses.push_back(report.loss);
    const bool lost = report.collapse != dssl::Collapse::none;  // report.advice then says what to try
    return lost ? dssl::stop : dssl::proceed;
  });
  trainer.on_epoch([](const dssl::StepReport& report) {
    std::printf("epoch %td of %td steps: loss %.4f, %.0f %% of the last step spent waiting for data\n",
                report.epoch, report.epoch_steps, report.loss,
                100 * report.data_wait_seconds / report.seconds);
    return dssl::proceed;
  });
  trainer.on_warning([&progress](std::string_view sentence) { progress.warnings.emplace_back(sentence); });
}
// [callbacks end]

// [stop]
/// Trains on a thread of its own; destroying it asks the training to stop and waits for it.
class BackgroundTraining {
 public:
  BackgroundTraining(Trainer& trainer, const Scenes& scenes)
      : x_thread([&trainer, &scenes](std::stop_token token) {
          try {
            const dssl::RunSummary summary = trainer.fit(scenes, std::move(token));
            if (!summary.finished) trainer.save("stopped.safetensors");
          } catch (const dssl::Error& error) {  // nothing may leave a thread
            std::fprintf(stderr, "training ended: %s\n", error.what());
          }
        }) {}
  void stop() { x_thread.request_stop(); }  // from any thread

 private:
  std::jthread x_thread;
};
// [stop end]

// [resume]
dssl::RunSummary train_or_go_on(const dssl::TrainerOptions& options, const Scenes& scenes,
                                bool checkpoint_exists) {
  Trainer trainer(options);
  if (checkpoint_exists) trainer.resume(options.checkpoint);
  return trainer.fit(scenes);  // the rest of the run; the same bits as without the interruption
}
// [resume end]

// [errors]
std::string sentence_for(const Scenes& scenes, dssl::TrainerOptions options) {
  try {
    Trainer trainer(std::move(options));
    trainer.fit(scenes);
    return "trained";
  } catch (const dssl::OptionError& error) {
    return error.what();  // error.field() is the option's name alone
  } catch (const dssl::FileError& error) {
    return error.what();  // error.path() is the file's name alone; CheckpointError is a kind of FileError
  } catch (const dssl::Error& error) {  // DataError, NonFiniteError, ShapeError
    return error.what();
  }
}
// [errors end]

// [memory]
void print_plan(const Trainer& trainer) {
  for (const dssl::MemoryPlanEntry& part : trainer.memory_plan().entries) {
    std::printf("%10zu KiB  %s\n", part.bytes / 1024, part.name.c_str());
  }
  std::printf("%10zu KiB  together\n", trainer.memory_plan().total() / 1024);
}
// [memory end]

// [weights]
void save_weights(const Trainer& trainer) {
  dssl::save_backbone("teacher.safetensors", trainer.teacher(), {{"arch", "nano8"}});
}
// [weights end]

// [two models]
void train_two_at_once(const dssl::TrainerOptions& options, const Scenes& day, const Scenes& night) {
  Trainer first(options, dssl::Cpu({.threads = 2}));   // two backends made separately:
  Trainer second(options, dssl::Cpu({.threads = 2}));  // each has its threads and its scratch memory
  auto other = std::async(std::launch::async, [&] { return second.fit(night); });
  first.fit(day);
  other.get();  // throws what the second training threw
}
// [two models end]

}  // namespace snippets
