// The command line of dssl-pretrain.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <common/camera_views.hpp>
#include <common/ranks.hpp>
#include <common/recipes.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/source.hpp>
#include <dssl/io/backbone_file.hpp>
#include <pretrain/job.hpp>

namespace dssl::programs {

/// The program's arguments, and the job that they make.
class CommandLine {
 public:
  CommandLine();

  [[nodiscard]] CLI::App& app() { return x_app; }

  /// The job, with the defaults of its recipe and architecture where nothing was said, and its images found.
  /// Throws `OptionError`, `DataError`. `ranks` are started as the options say, before anything is opened.
  [[nodiscard]] Job job(RunRanks& ranks);

  /// Options that were typed though the recipe has no use for them.
  [[nodiscard]] std::vector<std::string> without_effect() const;

  /// That the preset's learning rate is of another optimiser than the job's, where none was said; else empty.
  [[nodiscard]] std::string rate_left() const;

  /// A message about a field of `TrainerOptions` in terms of the option that sets it.
  [[nodiscard]] std::string in_options_of_program(std::string message, std::string_view field);

 private:
  void x_add_data_options();
  void x_add_recipe_options();
  void x_add_training_options();
  void x_add_run_options();
  void x_add_monitor_options();
  /// Those of --data, cut into tiles where that was said, or those of them that --second has too; opened at the first call.
  const SourceView& x_images();
  void x_open_images();
  /// What a preset has where nothing was said: the recipe and the architecture, then numbers that depend on them and on the images.
  void x_set_preset_kinds();
  void x_set_preset_numbers();
  void x_set_backbone();
  /// `init`: the weights that the run begins with, or null.
  void x_set_pixels(const BackboneFile* init);
  void x_set_rates();
  /// Height and width of a global view where neither is said.
  [[nodiscard]] Index x_native_view() const;
  void x_set_views();
  /// What was said that views are no upright boxes by: "--rotate, --camera".
  [[nodiscard]] std::string x_warps_of_views() const;

  CLI::App x_app;
  Job x_job;
  ViewSizes x_view_sizes;
  PixelScale x_pixels;  // that views are normalised by; empty: as usual
  std::vector<double> x_global_scale, x_local_scale, x_global_zoom, x_local_zoom;
  double x_rotation = 0, x_perspective = 0;
  CameraViews x_camera_views;
  std::optional<SourceView> x_second;  // the second camera's images, where there is one
  std::string x_preset = "none";
  std::string x_optimiser = "adamw";
  std::string x_clip_over = "tensor";
  std::string x_views_on = "host";
  std::string x_reduce = "full";
  double x_bucket_mib = 0;
  CLI::Option *x_recipe = nullptr, *x_arch = nullptr, *x_resume = nullptr;
  CLI::Option *x_peak_rate = nullptr, *x_final_rate = nullptr, *x_warmup = nullptr, *x_layer_decay = nullptr;
  CLI::Option* x_image_all_views = nullptr;
  CLI::Option *x_points = nullptr, *x_alpha = nullptr;
  CLI::Option* x_relation = nullptr;
  CLI::Option* x_locality = nullptr;
  CLI::Option* x_temperature = nullptr;
  CLI::Option* x_queue = nullptr;
  CLI::Option* x_koleo = nullptr;
  std::vector<CLI::Option*> x_sampler_options, x_level_options, x_mask_options, x_prototype_options,
      x_teacher_options, x_frozen_options, x_local_options, x_assignment_options;
};

}  // namespace dssl::programs
