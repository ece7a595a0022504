// dssl-convert: says what a file of weights holds, and writes its backbone under the names of another family.
#include <algorithm>
#include <cstdio>
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
#include <dssl/io/backbone_description.hpp>
#include <dssl/io/backbone_export.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/open_tensor_file.hpp>
#include <dssl/io/safetensors.hpp>
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

/// Writes the backbone under a family's names, or under dssl's where there is none.
void write_backbone(const std::string& path, const BackboneFile& file, std::optional<dssl::WeightFamily> as) {
  if (!as) {
    dssl::save_named_backbone(path, file);
    std::printf("%zu tensors under dssl's names: %s\n", file.tensors().size(), path.c_str());
    return;
  }
  const std::vector<dssl::ExportedTensor> tensors = dssl::export_backbone(file, file.description(), *as);
  dssl::SafetensorsWriter writer;
  // Transformers asks for it.
  writer.metadata("format", "pt");
  const auto relation = file.metadata().find("relation");
  if (relation != file.metadata().end()) writer.metadata("relation", relation->second);
  for (const auto& tensor : tensors)
    writer.add(tensor.name, tensor.shape, std::span<const float>(tensor.values));
  writer.write(path);
  std::printf("%zu tensors under the names of %s: %s\n", tensors.size(),
              std::string(dssl::family_name(*as)).c_str(), path.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  std::string in, out, as, family;
  bool inspect = false;
  CLI::App app(
      "Says what a file of weights holds (safetensors, or .pth and .pt of PyTorch, of which nothing is run), "
      "and writes its "
      "backbone as safetensors, under dssl's names or another family's.",
      "dssl-convert");
  app.set_version_flag("--version", std::string(dssl::version_string));
  app.add_option("in", in, "File of weights: safetensors, .pth or .pt")->required()->option_text("IN");
  app.add_option("out", out, "Safetensors file to write")->option_text("OUT");
  app.add_option("--as", as, "Family whose names are written (default: dssl's own)")
      ->check(CLI::IsMember({"dino", "densedino", "dinov2", "timm", "torchvision", "hf"}));
  app.add_option("--family", family, "Family of IN, where its names do not tell (default: as they say)")
      ->check(CLI::IsMember({"dino", "densedino", "dinov2", "dinov3", "timm", "torchvision", "hf"}));
  app.add_flag("--inspect", inspect, "Lists the tensors of IN, and describes its backbone");
  return dssl::programs::run_program(app, argc, argv, [&] {
    if (!inspect && out.empty()) throw dssl::OptionError("out", "''", "a file to write, or --inspect");
    const auto from = family_option("family", family);
    const auto to = family_option("as", as);
    if (!out.empty()) {
      const dssl::programs::OutputFiles output({out});
      output.require_writable();
      output.require_other_than("IN", in);
    }
    auto source = dssl::open_tensor_file(in);
    if (inspect) print_tensors(*source);
    const BackboneFile file(std::move(source), {.family = from});
    print_description(file);
    if (!out.empty()) write_backbone(out, file, to);
    return 0;
  });
}
