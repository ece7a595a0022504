// dssl-convert: says what a file of weights holds, and writes its backbone under the names of another family.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <common/output_files.hpp>
#include <common/program.hpp>
#include <common/published.hpp>
#include <dssl/backbone/named_vits.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/io/atomic_file.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/backbone_export.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/hugging_face_config.hpp>
#include <dssl/io/open_tensor_file.hpp>
#include <dssl/io/pixel_scale.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/io/torch_writer.hpp>
#include <dssl/version.hpp>

namespace {

using dssl::BackboneFile;
using dssl::Index;
using dssl::join;

/// The family that an option names; nothing for an empty name. Throws `OptionError`.
std::optional<dssl::WeightFamily> family_option(const char* field, const std::string& name) {
  if (name.empty()) return std::nullopt;
  const auto family = dssl::family_named(name);
  if (!family) throw dssl::OptionError(field, name, dssl::weight_families_in_words);
  return family;
}

/// All tensors, a line each: name, type, extents. One name that is longer than usual moves no other line.
void print_tensors(const dssl::TensorFile& file) {
  constexpr std::size_t widest = 60;
  std::size_t width = 0;
  for (const auto& tensor : file.tensors()) width = std::max(width, std::min(tensor.name.size(), widest));
  Index elements = 0;
  for (const auto& tensor : file.tensors()) {
    std::string name = dssl::detail::one_line(tensor.name);
    name.resize(std::max(width, name.size()), ' ');
    std::printf("%s  %-4s  %s\n", name.c_str(), std::string(dssl::element_name(tensor.type)).c_str(),
                dssl::shape_text(tensor.shape).c_str());
    elements += tensor.size();
  }
  std::printf("%zu tensors, %td numbers\n", file.tensors().size(), elements);
}

/// `d`: of the file, with the heads that it is run with. `pixels`: what somebody says that images are normalised by; empty: nobody does.
void print_description(const BackboneFile& file, const dssl::BackboneDescription& d, const dssl::PixelScale& pixels) {
  std::printf("%s%s\n", dssl::describe(d).c_str(),
              file.prefix().empty() ? "" : join("; names after '", file.prefix(), "'").c_str());
  if (d.table_side > 0) std::printf("native image: %td pixels a side\n", d.native_image());
  const bool said = pixels != dssl::PixelScale{};
  std::printf("images%s: %s\n", said ? "" : d.channels == 3 ? ", if as usual" : ", as no family has them, in dssl's programs",
              dssl::describe(said ? pixels : dssl::usual_pixels(d.channels)).c_str());
  if (!file.ignored().empty()) {
    std::printf("%zu tensors are no part of the backbone, the first of them '%s'\n", file.ignored().size(),
                dssl::detail::one_line(file.ignored().front()).c_str());
  }
}

/// Whether a file of this name is to be torch.save's.
bool is_torch_name(const std::string& path) {
  return path.ends_with(".pth") || path.ends_with(".pt") || path.ends_with(".bin");
}

/// How the periods of a backbone that rotates are made.
dssl::PeriodsOfTheta periods_of(const BackboneFile& file) {
  return dssl::PeriodsOfTheta::of(file.read<float>("rope_embed.periods"));
}

/// Says where the family's code will not compute what the weights' own does.
void print_differences(const BackboneFile& file, dssl::WeightFamily as) {
  const dssl::BackboneDescription& d = file.description();
  if (d.local_class_norm && as != dssl::WeightFamily::dinov3)
    std::printf("norms: that of local views' class tokens, which training alone has, has no name in the family %s, and is left out\n",
                std::string(dssl::family_name(as)).c_str());
  if (d.position == dssl::PositionScheme::rotary) {
    const double off = as == dssl::WeightFamily::dinov3 ? 0 : periods_of(file).off;
    if (off > 1e-6) {
      std::printf("positions: these weights keep their periods, rounded by up to %.2g %%, and the code of the family %s computes them: its "
                  "features are a little others\n",
                  100 * off, std::string(dssl::family_name(as)).c_str());
    }
    return;
  }
  const dssl::PositionScheme rule = dssl::table_scheme(as, d.registers);
  if (rule == d.position) return;
  std::printf("positions: these weights go by the rule '%s' at other sizes, the family %s by '%s'; features are the same at %td "
              "pixels a side alone\n",
              std::string(dssl::position_scheme_name(d.position)).c_str(), std::string(dssl::family_name(as)).c_str(),
              std::string(dssl::position_scheme_name(rule)).c_str(), d.native_image());
}

/// Whether LayerScale is folded for a family: its code has none, in any model.
bool is_folded_for(std::optional<dssl::WeightFamily> as) {
  using dssl::WeightFamily;
  return as == WeightFamily::dino || as == WeightFamily::densedino || as == WeightFamily::torchvision;
}

/// Whether the name of a tensor ends so.
bool has_name(const std::vector<dssl::ExportedTensor>& tensors, std::initializer_list<std::string_view> endings) {
  return std::ranges::any_of(tensors, [&](const dssl::ExportedTensor& tensor) {
    return std::ranges::any_of(endings, [&](std::string_view ending) { return tensor.name.ends_with(ending); });
  });
}

/// Whether what is written has LayerScale, be it of ones.
bool has_layer_scale(const std::vector<dssl::ExportedTensor>& tensors) {
  return has_name(tensors, {"ls1.gamma", "layer_scale1.lambda1", "gamma_1"});
}

/// What of the tensors that are written is no finite number: it is written as it was read, and said.
class NotFinite {
 public:
  template <class T>
  void look_at(const std::string& name, std::span<const T> values) {
    const auto bad = std::ranges::find_if(values, [](T x) { return !std::isfinite(x); });
    if (bad == values.end() || ++x_tensors > 1) return;
    x_first = dssl::detail::element_words(name, *bad, static_cast<std::size_t>(bad - values.begin()));
  }
  /// One line on stderr, if there is anything to say.
  void warn() const {
    if (x_tensors == 0) return;
    dssl::programs::print_error("dssl-convert", join("warning: ", x_first, x_tensors > 1 ? join(" (and ", x_tensors - 1, " more tensors)") : "",
                                                     "; every program of dssl takes finite numbers alone"));
  }

 private:
  std::size_t x_tensors = 0;
  std::string x_first;
};

template <class Writer>
void write_tensors(const std::string& path, Writer& writer, const std::vector<dssl::ExportedTensor>& tensors) {
  NotFinite problems;
  for (const auto& tensor : tensors) {
    const std::span<const float> values(tensor.values);
    problems.look_at(tensor.name, values);
    writer.add(tensor.name, tensor.shape, values);
  }
  writer.write(path);
  problems.warn();
}

/// `file`, in a folder that is there or is made in one that is. Throws `OptionError`.
std::string in_folder_at_hand(const std::filesystem::path& file) {
  std::error_code unknown;
  const std::filesystem::path folder = std::filesystem::absolute(file).lexically_normal().parent_path();
  if (!std::filesystem::exists(folder, unknown) && !std::filesystem::is_directory(folder.parent_path(), unknown))
    throw dssl::OptionError("out", file.string(), join("a place in a folder that is there, and ", folder.parent_path().string(), " is not"));
  return file.string();
}

/// The file of weights that is written for Transformers: in a folder `out`, which may not be there yet, or `out` itself
/// where it has the name that Transformers looks for. Throws `OptionError`.
std::string weights_for_transformers(const std::string& out) {
  const std::filesystem::path path(out);
  std::error_code unknown;
  const bool folder = std::filesystem::is_directory(path, unknown);
  const std::string name = path.filename().string();
  if (!folder && (name == "model.safetensors" || name == "pytorch_model.bin")) return in_folder_at_hand(path);
  const std::string ending = path.extension().string();
  const bool called_a_file = ending.size() > 1 && std::isalpha(static_cast<unsigned char>(ending[1])) != 0;
  if (!folder && (called_a_file || std::filesystem::exists(path, unknown))) {
    throw dssl::OptionError("out", out, join("a folder, or a file called model.safetensors or pytorch_model.bin, beside which config.json is written",
                                             called_a_file ? join("; a folder whose name ends in ", ending, " has to be there") : ""));
  }
  return in_folder_at_hand(path / "model.safetensors");
}

/// Throws `FileError` where a configuration describes other weights than those that are written over.
void require_own_config(const std::string& config, const std::string& out) {
  std::error_code unknown;
  const auto is_there = [&](const std::string& path) {
    return std::filesystem::symlink_status(path, unknown).type() != std::filesystem::file_type::not_found;
  };
  if (is_there(config) && !is_there(out))
    throw dssl::FileError(config, join("is there, and ", out, " is not: it describes something else; expected another folder"));
}

/// A file beside weights that lies ready before it is in its place; its folder is made where there is none.
std::unique_ptr<dssl::AtomicFile> file_beside(const std::string& path, const std::string& text) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (!folder.empty()) std::filesystem::create_directory(folder);
  auto out = std::make_unique<dssl::AtomicFile>(path);
  out->write(text);
  return out;
}

/// Writes the backbone under a family's names, or under dssl's where there is none. `config`: where Transformers'
/// configuration is to lie, if it is to be written, `preprocessor_config.json` beside it. `pixels`: that images are normalised by.
void write_backbone(const std::string& path, const BackboneFile& file, const dssl::BackboneDescription& d,
                    const dssl::PixelScale& pixels, std::optional<dssl::WeightFamily> as, const std::string& config) {
  const std::string said = dssl::detail::one_line(path);
  if (!as) {
    std::map<std::string, std::string> metadata = dssl::pixels_as_metadata(pixels);
    if (d.heads_are_known) metadata["heads"] = join(d.heads);
    NotFinite problems;
    for (const dssl::StoredTensor& tensor : file.tensors()) problems.look_at<double>(tensor.name, file.read<double>(tensor.name));
    dssl::save_named_backbone(path, file, metadata);
    problems.warn();
    std::printf("%zu tensors under dssl's names: %s\n", file.tensors().size(), said.c_str());
    return;
  }
  if (!config.empty() && !d.heads_are_known)
    throw dssl::OptionError("heads", 0, join("the number of heads of ", file.path(), ", which it does not say"));
  const std::vector<dssl::ExportedTensor> tensors = dssl::export_backbone(file, d, *as);
  const bool scaled = has_layer_scale(tensors);
  // It lies ready before the weights are in their place, so that neither is there for long without the other.
  std::unique_ptr<dssl::AtomicFile> configuration, preprocessor;
  if (!config.empty()) {
    dssl::RotaryConfig rotary;
    if (d.position == dssl::PositionScheme::rotary) {
      rotary.theta = periods_of(file).theta;
      rotary.key_bias = has_name(tensors, {"k_proj.bias"});
    }
    configuration = file_beside(config, dssl::hugging_face_config(d, file.path(), rotary));
    preprocessor = file_beside(dssl::preprocessor_beside(config), dssl::hugging_face_preprocessor(d, pixels));
  }
  if (is_torch_name(path)) {
    dssl::TorchWriter writer;
    write_tensors(path, writer, tensors);
    if (file.metadata().contains("content"))
      std::printf("what %s does not say: its reference tokens begin with what the image shows at their points\n", said.c_str());
  } else {
    dssl::SafetensorsWriter writer;
    // Transformers asks for it.
    writer.metadata("format", "pt");
    for (const char* const key : {"recipe", "relation", "content"}) {
      const auto kept = file.metadata().find(key);
      if (kept != file.metadata().end()) writer.metadata(key, kept->second);
    }
    if (d.heads_are_known) writer.metadata("heads", join(d.heads));
    for (const auto& [key, value] : dssl::pixels_as_metadata(pixels)) writer.metadata(key, value);
    if (!scaled) {
      for (const auto& [key, value] : dssl::folding_as_metadata(d)) writer.metadata(key, value);
    }
    write_tensors(path, writer, tensors);
  }
  for (const auto* const beside : {&configuration, &preprocessor}) {
    if (*beside) (*beside)->commit();
  }
  std::printf("%zu tensors under the names of %s: %s\n", tensors.size(),
              std::string(dssl::family_name(*as)).c_str(), said.c_str());
  const bool periods_say = d.position == dssl::PositionScheme::rotary && *as == dssl::WeightFamily::dinov3;
  if (const Index usual = dssl::usual_heads(d.width, d.position);
      is_torch_name(path) && config.empty() && d.heads_are_known && d.heads != usual && !periods_say) {
    std::printf("heads: %td, which a file of torch.load does not say%s; whoever reads it has to be told\n", d.heads,
                usual > 0 ? join(", and ", usual, " are usual").c_str() : "");
  }
  if (d.layer_scale_folded && !scaled) {
    std::printf("LayerScale was multiplied into the layers before it, which %s\n",
                is_torch_name(path) ? "a file of torch.load does not say" : "the file says");
  }
  if (configuration) {
    std::printf("configuration for Transformers: %s, and %s: images %s\n", dssl::detail::one_line(config).c_str(),
                std::filesystem::path(dssl::preprocessor_beside(config)).filename().c_str(), dssl::describe(pixels).c_str());
  }
  print_differences(file, *as);
}

}  // namespace

int main(int argc, char** argv) {
  std::string in, out, as, family;
  bool inspect = false;
  Index heads = 0;
  dssl::PixelScale pixels;
  CLI::App app(
      "Says what a file of weights holds (safetensors, or .pth and .pt of PyTorch, of which nothing is run), "
      "and writes its "
      "backbone as safetensors or .pth, under dssl's names or another family's.",
      "dssl-convert");
  app.set_version_flag("--version", std::string(dssl::version_string));
  app.add_option("in", in, "File of weights: safetensors, .pth or .pt, or a folder of Transformers")->required()->option_text("IN");
  app.add_option("out", out, "File to write: .safetensors, or .pth, .pt or .bin for torch.load; with --as hf a folder, or "
                             "model.safetensors or pytorch_model.bin in one, and config.json beside it")->option_text("OUT");
  app.add_option("--as", as, "Family whose names are written (default: dssl's own)")
      ->check(dssl::programs::known_family());
  app.add_option("--family", family, "Family of IN, where its names do not tell (default: as they say)")
      ->check(dssl::programs::known_family());
  app.add_option("--heads", heads, "Heads of the attention, where IN does not say; 0: unknown, which --as hf refuses")
      ->check(CLI::Range(Index{0}, Index{1024}))
      ->capture_default_str();
  dssl::programs::add_pixel_options(
      app, pixels, "",
      {.mean = "What images are normalised by, for what OUT says of itself: taken from pixels of 0 to 1, a number a channel, joined by "
               "commas; default: as IN or preprocessor_config.json beside it say, else ImageNet's, or 0.5 for other channels than three"});
  app.add_flag("--inspect", inspect, "Lists the tensors of IN, and describes its backbone");
  return dssl::programs::run_program(app, argc, argv, [&] {
    if (!inspect && out.empty()) throw dssl::OptionError("out", "''", "a file to write, or --inspect");
    const auto from = family_option("family", family);
    const auto to = family_option("as", as);
    if (!to && is_torch_name(out))
      throw dssl::OptionError("as", "''", "a family for a file of torch.load, which has no place for the rules of dssl's names");
    if (to != dssl::WeightFamily::hugging_face && !out.empty() && !out.ends_with(".safetensors") && !is_torch_name(out))
      throw dssl::OptionError("out", out, "a name that ends in .safetensors, .pth, .pt or .bin");
    std::string config;
    if (to == dssl::WeightFamily::hugging_face && !out.empty()) {
      out = weights_for_transformers(out);
      config = dssl::HuggingFaceConfig::path_beside(out);
    }
    auto source = dssl::open_tensor_file(in);
    std::error_code unknown;
    // In a folder that is yet to be made nothing is lost.
    if (!out.empty() && (config.empty() || std::filesystem::exists(std::filesystem::absolute(out).parent_path(), unknown))) {
      std::vector<std::string> written{out};
      if (!config.empty()) written.insert(written.end(), {config, dssl::preprocessor_beside(config)});
      const dssl::programs::OutputFiles output(written);
      output.require_writable();
      output.require_other_than_weights("IN", source->path());
      if (!config.empty()) {
        for (const std::string& beside : {config, dssl::preprocessor_beside(config)}) require_own_config(beside, out);
      }
    }
    if (inspect) print_tensors(*source);
    const BackboneFile file(std::move(source), {.family = from, .fold_layer_scale = !out.empty() && is_folded_for(to), .heads = heads});
    if (pixels == dssl::PixelScale{}) {
      pixels = dssl::stated_pixels(file).value_or(dssl::PixelScale{});
    } else {
      dssl::require_pixels(pixels, file.description().channels);
    }
    const dssl::BackboneDescription known = dssl::described_as_run(file, {.heads = heads});
    print_description(file, known, pixels);
    if (pixels == dssl::PixelScale{}) pixels = dssl::usual_pixels(file.description().channels);
    if (!out.empty()) write_backbone(out, file, known, pixels, to, config);
    return 0;
  });
}
