#include <pretrain/command_line.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <memory>
#include <optional>
#include <utility>

#include <common/architectures.hpp>
#include <common/backend.hpp>
#include <common/camera_pairs.hpp>
#include <common/names.hpp>
#include <common/program.hpp>
#include <common/published.hpp>
#include <common/read_options.hpp>
#include <common/recipes.hpp>
#include <common/turned_views.hpp>
#include <dssl/core/camera.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/data/camera_images.hpp>
#include <dssl/data/image_files.hpp>
#include <dssl/data/image_folder.hpp>
#include <dssl/data/image_pairs.hpp>
#include <dssl/data/image_tiles.hpp>
#include <dssl/data/source.hpp>
#include <dssl/data/synthetic.hpp>
#include <dssl/data/voc.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/backbone_export.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/camera_file.hpp>
#include <dssl/io/hugging_face_config.hpp>
#include <dssl/io/json_writer.hpp>
#include <dssl/io/pixel_scale.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/train/loaded_weights.hpp>
#include <dssl/version.hpp>
#include <dssl/views/lens.hpp>
#include <dssl/views/multi_crop.hpp>
#include <dssl/views/paired_views.hpp>
#include <pretrain/recipes.hpp>
#include <pretrain/small_budget.hpp>

namespace dssl::programs {
namespace {

template <class Source>
SourceView held(Source source) {
  return SourceView(std::make_shared<const Source>(std::move(source)));
}

/// Of a folder in VOC layout that of its images, never the masks; any other as it is.
std::string folder_of_images(const std::string& folder) {
  const std::string images = folder + "/JPEGImages";
  return std::filesystem::is_directory(images) ? images : folder;
}

/// The images that `--data` and `--split` name.
SourceView open_source(Job& job) {
  namespace fs = std::filesystem;
  const ReadOptions read = job.reading();
  if (job.data != "synthetic" && fs::is_directory(job.data + "/JPEGImages") && !job.split.empty()) {
    return held(ImagesOf(VocFolder(job.data, job.split, {.read = read})));
  }
  if (!job.split.empty()) {
    throw OptionError("split", job.split, "a data folder that has JPEGImages and ImageSets/Segmentation");
  }
  if (job.data == "synthetic") {
    return held(ImagesOf(SyntheticScenes({.seed = job.options.seed,
                                          .count = job.synthetic_count,
                                          .height = job.synthetic_size,
                                          .width = job.synthetic_size,
                                          .channels = read.channels})));
  }
  if (fs::is_regular_file(job.data)) return held(ImageList(job.data, read));
  ImageFolder folder(folder_of_images(job.data), {.read = read});
  job.left_aside = left_aside_text(folder.left_aside());
  job.damaged = folder.damaged();
  return held(std::move(folder));
}

/// The images that `--data` and `--second` both name, in one order.
std::pair<SourceView, SourceView> open_both(Job& job) {
  const ReadOptions read = job.reading();
  if (!job.split.empty() || job.data == "synthetic") throw OptionError("second", job.second, "none with --split, or with generated scenes");
  const ImageFiles first(folder_of_images(job.data), {.read = read}), second(folder_of_images(job.second), {.read = read});
  LeftAside left = first.left_aside();
  for (const auto& [ending, count] : second.left_aside()) left[ending] += count;
  job.left_aside = left_aside_text(left);
  job.damaged = first.damaged();
  job.damaged.insert(job.damaged.end(), second.damaged().begin(), second.damaged().end());
  const auto names = [](const ImageFiles& files) {
    std::vector<std::string> out;
    for (Index i = 0; i < files.size(); ++i) out.push_back(files.id(i));
    return out;
  };
  std::vector<Index> of_first, of_second;
  for (const auto& [a, b] : same_names(names(first), names(second))) {
    of_first.push_back(a);
    of_second.push_back(b);
  }
  const auto pairs = static_cast<Index>(of_first.size());
  job.pairs = join(pairs, " pairs of images with ", job.second, "; ", first.size() - pairs, " images of ", job.data, " and ", second.size() - pairs,
                   " of ", job.second, " are without the other");
  return {held(first.some(of_first)), held(second.some(of_second))};
}

/// The prototypes of each architecture's head, where the command line names no number.
std::string prototypes_text() {
  std::string out;
  for (const Architecture& known : architectures)
    out += join(out.empty() ? "" : ", ", known.name, " ", known.head.prototypes);
  return out;
}

/// Which option sets which field, where it does not have the field's name.
constexpr auto option_of_field = std::to_array<std::pair<std::string_view, std::string_view>>({
    {"loader_threads", "--threads"},
    {"overlap", "--tile-overlap"},
    {"count", "--synthetic-count"},
    {"height", "--synthetic-size"},
    {"width", "--synthetic-size"},
    {"optimiser.learning_rate", "--lr"},
    {"optimiser.final_learning_rate", "--min-lr"},
    {"optimiser.final_weight_decay", "--weight-decay-end"},
    {"optimiser.freeze_prototypes_epochs", "--freeze-prototypes"},
    {"teacher.final_momentum", "--momentum-end"},
    {"teacher.temperature", "--teacher-temp"},
    {"teacher.warmup_temperature", "--warmup-teacher-temp"},
    {"teacher.warmup_temperature_epochs", "--warmup-teacher-temp-epochs"},
    {"global_size.height", "--views-global"},
    {"local_size.height", "--views-local"},
    {"size", "--views-global or --views-local"},
    {"global_area.low", "--global-scale"},
    {"global_area.high", "--global-scale"},
    {"local_area.low", "--local-scale"},
    {"local_area.high", "--local-scale"},
    {"global_zoom.low", "--global-zoom"},
    {"global_zoom.high", "--global-zoom"},
    {"local_zoom.low", "--local-zoom"},
    {"local_zoom.high", "--local-zoom"},
    {"rotation", "--rotate"},
    {"pair.between", "--between"},
    {"pair.second", "--second-camera"},
    {"homography", "--between"},
    {"masks", "--masked-views or --masked-high"},
    {"masks.views", "--masked-views"},
    {"masks.low", "--masked-low"},
    {"masks.high", "--masked-high"},
    {"every", "--monitor-every"},
    {"classes", "--monitor-classes"},
    {"only", "--monitor-only"},
    {"void", "--monitor-void"},
});

/// What a run that begins with weights has where nothing else is said: rates at which what was learned stays in place at first.
constexpr double rate_from_weights = 5e-5, decay_from_weights = 0.75;
constexpr Index warmup_from_weights = 2;

}  // namespace

CommandLine::CommandLine()
    : x_app(
          "Pretrains a vision transformer on unlabelled images by DenseDINO, DINO, the feature-map ablation, or a "
          "method that compares two views: BYOL, SimSiam, SimCLR, MoCo, Barlow Twins, VICReg, DenseCL, PixPro, or many: "
          "SwAV, iBOT, DINOv2; or distils a larger network.",
          "dssl-pretrain") {
  x_app.set_version_flag("--version", std::string(version_string));
  x_app.get_formatter()->column_width(44);
  x_app.option_defaults()->always_capture_default();
  x_add_data_options();
  x_add_recipe_options();
  x_add_training_options();
  x_add_run_options();
  x_add_monitor_options();
  x_app.footer(
      "Written to DIR: metrics.jsonl (one object a step), checkpoint.safetensors (after every epoch), \n"
      "teacher.safetensors (the backbone under its published names), options.json; with --keep-best \n"
      "best.safetensors (the teacher when the monitor's figure was largest).\n\n"
      "Monitors look at held-out images through the teacher and change nothing of the run. Figures, in \n"
      "metrics.jsonl and on the progress line: spread (mean standard deviation of the unit class tokens) and "
      "rank \n"
      "(their effective rank) of any folder; knn (share of images that their nearest neighbours name "
      "rightly; a folder of folders, one a \n"
      "class); retrieval (mean IoU by dense retrieval of val in train; a VOC folder).\n\n"
      "Views, where not said otherwise: densedino, densedino-local, densedino-contrast and feature-map take the published 2 + 4 views of scale "
      "0.25 to 1 \n"
      "and one size; dino takes DINO's 2 views of scale 0.4 to 1 and 8 small ones of 0.05 to 0.4, and "
      "compares all of \n"
      "them at the image level; byol, moco-v3, barlow-twins, vicreg and pixpro take BYOL's two views of scale 0.08 to 1, simclr its "
      "own, \n"
      "moco-v2, densecl and simsiam two of scale 0.2 to 1; swav its 2 views of scale 0.14 to 1 and 6 small ones of 0.05 to 0.14;\n"
      "ibot and dinov2 DINO's, some patches of the global ones masked; distilled BYOL's.\n"
      "The size is 224 (nano8: 96), of the small views of dino, ibot, dinov2 and swav 96 (nano8: 40).\n"
      "Heads: tiny16 and small16 have the published MLP (2048, 2048, 256). nano8 and tiny8 have (512, 512, "
      "128), as \n"
      "the published one has four times the parameters of the nano8 backbone. On few images use few "
      "prototypes and a \n"
      "teacher momentum nearer to 1 the longer the run.\n"
      "Other heads, the learned reference vector and detached positions are compile-time parts "
      "of a \n"
      "recipe: a program of a few lines has them (dssl/train/recipe.hpp).\n"
      "Exit status: 0 success, 1 failure, 2 impossible options, 130 interrupted by Ctrl-C, a termination \n"
      "request, the end of the terminal or USR1 (a checkpoint was written). A limit on the size of files is a failure that \n"
      "names the file; the last checkpoint stays.");
}

void CommandLine::x_add_data_options() {
  x_app
      .add_option("--data", x_job.data,
                  "Images (required): a folder, a VOC folder, a text file of paths, or 'synthetic' for "
                  "generated scenes")
      ->required()
      ->option_text("PATH|synthetic");
  x_app
      .add_option("--split", x_job.split,
                  "Split of a VOC folder (a list in ImageSets/Segmentation); default: all images")
      ->option_text("NAME");
  x_app.add_option("--synthetic-count", x_job.synthetic_count, "Number of generated scenes");
  x_app.add_option("--synthetic-size", x_job.synthetic_size,
                   "Height and width of generated scenes in pixels");
  CLI::Option* const tile =
      x_app
          .add_option("--tile", x_job.tile,
                      "Side in pixels of tiles that images are cut into at their own scale, each a sample that an epoch visits; every tile decodes its image; 0: images are whole")
          ->check(CLI::Range(Index{0}, Index{1} << 40));
  x_app.add_option("--tile-overlap", x_job.tile_overlap, "Pixels that neighbouring tiles have in common, at least")->needs(tile);
  x_app.add_option("--channels", x_job.options.channels,
                   "Channels the network sees; grey images are repeated, colour becomes grey for 1; 0: 3");
  x_app.add_option("--max-unreadable", x_job.options.max_unreadable,
                   "Share of unreadable images that ends the run, once there are more than ten; with --tile the share of tiles, once there are more "
                   "than ten images have; 0: none is borne");
  add_read_options(x_app, x_job.read);
}

void CommandLine::x_add_recipe_options() {
  const std::string group = "Recipe";
  x_app
      .add_option("--preset", x_preset,
                  join("small: numbers for some ten thousand images seen on a processor, by one rule of the recipe and the images, where an "
                       "option is not said; and where they are not, --recipe ", small_budget_recipe, " and --arch ", small_budget_arch))
      ->check(CLI::IsMember({"none", "small"}))
      ->group(group);
  x_recipe = x_app.add_option("--recipe", x_job.recipe, names_of(recipes))->group(group);
  x_arch = x_app.add_option("--arch", x_job.arch, names_of(architectures) + "; or auto: of the sizes and rules of the weights of --init")
               ->group(group);
  x_relation = x_app
                   .add_option("--relation", x_job.relation,
                               "Of reference tokens: " + names_of(named_relations) + ", or a published name")
                   ->group(group);
  x_sampler_options = {
      x_app.add_option("--sampler", x_job.points.sampler, sampler_help)->group(group),
      x_app.add_option("--point-weights", x_job.points.weights, point_weights_help)->option_text("DIR")->group(group)};
  x_points = x_app.add_option("--points", x_job.points.points, "Points a view pair, K")->group(group);
  x_alpha = x_app
                .add_option("--alpha", x_job.options.loss.alpha, "Weight of the image level; the point level has the rest")
                ->group(group);
  x_prototype_options = {
      x_app.add_option("--prototypes", x_job.options.prototypes, "Of each head; 0: " + prototypes_text())->group(group)};
  x_temperature = x_app
                      .add_option("--temperature", x_job.temperature,
                                  "Of the contrasts of simclr, densesimclr, densedino-contrast, moco-v2, moco-v3, densecl, swav; 0: as published (0.5, 0.5, 0.5, 0.2, 0.2, 0.2, 0.1)")
                      ->check(CLI::NonNegativeNumber)
                      ->group(group);
  x_queue = x_app
                .add_option("--queue", x_job.queue,
                            "Rows of earlier batches that moco-v2, densecl and swav keep; 0: as published (65536, 65536, none)")
                ->check(CLI::Range(Index{0}, longest_queue))
                ->group(group);
  x_assignment_options = {
      x_app.add_option("--epsilon", x_job.epsilon, "Of Sinkhorn-Knopp in swav, smaller is sharper; 0: as published (0.05)")
          ->check(CLI::NonNegativeNumber)
          ->group(group),
      x_app
          .add_option("--queue-first-epoch", x_job.queue_first_epoch,
                      "Epoch, from 0, in which swav's queue begins to fill; it is used once full; -1: as published (15)")
          ->check(CLI::Range(-1, 1'000'000'000))
          ->group(group)};
  x_mask_options = {
      x_app.add_option("--masked-views", x_job.options.masks.views, "Share of the global views that ibot and dinov2 mask")->group(group),
      x_app.add_option("--masked-low", x_job.options.masks.low, "Share of a masked view's patches that are masked, at least")->group(group),
      x_app.add_option("--masked-high", x_job.options.masks.high, "The same, at most")->group(group),
      x_app.add_option("--masked-weight", x_job.masked_weight, "Weight of the masked level in the loss; -1: as published (1)")
          ->check(CLI::Range(-1.0, 1e6))
          ->group(group)};
  x_koleo = x_app
                .add_flag("--koleo-all-ranks", x_job.koleo_all_ranks,
                          "KoLeo of dinov2 compares the images of all processes; as published those of each by themselves")
                ->group(group);
  x_app
      .add_option("--projector-hidden", x_job.projector_hidden,
                  "Width between the layers of heads, projectors and predictors; 0: the architecture's")
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  x_app
      .add_option("--projector-out", x_job.projector_out, "Width after their last layer; 0: the architecture's")
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  x_image_all_views =
      x_app
          .add_flag("--image-all-views,!--image-global-views", x_job.options.loss.image_all_views,
                    "Image level over all student views, or over the two global ones; default: all for dino")
          ->group(group);
  x_app
      .add_option("--views-global", x_view_sizes.global, views_global_help)
      ->group(group);
  x_local_options = {x_app.add_option("--views-local", x_view_sizes.local, views_local_help)->group(group),
                     x_app.add_option("--locals", x_view_sizes.locals, locals_help)->group(group)};
  x_app
      .add_option("--global-scale", x_global_scale,
                  "Share of the image that a global view shows, from LO to HI; default: the recipe's")
      ->expected(2)
      ->option_text("LO HI")
      ->group(group);
  x_local_options.push_back(
      x_app.add_option("--local-scale", x_local_scale, "The same for a local view; default: the recipe's")
          ->expected(2)
          ->option_text("LO HI")
          ->group(group));
  x_app.add_option("--global-zoom", x_global_zoom, global_zoom_help)->expected(2)->option_text("LO HI")->excludes("--global-scale")->group(group);
  x_local_options.push_back(
      x_app.add_option("--local-zoom", x_local_zoom, local_zoom_help)->expected(2)->option_text("LO HI")->excludes("--local-scale")->group(group));
  x_app.add_option("--rotate", x_rotation, rotate_help)->group(group);
  x_app.add_option("--perspective", x_perspective, perspective_help)->group(group);
  add_camera_views(x_app, x_camera_views, group);
  x_app.add_option("--camera", x_job.camera, join(camera_help, "; images of another size are passed over; default: none"))->option_text("FILE")->group(group);
  CLI::Option* const second = x_app.add_option("--second", x_job.second, second_help)->option_text("DIR")->group(group);
  x_app.add_option("--between", x_job.between, between_help)->option_text("FILE")->needs(second)->group(group);
  x_app.add_option("--second-camera", x_job.second_camera, second_camera_help)->option_text("FILE")->needs(second)->group(group);
}

void CommandLine::x_add_training_options() {
  const std::string group = "Training";
  TrainerOptions& o = x_job.options;
  x_app.add_option("--epochs", o.epochs, "Passes over the images")->group(group);
  x_app.add_option("--batch", o.batch, "Images a forward pass, of all ranks together")->group(group);
  x_app.add_option("--accumulate", o.accumulate, "Forward passes an update")->group(group);
  x_app.add_option("--optimizer", x_optimiser, "adamw, sgd, or lars")
      ->check(CLI::IsMember({"adamw", "sgd", "lars"}))
      ->group(group);
  x_peak_rate = x_app
                    .add_option("--lr", o.optimiser.learning_rate,
                                join("Peak learning rate for 256 images, scaled by batch * accumulate; with --init and adamw, if it is not said, ",
                                     rate_from_weights))
                    ->group(group);
  x_final_rate = x_app
                     .add_option("--min-lr", o.optimiser.final_learning_rate,
                                 "Learning rate at the end, not scaled; with --init, if it is not said, a tenth of the scaled peak at most")
                     ->group(group);
  x_warmup = x_app
                 .add_option("--warmup-epochs", o.optimiser.warmup_epochs,
                             join("Epochs of linear warm-up; with --init, if it is not said, ", warmup_from_weights))
                 ->group(group);
  x_app.add_option("--weight-decay", o.optimiser.weight_decay, "Weight decay at the start")->group(group);
  x_app.add_option("--weight-decay-end", o.optimiser.final_weight_decay, "Weight decay at the end")->group(group);
  x_app.add_option("--clip", o.optimiser.clip, "Largest norm of a gradient; 0: no limit")->group(group);
  x_app
      .add_option("--clip-over", x_clip_over,
                  "Whose gradient that is: each tensor's, each part's (backbone, heads), or the network's")
      ->check(CLI::IsMember({"tensor", "part", "network"}))
      ->group(group);
  x_layer_decay = x_app
                      .add_option("--layer-decay", o.optimiser.rates.layer_decay,
                                  join("Learning rate of a block, in times of that of the block after it; embeddings come before the first; "
                                       "with --init, if it is not said, ", decay_from_weights))
                      ->group(group);
  x_app.add_option("--patch-rate", o.optimiser.rates.patch_embedding, "Learning rate of the patch embedding, in times of its layer's")
      ->group(group);
  x_app.add_option("--vector-rate", o.optimiser.rates.vectors, "Learning rate of biases and norms, in times of their layer's")
      ->group(group);
  x_prototype_options.push_back(x_app
                                    .add_option("--freeze-prototypes", o.optimiser.freeze_prototypes_epochs,
                                                "Epochs at the start in which the prototypes stay as they are")
                                    ->group(group));
  x_prototype_options.push_back(x_app
                                    .add_flag("--frozen-moments", o.optimiser.frozen_moments,
                                              "Moments of gradients of prototypes go on while these stay (DINOv2)")
                                    ->group(group));
  x_app.add_option("--stochastic-depth", o.stochastic_depth, "Stochastic depth: rate of the last block")->group(group);
  x_app
      .add_flag("--recompute", o.recompute,
                "Keep only what enters each block and compute the rest again: less memory, more time")
      ->group(group);
  x_app
      .add_flag("--stream-views", o.stream_views,
                "The student's views one after the other: activations of one view are in memory")
      ->group(group);
  x_teacher_options = {
      x_app.add_option("--momentum", o.teacher.momentum, "Momentum of the teacher at the start")->group(group),
      x_app.add_option("--momentum-end", o.teacher.final_momentum, "Momentum of the teacher at the end")->group(group)};
  const auto of_levels = [&](const char* name, auto& value, const char* help) {
    x_level_options.push_back(x_app.add_option(name, value, help)->group(group));
  };
  of_levels("--teacher-temp", o.teacher.temperature, "Temperature of the teacher after the warm-up");
  of_levels("--warmup-teacher-temp", o.teacher.warmup_temperature,
                "Temperature of the teacher in the first epoch of the warm-up");
  of_levels("--warmup-teacher-temp-epochs", o.teacher.warmup_temperature_epochs,
                "Epochs of the warm-up of the teacher's temperature");
  CLI::Option* const teacher =
      x_app
          .add_option("--teacher", x_job.teacher,
                      "Weights that distilled is held to and that stay as they are, published ones or an earlier run's, of any "
                      "sizes; a resumed run takes them again")
          ->option_text("FILE")
          ->group(group);
  const auto of_teacher =
      add_published_options(x_app, x_job.teacher_published, group,
                            {.prefix = "teacher-",
                             .of = teacher,
                             .family = "Whose code trained them, as --family says of --init",
                             .heads = join("Heads of its attention; 0: the file's, or ", usual_heads_help),
                             .mean = "Mean of the pixels that the teacher was trained on, 0 to 1, a number a channel, joined by commas; default: as its "
                                     "weights or preprocessor_config.json beside them say, else ImageNet's, or 0.5 for other channels than three",
                             .deviation = "Their deviation; default: likewise, or 0.25"});
  x_frozen_options = {teacher};
  x_frozen_options.insert(x_frozen_options.end(), of_teacher.begin(), of_teacher.end());
  x_app.add_option("--seed", o.seed, "Seed of every random number")->group(group);
}

void CommandLine::x_add_run_options() {
  const std::string group = "Run";
  x_app.add_option("--out", x_job.out, "Folder for what is written (required)")
      ->required()
      ->option_text("DIR")
      ->group(group);
  CLI::Option* const init =
      x_app
          .add_option("--init", x_job.init,
                      "Weights that the backbone begins with, an earlier run's or published ones, of the sizes of --arch; heads "
                      "are drawn. A resumed run has them already, and with --arch auto takes the sizes of its teacher.safetensors where FILE "
                      "is gone; default: drawn too")
          ->option_text("FILE")
          ->group(group);
  add_published_options(x_app, x_job.published, group,
                        {.of = init,
                         .family = "Whose code trained the weights of --init, where their names do not tell (timm); default: as the "
                                   "names say",
                         .mean = "What is taken from pixels of 0 to 1, a number a channel, joined by commas; default: as the weights of "
                                 "--init or preprocessor_config.json beside them say, else ImageNet's, or 0.5 for other channels than three",
                         .pixels_without = true});
  x_app
      .add_option("--position-start", x_job.position_start,
                  "Positions begin as a table of sines and cosines of this root mean square, in the place of drawn ones of "
                  "deviation 0.02; 0: drawn, or those of --init. A resumed run has them already")
      ->group(group);
  x_resume = x_app
                 .add_option("--resume", x_job.resume,
                             "Goes on from a checkpoint, that of DIR where no FILE is named, with the options it was made with; "
                             "default: a new run")
                 ->expected(0, 1)
                 ->option_text("[FILE]")
                 ->group(group);
  x_app
      .add_option("--extend-to", x_job.extend_to,
                  "With --resume: goes on, from a finished run too, to so many epochs; from there on the schedules are those "
                  "of a run of so many epochs; default: as many as it has")
      ->option_text("EPOCHS")
      ->check(CLI::PositiveNumber)
      ->needs(x_resume)
      ->excludes("--epochs")
      ->group(group);
  x_app
      .add_flag("--other-images", x_job.options.other_images,
                "With --resume: goes on though the images have other names or sizes than those that the run was begun on")
      ->needs(x_resume)
      ->group(group);
  x_app.add_flag("--overwrite", x_job.overwrite, "Begins anew though DIR holds a run")->group(group);
  x_app.add_option("--backend", x_job.backend, backend_help)->group(group);
  x_app.add_option("--threads", x_job.threads, "Threads; 0 takes all processors, or with ranks on one machine an equal share each")
      ->check(CLI::Range(0, 4096))
      ->group(group);
  add_rank_options(x_app, x_job.processes, "run", group);
  x_app.add_option("--reduce", x_reduce, "How processes send gradients: full, or bf16, rounded to half the bytes")
      ->check(CLI::IsMember({"full", "bf16"}))
      ->group(group);
  x_app.add_option("--bucket-mib", x_bucket_mib,
                   "Gradients are sent while the backward pass goes on, so many MiB or more at a time; 0: after it")
      ->check(CLI::Range(0.0, 1e6))
      ->group(group);
  x_app.add_flag("--shard", x_job.options.shard,
                 "Each process keeps and updates the optimiser's state of its share of the weights alone: less memory")
      ->group(group);
  x_app.add_option("--precision", x_job.precision, precision_help)->group(group);
  x_app.add_option("--views-on", x_views_on, "Where views are made: host, or device (--backend cuda)")
      ->check(CLI::IsMember({"host", "device"}))
      ->group(group);
  x_app
      .add_option("--checkpoint-steps", x_job.options.checkpoint_steps,
                  "Checkpoints also after every so many steps; 0: only after epochs")
      ->group(group);
  x_app.add_option("--max-steps", x_job.max_steps, "Ends after so many steps of this call; 0: no limit")
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  x_app.add_option("--minutes", x_job.minutes, "Ends after so many minutes; 0: no limit")->group(group);
}

void CommandLine::x_add_monitor_options() {
  const std::string group = "Monitor";
  x_app.add_option("--monitor", x_job.monitor, "Folder of held-out images to measure the teacher on")
      ->option_text("FOLDER")
      ->group(group);
  x_app
      .add_option("--monitor-every", x_job.monitor_every,
                  "Epochs from one look to the next; the last is looked at")
      ->group(group);
  x_locality = x_app.add_option("--locality-every", x_job.locality_every,
                                "Epochs from one look at reference tokens to the next: whether they know where they stand; the last "
                                "is looked at; -1: never; 0: a twentieth of the epochs")
                   ->check(CLI::Range(Index{-1}, Index{1'000'000'000}))
                   ->group(group);
  x_app
      .add_option(
          "--monitor-metric", x_job.monitor_metric,
          "Figure on the progress line, and of --keep-best; default: retrieval, knn, or rank, the first "
          "that the folder gives")
      ->check(CLI::IsMember({"retrieval", "knn", "rank", "spread"}))
      ->option_text("NAME")
      ->group(group);
  x_app
      .add_option("--monitor-size", x_job.monitor_size,
                  "Height and width of the images; 0: of the global views")
      ->check(CLI::NonNegativeNumber)
      ->group(group);
  add_mask_class_options(x_app, x_job.monitor_classes, group, "monitor-");  // of a VOC folder
  x_app
      .add_flag("--keep-best", x_job.keep_best,
                "Keeps the teacher with the largest figure in best.safetensors")
      ->group(group);
}

const SourceView& CommandLine::x_images() {
  Job& job = x_job;
  if (job.source) return *job.source;
  if (!job.second.empty()) {
    auto [first, second] = open_both(job);
    job.source = job.looked_at = std::move(first);
    x_second = std::move(second);
    return *job.source;
  }
  job.source = open_source(job);
  if (job.tile > 0) {
    job.whole = job.source;
    job.source = held(ImageTiles(*job.whole, job.tiles()));
  }
  return *job.source;
}

void CommandLine::x_open_images() {
  Job& job = x_job;
  MultiCropOptions& views = job.options.views;
  const SourceView& images = x_images();
  if (x_second) {
    views.pair = camera_pair(job.between, job.second_camera, views.camera, images, *x_second);
    const Paired<MultiCrop<>> sound(views);  // maps that cannot be are errors before anything is computed
    job.source = held(ImagePairs(images, *x_second, views.pair));
  } else if (views.camera.known()) {
    job.source = held(CameraImages(images, views.camera));
  }
}

void CommandLine::x_set_preset_kinds() {
  if (x_preset == "none") return;
  if (x_recipe->count() == 0) x_job.recipe = small_budget_recipe;
  if (x_arch->count() == 0) x_job.arch = x_job.init.empty() ? small_budget_arch : architecture_of_file;
  x_job.preset = join("--recipe ", x_job.recipe, " --arch ", x_job.arch);
}

void CommandLine::x_set_preset_numbers() {
  if (x_preset == "none") return;
  const SourceView& images = x_images();
  const auto said = [](const CLI::Option* option) { return option->count() > 0; };
  const SmallBudgetFacts facts{.images = images.size(),
                               .side = usual_side(images),
                               .patch = x_job.backbone.patch,
                               .view = x_view_sizes.global > 0 ? x_view_sizes.global : x_native_view(),
                               .epochs = said(x_app.get_option("--epochs")) ? x_job.options.epochs : 0,
                               .batch = said(x_app.get_option("--batch")) ? x_job.options.batch : 0,
                               .ranks = x_job.options.ranks.size(),
                               .points = said(x_points),
                               .begun = !x_job.init.empty(),
                               .adamw = x_job.options.optimiser.kind == OptimiserKind::adamw};
  std::vector<OptionWords> options = small_budget(recipe_of(x_job), facts);
  if (!x_job.resume.empty()) keep_words_of_run(options, SafetensorsFile::open(x_job.resume).metadata());
  for (const auto& [name, words, in_checkpoint] : options) {
    CLI::Option* const option = x_app.get_option(std::string(name));
    if (said(option) || std::ranges::any_of(option->get_excludes(), said)) continue;
    option->add_result(words);
    option->run_callback();
    x_job.preset += join(" ", name);
    for (const std::string& word : words) {
      if (option->get_items_expected_max() > 0) x_job.preset += join(" ", word);
    }
  }
}

void CommandLine::x_set_backbone() {
  Job& job = x_job;
  std::optional<BackboneFile> file;
  // A resumed run has its weights: their file may be gone, and those that the run wrote are of the same sizes and rules.
  const bool gone = !job.init.empty() && x_resume->count() > 0 && !std::filesystem::exists(job.init);
  const std::filesystem::path run = job.resume.empty() ? std::filesystem::path(job.out) : std::filesystem::path(job.resume).parent_path();
  const std::string written = (run / std::filesystem::path(job.teacher_path()).filename()).string();
  if (!job.init.empty() && !gone) {
    file.emplace(BackboneFile::open(job.init, job.published.options()));
  } else if (gone && job.arch == architecture_of_file) {
    file.emplace(BackboneFile::open(std::filesystem::exists(written) ? written : job.init));
  }
  if (file) job.rules = folding_as_metadata(file->description());
  if (job.arch != architecture_of_file) {
    const Architecture& known = named(architectures, "arch", job.arch);
    job.backbone = known.config;
    require_heads_of(job.backbone, job.arch, job.published.heads);
    job.head = known.head;
    x_set_pixels(file ? &*file : nullptr);
    return;
  }
  if (!file) throw OptionError("arch", job.arch, names_of(architectures) + ", or --init with the weights whose sizes are taken");
  job.backbone = config_of_weights(*file, job.published.options());
  job.rules["positions"] = position_scheme_name(file->description().position);
  job.rules["norm_epsilon"] = dssl::exact_text(file->description().norm_epsilon);
  if (job.options.channels == 0) job.options.channels = job.backbone.channels;
  x_set_pixels(&*file);
}

void CommandLine::x_set_pixels(const BackboneFile* init) {
  Job& job = x_job;
  const Index channels = job.reading().channels;
  if (init != nullptr && init->description().channels != channels)
    throw OptionError("channels", channels, join(init->description().channels, ", those of ", job.init));
  PixelScale scale = job.published.pixels;
  if (scale != PixelScale{}) {
    require_pixels(scale, channels);
  } else {
    scale = init != nullptr ? pixels_of(*init) : usual_pixels(channels);
  }
  // What is usual is not named, so that checkpoints of before are gone on from.
  x_pixels = is_usual(scale) ? PixelScale{} : std::move(scale);
  job.rules.merge(pixels_as_metadata(x_pixels));
}

void CommandLine::x_set_rates() {
  if (x_job.init.empty()) return;
  OptimiserOptions& o = x_job.options.optimiser;
  if (x_peak_rate->count() == 0 && o.kind == OptimiserKind::adamw) o.learning_rate = rate_from_weights;
  if (x_layer_decay->count() == 0) o.rates.layer_decay = decay_from_weights;
  if (x_warmup->count() == 0) o.warmup_epochs = warmup_from_weights;
  const double peak = o.learning_rate * static_cast<double>(x_job.options.update_images()) / 256;
  if (x_final_rate->count() == 0) o.final_learning_rate = std::min(o.final_learning_rate, 0.1 * peak);
}

Index CommandLine::x_native_view() const {
  const ViTConfig& sizes = x_job.backbone;
  // Published weights may have been finished on large images, where most of their training was on these.
  return x_job.arch == architecture_of_file ? std::min(sizes.image, std::max<Index>(224 / sizes.patch, 1) * sizes.patch) : sizes.image;
}

void CommandLine::x_set_views() {
  MultiCropOptions& views = x_job.options.views;
  ViTConfig sizes = x_job.backbone;
  sizes.image = x_native_view();
  views = views_of(recipe_of(x_job), sizes, x_view_sizes);
  views.mean = x_pixels.mean;
  views.deviation = x_pixels.deviation;
  if (!x_global_scale.empty()) views.global_area = {x_global_scale[0], x_global_scale[1]};
  if (!x_local_scale.empty()) views.local_area = {x_local_scale[0], x_local_scale[1]};
  if (!x_global_zoom.empty()) views.global_zoom = {x_global_zoom[0], x_global_zoom[1]};
  if (!x_local_zoom.empty()) views.local_zoom = {x_local_zoom[0], x_local_zoom[1]};
  x_camera_views.set(views);
  views.rotation = x_rotation;
  views.perspective = x_perspective;
  if (!x_job.camera.empty()) views.camera = Lens(read_camera(x_job.camera)).camera();  // one that folds back is an error before anything is opened
  if (x_image_all_views->count() == 0) x_job.options.loss.image_all_views = recipe_of(x_job).image_all_views;
}

Job CommandLine::job(RunRanks& ranks) {
  Job& job = x_job;
  ranks.start(job.processes);
  check_backend(job.backend, job.precision);  // an unknown one is an error before anything is opened
  if (job.backend == "cuda") job.device = ranks.device(gpus());
  job.options.ranks = ranks.communicator();
  if (job.threads == 0) job.threads = ranks.threads();
  x_set_preset_kinds();
  const RecipeFacts& recipe = recipe_of(job);  // and so is an unknown recipe
  if (!recipe.relations) job.relation = "private";
  job.content = recipe.content;
  if (!(job.position_start >= 0 && job.position_start <= 1000)) {
    throw OptionError("position_start", job.position_start, "0 (drawn) to 1000");
  }
  if (job.position_start > 0 && !job.init.empty()) {
    throw OptionError("position_start", job.position_start, "0 with --init, whose positions the run begins with");
  }
  if (job.masked_weight < 0 && job.masked_weight != -1)
    throw OptionError("masked_weight", job.masked_weight, "0 or more, or -1 as published");
  if (recipe.frozen && job.teacher.empty()) throw OptionError("teacher", "empty", join("a file of weights with --recipe ", job.recipe));
  if (!(job.minutes >= 0 && job.minutes < 1e9)) throw OptionError("minutes", job.minutes, "0 (no limit) or more");
  job.precision = precision_on(job.backend, job.precision);
  for (const CLI::Option* option : x_sampler_options) {
    if (recipe.points || option->count() == 0) continue;
    throw OptionError(option->get_name().substr(2), option->as<std::string>(),
                      join("none with --recipe ", job.recipe, ", which compares no points"));
  }
  if (!job.second.empty() && !job.points.weights.empty())
    throw OptionError("point-weights", job.points.weights, no_weights_of_pairs);
  if (job.tile > 0) {
    const auto refuse = [&job](const std::string& other, std::string_view option) {
      if (!other.empty()) throw OptionError("tile", job.tile, join("none with ", option, ", which is of whole images"));
    };
    refuse(job.second, "--second");
    refuse(job.camera, "--camera");
    refuse(job.points.weights, "--point-weights");
    job.tiles().validate();
  } else if (job.tile_overlap != 0) {
    throw OptionError("overlap", job.tile_overlap, "0 without tiles (--tile)");
  }
  x_set_backbone();
  auto& optimiser = job.options.optimiser;
  optimiser.clip_over = x_clip_over == "part"      ? ClipOver::part
                        : x_clip_over == "network" ? ClipOver::network
                                                   : ClipOver::tensor;
  optimiser.kind = x_optimiser == "sgd"    ? OptimiserKind::sgd
                   : x_optimiser == "lars" ? OptimiserKind::lars
                                           : OptimiserKind::adamw;
  job.options.checkpoint = job.checkpoint_path();
  if (x_resume->count() > 0 && job.resume.empty()) job.resume = job.checkpoint_path();
  x_set_preset_numbers();
  x_set_views();
  x_set_rates();
  job.options.views_on = x_views_on == "device" ? ViewsOn::device : ViewsOn::host;
  job.options.bucket_bytes = static_cast<Index>(std::ceil(x_bucket_mib * (1 << 20)));
  job.options.reduce = x_reduce == "bf16" ? SentAs::bf16 : SentAs::whole;
  job.options.loader_threads = job.threads;
  if (job.extend_to > 0) job.options.epochs = job.extend_to;
  job.options.validate();
  x_open_images();
  job.sampler = sampler_of(job.points, [&job] {
    WeightFiles maps = WeightFiles::of(*job.source, job.points.weights, job.read);
    job.weight_maps = maps.text();
    return maps;
  });
  // Images and steps of a run are counted in 64 bits, and told as numbers of JSON, which are exact below 2^53.
  constexpr Index most_images = Index{1} << 53;
  if (job.options.epochs > most_images / std::max(job.source->size(), Index{1})) {
    throw OptionError("epochs", job.options.epochs, join("at most ", most_images / std::max(job.source->size(), Index{1}),
                                                         " with ", job.source->size(), " images"));
  }
  // Takes seconds and memory of the GPUs: once nothing else of the command line is wrong.
  if (job.backend == "cuda") ranks.join_devices(job.device);
  job.options.ranks = ranks.communicator();
  job.ranks = ranks.describe();
  return job;
}

std::vector<std::string> CommandLine::without_effect() const {
  const RecipeFacts& recipe = recipe_of(x_job);
  std::vector<std::string> names;
  const auto unless = [&names](bool holds, const std::vector<CLI::Option*>& options) {
    for (const CLI::Option* option : options) {
      if (!holds && option->count() > 0) names.push_back(option->get_name());
    }
  };
  unless(recipe.points, {x_points});
  unless(recipe.points && recipe.published_levels, {x_alpha});
  unless(recipe.relations, {x_relation});
  unless(recipe.references, {x_locality});
  unless(recipe.prototypes, x_prototype_options);
  unless(recipe.levels, x_level_options);
  unless(recipe.published_levels, {x_image_all_views});
  unless(recipe.masks, x_mask_options);
  unless(recipe.teacher, x_teacher_options);
  unless(recipe.frozen, x_frozen_options);
  unless(recipe.temperature, {x_temperature});
  unless(recipe.queue, {x_queue});
  unless(recipe.koleo, {x_koleo});
  unless(recipe.assigns, x_assignment_options);
  unless(!recipe.pairs, x_local_options);
  return names;
}

std::string CommandLine::rate_left() const {
  const OptimiserOptions& o = x_job.options.optimiser;
  if (x_preset == "none" || o.kind == OptimiserKind::adamw || x_peak_rate->count() > 0) return {};
  return join("--preset ", x_preset, " has no learning rate for ", name_of(o.kind), ": --lr is ", o.learning_rate, ", as without a preset");
}

std::string CommandLine::x_warps_of_views() const {
  const MultiCropOptions& views = x_job.options.views;
  std::string out;
  const auto named = [&out](bool holds, std::string_view option) {
    if (holds && out.find(option) == std::string::npos) out += join(out.empty() ? "" : ", ", option);
  };
  named(views.rotation != 0, "--rotate");
  named(views.perspective != 0, "--perspective");
  named(views.vertical_flip != 0, x_camera_views.vertical_flip == -1 ? "--views" : "--vertical-flip");
  named(views.quarter_turns != 0, x_camera_views.quarter_turns == -1 ? "--views" : "--quarter-turns");
  named(views.camera.known(), "--camera");
  named(views.pair.known(), "--second");
  return out;
}

std::string CommandLine::in_options_of_program(std::string message, std::string_view field) {
  // Of the views' kind, where the option --views is the name of a preset.
  if (field == "views") {
    const std::string warps = x_warps_of_views();
    return warps.empty() ? message : with_option(std::move(message), field, join("the kind of views (", warps, ")"));
  }
  const std::string_view own = field.starts_with("views.") ? field.substr(6) : field;
  for (const auto& [known, option] : option_of_field) {
    if (known == own) return with_option(std::move(message), field, option);
  }
  return in_options_of(x_app, std::move(message), field);
}

}  // namespace dssl::programs
