// dssl-features: times feature extraction with a frozen backbone, alone or in turn with a peer.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <ctime>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/core/random.hpp>
#include <dssl/features/features.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/train/loaded_weights.hpp>

#include "serve.hpp"
#include "timed_backend.hpp"
#include "workload.hpp"

namespace {

using namespace dssl;
using namespace dssl::benchmarks;
using nlohmann::json;

struct Options {
  std::string arch = "small16";
  std::string precision = "f32";
  int threads = 0;
  Index size = 448;
  Index batch = 1;
  int runs = 15;
  int warm_up = 3;
  bool serve = false;
  bool once = false;
  std::string start;
  std::string write_start;
  std::string weights;
  std::string images;
};

template <class Backbone, class B>
void measure(const Options& options, std::string_view name, const B& backend,
             const typename Backbone::Config& config = Backbone::config, PublishedWeights* published = nullptr) {
  const std::size_t at_start = resident_bytes("VmRSS");
  FeatureExtractor<Backbone, B> extractor(
      backend, {.height = options.size, .width = options.size, .batch = options.batch}, config);
  std::vector<float> images(static_cast<std::size_t>(options.batch * extractor.image_size()));
  if constexpr (std::is_same_v<Backbone, ViTFamily>) {
    extractor.load_by([&](std::span<float> flat) {
      published->load(flat, extractor.layout(), config, extractor.patch_grid());
    });
    SafetensorsFile::open(options.images).read_into(std::span<float>(images), "images");
  } else if (options.start.empty()) {
    std::vector<float> weights(static_cast<std::size_t>(extractor.layout().total()));
    initialise(std::span<float>(weights), extractor.layout(), 1);
    extractor.load(weights);
    RandomStream random({.seed = 2});
    for (float& x : images) x = static_cast<float>(random.normal());
    if (!options.write_start.empty()) {
      SafetensorsWriter writer;
      const ViTConfig& c = extractor.config();
      const json stated{{"vit_image", c.image},     {"vit_patch", c.patch},  {"vit_channels", c.channels},
                        {"vit_dim", c.width},       {"vit_depth", c.depth},  {"vit_heads", c.heads},
                        {"vit_ratio", c.mlp_ratio}, {"batch", options.batch}};
      writer.metadata("config", stated.dump());
      for (const auto& spec : extractor.layout().specs()) {
        writer.add("weight." + std::string(spec.name.view()), spec.shape(),
                   std::span<const float>(weights).subspan(static_cast<std::size_t>(spec.offset),
                                                           static_cast<std::size_t>(spec.size)));
      }
      writer.add("images", {options.batch, c.channels, options.size, options.size},
                 std::span<const float>(images));
      writer.write(options.write_start);
      return;
    }
  } else {
    const auto file = SafetensorsFile::open(options.start);
    std::vector<float> weights(static_cast<std::size_t>(extractor.layout().total()));
    for (const auto& spec : extractor.layout().specs()) {
      file.read_into(std::span<float>(weights).subspan(static_cast<std::size_t>(spec.offset),
                                                       static_cast<std::size_t>(spec.size)),
                     "weight." + std::string(spec.name.view()));
    }
    extractor.load(weights);
    file.read_into(std::span<float>(images), "images");
  }

  const auto run = [&] { extractor.forward(images); };
  const auto check = [&] {
    run();
    std::vector<double> sums(3, 0.0);
    const auto class_tokens = extractor.class_tokens();
    for (const auto x : class_tokens.flat()) {
      sums[0] += std::abs(static_cast<double>(x)) / static_cast<double>(class_tokens.size());
    }
    for (Index i = 0; i < options.batch; ++i) {
      const auto map = extractor.patch_map(i);
      const double count = static_cast<double>(map.size() * options.batch);
      for (const auto x : map.flat()) {
        sums[1] += std::abs(static_cast<double>(x)) / count;
        sums[2] += static_cast<double>(x) * static_cast<double>(x) / count;
      }
    }
    return sums;
  };
  if (options.once) {
    std::printf("%.9g\n", check()[0]);
    std::fflush(stdout);  // before the weights' memory is given back
    return;
  }

  const Index side = options.size / extractor.config().patch;
  const double flop = static_cast<double>(options.batch) * backbone_flop(extractor.config(), side * side, 0);
  json out{{"program", "dssl-features"},
           {"workload", {{"arch", name}, {"size", options.size}, {"batch", options.batch}}},
           {"backend", backend.describe()},
           {"precision", options.precision},
           {"flop", flop},
           {"machine", machine_json()}};
  if (options.serve) {
    serve(out, at_start, run, check);
    return;
  }
  const int threads = options.threads > 0 ? options.threads : processors();
  const Ceilings ceilings = measure_ceilings(threads);
  for (int i = 0; i < options.warm_up; ++i) run();
  reset_peak_memory();
  const LoadWatch watch;
  const std::clock_t processor = std::clock();
  std::vector<double> seconds;
  for (int i = 0; i < options.runs; ++i) seconds.push_back(seconds_of(run));
  const double others = watch.others();
  const double processor_seconds =
      static_cast<double>(std::clock() - processor) / CLOCKS_PER_SEC / static_cast<double>(seconds.size());
  const double middle = median(seconds);
  out["threads"] = threads;
  out["others_load"] = others;
  out["processor_seconds"] = processor_seconds;
  out["seconds"] = seconds_json(seconds);
  out["images_per_second"] = static_cast<double>(options.batch) / middle;
  out["flops"] = flop / middle;
  out["ceiling"] = {{"flops", ceilings.flops(options.precision)}, {"bytes", ceilings.bytes}};
  out["of_ceiling"] = flop / middle / ceilings.flops(options.precision);
  out["memory"] = {{"plan", extractor.memory_plan().total()},
                   {"scratch", backend.scratch_bytes()},
                   {"peak", resident_bytes("VmHWM")},
                   {"at_start", at_start}};
  std::printf("%s\n", out.dump(2).c_str());
}

void run(const Options& options) {
  if (options.weights.empty() != options.images.empty())
    throw OptionError("images", options.images, "a file with them where there are --weights, and no other");
  with_backend(options.precision, options.threads, [&](const auto& backend) {
    if (!options.weights.empty()) {
      PublishedWeights file(options.weights, backbone_file_options("", 0));
      return measure<ViTFamily>(options, std::filesystem::path(options.weights).stem().string(), backend, file.config(), &file);
    }
    if (options.arch == "nano8") return measure<ViT<vit_nano8>>(options, "nano8", backend);
    if (options.arch == "tiny16") return measure<ViT<vit_tiny16>>(options, "tiny16", backend);
    if (options.arch == "small16") return measure<ViT<vit_small16>>(options, "small16", backend);
    if (options.arch == "base16") return measure<ViT<vit_base16>>(options, "base16", backend);
    throw OptionError("arch", options.arch, "nano8, tiny16, small16 or base16");
  });
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Times feature extraction (class token and patch map of images) and prints JSON.",
               "dssl-features"};
  Options options;
  app.add_option("--arch", options.arch, "nano8, tiny16, small16 or base16")->capture_default_str();
  app.add_option("--precision", options.precision, "f32, or bf16 products")->capture_default_str();
  app.add_option("--threads", options.threads, "0: as many as the process may use")->capture_default_str();
  app.add_option("--size", options.size, "pixels a side")->capture_default_str();
  app.add_option("--batch", options.batch, "images at a time")->capture_default_str();
  app.add_option("--runs", options.runs, "timed runs")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--warm-up", options.warm_up, "runs before them")->capture_default_str();
  app.add_flag("--serve", options.serve, "extract once for each line 'step' on stdin");
  app.add_flag("--once", options.once,
               "extract once, print one number, and end: for the time to the first feature");
  app.add_option("--start", options.start, "take weights and images from this file");
  app.add_option("--weights", options.weights, "a ViT of any family and size, as its file says, in the place of --arch");
  app.add_option("--images", options.images, "with --weights: safetensors with images (batch,3,size,size)");
  app.add_option("--write-start", options.write_start,
                 "write weights and images for --start and for a peer, no more");
  return run_measurement(app, argc, argv, [&] { run(options); });
}
