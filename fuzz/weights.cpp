// A backbone's weights of any file, and the best weights of a run.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include <dssl/backbone/vit_parameters.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/monitor/best_weights.hpp>

#include "fuzz.hpp"
#include "tiny_run.hpp"

using namespace dssl;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string path = fuzz::file_of("in.safetensors", fuzz::bytes_of(data, size));
  const ParameterLayout layout = vit_layout(fuzz::tiny_backbone);
  std::vector<float> flat(static_cast<std::size_t>(layout.total()), 1.0F);
  const bool loaded = fuzz::parses<FileError>([&] {
    const auto file = SafetensorsFile::open(path);
    const LoadedBackbone what = load_backbone(std::span<float>(flat), layout, file);
    fuzz::require(!what.given.empty() && what.given.size() + what.ignored == file.tensors().size(),
                  "every tensor of the file is used or not");
  });
  if (loaded) {
    const std::string again = fuzz::scratch() / "out.safetensors";
    save_backbone(again, std::span<const float>(flat), layout);
    std::vector<float> same(flat.size());
    load_backbone(std::span<float>(same), layout, SafetensorsFile::open(again));
    // As bytes: zeros have signs.
    fuzz::require(std::memcmp(same.data(), flat.data(), flat.size() * sizeof(float)) == 0, "weights come back as written");
  } else {
    for (const float value : flat) fuzz::require(value == 1.0F, "weights that cannot be read change nothing");
  }
  fuzz::parses<FileError>([&] {
    BestWeights best(path, "knn");
    best.resume();
    fuzz::require(best.record().has_value() && best.record()->step >= 0, "best weights have a record");
  });
  return 0;
}
