// dssl-export: writes a backbone as an ONNX model, for runtimes that know nothing of dssl.
#include <cstdio>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <common/classifier_file.hpp>
#include <common/output_files.hpp>
#include <common/program.hpp>
#include <common/published.hpp>
#include <dssl/backbone/named_vits.hpp>
#include <dssl/backbone/vit_parameters.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/defects/bank_settings.hpp>
#include <dssl/defects/defect_bank_file.hpp>
#include <dssl/features/extents.hpp>
#include <dssl/features/onnx_backbone.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/backbone_rules.hpp>
#include <dssl/io/element_type.hpp>
#include <dssl/io/onnx_model.hpp>
#include <dssl/io/open_tensor_file.hpp>
#include <dssl/io/pixel_scale.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/io/tensor_file.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/train/loaded_weights.hpp>
#include <dssl/version.hpp>

namespace {

using dssl::BackboneFile;
using dssl::Index;
using dssl::join;

/// The numbers of a tensor. Throws `CheckpointError` where they are not all finite.
std::vector<float> finite_values(const dssl::TensorFile& file, const std::string& name) {
  std::vector<float> out = file.read<float>(name);
  dssl::detail::require_finite(std::span<const float>(out), file.path(), name);
  return out;
}

/// The one linear layer of a file: a matrix called weight, alone or behind a prefix, and its bias. Throws `CheckpointError`,
/// for whatever else the file's module computes with, too: a model without it would give other logits. `fits(file)` throws where
/// it was learned on something else than the model gives it.
template <class Fits>
dssl::OnnxHead head_of(const std::string& path, const Fits& fits) {
  const auto file = dssl::open_tensor_file(path);
  const auto is_matrix = [](const dssl::StoredTensor& t) {  // or a convolution of single cells
    if (!dssl::is_floating(t.type)) return false;
    return t.shape.size() == 2 || (t.shape.size() == 4 && t.shape[2] == 1 && t.shape[3] == 1);
  };
  constexpr std::string_view last = "weight";
  const dssl::StoredTensor* found = nullptr;
  for (const dssl::StoredTensor& tensor : file->tensors()) {
    if (!is_matrix(tensor) || !(tensor.name == last || tensor.name.ends_with(".weight"))) continue;
    if (found != nullptr)
      throw dssl::CheckpointError(path, join("has '", found->name, "' and '", tensor.name, "'; expected one linear layer"));
    found = &tensor;
  }
  if (found == nullptr) throw dssl::CheckpointError(path, "has no linear layer; expected a matrix called weight (classes, numbers), and bias");
  fits(*file);
  const std::string bias = found->name.substr(0, found->name.size() - last.size()) + "bias";
  for (const dssl::StoredTensor& tensor : file->tensors()) {
    if (!dssl::is_floating(tensor.type) || tensor.name == found->name || tensor.name == bias) continue;
    if (tensor.name.ends_with("num_batches_tracked")) continue;
    throw dssl::CheckpointError(path, join("has '", tensor.name, "' beside the linear layer '", found->name,
                                           "', which a model would leave out; expected weight and bias alone (a norm folded into them)"));
  }
  dssl::OnnxHead out{.classes = found->shape[0], .weight = finite_values(*file, found->name), .names = dssl::programs::class_names_in(*file)};
  if (file->contains(bias)) out.bias = finite_values(*file, bias);
  return out;
}

struct Settings {
  std::string in, out, family;
  std::string size = "any";
  Index heads = 0;
  Index heads_otherwise = 0;  // of a bank
  bool normalise = false;
  dssl::PixelScale pixels{};  // empty: as the weights say, or as usual
  float white = 1;
  bool external_data = false;
  std::vector<Index> blocks{};
  bool no_norm = false;
  std::string head, patch_head, knn, bank;
  Index neighbours = 0;  // of --knn; 0: as its file says

  [[nodiscard]] dssl::BackboneFileOptions reading() const { return dssl::backbone_file_options(family, heads, heads_otherwise); }

  /// What the model is made for; with --knn its features' size becomes the model's where --size is any. Throws `OptionError`.
  [[nodiscard]] dssl::OnnxBackboneOptions model_of(const BackboneFile& file) {
    const dssl::BackboneDescription run = dssl::described_as_run(file, reading());
    dssl::OnnxBackboneOptions options{
        .heads = run.heads_are_known ? run.heads : heads, .white = white, .blocks = blocks, .norm = !no_norm};
    if (!normalise && white != 1) throw dssl::OptionError("white", white, "1 without --normalise");
    options.normalise = normalise;
    dssl::PixelScale scale = pixels;
    if (scale == dssl::PixelScale{}) scale = dssl::stated_pixels(file).value_or(dssl::PixelScale{});
    const dssl::PixelScale usual = dssl::usual_pixels(file.description().channels);
    if (scale == dssl::PixelScale{} && normalise) scale = usual;
    const dssl::programs::ModelGives gives{
        .blocks = blocks,
        .depth = run.depth,
        .norm = !no_norm,
        .pixels = scale == dssl::PixelScale{} ? usual : scale,
        .ran = dssl::BackboneRules::of(run),
        .patch = run.patch,
        .table_side = run.table_side,
        .weights = in};
    const auto reads = [&](const std::vector<std::string_view>& tokens) {
      return [&gives, tokens](const dssl::TensorFile& of) { dssl::programs::require_reads(of, tokens, gives); };
    };
    if (!head.empty()) options.head = head_of(head, reads({"class", "both"}));
    if (!patch_head.empty()) options.patch_head = head_of(patch_head, reads({"patch"}));
    if (!knn.empty()) options.knn = x_knn(file, gives);
    if (size != "any") std::tie(options.height, options.width) = dssl::extents_of("size", size);
    options.mean = std::move(scale.mean);
    options.deviation = std::move(scale.deviation);
    return options;
  }

 private:
  /// The training features that dssl-classify kept, of these weights. Throws `CheckpointError` where they are others' or damaged.
  [[nodiscard]] dssl::OnnxKnn x_knn(const BackboneFile& backbone, const dssl::programs::ModelGives& gives) {
    const auto of = dssl::SafetensorsFile::open(knn);
    dssl::programs::Neighbours kept = dssl::programs::read_neighbours(of);
    dssl::programs::require_reads(of, {"class", "mean", "both"}, gives);
    const dssl::ViTConfig config = dssl::config_of_weights(backbone, reading());
    const dssl::LoadedWeights weights = dssl::load_any_backbone(in, dssl::vit_layout(config), config, config.native_grid(), reading());
    dssl::require_bank_of(of, dssl::fingerprint_of(weights.flat), in);
    if (size == "any") size = kept.size;
    const auto classes = static_cast<Index>(kept.classes.size());
    return {.classes = classes,
            .rows = of.read<float>("features"),
            .labels = std::move(kept.labels),
            .k = neighbours > 0 ? neighbours : kept.votes.neighbours,
            .temperature = kept.votes.temperature,
            .reads = {.class_token = kept.token != "mean", .patch = kept.token != "class"},
            .names = std::move(kept.classes)};
  }
};

/// Takes from a bank what its features were read with. Throws `CheckpointError` for what a model cannot do.
void adopt_bank(Settings& s, const dssl::SafetensorsFile& file) {
  const dssl::BankSettings of_bank = dssl::BankSettings::of(file);
  if (of_bank.flips) throw dssl::CheckpointError(s.bank, "was made with --flips, of which a model of one pass knows nothing");
  if (of_bank.fit == "pad")
    throw dssl::CheckpointError(s.bank, "was made with --fit pad, whose margins count for nothing; a model scores every patch");
  if (of_bank.references > 0) throw dssl::CheckpointError(s.bank, "was made with --read references, of which a model knows nothing");
  if (of_bank.look != dssl::PatchLook{})
    throw dssl::CheckpointError(s.bank, "was made with windows, a border, a foreground, standardising, --flatten, --top, --place or --free-of-size, of which a model knows nothing");
  s.blocks = of_bank.blocks;
  s.no_norm = !of_bank.norm;
  s.family = of_bank.family;
  if (s.pixels != dssl::PixelScale{} && s.pixels != of_bank.pixel_scale()) {
    throw dssl::OptionError("mean", dssl::detail::number_list(s.pixels.mean, ","),
                            join("nothing: ", s.bank, " was made with images ", dssl::describe(of_bank.pixel_scale())));
  }
  s.pixels = of_bank.pixel_scale();
  s.heads = of_bank.arch == "auto" ? 0 : dssl::named_vit(of_bank.arch).heads;
  s.heads_otherwise = of_bank.heads_run();
  if (s.size == "any") s.size = of_bank.size;
}

/// The rows of a bank that was made with these weights. Throws `CheckpointError` where it was not.
dssl::OnnxBank bank_of(const Settings& s, const BackboneFile& backbone, const dssl::SafetensorsFile& file) {
  const dssl::BankSettings of_bank = dssl::BankSettings::of(file);
  const dssl::ViTConfig config = of_bank.arch == "auto" ? dssl::config_of_weights(backbone, s.reading()) : dssl::named_vit(of_bank.arch);
  dssl::ViTConfig seen = config;
  seen.channels = of_bank.channels;
  const dssl::ParameterLayout layout = dssl::vit_layout(seen);
  const auto [height, width] = dssl::extents_of("size", of_bank.size);
  const dssl::LoadedWeights weights =
      dssl::load_any_backbone(s.in, layout, seen, {height / seen.patch, width / seen.patch}, s.reading());
  dssl::require_bank_of(file, dssl::fingerprint_of(weights.flat, dssl::fingerprint_in(file)), s.in);
  of_bank.require_run_as(s.bank, seen, {height / seen.patch, width / seen.patch}, s.in);
  // Read as programs read it: rows that are finite and of the features' width, counts that are counts.
  const auto bank = dssl::load_defect_bank(dssl::Reference<float>(), file);
  return {.rows = file.read<float>("bank"), .neighbourhood = of_bank.neighbourhood, .reweighting = bank.options().reweighting};
}

void run(Settings s) {
  if (!s.out.ends_with(".onnx")) throw dssl::OptionError("out", s.out, "a name that ends in .onnx");
  std::optional<dssl::SafetensorsFile> bank;
  if (!s.bank.empty()) adopt_bank(s, bank.emplace(dssl::SafetensorsFile::open(s.bank)));
  const BackboneFile file = BackboneFile::open(s.in, s.reading());
  dssl::OnnxBackboneOptions options = s.model_of(file);
  std::string outputs = "class_token, patch_map";
  if (options.head) outputs += ", logits";
  if (options.patch_head) outputs += ", patch_logits";
  if (options.knn) outputs += ", votes";
  if (bank) {
    options.bank = bank_of(s, file, *bank);
    outputs += ", patch_scores, score";
  }
  const dssl::OnnxModel model = dssl::onnx_backbone(file, options);
  dssl::OnnxWriteOptions writing;
  if (s.external_data) writing.external_above = 0;
  std::vector<std::string> paths{s.out};
  const bool external = model.has_external_data(writing);
  if (external) paths.push_back(dssl::OnnxModel::data_path(s.out));
  const dssl::programs::OutputFiles output(paths);
  output.require_writable();
  output.require_other_than_weights("IN", s.in);
  for (const auto& [option, path] : {std::pair("--head", &s.head), {"--patch-head", &s.patch_head}, {"--knn", &s.knn}, {"--bank", &s.bank}}) {
    if (!path->empty()) output.require_other_than(option, *path);
  }
  model.write(s.out, writing);
  std::printf("%s%s\n", model.description().c_str(), dssl::programs::pixels_line({options.mean, options.deviation}).c_str());
  std::printf("%s: image -> %s; opset %td, batch free, size %s%s\n", dssl::detail::one_line(s.out).c_str(), outputs.c_str(), dssl::OnnxModel::opset, s.size.c_str(),
              external ? join("; weights in ", dssl::detail::one_line(paths.back())).c_str() : "");
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
  dssl::programs::add_pixel_options(
      app, s.pixels, "",
      {.mean = "What --normalise takes away from pixels of 0 to 1, or whoever calls the model without it: a number a channel, joined by "
               "commas; default: as the weights or preprocessor_config.json beside them say, else ImageNet's, or 0.5 for other "
               "channels than three"});
  app.add_option("--white", s.white,
                 "The largest pixel that --normalise takes: 1, or 255 for bytes as floats")
      ->check(CLI::Range(1.0F, 65535.0F))
      ->capture_default_str();
  app.add_option("--head", s.head,
                 "Linear layer on class tokens, a file of PyTorch or safetensors with weight and bias: the model gives logits "
                 "too. One that is wider by a token reads the mean of the patches behind them, as DINOv2's");
  app.add_option("--patch-head", s.patch_head, "The same on every patch: patch_logits");
  CLI::Option* const knn =
      app.add_option("--knn", s.knn,
                     "Training features that dssl-classify --keep-neighbours wrote, of IN: the model gives votes too, the share "
                     "of each class in those of the nearest, at the temperature that it was measured with, and of the size that its "
                     "images had where --size is any");
  app.add_option("--k", s.neighbours, "Neighbours that vote with --knn (default: the first k that was measured)")
      ->check(CLI::PositiveNumber)
      ->needs(knn);
  CLI::Option* const bank =
      app.add_option("--bank", s.bank,
                     "Bank of dssl-defects that was made with IN: the model gives patch_scores and score too. Blocks, heads, "
                     "family and what images are normalised by are the bank's, and so is the size where --size is any");
  app.add_option("--family", s.family, "Family of IN, where its names do not tell (default: as they say)")
      ->check(dssl::programs::known_family());
  app.add_option(
         "--heads", s.heads,
         join("Heads of the attention, which files of other families do not say; 0: ", dssl::programs::usual_heads_help))
      ->check(CLI::Range(Index{0}, Index{1024}))
      ->capture_default_str();
  app.add_flag("--external-data", s.external_data,
               "Weights in a second file, OUT.data, as models above 2 GB have them anyway");
  for (const char* const of_bank : {"--blocks", "--no-norm", "--family", "--heads"}) bank->excludes(app.get_option(of_bank));
  return dssl::programs::run_program(app, argc, argv, [&] {
    run(s);
    return 0;
  });
}
