// The command line of dssl-compare: options, their help, their JSON.
#include "compare/settings.hpp"

#include <string_view>

#include <dssl/core/error.hpp>

#include "common/architectures.hpp"
#include "common/names.hpp"

namespace dssl::programs {

NetworkConfig<ViTConfig> CompareSettings::network() const {
  const Architecture& sizes = named(architectures, "arch", arch);
  return NetworkConfig<ViTConfig>{sizes.config, sizes.head}.with(options.channels, options.prototypes);
}

StepOptions CompareSettings::step() const {
  const MultiCropOptions sizes = views_of(facts(), architecture(arch), views);
  StepOptions made{.shape = {.batch = options.batch,
                             .channels = network().backbone.channels,
                             .points = facts().points ? points : 0,
                             .views = {sizes.global_size, sizes.global_size}},
                   .prototypes = options.prototypes,
                   .stochastic_depth = options.stochastic_depth,
                   .recompute = options.recompute,
                   .stream_views = options.stream_views,
                   .loss = options.loss,
                   .optimiser = options.optimiser};
  for (Index v = 0; v < sizes.locals; ++v) made.shape.views.push_back(sizes.local_size);
  made.loss.image_all_views = facts().image_all_views;
  return made;
}

void CompareSettings::validate() const {
  options.validate();
  const MultiCropOptions sizes = views_of(facts(), architecture(arch), views);
  dssl::validate(sizes);
  const Index patch = architecture(arch).patch;
  const auto in_patches = [&](std::string_view field, Index size) {
    if (size % patch != 0) throw OptionError(field, size, join("a multiple of the patch, ", patch, " pixels"));
  };
  in_patches("views_global", sizes.global_size.height);
  if (sizes.locals > 0) in_patches("views_local", sizes.local_size.height);
  step().shape.validate(network().backbone.channels, patch, facts().points);
}

std::vector<Combination> CompareSettings::combinations() const {
  std::vector<Combination> all;
  for (const std::string& backend : backends) {
    for (const std::string& product : products) {
      for (const std::string& precision : precisions) {
        for (const int count : threads) all.push_back({backend, product, precision, count});
      }
    }
  }
  return all;
}

nlohmann::ordered_json CompareSettings::json() const {
  const StepOptions made = step();
  nlohmann::ordered_json sizes = nlohmann::ordered_json::array();
  for (const ViewSize& view : made.shape.views) sizes.push_back(view.height);
  return {{"recipe", recipe},
          {"arch", arch},
          {"batch", made.shape.batch},
          {"views", sizes},
          {"channels", made.shape.channels},
          {"points", made.shape.points},
          {"prototypes", network().head.prototypes},
          {"stochastic_depth", made.stochastic_depth},
          {"recompute", made.recompute},
          {"stream_views", made.stream_views},
          {"backends", backends},
          {"products", products},
          {"precisions", precisions},
          {"threads", threads},
          {"emulate_bf16", emulate_bf16},
          {"warm_up", warm_up},
          {"turns", turns}};
}

void add_options(CLI::App& app, CompareSettings& s) {
  app.option_defaults()->always_capture_default();
  const std::string lists = "What is compared (lists joined by commas; every combination is a row)";
  app.add_option("--backends", s.backends, "cpu, reference (plain loops in double, the oracle: slow), cuda (the first GPU)")
      ->delimiter(',')
      ->check(CLI::IsMember({"cpu", "reference", "cuda"}))
      ->group(lists);
  app.add_option("--products", s.products, "What multiplies matrices on the CPU: own, onednn, cblas")
      ->delimiter(',')
      ->check(CLI::IsMember({"own", "onednn", "cblas"}))
      ->group(lists);
  app.add_option("--precisions", s.precisions,
                 "f32 and bf16 (of products and attention), tf32 (cuda alone), f64 (reference alone)")
      ->delimiter(',')
      ->check(CLI::IsMember({"f64", "f32", "bf16", "tf32"}))
      ->group(lists);
  app.add_option("--threads", s.threads, "Numbers of threads of the CPU; 0: as many as the process may use")
      ->delimiter(',')
      ->check(CLI::Range(0, 4096))
      ->group(lists);
  app.add_flag("--emulate-bf16", s.emulate_bf16,
               "bf16 on the CPU gives its numbers without instructions for it, too: slowly, for a look at the loss")
      ->group(lists);

  const std::string step = "The step";
  TrainerOptions& o = s.options;
  app.add_option("--recipe", s.recipe, "Recipe: " + names_of(known_recipes))->group(step);
  app.add_option("--arch", s.arch, "Architecture: " + names_of(architectures))->group(step);
  app.add_option("--batch", o.batch, "Images a step")->group(step);
  app.add_option("--views-global", s.views.global, views_global_help)->group(step);
  app.add_option("--views-local", s.views.local, views_local_help)->group(step);
  app.add_option("--locals", s.views.locals, locals_help)->group(step);
  app.add_option("--points", s.points, "Points a view pair, K")->group(step);
  app.add_option("--channels", o.channels, "Channels of the images; 0: 3")->group(step);
  app.add_option("--prototypes", o.prototypes, "Prototypes of each head; 0: the architecture's")->group(step);
  app.add_option("--stochastic-depth", o.stochastic_depth, "Stochastic depth: rate of the last block")->group(step);
  app.add_flag("--recompute", o.recompute,
               "Keep only what enters each block and compute the rest again: less memory, more time")
      ->group(step);
  app.add_flag("--stream-views", o.stream_views,
               "The student's views one after the other: activations of one view are in memory")
      ->group(step);

  const std::string run = "Run";
  app.add_option("--turns", s.turns, "Timed steps of each combination, in turn with those of all others")
      ->check(CLI::Range(1, 1000000))
      ->group(run);
  app.add_option("--warm-up", s.warm_up, "Steps of each before them")->check(CLI::Range(0, 1000000))->group(run);
  app.add_flag("--no-check", s.no_check,
               "No step on Reference, which takes minutes for large steps: no differences of the loss then")
      ->group(run);
  app.add_option("--out", s.out, "JSON file to write; default: the table alone")->option_text("FILE")->group(run);
}

}  // namespace dssl::programs
