// Trains a recipe on a backend.
// Tests: tests/train/trainer.cpp.
#pragma once

#include <concepts>
#include <stop_token>
#include <utility>

#include <dssl/backend/concept.hpp>
#include <dssl/concepts.hpp>
#include <dssl/core/error.hpp>
#include <dssl/data/source.hpp>
#include <dssl/train/network.hpp>
#include <dssl/train/options.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/recipe_words.hpp>
#include <dssl/train/samples.hpp>
#include <dssl/train/training_run.hpp>
#include <dssl/views/geometry.hpp>
#include <dssl/views/view_pack.hpp>

namespace dssl {

namespace detail {

/// The second argument of a trainer, or a sentence.
template <class B>
struct BackendOfTrainer {
  static_assert(Backend<B>,
                "Trainer<Recipe, Backend>: the second argument is no backend; say dssl::Cpu, dssl::Cuda or "
                "dssl::Reference<double>, or see Backend in dssl/backend/concept.hpp");
  using type = B;
};

}  // namespace detail

/// Trains a recipe on a backend.
///
///   dssl::Trainer<dssl::DenseDino, dssl::Cpu> trainer{{.epochs = 100, .batch = 64}};
///   trainer.on_step([](const dssl::StepReport& r) { return dssl::proceed; });
///   trainer.fit(dssl::ImageFolder{"photos"});
///
/// What a run computes depends on the options, the images and the recipe alone: not on the number of threads, nor
/// on where it was interrupted and resumed. An object is for one thread at a time.
template <class RecipeT, class B>
class Trainer : public TrainingRun<NetworkKindOf<RecipeT>, typename detail::BackendOfTrainer<B>::type> {
  using x_Run = TrainingRun<NetworkKindOf<RecipeT>, B>;

 public:
  using Recipe = RecipeT;
  using T = typename B::Scalar;
  using Views = typename Recipe::Views;
  using Points = typename Recipe::Points;

  static_assert(!Recipe::Loss::reads.masked || MasksPatches<Views>,
                "the loss reads masked patches, but the recipe's views mask none: with_views<Masked<MultiCrop<>>>");

  static_assert(!teacher_asked_by<Points>.any() || Recipe::Loss::teacher_pass,
                "with_points: the teacher chooses the points, but no term of the loss has one that sees the views in each step");
  static_assert(!teacher_asked_by<Points>.attention || KeepsAttention<typename Recipe::Backbone>,
                "with_points: the teacher's attention chooses the points, but the backbone has none that can be looked at, see "
                "KeepsAttention in dssl/concepts.hpp: use with_points<DisagreementPoints<>>");
  static_assert(!teacher_asked_by<Points>.any() || (is_framed<decltype(Views::Plan::map)> && !ChecksPoints<decltype(Views::Plan::map)>),
                "with_points: the teacher chooses the points, but the views are no boxes of the scene");

  using Options = TrainerOptionsOf<Recipe>;

  /// Sizes of the network, of types that the recipe gives.
  using Sizes = NetworkConfigOf<Recipe>;

  /// Allocates everything the run needs and draws the initial weights.
  ///
  /// `points`: a sampler with run-time numbers of its own, or any sampler at all where the recipe's is `AnySampler`.
  /// Views are made by a generator that is made from `options.views` where the recipe's takes `MultiCropOptions`, and
  /// without arguments otherwise.
  /// Throws `OptionError` naming the field.
  explicit Trainer(Options options = {}, const B& backend = B{}, const Points& points = Points{})
      : Trainer(std::move(options), backend, points, network_config<Recipe>()) {}
  /// The same with sizes in the place of the recipe's own; `options.channels` and `options.prototypes` have the last
  /// word.
  Trainer(Options options, const B& backend, const Points& points, const Sizes& sizes)
      : Trainer(x_checked(std::move(options)), backend, points, x_views_of, sizes) {}
  /// The same with a view generator of your own making: `options.views` has no say then, and a checkpoint knows of it
  /// the member `name` alone, so that a resumed run gets the same one is yours to see to.
  Trainer(Options options, const B& backend, const Points& points, const Views& views)
      : Trainer(
            x_checked(std::move(options)), backend, points, [&views](const Options&) { return views; },
            network_config<Recipe>()) {}

  /// `TrainingRun::fit` on any source of images.
  template <class Source>
  RunSummary fit(const Source& source, std::stop_token token = {}) {
    static_assert(gives_images<Source>);
    return x_Run::fit(SourceView(source), std::move(token));
  }

 private:
  template <class MakeViews>
  Trainer(const Options& checked, const B& backend, const Points& points, const MakeViews& make_views,
          Sizes sizes)
      : Trainer(checked, backend,
                SampleMaking::of<RendersViews<B>>(
                    SampleMaker<Views, Points>(make_views(checked), points, sizes.with(checked.channels, 0).backbone.channels,
                                               Recipe::Loss::reads.points),
                    checked.rank_batch(), sizes.backbone.patch, checked.ranks),
                sizes.with(checked.channels, checked.prototypes)) {}
  Trainer(const Options& checked, const B& backend, const SampleMaking& making, const Sizes& sizes)
      : x_Run(checked.plain(), backend, making, sizes, x_words(sizes, making)) {}

  static std::string x_words(const Sizes& sizes, const SampleMaking& making) {
    std::string out = describe_recipe<Recipe>(sizes, making.shape.points, making.sampler);
    return making.masks.words.empty() ? out : join(out, "; masks: ", making.masks.words);
  }

  static Views x_views_of(const Options& checked) {
    if constexpr (std::constructible_from<Views, const MultiCropOptions&, const MaskOptions&>) {
      return Views(checked.views, checked.masks);
    } else if constexpr (std::constructible_from<Views, const MultiCropOptions&>) {
      return Views(checked.views);
    } else {
      return Views{};
    }
  }

  static Options x_checked(Options options) {
    options.validate();
    if (options.views_on == ViewsOn::device && !(RendersViews<B> && PacksViews<Views>)) {
      throw OptionError("views_on", "device",
                        RendersViews<B> ? "host: the recipe's view generator says what it does by rendering alone"
                                        : "host: this backend renders no views (Cuda does)");
    }
    const auto parts = text_of(options.views.parts);
    if (options.views_on == ViewsOn::device && !parts.empty())
      throw OptionError("views_on", "device", join("host: photometric parts (", parts, ") are made there alone"));
    return options;
  }
};

}  // namespace dssl
