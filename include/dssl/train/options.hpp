// Every number of a training run, with the published values as defaults.
// Tests: tests/train/trainer.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/core/communicator.hpp>
#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/loss/objective.hpp>
#include <dssl/optim/optimiser.hpp>
#include <dssl/views/masks.hpp>
#include <dssl/views/multi_crop_options.hpp>

namespace dssl {

/// Numbers of the teacher.
struct TeacherOptions {
  double momentum = 0.996;             ///< of the moving average, rising to `final_momentum`
  double final_momentum = 1.0;
  double temperature = 0.04;           ///< after the warm-up
  double warmup_temperature = 0.04;    ///< at the first epoch
  Index warmup_temperature_epochs = 0;
};

/// Where views are made of images: on the host by the loader's threads, or by the step's backend, where it can.
enum class ViewsOn : std::uint8_t { host, device };

/// Defaults of options that say nothing of a recipe: DenseDINO's views, and the loss's numbers as their type has them.
template <class LossNumbers>
struct PlainDefaults {
  static MultiCropOptions views() { return {}; }
  static LossNumbers loss() { return {}; }
};

/// Those of a recipe: a view generator has its published options as `Views::published()`, a sum of terms whose published
/// weights are not those of its terms `Loss::published()`.
template <class Views, class Loss>
struct PublishedDefaults {
  static MultiCropOptions views() {
    if constexpr (requires { Views::published(); }) return Views::published();
    return {};
  }
  static typename Loss::Options loss() {
    if constexpr (requires { Loss::published(); }) return Loss::published();
    return {};
  }
};

namespace detail {

/// Recipes that publish nothing share a type of options.
template <class Views, class Loss>
inline constexpr bool publishes = requires { Views::published(); } || requires { Loss::published(); };
template <class Recipe>
using DefaultsOf = std::conditional_t<publishes<typename Recipe::Views, typename Recipe::Loss>,
                                      PublishedDefaults<typename Recipe::Views, typename Recipe::Loss>,
                                      PlainDefaults<typename Recipe::Loss::Options>>;

/// An option's value as text from which the same value can be read back.
template <class Value>
[[nodiscard]] std::string option_text(const Value& value) {
  if constexpr (std::is_floating_point_v<Value>) {
    return exact_text(value);
  } else {
    return join(value);
  }
}

}  // namespace detail

/// Everything a `Trainer` can be told at run time. `LossNumbers`: the options of the recipe's loss; `Defaults`: what
/// `views` and `loss` begin with.
template <class LossNumbers, class DefaultsT = PlainDefaults<LossNumbers>>
struct BasicTrainerOptions {
  using Defaults = DefaultsT;

  Index epochs = 100;
  Index batch = 64;               ///< images a forward pass, those of all ranks together
  Index accumulate = 1;           ///< forward passes an update; gradients and centres average over all of them
  std::uint64_t seed = 0;
  Index channels = 0;             ///< of the images; 0: the backbone's own number
  Index prototypes = 0;           ///< of each head; 0: the head's own number
  double stochastic_depth = 0.1;  ///< rate of the last block
  bool recompute = false;         ///< keep only what enters each block: less memory, about a sixth more time
  bool stream_views = false;      ///< the student's views one after the other: activations of one view are in memory
  OptimiserOptions optimiser{};
  TeacherOptions teacher{};
  LossNumbers loss = Defaults::loss();
  MultiCropOptions views = Defaults::views();
  MaskOptions masks{};               ///< where the recipe's views are masked; part of its words, not of the options below
  ViewsOn views_on = ViewsOn::host;  ///< device: images go to one rank's backend as they were read (Cuda: docs/cuda.md); not views with parts
  Index prefetch = 0;             ///< images prepared ahead; 0: two batches
  int loader_threads = 0;         ///< workers that prepare views; 0: all
  double max_unreadable = 0.1;    ///< share of unreadable images (`SkipPolicy`) that ends the run, once there are more than ten; 0: none
  std::string checkpoint{};       ///< file that is written after every epoch; empty: none
  Index checkpoint_steps = 0;     ///< also after every so many steps; 0: only after epochs
  Index collapse_patience = 200;  ///< steps in a row that must look collapsed before it is said
  bool other_images = false;      ///< a resumed run may go on with images of other names or sizes, as many as before
  Communicator ranks{};           ///< that share the run, each `batch` / size images of a pass; alone where not said
  SentAs reduce = SentAs::whole;  ///< how ranks send gradients: as they are, or rounded to half the bytes
  Index bucket_bytes = 0;         ///< gradients are sent while the backward pass goes on, so many or more at a time; 0: after it
  bool shard = false;             ///< each rank keeps the optimiser's state of a part of the weights, and updates that

  /// Images that a forward pass takes on this rank.
  [[nodiscard]] Index rank_batch() const { return batch / ranks.size(); }
  /// Images an update takes.
  [[nodiscard]] Index update_images() const { return batch * accumulate; }

  /// The same with the numbers of another loss. `OtherDefaults` are part of the type alone.
  template <class Other, class OtherDefaults = PlainDefaults<Other>>
  [[nodiscard]] BasicTrainerOptions<Other, OtherDefaults> with_loss(Other numbers) const {
    return {epochs,   batch,     accumulate,           seed,       channels,     prototypes, stochastic_depth,
            recompute, stream_views, optimiser, teacher, std::move(numbers), views, masks, views_on, prefetch,
            loader_threads, max_unreadable, checkpoint, checkpoint_steps, collapse_patience, other_images, ranks, reduce,
            bucket_bytes, shard};
  }

  /// The same numbers without a recipe's defaults: what a run of any recipe of that loss takes.
  [[nodiscard]] BasicTrainerOptions<LossNumbers> plain() const { return with_loss(loss); }

  /// Throws `OptionError` naming the first field that has an impossible value.
  void validate() const;
};
/// Those of the published recipes.
using TrainerOptions = BasicTrainerOptions<LossOptions>;
/// The numbers of any loss, as texts: for what asks which they are, and not what they do.
struct LossTexts {
  std::vector<std::pair<std::string, std::string>> texts;

  void validate() const {}
  template <class F>
  void for_each(F&& f) const {
    for (const auto& [name, text] : texts) f(name, text);
  }
};
/// Those of a run, whatever its loss.
using RunOptions = BasicTrainerOptions<LossTexts>;

namespace detail {

/// Throws as `BasicTrainerOptions::validate`; `validate_loss` is called where the loss's numbers stand among the others.
DSSL_INLINE void validate_options(const RunOptions& o, const std::function<void()>& validate_loss);

#if defined(DSSL_WITH_DEFINITIONS)
DSSL_INLINE void validate_options(const RunOptions& o, const std::function<void()>& validate_loss) {
  const auto at_least = [](std::string_view name, auto value, auto least) {
    if (!(value >= least)) throw OptionError(name, value, join("at least ", least));
  };
  const auto share = [](std::string_view name, double value) {
    if (!(value >= 0 && value <= 1)) throw OptionError(name, value, "0 to 1");
  };
  const auto positive = [](std::string_view name, double value) {
    if (!(value > 0)) throw OptionError(name, value, "above 0");
    if (value > std::numeric_limits<double>::max()) throw OptionError(name, value, "a finite number");
  };
  at_least("epochs", o.epochs, Index{1});
  at_least("batch", o.batch, Index{1});
  at_least("accumulate", o.accumulate, Index{1});
  if (o.batch % o.ranks.size() != 0) throw OptionError("batch", o.batch, join("a multiple of the ranks, ", o.ranks.size()));
  if (o.views_on == ViewsOn::device && o.ranks.size() > 1) {
    throw OptionError("views_on", "device", "host where ranks share a run");
  }
  at_least("channels", o.channels, Index{0});
  if (o.prototypes != 0) at_least("prototypes", o.prototypes, Index{2});
  if (!(o.stochastic_depth >= 0 && o.stochastic_depth < 1)) {
    throw OptionError("stochastic_depth", o.stochastic_depth, "at least 0 and below 1");
  }
  o.optimiser.validate();
  share("teacher.momentum", o.teacher.momentum);
  share("teacher.final_momentum", o.teacher.final_momentum);
  positive("teacher.temperature", o.teacher.temperature);
  positive("teacher.warmup_temperature", o.teacher.warmup_temperature);
  at_least("teacher.warmup_temperature_epochs", o.teacher.warmup_temperature_epochs, Index{0});
  validate_loss();
  dssl::validate(o.views, "views.");
  o.masks.validate("masks.");
  at_least("prefetch", o.prefetch, Index{0});
  at_least("loader_threads", o.loader_threads, 0);
  share("max_unreadable", o.max_unreadable);
  at_least("checkpoint_steps", o.checkpoint_steps, Index{0});
  at_least("collapse_patience", o.collapse_patience, Index{1});
  at_least("bucket_bytes", o.bucket_bytes, Index{0});
}
#endif

}  // namespace detail

/// Those of a recipe, whose `views` and `loss` begin with its published numbers.
template <class Recipe>
using TrainerOptionsOf = BasicTrainerOptions<typename Recipe::Loss::Options, detail::DefaultsOf<Recipe>>;

template <class LossNumbers, class DefaultsT>
void BasicTrainerOptions<LossNumbers, DefaultsT>::validate() const {
  detail::validate_options(with_loss(LossTexts()), [this] { loss.validate(); });
}

/// Throws `DataError` where so many images do not make one update. Sooner than the network is laid out, if one likes.
template <class LossNumbers, class Defaults>
void require_update(const BasicTrainerOptions<LossNumbers, Defaults>& options, Index images) {
  if (options.batch <= images && options.accumulate <= images / options.batch) return;
  throw DataError(join("the data has ", images, " images, but an update takes batch * accumulate = ", options.batch,
                       " * ", options.accumulate, "; use a smaller batch"));
}

/// The same options, whatever the loss. `for_each_option` tells the same of them.
template <class LossNumbers, class Defaults>
[[nodiscard]] RunOptions run_options(const BasicTrainerOptions<LossNumbers, Defaults>& options) {
  LossTexts loss;
  options.loss.for_each([&](std::string_view name, const auto& value) { loss.texts.emplace_back(name, detail::option_text(value)); });
  return options.with_loss(std::move(loss));
}

/// An option that checkpoints written before it existed do not name, and the value that such a run had: its default.
struct LaterOption {
  std::string_view name;
  std::string_view value;
};
inline constexpr LaterOption later_options[]{{"loss.gram.resize", "1"},
                                             {"loss.koleo.all_ranks", "0"},
                                             {"loss.swapped-assignment.queue", "0"},
                                             {"loss.swapped-assignment.queue_first_epoch", "15"},
                                             {"optimiser.clip_over", "tensor"},
                                             {"optimiser.frozen_moments", "0"},
                                             {"optimiser.rates.layer_decay", "1"},
                                             {"optimiser.rates.patch_embedding", "1"},
                                             {"optimiser.rates.vectors", "1"},
                                             {"views.camera", ""},
                                             {"views.global_zoom.high", "0"},
                                             {"views.global_zoom.low", "0"},
                                             {"views.local_zoom.high", "0"},
                                             {"views.local_zoom.low", "0"},
                                             {"views.pair", ""},
                                             {"views.parts", ""},
                                             {"views.perspective", "0"},
                                             {"views.quarter_turns", "0"},
                                             {"views.rotation", "0"},
                                             {"views.vertical_flip", "0"}};

/// Calls `f(name, value)` for every option that decides what a run computes, in a fixed order.
///
/// Options that only decide how it is carried out (threads, ranks, prefetch, where views are made, which activations are in
/// memory, files) are left out: a run may be resumed with others.
template <class LossNumbers, class Defaults, class F>
void for_each_option(const BasicTrainerOptions<LossNumbers, Defaults>& o, F&& f) {
  f("epochs", o.epochs);
  f("batch", o.batch);
  f("accumulate", o.accumulate);
  f("seed", o.seed);
  f("stochastic_depth", o.stochastic_depth);
  f("optimiser.kind", name_of(o.optimiser.kind));
  f("optimiser.learning_rate", o.optimiser.learning_rate);
  f("optimiser.final_learning_rate", o.optimiser.final_learning_rate);
  f("optimiser.warmup_epochs", o.optimiser.warmup_epochs);
  f("optimiser.weight_decay", o.optimiser.weight_decay);
  f("optimiser.final_weight_decay", o.optimiser.final_weight_decay);
  f("optimiser.beta1", o.optimiser.beta1);
  f("optimiser.beta2", o.optimiser.beta2);
  f("optimiser.epsilon", o.optimiser.epsilon);
  f("optimiser.momentum", o.optimiser.momentum);
  f("optimiser.trust", o.optimiser.trust);
  f("optimiser.clip", o.optimiser.clip);
  f("optimiser.freeze_prototypes_epochs", o.optimiser.freeze_prototypes_epochs);
  f("optimiser.clip_over", name_of(o.optimiser.clip_over));
  f("optimiser.frozen_moments", o.optimiser.frozen_moments);
  f("optimiser.rates.layer_decay", o.optimiser.rates.layer_decay);
  f("optimiser.rates.patch_embedding", o.optimiser.rates.patch_embedding);
  f("optimiser.rates.vectors", o.optimiser.rates.vectors);
  f("teacher.momentum", o.teacher.momentum);
  f("teacher.final_momentum", o.teacher.final_momentum);
  f("teacher.temperature", o.teacher.temperature);
  f("teacher.warmup_temperature", o.teacher.warmup_temperature);
  f("teacher.warmup_temperature_epochs", o.teacher.warmup_temperature_epochs);
  o.loss.for_each(f);
  f("views.locals", o.views.locals);
  f("views.global_size.height", o.views.global_size.height);
  f("views.global_size.width", o.views.global_size.width);
  f("views.local_size.height", o.views.local_size.height);
  f("views.local_size.width", o.views.local_size.width);
  f("views.global_area.low", o.views.global_area.low);
  f("views.global_area.high", o.views.global_area.high);
  f("views.local_area.low", o.views.local_area.low);
  f("views.local_area.high", o.views.local_area.high);
  f("views.global_zoom.low", o.views.global_zoom.low);
  f("views.global_zoom.high", o.views.global_zoom.high);
  f("views.local_zoom.low", o.views.local_zoom.low);
  f("views.local_zoom.high", o.views.local_zoom.high);
  f("views.aspect.low", o.views.aspect.low);
  f("views.aspect.high", o.views.aspect.high);
  f("views.global_overlap", o.views.global_overlap);
  f("views.local_overlap", o.views.local_overlap);
  f("views.redraws", o.views.redraws);
  f("views.flip", o.views.flip);
  f("views.rotation", o.views.rotation);
  f("views.perspective", o.views.perspective);
  f("views.vertical_flip", o.views.vertical_flip);
  f("views.quarter_turns", o.views.quarter_turns);
  f("views.camera", text_of(o.views.camera));
  f("views.pair", text_of(o.views.pair));
  f("views.jitter", o.views.jitter);
  f("views.brightness", o.views.brightness);
  f("views.contrast", o.views.contrast);
  f("views.saturation", o.views.saturation);
  f("views.hue", o.views.hue);
  f("views.grey", o.views.grey);
  f("views.blur_first_global", o.views.blur_first_global);
  f("views.blur_second_global", o.views.blur_second_global);
  f("views.blur_local", o.views.blur_local);
  f("views.blur_radius_low", o.views.blur_radius_low);
  f("views.blur_radius_high", o.views.blur_radius_high);
  f("views.solarise_second_global", o.views.solarise_second_global);
  f("views.parts", text_of(o.views.parts));
  const auto listed = [](const std::vector<float>& values) {
    std::string text;
    for (const float v : values) text += join(text.empty() ? "" : " ", hex_text(v));
    return text;
  };
  f("views.mean", listed(o.views.mean));
  f("views.deviation", listed(o.views.deviation));
}

}  // namespace dssl
