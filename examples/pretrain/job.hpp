// One pretraining job: everything the command line says.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/image_tiles.hpp>
#include <dssl/data/source.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/nn/head.hpp>
#include <dssl/points/any_sampler.hpp>
#include <dssl/train/options.hpp>

#include <common/mask_classes.hpp>
#include <common/published.hpp>
#include <common/ranks.hpp>
#include <common/samplers.hpp>

namespace dssl::programs {

/// What the command line says.
struct Job {
  std::string data, split;
  std::string recipe = "densedino";
  std::string arch = "tiny16";
  std::string relation = "private";
  std::string content;     ///< that references have of their points, by the recipe; empty: none
  std::string preset;      ///< options that a preset took, as they would be typed; empty: none
  std::string left_aside;  ///< pictures of the data folder that cannot be read, by ending
  std::vector<std::string> damaged;  ///< a line for each of its TIFF files of which not all pages are known
  std::string out;
  std::string resume;      ///< checkpoint to go on from; empty: a new run
  std::string init;        ///< weights that the backbone begins with; empty: drawn
  PublishedSettings published;  ///< what these do not say themselves, and what views are normalised by
  std::string teacher;     ///< weights of a frozen teacher; empty: the recipe has none
  PublishedSettings teacher_published;
  ViTConfig backbone{};         ///< set by the command line: the architecture's, or for "auto" that of `init`
  HeadConfig head{};            ///< likewise
  /// Of the weights of `init`, and of their family where the backbone is theirs: for the metadata of what is written.
  std::map<std::string, std::string> rules;
  double position_start = 0;  ///< root mean square of the sines and cosines that positions begin as; 0: they are drawn
  Index extend_to = 0;     ///< epochs that the resumed run is extended to; 0: those it has
  bool overwrite = false;  ///< a new run may replace the one in `out`
  SamplerSettings points;  ///< K, and where they lie
  std::string camera;      ///< calibration of the one that took the images; empty: none
  Index tile = 0;          ///< side of the tiles that images are cut into; 0: they are whole
  Index tile_overlap = 0;  ///< pixels that neighbouring tiles have in common, at least
  std::string second;      ///< folder of a second camera's images; empty: there is one camera
  std::string between;     ///< file of the map from one camera's pictures to the other's; empty: none
  std::string second_camera;  ///< calibration of the second; empty: none
  AnySampler sampler;      ///< set by the command line: made of them
  std::string pairs;       ///< how many images have a second camera's, where there is one
  std::string weight_maps; ///< which images have maps of weights, where the sampler reads them
  double temperature = 0;  ///< of a contrastive loss; 0: the recipe's
  double epsilon = 0;      ///< of SwAV's assignments; 0: the recipe's
  Index queue = 0;         ///< rows of a loss's queue; 0: the recipe's
  Index queue_first_epoch = -1;  ///< in which SwAV's begins to fill; -1: the recipe's
  double masked_weight = -1;     ///< of the masked level; -1: the recipe's
  bool koleo_all_ranks = false;  ///< KoLeo compares the images of all ranks
  Index projector_hidden = 0, projector_out = 0;  ///< widths of heads; 0: the architecture's
  std::string backend = "cpu";
  int device = 0;              ///< number of the GPU
  int threads = 0;
  RankSettings processes;      ///< that share the run
  std::string ranks;           ///< that share the run, in words; empty: this process alone
  std::string precision = "f32";
  Index max_steps = 0;         ///< 0: no budget
  double minutes = 0;          ///< 0: no budget
  std::string monitor;         ///< folder of held-out images; empty: none
  Index monitor_every = 1;     ///< epochs
  Index monitor_size = 0;      ///< 0: the global views'
  MaskClasses monitor_classes;  ///< of a monitor in VOC layout
  std::string monitor_metric;  ///< empty: the first that the folder gives
  bool keep_best = false;
  Index locality_every = 0;    ///< epochs; 0: a twentieth of them, -1: never
  Index synthetic_count = 1000;
  Index synthetic_size = 128;
  ReadOptions read;
  TrainerOptions options;
  std::optional<SourceView> source;     ///< set by the command line
  std::optional<SourceView> looked_at;  ///< likewise, where images are pairs: the first of each
  std::optional<SourceView> whole;      ///< likewise, where images are tiles: those that they are cut out of

  /// How images are cut, where they are.
  [[nodiscard]] ImageTilesOptions tiles() const { return {.tile = {tile, tile}, .overlap = tile_overlap}; }
  /// The images whose names are files.
  [[nodiscard]] const SourceView& files() const { return whole ? *whole : *source; }

  /// How image files are read for the network.
  [[nodiscard]] ReadOptions reading() const {
    ReadOptions for_network = read;
    for_network.channels = options.channels > 0 ? options.channels : 3;
    return for_network;
  }

  /// What views are normalised by.
  [[nodiscard]] PixelScale pixels() const {
    if (options.views.mean.empty()) return usual_pixels(reading().channels);
    return {options.views.mean, options.views.deviation};
  }
  [[nodiscard]] std::string checkpoint_path() const { return out + "/checkpoint.safetensors"; }
  [[nodiscard]] std::string teacher_path() const { return out + "/teacher.safetensors"; }
  [[nodiscard]] std::string best_path() const { return out + "/best.safetensors"; }
  /// What weights say of themselves.
  [[nodiscard]] std::map<std::string, std::string> weights_metadata(Index steps) const {
    std::map<std::string, std::string> said = rules;
    said.insert({{"arch", arch}, {"heads", std::to_string(backbone.heads)}, {"recipe", recipe}, {"relation", relation}, {"step", std::to_string(steps)}});
    if (!content.empty()) said["content"] = content;
    return said;
  }
};

}  // namespace dssl::programs
