// dssl-convert: says what a file of weights holds, and writes its backbone under the names of another family.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <common/output_files.hpp>
#include <common/program.hpp>
#include <dssl/core/error.hpp>
#include <dssl/io/atomic_file.hpp>
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/backbone_export.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/hugging_face_config.hpp>
#include <dssl/io/open_tensor_file.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/io/torch_writer.hpp>
#include <dssl/version.hpp>

namespace {

using dssl::BackboneFile;
using dssl::Index;
using dssl::join;

constexpr const char* families = "dino, densedino, dinov2, dinov3, timm, torchvision, hf";

/// The family that an option names; nothing for an empty name. Throws `OptionError`.
std::optional<dssl::WeightFamily> family_option(const char* field, const std::string& name) {
  if (name.empty()) return std::nullopt;
  const auto family = dssl::family_named(name);
  if (!family) throw dssl::OptionError(field, name, families);
  return family;
}

/// All tensors, a line each: name, type, extents.
void print_tensors(const dssl::TensorFile& file) {
  std::size_t width = 0;
  for (const auto& tensor : file.tensors()) width = std::max(width, tensor.name.size());
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

void print_description(const BackboneFile& file) {
  const dssl::BackboneDescription& d = file.description();
  std::printf("%s%s\n", dssl::describe(d).c_str(),
              file.prefix().empty() ? "" : join("; names after '", file.prefix(), "'").c_str());
  if (d.table_side > 0) std::printf("native image: %td pixels a side\n", d.native_image());
  std::printf("images, if as usual: less (%.3f, %.3f, %.3f), divided by (%.3f, %.3f, %.3f)\n",
              static_cast<double>(d.mean[0]), static_cast<double>(d.mean[1]), static_cast<double>(d.mean[2]),
              static_cast<double>(d.deviation[0]), static_cast<double>(d.deviation[1]),
              static_cast<double>(d.deviation[2]));
  if (!file.ignored().empty()) {
    std::printf("%zu tensors are no part of the backbone, the first of them '%s'\n", file.ignored().size(),
                dssl::detail::one_line(file.ignored().front()).c_str());
  }
}

/// Whether a file of this name is to be torch.save's.
bool is_torch_name(const std::string& path) {
  return path.ends_with(".pth") || path.ends_with(".pt") || path.ends_with(".bin");
}

/// Says where the family's code will not compute what the weights' own does.
void print_differences(const dssl::BackboneDescription& d, dssl::WeightFamily as) {
  const dssl::PositionScheme rule = dssl::table_scheme(as, d.registers);
  if (rule == d.position) return;
  std::printf("positions: these weights go by the rule '%s' at other sizes, the family %s by '%s'; features are the same at %td "
              "pixels a side alone\n",
              std::string(dssl::position_scheme_name(d.position)).c_str(), std::string(dssl::family_name(as)).c_str(),
              std::string(dssl::position_scheme_name(rule)).c_str(), d.native_image());
}

template <class Writer>
void write_tensors(const std::string& path, Writer& writer, const std::vector<dssl::ExportedTensor>& tensors) {
  for (const auto& tensor : tensors) writer.add(tensor.name, tensor.shape, std::span<const float>(tensor.values));
  writer.write(path);
}

/// Writes the backbone under a family's names, or under dssl's where there is none. `config`: where Transformers'
/// configuration is to lie, if it is to be written.
void write_backbone(const std::string& path, const BackboneFile& file, const dssl::BackboneDescription& d,
                    std::optional<dssl::WeightFamily> as, const std::string& config) {
  if (!as) {
    dssl::save_named_backbone(path, file);
    std::printf("%zu tensors under dssl's names: %s\n", file.tensors().size(), path.c_str());
    return;
  }
  const std::vector<dssl::ExportedTensor> tensors = dssl::export_backbone(file, d, *as);
  const std::string said = config.empty() ? std::string() : dssl::hugging_face_config(d, file.path());
  if (is_torch_name(path)) {
    dssl::TorchWriter writer;
    write_tensors(path, writer, tensors);
  } else {
    dssl::SafetensorsWriter writer;
    // Transformers asks for it.
    writer.metadata("format", "pt");
    const auto relation = file.metadata().find("relation");
    if (relation != file.metadata().end()) writer.metadata("relation", relation->second);
    write_tensors(path, writer, tensors);
  }
  std::printf("%zu tensors under the names of %s: %s\n", tensors.size(),
              std::string(dssl::family_name(*as)).c_str(), path.c_str());
  if (!config.empty()) {
    dssl::AtomicFile out(config);
    out.write(said);
    out.commit();
    std::printf("configuration for Transformers: %s\n", config.c_str());
  }
  print_differences(d, *as);
}

}  // namespace

int main(int argc, char** argv) {
  std::string in, out, as, family;
  bool inspect = false;
  Index heads = 0;
  CLI::App app(
      "Says what a file of weights holds (safetensors, or .pth and .pt of PyTorch, of which nothing is run), "
      "and writes its "
      "backbone as safetensors or .pth, under dssl's names or another family's.",
      "dssl-convert");
  app.set_version_flag("--version", std::string(dssl::version_string));
  app.add_option("in", in, "File of weights: safetensors, .pth or .pt, or a folder of Transformers")->required()->option_text("IN");
  app.add_option("out", out, "File to write: .pth, .pt or .bin for torch.load, else safetensors; with --as hf also config.json beside it, and OUT "
                             "may be a folder")->option_text("OUT");
  app.add_option("--as", as, "Family whose names are written (default: dssl's own)")
      ->check(CLI::IsMember({"dino", "densedino", "dinov2", "timm", "torchvision", "hf"}));
  app.add_option("--family", family, "Family of IN, where its names do not tell (default: as they say)")
      ->check(CLI::IsMember({"dino", "densedino", "dinov2", "dinov3", "timm", "torchvision", "hf"}));
  app.add_option("--heads", heads, "Heads of the attention for config.json, where IN does not say; 0: one for 64 of the width")
      ->check(CLI::Range(Index{0}, Index{1024}))
      ->capture_default_str();
  app.add_flag("--inspect", inspect, "Lists the tensors of IN, and describes its backbone");
  return dssl::programs::run_program(app, argc, argv, [&] {
    if (!inspect && out.empty()) throw dssl::OptionError("out", "''", "a file to write, or --inspect");
    const auto from = family_option("family", family);
    const auto to = family_option("as", as);
    if (!to && is_torch_name(out))
      throw dssl::OptionError("as", "''", "a family for a file of torch.load, which has no place for the rules of dssl's names");
    std::string config;
    if (to == dssl::WeightFamily::hugging_face) {
      if (std::filesystem::is_directory(out)) out = (std::filesystem::path(out) / "model.safetensors").string();
      if (!out.empty()) config = dssl::HuggingFaceConfig::path_beside(out);
    }
    auto source = dssl::open_tensor_file(in);
    if (!out.empty()) {
      std::vector<std::string> written{out};
      if (!config.empty()) written.push_back(config);
      const dssl::programs::OutputFiles output(written);
      output.require_writable();
      output.require_other_than("IN", source->path());
      output.require_other_than("IN", dssl::HuggingFaceConfig::path_beside(source->path()));
    }
    if (inspect) print_tensors(*source);
    const BackboneFile file(std::move(source), {.family = from, .heads = heads});
    print_description(file);
    dssl::BackboneDescription d = file.description();
    if (heads > 0) d.heads = heads;
    if (!out.empty()) write_backbone(out, file, d, to, config);
    return 0;
  });
}
