// Six whole training steps against the reference numbers, on any backend: four optimiser settings, three
// relations.
#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include "../catch.hpp"
#include "../compare.hpp"
#include "../fixtures.hpp"
#include "figures.hpp"

#include <dssl/backbone/vit.hpp>
#include <dssl/optim/schedule.hpp>
#include <dssl/tokens/schemes.hpp>
#include <dssl/train/training_step.hpp>

namespace dssl::test {

template <AttentionRelation R>
struct ParityRecipe {
  using Backbone = ViT<ViTConfig{.image = 32, .patch = 8, .width = 24, .depth = 2, .heads = 3}>;
  using Tokens = ReferenceTokens<R>;
  using Loss = ImageAndPointLoss;
  using Head = ProjectionHead<HeadConfig{.hidden = 40, .bottleneck = 16, .prototypes = 48}>;
};

inline OptimiserKind kind_of(const std::string& name) {
  for (const OptimiserKind kind : {OptimiserKind::adamw, OptimiserKind::sgd, OptimiserKind::lars}) {
    if (name_of(kind) == name) return kind;
  }
  throw Error("no optimiser is named " + name);
}

inline std::vector<Point> points_of(const SafetensorsFile& file, const std::string& name) {
  std::vector<Point> out;
  const auto xy = file.read<double>(name);
  for (std::size_t i = 0; i < xy.size(); i += 2) out.push_back({xy[i], xy[i + 1]});
  return out;
}

template <AttentionRelation R, class B>
void check_training(const B& backend, const std::string& name, bool stream_views = false) {
  using T = typename B::Scalar;
  const auto file = SafetensorsFile::open(fixture_path(name + ".safetensors"));
  const FixtureConfig config(file);
  INFO(name << " on " << backend.describe() << ", views streamed: " << stream_views);
  REQUIRE(config.get<Index>("vit_dim") == ParityRecipe<R>::Backbone::config.width);

  StepOptions options;
  options.shape.batch = config.get<Index>("batch");
  options.shape.channels = config.get<Index>("vit_channels");
  options.shape.points = config.get<Index>("points");
  for (const Index size : config.get<std::vector<Index>>("sizes"))
    options.shape.views.push_back({size, size});
  options.stochastic_depth = 0;
  options.stream_views = stream_views;
  options.loss.alpha = config.get<double>("alpha");
  options.loss.student_temperature = config.get<double>("student_temp");
  options.loss.centre_momentum = config.get<double>("center_momentum");
  options.optimiser.kind = kind_of(config.get<std::string>("optimizer"));
  options.optimiser.clip = config.get<double>("clip");

  const Index epochs = config.get<Index>("epochs");
  const Index per_epoch = config.get<Index>("per_epoch");
  const CosineSchedule rate{.start = config.get<double>("base_lr"),
                            .end = config.get<double>("min_lr"),
                            .steps = epochs * per_epoch,
                            .warmup_steps = config.get<Index>("warmup_epochs") * per_epoch};
  const auto decay_range = config.get<std::vector<double>>("weight_decay");
  const auto momentum_range = config.get<std::vector<double>>("momentum");
  const CosineSchedule decay{.start = decay_range[0], .end = decay_range[1], .steps = epochs * per_epoch};
  const CosineSchedule momentum{
      .start = momentum_range[0], .end = momentum_range[1], .steps = epochs * per_epoch};
  const auto temperatures = config.get<std::vector<double>>("teacher_temp");
  const EpochWarmup temperature{.start = temperatures.front(),
                                .end = temperatures.back(),
                                .warmup_epochs = static_cast<Index>(temperatures.size())};

  TrainingStep<ParityRecipe<R>, B> step(backend, options);
  const auto tensor_of = [&](VectorView<T> flat, const ParameterSpec& spec) {
    return flat.flat().subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size));
  };
  for (const auto& spec : step.layout().specs()) {
    const std::string key = "initial." + std::string(spec.name.view());
    const auto values = file.read<T>(key);
    backend.upload(tensor_of(step.student(), spec).data(), std::span<const T>(values));
    backend.upload(tensor_of(step.teacher(), spec).data(), std::span<const T>(values));
  }

  const auto losses = file.read<double>("losses");
  const auto lr = file.read<double>("schedule.lr");
  const auto wd = file.read<double>("schedule.weight_decay");
  const auto ema = file.read<double>("schedule.momentum");
  const auto tau = file.read<double>("schedule.teacher_temp");
  for (Index i = 0; i < epochs * per_epoch; ++i) {
    INFO("step " << i);
    const auto at = static_cast<std::size_t>(i);
    const std::string prefix = std::to_string(i) + ".";
    CHECK(rate(i) == Approx(lr[at]).epsilon(1e-6));
    CHECK(decay(i) == Approx(wd[at]).epsilon(1e-6));
    CHECK(momentum(i) == Approx(ema[at]).epsilon(1e-6));
    CHECK(temperature(i / per_epoch) == Approx(tau[static_cast<std::size_t>(i / per_epoch)]).epsilon(1e-6));

    ViewBatch batch = ViewBatch::of(options.shape);
    for (std::size_t v = 0; v < batch.images.size(); ++v) {
      file.read_into(std::span<float>(batch.images[v]), prefix + "view" + std::to_string(v));
    }
    batch.teacher_points = points_of(file, prefix + "teacher_points");
    batch.student_points = points_of(file, prefix + "student_points");
    std::vector<T> keep;
    if (file.contains(prefix + "keep")) {
      // Stored as (V,depth,2,B); the step wants (depth,2,V,B).
      const auto stored = file.read<T>(prefix + "keep");
      const auto shape = file.shape(prefix + "keep");
      for (Index branch = 0; branch < shape[1] * shape[2]; ++branch) {
        for (Index v = 0; v < shape[0]; ++v) {
          for (Index b = 0; b < shape[3]; ++b) {
            keep.push_back(
                stored[static_cast<std::size_t>((v * shape[1] * shape[2] + branch) * shape[3] + b)]);
          }
        }
      }
    }
    StepReport report;
    step.begin();
    step.forward_backward(report, batch, temperature(i / per_epoch), keep);
    step.update(report, {.optimiser = {.learning_rate = rate(i),
                                       .weight_decay = decay(i),
                                       .step = i,
                                       .frozen_steps = config.get<Index>("freeze_last_layer") * per_epoch},
                         .teacher_momentum = momentum(i)});
    CHECK(report.loss == Approx(losses[4 * at]).epsilon(1e-5));
    CHECK(test::loss_of(report, "image") == Approx(losses[4 * at + 1]).epsilon(1e-5));
    CHECK(test::loss_of(report, "point") == Approx(losses[4 * at + 2]).epsilon(1e-5));
    CHECK(report.gradient_norm == Approx(losses[4 * at + 3]).epsilon(1e-4));
  }

  const auto on_host = [&](std::span<const T> values) {
    std::vector<T> out(values.size());
    backend.download(std::span<T>(out), values.data());
    return out;
  };
  const auto compare = [&](VectorView<T> flat, const std::string& prefix) {
    for (const auto& spec : step.layout().specs()) {
      const std::string parameter(spec.name.view());
      INFO(prefix << parameter);
      auto expected = file.read<double>(prefix + parameter);
      std::vector<T> actual = on_host(tensor_of(flat, spec));
      if (options.optimiser.kind == OptimiserKind::adamw && parameter.ends_with("attn.qkv.bias")) {
        // Softmax ignores a shift of the keys, so their bias has no gradient but rounding, which AdamW
        // amplifies.
        const std::size_t third = actual.size() / 3;
        std::vector<T> keys(actual.begin() + static_cast<std::ptrdiff_t>(third),
                            actual.begin() + static_cast<std::ptrdiff_t>(2 * third));
        std::vector<double> expected_keys(expected.begin() + static_cast<std::ptrdiff_t>(third),
                                          expected.begin() + static_cast<std::ptrdiff_t>(2 * third));
        double largest = 0;
        double difference = 0;
        for (const double e : expected) largest = std::max(largest, std::abs(e));
        for (std::size_t k = 0; k < keys.size(); ++k) {
          difference = std::max(difference, std::abs(static_cast<double>(keys[k]) - expected_keys[k]));
        }
        CHECK(difference < 1e-2 * largest);
        std::fill_n(actual.begin() + static_cast<std::ptrdiff_t>(third), third, T{0});
        std::fill_n(expected.begin() + static_cast<std::ptrdiff_t>(third), third, 0.0);
      }
      CHECK(relative_difference<T, double>(actual, expected) < 1e-4);
    }
  };
  compare(step.student(), "student.");
  compare(step.teacher(), "teacher.");
  const auto image_centre = file.read<double>("center");
  const auto point_centre = file.read<double>("ref_center");
  CHECK(relative_difference<T, double>(on_host(step.term_state("center").flat()), image_centre) < 1e-4);
  CHECK(relative_difference<T, double>(on_host(step.term_state("ref_center").flat()), point_centre) < 1e-4);
}

/// `stream_views`: the student's views one after the other.
template <class B>
void check_training(const B& backend, bool stream_views = false) {
  for (const std::string name :
       {"training_adamw", "training_adamw_droppath", "training_sgd", "training_lars"}) {
    const auto file = SafetensorsFile::open(fixture_path(name + ".safetensors"));
    const auto relation = FixtureConfig(file).get<std::string>("relation");
    if (relation == "all2pos_pos2cls_eye")
      check_training<private_relation>(backend, name, stream_views);
    else if (relation == "all2pos")
      check_training<hidden_relation>(backend, name, stream_views);
    else if (relation == "all_query")
      check_training<all_query_relation>(backend, name, stream_views);
    else
      FAIL("this test has no recipe for the relation " << relation);
  }
}

}  // namespace dssl::test
