// Weights of other families in the library's own ViT: the tokens are those of the family's own code.
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <dssl/backbone/vit.hpp>
#include <dssl/backend/cpu.hpp>
#include <dssl/features/features.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/safetensors.hpp>

#include "catch.hpp"
#include "compare.hpp"
#include "interop.hpp"

using namespace dssl;

TEST_CASE("published weights: the ViT gives what their own code does", "[published]") {
  struct Case {
    std::string name;
    std::vector<std::string> inputs;  // at whose sizes the table is read as this ViT reads it
    double tolerance = 2e-5;
  };
  // Transformers' ViT has another epsilon in its norms: 1e-12.
  const std::vector<Case> cases{{"container_zip", {"native", "wide"}},
                                {"dino_checkpoint", {"native", "wide"}},
                                {"densedino_checkpoint", {"native", "wide"}},
                                {"dino_backbone", {"native", "wide", "other"}},
                                {"dinov2_small", {"native", "other"}},
                                {"dinov2_small_reg4", {"native"}},
                                {"dinov2_teacher_chunked", {"native", "other"}},
                                {"timm_dino", {"native"}},
                                {"timm_dinov2_reg4", {"native"}},
                                {"timm_deit3", {"native"}},
                                {"torchvision_vit", {"native"}},
                                {"hf_dinov2_classifier", {"native"}},
                                {"hf_dino", {"native"}, 1e-3}};
  std::size_t seen = 0;
  for (const Case& c : cases) {
    const std::string folder = test::interop_folder() + "/" + c.name;
    if (!std::filesystem::exists(folder + "/expect.safetensors")) continue;
    const auto expected = SafetensorsFile::open(folder + "/expect.safetensors");
    const BackboneFile file = BackboneFile::open(test::weights_of(c.name), {.fold_layer_scale = true});
    const BackboneDescription& d = file.description();
    const ViTConfig config{.image = d.native_image(),
                           .patch = d.patch,
                           .width = d.width,
                           .depth = d.depth,
                           .heads = nlohmann::json::parse(expected.metadata().at("dssl-interop")).at("heads").get<Index>(),
                           .mlp_ratio = d.hidden / d.width,
                           .channels = d.channels,
                           .registers = d.registers};
    for (const std::string& input : c.inputs) {
      INFO(c.name << ", " << input);
      const std::vector<Index> shape = expected.shape(input + ".image");
      FeatureExtractor<ViTFamily, Cpu> extractor(Cpu(), {.height = shape[2], .width = shape[3], .batch = shape[0]}, config);
      const LoadedBackbone loaded = extractor.load(file);
      CHECK(loaded.ignored == (d.mask_token ? 1 : 0));
      const auto classes = expected.read<float>(input + ".class");
      const auto patches = expected.read<float>(input + ".patches");
      std::vector<float> own_classes(classes.size());
      std::vector<float> own_patches(patches.size());
      extractor.extract(own_classes, own_patches, expected.read<float>(input + ".image"));
      CHECK(test::relative_difference<float, float>(own_classes, classes) < c.tolerance);
      CHECK(test::relative_difference<float, float>(own_patches, patches) < c.tolerance);
      ++seen;
    }
  }
  CHECK(seen >= 5);
}
