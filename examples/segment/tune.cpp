// dssl-segment --by tune.
#include "segment/tune.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

#include <dssl/core/error.hpp>
#include <dssl/features/label_census.hpp>

#include "common/output_files.hpp"
#include "common/program.hpp"
#include "common/progress.hpp"
#include "common/segment_tuner.hpp"
#include "common/segmentation_scores.hpp"
#include "segment/outcome.hpp"

namespace dssl::programs {

namespace {

using Clock = std::chrono::steady_clock;

[[nodiscard]] double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

[[nodiscard]] TunerSettings tuner_settings(const SegmentSettings& s) {
  return {.tuning = s.tuning,
          .weights = s.weights,
          .arch = s.arch,
          .published = s.published,
          .channels = s.channels,
          .classes = s.set.class_options(),
          .augment = !s.no_augment,
          .loader = {.prefetch = std::max<Index>(8, 2 * s.tuning.batch), .threads = s.threads},
          .seed = s.seed,
          .backend = s.backend,
          .precision = s.precision,
          .threads = s.threads};
}

void check(const std::stop_source& stop) {
  if (stop.stop_requested()) throw Error("stopped on request; no result was written");
}

}  // namespace

void measure_tuned(const SegmentSettings& s, const LabelledSets& sets) {
  const OutputFiles output(outcome_files(s, sets));
  sets.require_apart(output);
  if (!s.random_weights()) output.require_other_than_weights("--weights", s.weights);
  const std::unique_ptr<SegmentTuner> tuner = make_segment_tuner(tuner_settings(s));
  const FolderClaim claim = claim_output_folder(s.out, {"result.json", "classifier.safetensors"});
  if (s.overlays > 0) prepare_output_folder(s.out + "/overlays");
  const ClassMap& classes = tuner->renderer().classes();
  std::printf("%s; %td training and %td evaluation images, crops of %s, %td classes\n", tuner->description().c_str(),
              sets.train.size(), sets.val.size(), s.tuning.crop.c_str(), classes.classes());
  std::fflush(stdout);
  for (const std::string& warning : sets.warnings) print_error("dssl-segment", "warning: " + warning);

  const Interruption interruption;
  std::stop_source stop;
  Outcome outcome{.prefix = tuner->prefix(), .backend = tuner->backend()};
  auto start = Clock::now();
  const MaskedImages train(sets.train);
  const HeldOutTuning tuned = [&] {
    std::unique_ptr<Progress> progress;
    Index training = 0;
    std::string note;
    tuner->on_skip = [&](std::string_view, std::string_view message) {
      if (progress) return progress->warn(one_line(join("skipped: ", message)));
      std::fprintf(stderr, "%s\n", one_line(join("skipped: ", message)).c_str());
    };
    tuner->on_step = [&](Index step, double loss) {
      if (step == 1) {
        progress = std::make_unique<Progress>(join("training ", ++training), s.tuning.steps, "steps");
        note.clear();
      }
      outcome.last_loss = loss;
      char text[64];
      std::snprintf(text, sizeof text, "loss %.4f", loss);
      progress->at(step, text + note);
      if (interruption.requested()) stop.request_stop();
    };
    return tuner->tune(
        train,
        [&](const SegmentTuner::Held& held_out, Index /*fold*/, Index /*step*/) {
          const AbsentClasses absent = s.set.absent_zero ? AbsentClasses::zero : AbsentClasses::excluded;
          const double figure = tuner->evaluate(MaskedImages(held_out), stop.get_token()).scores(absent).mean_iou;
          char text[64];
          std::snprintf(text, sizeof text, ", held-out mIoU %.1f %%", 100 * figure);
          note = text;
          return figure;
        },
        stop.get_token());
  }();
  check(stop);
  if (tuned.trainings == 0) {
    print_error("dssl-segment", join("warning: ", tuned.parts.labelled.size(),
                                     " training images have a pixel that is not of the first class, of which none "
                                     "can be held out: all the steps are made"));
  } else {
    std::printf(
        "%td of %td steps, by %s; held-out mIoU %.1f %%\n", tuned.steps, s.tuning.steps,
        tuned.trainings == 1 ? "images held out" : join("a cross-validation of ", tuned.trainings, " parts").c_str(),
        100 * tuned.figure);
  }
  outcome.trained_on = tuned.parts.census;
  outcome.tuning = tuning_json(tuned);
  print_labels("labels of the training", outcome.trained_on, classes);
  warn_of_unclaimed("dssl-segment", outcome.trained_on, classes);
  outcome.train_seconds = seconds_since(start);

  start = Clock::now();
  remove_earlier_outcome(s, sets);
  const MaskedImages val(sets.val);
  const SegmentationResult result = [&] {
    Progress progress("evaluation", sets.val.size(), "images");
    tuner->on_skip = [&](std::string_view, std::string_view message) {
      progress.warn(one_line(join("skipped: ", message)));
    };
    tuner->on_images = [&](Index images) {
      progress.at(images);
      if (interruption.requested()) stop.request_stop();
    };
    tuner->on_prediction = [&](const ProbePrediction& prediction) {
      write_overlay(s, sets, prediction, tuner->renderer());
    };
    return tuner->evaluate(val, stop.get_token());
  }();
  check(stop);
  outcome.evaluation_seconds = seconds_since(start);
  report_outcome(s, sets, result, classes, outcome);
}

}  // namespace dssl::programs
