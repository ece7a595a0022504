// dssl-export: writes a backbone as an ONNX model, for runtimes that know nothing of dssl.
#include <cstdio>
#include <string>
#include <tuple>
#include <vector>

#include <CLI/CLI.hpp>

#include <common/output_files.hpp>
#include <common/program.hpp>
#include <dssl/backbone/named_vits.hpp>
#include <dssl/core/error.hpp>
#include <dssl/features/extents.hpp>
#include <dssl/features/onnx_backbone.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/onnx_model.hpp>
#include <dssl/version.hpp>

namespace {

using dssl::BackboneFile;
using dssl::Index;
using dssl::join;

struct Settings {
  std::string in, out, family;
  std::string size = "any";
  Index heads = 0;
  bool normalise = false;
  std::vector<float> mean{}, deviation{};
  float white = 1;
  bool external_data = false;
  std::vector<Index> blocks{};
  bool no_norm = false;

  [[nodiscard]] dssl::BackboneFileOptions reading() const {
    dssl::BackboneFileOptions options{.fold_layer_scale = true, .heads = heads};
    if (!family.empty()) options.family = dssl::family_named(family);
    return options;
  }

  /// The number of heads; 0: the usual one. What dssl-pretrain wrote names its architecture.
  [[nodiscard]] Index heads_of(const BackboneFile& file) const {
    const dssl::BackboneDescription& d = file.description();
    return heads > 0 ? heads : dssl::heads_of_named(file.metadata(), d.width, d.depth);
  }

  /// What the model is made for. Throws `OptionError`.
  [[nodiscard]] dssl::OnnxBackboneOptions model_of(const BackboneFile& file) const {
    const dssl::BackboneDescription& d = file.description();
    dssl::OnnxBackboneOptions options{
        .heads = heads_of(file), .white = white, .blocks = blocks, .norm = !no_norm};
    if (size != "any") std::tie(options.height, options.width) = dssl::extents_of("size", size);
    if (!normalise) {
      if (!mean.empty() || !deviation.empty())
        throw dssl::OptionError("normalise", "off", "--normalise with --mean and --deviation");
      if (white != 1) throw dssl::OptionError("white", white, "1 without --normalise");
      return options;
    }
    options.mean = mean;
    options.deviation = deviation;
    if (mean.empty() && deviation.empty()) {
      if (d.channels != 3) {
        throw dssl::OptionError("mean", "empty",
                                join("values for ", d.channels, " channels, as no family has them"));
      }
      options.mean.assign(d.mean.begin(), d.mean.end());
      options.deviation.assign(d.deviation.begin(), d.deviation.end());
    }
    return options;
  }
};

void run(const Settings& s) {
  const BackboneFile file = BackboneFile::open(s.in, s.reading());
  const dssl::OnnxModel model = dssl::onnx_backbone(file, s.model_of(file));
  dssl::OnnxWriteOptions writing;
  if (s.external_data) writing.external_above = 0;
  std::vector<std::string> paths{s.out};
  const bool external = model.has_external_data(writing);
  if (external) paths.push_back(dssl::OnnxModel::data_path(s.out));
  const dssl::programs::OutputFiles output(paths);
  output.require_writable();
  output.require_other_than_weights("IN", s.in);
  model.write(s.out, writing);
  std::printf("%s\n", model.description().c_str());
  std::printf("%s: image -> class_token, patch_map; opset %td, batch free, size %s%s\n", s.out.c_str(),
              dssl::OnnxModel::opset, s.size.c_str(),
              external ? join("; weights in ", paths.back()).c_str() : "");
}

}  // namespace

int main(int argc, char** argv) {
  Settings s;
  CLI::App app(
      "Writes the backbone of a file of weights (safetensors, or .pth and .pt of PyTorch, of which nothing "
      "is run) as "
      "an ONNX model: images in, class tokens and maps of patch tokens out.",
      "dssl-export");
  app.set_version_flag("--version", std::string(dssl::version_string));
  app.add_option("in", s.in, "File of weights: safetensors, .pth or .pt")->required()->option_text("IN");
  app.add_option("out", s.out, "ONNX file to write")->required()->option_text("OUT");
  app.add_option(
         "--size", s.size,
         "Images in pixels, multiples of the patch: any (another in each run if need be), one number, or "
         "HEIGHTxWIDTH. The number of images is free")
      ->capture_default_str();
  app.add_option(
         "--blocks", s.blocks,
         "Blocks whose tokens are given, side by side, joined by commas; from 0, or from the end with -1 the "
         "last (default: the last alone)")
      ->delimiter(',');
  app.add_flag("--no-norm", s.no_norm, "Tokens as the blocks give them, without the backbone's last norm");
  app.add_flag("--normalise", s.normalise,
               "The model takes pixels and normalises them itself; without, images come normalised");
  app.add_option(
         "--mean", s.mean,
         "What --normalise takes away, by channel, joined by commas, on the scale 0 to 1 (default: as the "
         "family's usual training)")
      ->delimiter(',');
  app.add_option("--deviation", s.deviation,
                 "What --normalise then divides by (default: as the family's usual training)")
      ->delimiter(',');
  app.add_option("--white", s.white,
                 "The largest pixel that --normalise takes: 1, or 255 for bytes as floats")
      ->check(CLI::Range(1.0F, 65535.0F))
      ->capture_default_str();
  app.add_option("--family", s.family, "Family of IN, where its names do not tell (default: as they say)")
      ->check(CLI::IsMember({"dino", "densedino", "dinov2", "dinov3", "timm", "torchvision", "hf"}));
  app.add_option(
         "--heads", s.heads,
         "Heads of the attention, which files of other families do not say; 0: one for 64 of the width")
      ->check(CLI::Range(Index{0}, Index{1024}))
      ->capture_default_str();
  app.add_flag("--external-data", s.external_data,
               "Weights in a second file, OUT.data, as models above 2 GB have them anyway");
  return dssl::programs::run_program(app, argc, argv, [&] {
    run(s);
    return 0;
  });
}
