// dssl-features: the tokens of images as a backbone gives them, in files that others read.
#include <algorithm>
#include <cstdio>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <dssl/backend/concept.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/data/few_bits.hpp>
#include <dssl/data/fingerprint.hpp>
#include <dssl/data/image_files.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/data/source.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/features.hpp>
#include <dssl/features/ordered_rows.hpp>
#include <dssl/io/npy.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/train/loaded_weights.hpp>
#include <dssl/version.hpp>

#include "common/backbone.hpp"
#include "common/json_text.hpp"
#include "common/output_files.hpp"
#include "common/program.hpp"
#include "common/progress.hpp"
#include "common/rank_work.hpp"
#include "common/ranks.hpp"
#include "common/references.hpp"

namespace {

using namespace dssl::programs;
using dssl::Index;
using dssl::join;
using Json = nlohmann::ordered_json;

struct FeatureSettings {
  FeatureSettings() { backbone.map.lists = true; }

  BackboneSettings backbone;
  std::vector<std::string> data;
  std::string images;
  std::string out;
  std::vector<std::string> tokens{"class", "patch"};
  std::vector<std::string> sizes{"224"};
  double memory = 4;  // GiB of features before a safetensors file is written
  RankSettings processes;

  [[nodiscard]] bool reads(const std::string& token) const {
    return std::find(tokens.begin(), tokens.end(), token) != tokens.end();
  }
  [[nodiscard]] bool as_npy() const { return out.ends_with(".npy"); }

  /// What the tokens of a size are called: "class", or "class.224" where there are several sizes. A map of references is
  /// called "reference".
  [[nodiscard]] std::string array_name(const std::string& token, const std::string& size) const {
    const std::string name = token == "patch" && backbone.map.references() ? "reference" : token;
    return sizes.size() > 1 ? name + "." + size : name;
  }
  /// The file of an array: its name comes before the ending, unless it is the only one.
  [[nodiscard]] std::string array_file(const std::string& name) const {
    std::string path = out;
    if (as_npy() && sizes.size() * tokens.size() > 1) path.insert(path.size() - 4, "." + name);
    return path;
  }
  /// What describes them all.
  [[nodiscard]] std::string json_file() const { return out + ".json"; }
  /// All that is written.
  [[nodiscard]] std::vector<std::string> files() const {
    std::vector<std::string> paths{json_file()};
    for (const std::string& token : tokens) {
      for (const std::string& size : sizes) paths.push_back(array_file(array_name(token, size)));
    }
    return paths;
  }
};

/// One array of features on its way to its file: a .npy as it comes, a safetensors from memory at the end.
class FeatureArray {
 public:
  FeatureArray(const FeatureSettings& settings, std::string name, std::vector<Index> shape)
      : x_name(std::move(name)), x_path(settings.array_file(x_name)), x_shape(std::move(shape)) {
    if (settings.as_npy()) {
      x_npy.emplace(x_path, x_shape);
    } else {
      x_values.reserve(static_cast<std::size_t>(x_row() * x_shape.front()));
    }
  }

  void add(std::span<const float> row) {
    if (x_npy) {
      x_npy->write(row);
    } else {
      x_values.insert(x_values.end(), row.begin(), row.end());
    }
  }

  /// A row for an image that could not be read: not a number everywhere.
  void add_missing() {
    add(std::vector<float>(static_cast<std::size_t>(x_row()), std::numeric_limits<float>::quiet_NaN()));
  }

  void finish(dssl::SafetensorsWriter& writer) {
    if (x_npy) {
      x_npy->commit();
    } else {
      writer.add(x_name, x_shape, std::span<const float>(x_values));
    }
  }

  [[nodiscard]] Json json() const { return {{"name", x_name}, {"file", x_path}, {"shape", x_shape}}; }

 private:
  [[nodiscard]] Index x_row() const {
    Index out = 1;
    for (std::size_t d = 1; d < x_shape.size(); ++d) out *= x_shape[d];
    return out;
  }

  std::string x_name, x_path;
  std::vector<Index> x_shape;
  std::optional<dssl::NpyWriter> x_npy;
  std::vector<float> x_values;
};

/// The class tokens and patch maps of all images at one size.
struct ArraysOfSize {
  std::unique_ptr<FeatureArray> class_tokens, patches;

  void each(const auto& visit) {
    if (class_tokens) visit(*class_tokens);
    if (patches) visit(*patches);
  }
};

template <class Extractor>
ArraysOfSize arrays_of(const FeatureSettings& s, const Extractor& extractor, Index images,
                       const std::string& size) {
  ArraysOfSize out;
  if (s.reads("class")) {
    out.class_tokens = std::make_unique<FeatureArray>(s, s.array_name("class", size),
                                                      std::vector<Index>{images, extractor.width()});
  }
  if (s.reads("patch")) {
    out.patches = std::make_unique<FeatureArray>(
        s, s.array_name("patch", size),
        std::vector<Index>{images, extractor.grid().height, extractor.grid().width, extractor.width()});
  }
  return out;
}

/// Adds the rows of every image, in order; the names of those that could not be read go to `unreadable`. Ranks share the
/// images, and the first has the arrays.
template <class Extractor>
void extract(Extractor& extractor, ArraysOfSize& arrays, const BackboneSettings& settings, const dssl::ImageFiles& files,
             const dssl::Communicator& ranks, std::vector<std::string>& unreadable, const Interruption& interruption) {
  const dssl::InputRenderer renderer(settings.input(), dssl::ClassMap({.classes = 1, .void_ids = {}}));
  const dssl::GroupSet reads = extractor.options().reads;
  const auto class_values = static_cast<std::size_t>(reads.class_token ? extractor.width() : 0);
  const auto patch_values = static_cast<std::size_t>(reads.patch ? extractor.grid().size() * extractor.width() : 0);
  std::vector<float> values(class_values + patch_values);
  const std::span<float> class_token = std::span(values).first(class_values), patches = std::span(values).subspan(class_values);
  Progress progress(join("features at ", settings.size), files.size(), "images");
  const auto take = [&](Index image, std::optional<std::span<const float>> row) {
    if (!ranks.first()) return;
    progress.at(image + 1);
    if (!row) {
      arrays.each([](FeatureArray& array) { array.add_missing(); });
      unreadable.push_back(files.id(image));
      return;
    }
    if (arrays.class_tokens) arrays.class_tokens->add(row->first(class_values));
    if (arrays.patches) arrays.patches->add(row->subspan(class_values));
  };
  std::stop_source stop;
  const dssl::FeaturePassCount count = dssl::pass_in_turns<float>(
      ranks, files, static_cast<Index>(values.size()), settings.at_once, {}, stop.get_token(), take,
      [&](const auto& own, const dssl::SkipPolicy& skip, const auto& add) {
        return pass_features(
            extractor, renderer, own, {.label_height = 1, .label_width = 1, .loader = settings.loader(), .skip = skip},
            [&](std::string_view, std::string_view message) { progress.warn(skipped_words(ranks, message)); },
            stop.get_token(),
            [&](const auto& image) {
              if (reads.class_token) extractor.backend().download(class_token, image.class_token.data());
              if (reads.patch) extractor.backend().download(patches, image.patches.data());
              add(image.index, values);
              if (interruption.requested()) stop.request_stop();
            });
      });
  if (stop.stop_requested()) throw dssl::Error("stopped on request; nothing was written");
  if (count.images == 0) throw dssl::DataError("no image of the set can be read");
}

template <dssl::Backend B>
void write_features(FeatureSettings s, const dssl::ImageFiles& files, const dssl::Communicator& ranks, const B& backend) {
  using Extractor = dssl::FeatureExtractor<dssl::ViTFamily, B>;
  const Interruption interruption;
  ProgramWeights weights = s.backbone.open();
  const dssl::GroupSet reads{.class_token = s.reads("class"), .patch = s.reads("patch")};
  std::vector<std::unique_ptr<Extractor>> extractors;  // sharing the weights of the first
  double bytes = 0;
  for (const std::string& size : s.sizes) {
    BackboneSettings own = s.backbone;
    own.size = size;
    dssl::FeatureOptions options = own.features(reads);
    options.batch = std::clamp<Index>(files.size(), 1, options.batch);  // rows of images that are not there cost as much
    extractors.push_back(extractors.empty() ? std::make_unique<Extractor>(backend, options, weights.config())
                                            : std::make_unique<Extractor>(*extractors.front(), options));
    const Extractor& made = *extractors.back();
    const Index rows = (reads.class_token ? 1 : 0) + (reads.patch ? made.grid().size() : 0);
    bytes += 4.0 * static_cast<double>(rows * made.width()) * static_cast<double>(files.size());
  }
  const double gib = bytes / 1073741824.0;
  if (!s.as_npy() && gib > s.memory) {
    throw dssl::OptionError("memory", s.memory,
                            join("at least ", gib, " GiB for the features of ", files.size(),
                                 " images in a safetensors file, or an --out that ends in .npy"));
  }
  Extractor& first = *extractors.front();
  std::string of_weights;
  load_weights(first, weights, s.backbone.seed, [&](std::span<const float> flat) {
    if (!ranks.alone()) of_weights = dssl::fingerprint_of(flat);
  });
  if (!ranks.alone()) {
    const auto list = [](const std::vector<std::string>& texts) {
      std::string out;
      for (const std::string& text : texts) out += text + ",";
      return out;
    };
    require_same_work(ranks, {{"images", dssl::fingerprint_of(dssl::SourceView(files)).text()}, {"weights", of_weights}, {"--size", list(s.sizes)},
                              {"--tokens", list(s.tokens)}}, s.backbone, s.backbone.json());
  }
  std::printf("%s; %td images, %.1f MiB of features\n", describe_backbone(first, weights).c_str(), files.size(), bytes / 1048576.0);
  std::fflush(stdout);

  dssl::SafetensorsWriter writer;
  std::vector<ArraysOfSize> arrays;
  for (std::size_t i = 0; i < extractors.size(); ++i)
    arrays.push_back(ranks.first() ? arrays_of(s, *extractors[i], files.size(), s.sizes[i]) : ArraysOfSize());
  std::vector<std::string> unreadable;
  for (std::size_t i = 0; i < extractors.size(); ++i) {
    unreadable.clear();
    BackboneSettings own = s.backbone;
    own.size = s.sizes[i];
    extract(*extractors[i], arrays[i], own, files, ranks, unreadable, interruption);
  }
  if (!ranks.first()) return;
  Json written = Json::array();
  for (ArraysOfSize& of_size : arrays) {
    of_size.each([&](FeatureArray& array) {
      array.finish(writer);
      written.push_back(array.json());
    });
  }
  Json settings = s.backbone.json();
  settings["size"] = s.sizes;
  if (!s.as_npy()) {
    writer.metadata("settings", dssl::programs::json_text(settings));
    writer.write(s.out);
  }
  Json names = Json::array(), labels = Json::array();
  for (Index i = 0; i < files.size(); ++i) {
    names.push_back(files.id(i));
    labels.push_back(files.label(i));
  }
  write_json(s.json_file(), {{"arrays", written},
                               {"names", names},
                               {"labels", labels},
                               {"unreadable", unreadable},
                               {"settings", settings},
                               {"version", dssl::version_string}});
  for (const Json& array : written) {
    std::printf("%s %s in %s\n", array.at("name").get<std::string>().c_str(),
                array.at("shape").dump().c_str(), array.at("file").get<std::string>().c_str());
  }
}

}  // namespace

int main(int argc, char** argv) {
  FeatureSettings s;
  CLI::App app(
      "Writes the class tokens and patch maps of images: from any blocks, at any sizes, or maps of reference tokens, as NumPy arrays "
      "(.npy) or in "
      "one safetensors file. Names of images go to a .json beside it; the rows of unreadable ones are NaN.",
      "dssl-features");
  app.set_version_flag("--version", std::string(dssl::version_string));
  add_backbone_options(app, s.backbone);
  app.remove_option(app.get_option("--size"));
  app.add_option("--size", s.sizes, "Inputs in pixels, joined by commas: 224 or HEIGHTxWIDTH")
      ->delimiter(',')
      ->capture_default_str()
      ->group("Backbone");
  app.add_option("--data", s.data, "Images: folders, or text files with a name a line")->required();
  app.add_option("--images", s.images,
                 "Folder that names in lists are relative to (default: the list's own)");
  app.add_option(
         "--out", s.out,
         "File to write: .safetensors (tensors 'class' (n,W) and 'patch' (n,h,w,W), or 'reference'), or .npy (with .class or "
         ".patch before its ending where there is more than one array)")
      ->required();
  app.add_option("--tokens", s.tokens, "class, patch, or both")
      ->delimiter(',')
      ->check(CLI::IsMember({"class", "patch"}))
      ->capture_default_str();
  add_map_options(app, s.backbone.map, "Backbone");
  app.add_option("--memory", s.memory, "GiB of features that may be held for a safetensors file")
      ->capture_default_str();
  add_rank_options(app, s.processes, "work", "Processes");
  RunRanks ranks;
  const auto features = [&] {
    start_rank(ranks, s.processes, s.backbone);
    if (!s.as_npy() && !s.out.ends_with(".safetensors"))
      throw dssl::OptionError("out", s.out, "a name that ends in .npy or .safetensors");
    s.backbone.validate();
    const OutputFiles output(s.files());  // what is wrong with them shows before all images are read
    output.require_other_than_given("--data", s.data);
    if (!s.backbone.random_weights()) output.require_other_than_weights("--weights", s.backbone.weights);
    const dssl::ImageFiles files(s.data, {.folder = s.images, .read = s.backbone.reading()});
    if (ranks.communicator().first()) {
      output.require_other_than_all("--data", files);
      output.require_writable();
      print_ranks(ranks);
      print_left_aside("dssl-features", files);
      if (const std::string few = dssl::few_bits_warning(files); !few.empty())
        print_error("dssl-features", "warning: " + few);
    }
    with_backend(s.backbone, [&](const auto& backend) { write_features(s, files, ranks.communicator(), backend); });
    return 0;
  };
  return run_program(app, argc, argv, [&] { return on_all_ranks(ranks, features, words_of(app)); });
}
