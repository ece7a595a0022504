// Checkpoints: a run is put back to where it stood, or stays as it is.
//
// The input changes a good checkpoint, line by line: "key=value" sets a string, "-name" leaves out a tensor or a
// string, "*name" stores a tensor as one row, "^name" turns a bit of it.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/backend/reference.hpp>
#include <dssl/loss/objective.hpp>
#include <dssl/nn/head.hpp>
#include <dssl/tokens/schemes.hpp>
#include <dssl/train/checkpoint.hpp>
#include <dssl/train/training_step.hpp>

#include "fuzz.hpp"
#include "tiny_run.hpp"

using namespace dssl;

namespace {

struct Tiny {
  using Backbone = ViT<fuzz::tiny_backbone>;
  using Tokens = ReferenceTokens<>;
  using Loss = ImageAndPointLoss;
  using Head = ProjectionHead<HeadConfig{.layers = 1, .hidden = 2, .bottleneck = 2, .prototypes = 2}>;
};
using B = Reference<float>;
using Step = TrainingStep<Tiny, B>;

Step make_step() {
  StepOptions options;
  options.shape = {.batch = 1, .channels = 1, .points = 1, .views = {{4, 4}, {4, 4}}};
  options.stochastic_depth = 0;
  Step step({}, options);
  initialise(B(), step.student(), step.layout(), 1);
  return step;
}

std::vector<float> state_of(const Step& step) {
  std::vector<float> out;
  detail::for_each_state(step, [&](const auto&, const auto& values, const auto&) {
    out.insert(out.end(), values.flat().begin(), values.flat().end());
  });
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const Step saved = make_step();
  static const RunOptions options = run_options(TrainerOptions());
  static const SafetensorsFile good = [] {
    const std::string path = fuzz::scratch() / "good.safetensors";
    save_checkpoint(path, LastingStateOf(saved), options, {.step = 3, .dataset_images = 9}, "tiny");
    return SafetensorsFile::open(path);
  }();
  std::map<std::string, std::string> strings = good.metadata();
  std::map<std::string, char> changes;
  std::string_view rest(reinterpret_cast<const char*>(data), size);
  while (!rest.empty()) {
    const std::string line(rest.substr(0, rest.find('\n')));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.empty()) continue;
    if (line.front() == '-' || line.front() == '*' || line.front() == '^') {
      changes[line.substr(1)] = line.front();
      if (line.front() == '-') strings.erase(line.substr(1));
    } else if (const std::size_t equals = line.find('='); equals != std::string::npos) {
      strings[line.substr(0, equals)] = line.substr(equals + 1);
    }
  }
  SafetensorsWriter writer;
  for (const auto& [key, value] : strings) writer.metadata(key, value);
  std::vector<std::vector<std::byte>> turned;
  bool damaged = false;
  for (const StoredTensor& tensor : good.tensors()) {
    const auto change = changes.find(tensor.name);
    const char kind = change == changes.end() ? '=' : change->second;
    damaged = damaged || kind != '=';
    if (kind == '-') continue;
    auto bytes = good.bytes(tensor.name);
    if (kind == '^') {
      turned.emplace_back(bytes.begin(), bytes.end()).front() ^= std::byte{1};
      bytes = turned.back();
    }
    writer.add_bytes(tensor.name, tensor.type, kind == '*' ? std::vector<Index>{1, tensor.size()} : tensor.shape, bytes);
  }
  const std::string path = fuzz::scratch() / "changed.safetensors";
  writer.write(path);

  static Step step = make_step();
  const std::vector<float> before = state_of(step);
  for (const bool extends : {false, true}) {
    const bool loaded = fuzz::parses<CheckpointError>([&] {
      const RunPosition position = load_checkpoint(LastingStateOf(step), path, options, "tiny", extends);
      fuzz::require(position.step >= 0 && position.dataset_images >= 0 && position.unreadable >= 0 &&
                        position.collapsed_steps >= 0,
                    "a run stands somewhere");
      save_checkpoint(fuzz::scratch() / "again.safetensors", LastingStateOf(step), options, position, "tiny");
      const auto again = SafetensorsFile::open(fuzz::scratch() / "again.safetensors");
      fuzz::require(again.metadata().at("check_sum") == good.metadata().at("check_sum"), "the state is the one that was saved");
    });
    if (damaged) fuzz::require(!loaded, "a checkpoint whose tensors were changed is refused");
    if (!loaded) fuzz::require(state_of(step) == before, "a checkpoint that is refused changes nothing");
  }
  return 0;
}
