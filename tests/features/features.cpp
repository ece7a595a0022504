// Features of a frozen backbone from a published checkpoint, and the weights' way in and out.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <unistd.h>

#include <dssl/backbone/vit.hpp>
#include <dssl/backend/reference.hpp>
#if __has_include(<dssl/backend/cpu.hpp>)
#include <dssl/backend/cpu.hpp>
#endif
#include <dssl/features/features.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/io/weights.hpp>

#include "backbone/vit_runner.hpp"
#include "compare.hpp"
#include "fixtures.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

// The sizes are template arguments; that the fixture has them is checked.
constexpr ViTConfig small{.image = 32, .patch = 8, .width = 24, .depth = 2, .heads = 3};
using Backbone = ViT<small>;

struct Folder {
  Folder() : path(std::filesystem::temp_directory_path() / join("dssl-features-", ::getpid())) {
    std::filesystem::create_directories(path);
  }
  ~Folder() { std::filesystem::remove_all(path); }
  [[nodiscard]] std::string file(const std::string& name) const { return (path / name).string(); }
  std::filesystem::path path;
};

/// The fixture's weights under other names, with tensors that no backbone has.
void write_renamed(const std::string& path, const SafetensorsFile& from,
                   const std::vector<std::string>& prefixes, float factor_step = 0.0F,
                   const std::string& without = "") {
  SafetensorsWriter writer;
  std::vector<std::vector<float>> kept;
  kept.reserve(prefixes.size() * from.tensors().size());
  float factor = 1.0F;
  for (const std::string& prefix : prefixes) {
    for (const auto& tensor : from.tensors()) {
      if (!tensor.name.starts_with("weight.")) continue;
      const std::string name = tensor.name.substr(7);
      if (name == without) continue;
      kept.push_back(from.read<float>(tensor.name));
      for (float& v : kept.back()) v *= factor;
      writer.add<float>(prefix + name, tensor.shape, kept.back());
    }
    factor += factor_step;
  }
  const std::vector<float> other(3);
  writer.add<float>("head.last_layer.weight", {3}, other);
  writer.write(path);
}

template <Backend B>
void check(const B& backend) {
  using T = typename B::Scalar;
  INFO(backend.describe());
  const auto file = SafetensorsFile::open(fixture_path("checkpoints.safetensors"));
  const FixtureConfig config(file);
  REQUIRE(config.get<Index>("image") == small.image);
  REQUIRE(config.get<Index>("patch") == small.patch);
  REQUIRE(config.get<Index>("dim") == small.width);
  REQUIRE(config.get<Index>("depth") == small.depth);
  REQUIRE(config.get<Index>("heads") == small.heads);
  const auto images = file.read<float>("image");
  const auto expected_class = file.read<double>("class");
  const auto expected_patch = file.read<double>("patch");
  const Index count = file.shape("image")[0];
  // A batch that the images do not fill, one they fill, and one at a time.
  for (const Index batch : {count + 1, count, Index{1}}) {
    for (const bool both : {true, false}) {
      FeatureExtractor<Backbone, B> extractor(backend, {.height = file.shape("image")[2],
                                                        .width = file.shape("image")[3],
                                                        .batch = batch,
                                                        .reads = {.class_token = both, .patch = true}});
      std::vector<T> weights(static_cast<std::size_t>(extractor.layout().total()));
      const auto loaded = load_backbone(std::span<T>(weights), extractor.layout(), file, "weight.");
      CHECK(loaded.prefix == "weight.");
      CHECK(loaded.ignored == 3);
      extractor.load(weights);
      std::vector<T> class_tokens(both ? expected_class.size() : 0);
      std::vector<T> patch_maps(expected_patch.size());
      extractor.extract(class_tokens, patch_maps, images);
      if (both) CHECK(relative_difference<T, double>(class_tokens, expected_class) < 1e-5);
      CHECK(relative_difference<T, double>(patch_maps, expected_patch) < 1e-5);
    }
  }
}

/// The message of the error that `load_backbone` throws for a file; weights change where there is none, and only then.
std::string message_of_loading(const ParameterLayout& layout, const std::string& path) {
  std::vector<float> flat(static_cast<std::size_t>(layout.total()), 5.0F);
  const auto message = thrown_by<CheckpointError>(
      [&] { load_backbone(std::span<float>(flat), layout, SafetensorsFile::open(path)); });
  const bool unchanged = std::all_of(flat.begin(), flat.end(), [](float v) { return v == 5.0F; });
  CHECK(unchanged == (message != "(nothing was thrown)"));
  return message;
}

}  // namespace

TEST_CASE("a frozen backbone gives the published class and patch tokens") {
  check(Reference<double>());
  check(Reference<float>());
#if __has_include(<dssl/backend/cpu.hpp>)
  check(Cpu({.threads = 1}));
  check(Cpu({.threads = 2}));
#endif
}

TEST_CASE("weights are found under any of the usual prefixes, the teacher's first") {
  const auto file = SafetensorsFile::open(fixture_path("checkpoints.safetensors"));
  const Folder folder;
  const std::string path = folder.file("weights.safetensors");
  const ParameterLayout layout = vit_layout(small);
  const auto load = [&](const std::vector<std::string>& prefixes) {
    write_renamed(path, file, prefixes, 1.0F);
    std::vector<float> flat(static_cast<std::size_t>(layout.total()));
    return load_backbone(std::span<float>(flat), layout, SafetensorsFile::open(path)).prefix;
  };
  for (const std::string prefix :
       {"", "backbone.", "module.", "module.backbone.", "teacher.", "teacher.backbone.",
        "teacher.module.backbone.", "student.module.backbone."}) {
    CHECK(load({prefix}) == prefix);
  }
  CHECK(load({"student.backbone.", "teacher.backbone."}) == "teacher.backbone.");
  CHECK(load({"student.module.backbone.", "backbone."}) == "backbone.");
}

TEST_CASE("a joint position table is split, and saved weights come back") {
  const auto file = SafetensorsFile::open(fixture_path("checkpoints.safetensors"));
  const Folder folder;
  const ParameterLayout layout = vit_layout(small);
  std::vector<float> flat(static_cast<std::size_t>(layout.total()), 7.0F);
  load_backbone(std::span<float>(flat), layout, file, "weight.");
  const auto table = file.read<float>("weight.pos_embed");
  const auto& class_spec = layout.find("cls_pos_embed");
  const auto& patch_spec = layout.find("patch_pos_embed");
  std::vector<float> joined(flat.begin() + class_spec.offset,
                            flat.begin() + class_spec.offset + class_spec.size);
  joined.insert(joined.end(), flat.begin() + patch_spec.offset,
                flat.begin() + patch_spec.offset + patch_spec.size);
  CHECK(joined == table);

  const std::string path = folder.file("saved.safetensors");
  save_backbone(path, std::span<const float>(flat), layout, {{"arch", "test"}});
  const auto saved = SafetensorsFile::open(path);
  CHECK(saved.metadata().at("arch") == "test");
  CHECK(saved.tensors().size() == layout.size());
  CHECK(saved.shape("patch_embed.proj.weight") == std::vector<Index>{24, 3, 8, 8});
  std::vector<float> again(flat.size(), 3.0F);
  const auto loaded = load_backbone(std::span<float>(again), layout, saved);
  CHECK(loaded.prefix.empty());
  CHECK(loaded.ignored == 0);
  CHECK(again == flat);

  // From a whole network only what has the prefix is written, without it.
  ParameterLayout network;
  add_vit_parameters(network, small, {}, "backbone.");
  network.add("head.weight", {2, 24}, {});
  std::vector<float> whole(static_cast<std::size_t>(network.total()), 1.0F);
  std::copy(flat.begin(), flat.end(), whole.begin());
  save_backbone(path, std::span<const float>(whole), network, {}, "backbone.");
  std::fill(again.begin(), again.end(), 0.0F);
  load_backbone(std::span<float>(again), layout, SafetensorsFile::open(path));
  CHECK(again == flat);
  CHECK(contains(thrown_by<OptionError>(
                     [&] { save_backbone(path, std::span<const float>(whole), network, {}, "trunk."); }),
                 "'prefix' is trunk."));
}

TEST_CASE("tensors within the backbone's own names that the architecture lacks are named, and nothing is changed") {
  const ParameterLayout layout = vit_layout(small);
  const Folder folder;
  const std::string path = folder.file("extra.safetensors");
  // What load_backbone says of the backbone's tensors under a prefix with one more beside them.
  const auto with = [&](const std::string& prefix, const std::string& extra) {
    SafetensorsWriter writer;
    std::vector<std::vector<float>> values;
    for (const auto& spec : layout.specs()) {
      values.emplace_back(static_cast<std::size_t>(spec.size), 1.0F);
      writer.add(prefix + std::string(spec.name.view()), spec.shape(), std::span<const float>(values.back()));
    }
    const std::vector<float> more(24, 2.0F);
    writer.add(extra, {24}, std::span<const float>(more));
    writer.write(path);
    return message_of_loading(layout, path);
  };
  const std::string nothing = "(nothing was thrown)";
  for (const std::string prefix : {"", "backbone.", "teacher.", "teacher.backbone."}) {
    CAPTURE(prefix);
    for (const std::string extra : {"blocks.0.ls1.gamma", "blocks.2.norm1.weight", "register_tokens", "norm.extra", "cls_norm.weight"}) {
      CHECK(contains(with(prefix, prefix + extra), "this architecture has no tensor '" + prefix + extra + "' [24]"));
    }
    for (const std::string extra : {"head.weight", "mask_token", "ref_learn_token", "fc_norm.weight", "local_cls_norm.weight"})
      CHECK(with(prefix, prefix + extra) == nothing);
    CHECK(with(prefix, "optimizer.blocks.0.ls1.gamma") == nothing);
  }
  CHECK(contains(with("backbone.", "backbone.adapter.weight"), "'backbone.adapter.weight'"));
  CHECK(with("", "adapter.weight") == nothing);
  CHECK(with("teacher.backbone.", "student.backbone.blocks.0.ls1.gamma") == nothing);
}

TEST_CASE("weights that can be no backbone's are named with their value, and nothing is changed") {
  const ParameterLayout layout = vit_layout(small);
  const Folder folder;
  const std::string path = folder.file("unsound.safetensors");
  // What load_backbone says of weights of ones, but one tensor, which holds these values or their bytes.
  const auto with = [&](const std::string& name, ElementType type, double value, std::size_t at) {
    SafetensorsWriter writer;
    std::vector<std::vector<double>> values;
    std::vector<std::vector<std::int32_t>> whole;
    for (const auto& spec : layout.specs()) {
      const auto size = static_cast<std::size_t>(spec.size);
      const bool other = spec.name.view() == name;
      values.emplace_back(size, other && value == 0 ? 0.0 : 1.0);
      if (other) values.back()[at] = value;
      if (other && type == ElementType::i32) {
        whole.emplace_back(size, 1);
        writer.add(std::string(spec.name.view()), spec.shape(), std::span<const std::int32_t>(whole.back()));
      } else {
        writer.add(std::string(spec.name.view()), spec.shape(), std::span<const double>(values.back()));
      }
    }
    writer.write(path);
    return message_of_loading(layout, path);
  };
  constexpr double infinity = std::numeric_limits<double>::infinity();
  CHECK(contains(with("blocks.1.mlp.fc1.weight", ElementType::f64, std::nan(""), 7),
                 "tensor 'blocks.1.mlp.fc1.weight' has the element nan at 7; expected finite numbers"));
  CHECK(contains(with("norm.bias", ElementType::f64, -infinity, 3), "'norm.bias' has the element -inf at 3"));
  // What a float cannot hold is no weight either.
  CHECK(contains(with("cls_token", ElementType::f64, 1e300, 0), "'cls_token' has the element inf at 0"));
  CHECK(contains(with("blocks.0.attn.qkv.bias", ElementType::i32, 1, 0),
                 "tensor 'blocks.0.attn.qkv.bias' holds I32; expected F64, F32, F16 or BF16"));
  for (const std::string name : {"patch_embed.proj.weight", "norm.weight"}) {
    CHECK(contains(with(name, ElementType::f64, 0, 0), "tensor '" + name + "' is 0 everywhere; expected weights"));
    CHECK(with(name, ElementType::f64, 2, 5) == "(nothing was thrown)");
  }
  // Branches beside the residual path may be closed.
  CHECK(with("blocks.0.mlp.fc2.weight", ElementType::f64, 0, 0) == "(nothing was thrown)");
}

TEST_CASE("weights that do not fit are named, and nothing is changed") {
  const auto file = SafetensorsFile::open(fixture_path("checkpoints.safetensors"));
  const Folder folder;
  const std::string path = folder.file("weights.safetensors");
  const auto refused = [&](const ViTConfig& config) {
    const ParameterLayout layout = vit_layout(config);
    std::vector<float> flat(static_cast<std::size_t>(layout.total()), 5.0F);
    const auto before = flat;
    const auto message = thrown_by<CheckpointError>(
        [&] { load_backbone(std::span<float>(flat), layout, SafetensorsFile::open(path)); });
    CHECK(flat == before);
    return message;
  };
  write_renamed(path, file, {"backbone."}, 0.0F, "blocks.1.norm2.bias");
  CHECK(contains(refused(small), "lacks the tensor 'backbone.blocks.1.norm2.bias' [24]"));
  write_renamed(path, file, {""});
  auto five = small;
  five.channels = 5;
  CHECK(contains(refused(five), "'patch_embed.proj.weight' is [24, 3, 8, 8], expected [24, 5, 8, 8]"));
  auto larger = small;
  larger.image = 64;
  CHECK(contains(refused(larger), "'pos_embed' is [1, 17, 24], expected [1, 65, 24]"));
  auto deeper = small;
  deeper.depth = 3;
  CHECK(contains(refused(deeper), "(and 11 more)"));
  write_renamed(path, file, {"somewhere.else.", "or.here."});
  CHECK(contains(refused(small), "holds 2 backbones"));
}

TEST_CASE("features: wide images, one channel, and sizes that the patch does not divide") {
  const Reference<double> backend;
  constexpr Index height = 16;
  constexpr Index width = 40;
  FeatureExtractor<Backbone, Reference<double>> extractor(
      backend, {.height = height, .width = width, .batch = 2, .channels = 1});
  CHECK(extractor.grid() == GridSize{2, 5});
  std::vector<double> weights(static_cast<std::size_t>(extractor.layout().total()));
  initialise(std::span<double>(weights), extractor.layout(), 3);
  extractor.load(weights);
  std::vector<float> images(3 * height * width);
  std::mt19937 random(5);
  for (float& v : images) v = static_cast<float>(random() % 1000) / 500.0F - 1.0F;
  std::vector<double> patches(3 * 10 * 24), one(10 * 24), class_token(24);
  extractor.extract({}, patches, images);
  // Each image alone gives what it gave among others.
  for (std::size_t i = 0; i < 3; ++i) {
    extractor.extract(class_token, one,
                      std::span<const float>(images).subspan(i * height * width, height * width));
    CHECK(relative_difference<double, double>(one, std::span<const double>(patches).subspan(i * 240, 240)) <
          1e-12);
  }
  CHECK(contains(thrown_by<OptionError>([&] {
                   FeatureExtractor<Backbone, Reference<double>>(backend, {.height = 36, .width = 32});
                 }),
                 "'height' is 36; expected a multiple of the patch, 8 pixels"));
  CHECK(contains(
      thrown_by<ShapeError>([&] { extractor.extract({}, patches, std::span<const float>(images).first(7)); }),
      "expected images of 640"));
}

namespace {

constexpr ViTConfig deep{.image = 16, .patch = 8, .width = 12, .depth = 3, .heads = 3};
/// No image of features is a local view: that norm has no part in them.
constexpr ViTConfig own_norms{
    .image = 16, .patch = 8, .width = 12, .depth = 3, .heads = 3, .class_norm = true, .local_class_norm = true};
constexpr Index deep_height = 16;
constexpr Index deep_width = 24;

std::vector<float> drawn_images(std::size_t count) {
  std::mt19937 random(9);
  std::vector<float> images(count * 3 * deep_height * deep_width);
  for (float& v : images) v = static_cast<float>(random() % 1000) / 500.0F - 1.0F;
  return images;
}

template <class T>
std::vector<T> drawn_weights(const ParameterLayout& layout) {
  std::vector<T> weights(static_cast<std::size_t>(layout.total()));
  std::mt19937 random(4);
  for (T& v : weights) v = static_cast<T>(static_cast<double>(random() % 1000) / 1000.0 - 0.5);
  return weights;
}

template <ViTConfig Size = deep, Backend B>
FeatureExtractor<ViT<Size>, B> deep_extractor(const B& backend, FeatureOptions options) {
  options.height = deep_height;
  options.width = deep_width;
  FeatureExtractor<ViT<Size>, B> out(backend, options);
  out.load(drawn_weights<typename B::Scalar>(out.layout()));
  return out;
}

/// Each block's class and patch tokens of two images, from a backbone that keeps what its blocks give out.
std::vector<std::vector<double>> block_outputs(const ViTConfig& config, bool norm) {
  const Reference<double> backend;
  VitRunner<Reference<double>> runner(backend, config, false, {{.count = 2, .grid = {2, 3}}},
                                      {.class_token = true, .patch = true});
  const auto weights = drawn_weights<double>(runner.parameters());
  std::copy(weights.begin(), weights.end(), runner.weights().begin());
  const auto images = drawn_images(2);
  std::copy(images.begin(), images.end(), runner.image(0).begin());
  runner.forward<private_relation>();
  std::vector<std::vector<double>> out;
  for (std::size_t i = 0; i < 3; ++i) {
    const MatrixView<double> all = runner.activations().blocks[i].out;
    std::vector<double> rows;
    const auto read = runner.tokens().read_rows();
    for (std::size_t r = 0; r < read.size(); ++r) {
      const double* const row = all.row(i == 2 ? static_cast<Index>(r) : read[r]);
      rows.insert(rows.end(), row, row + 12);
    }
    if (norm) {
      const auto& layout = runner.parameters();
      std::vector<double> mean(read.size()), deviation(read.size()), normed(rows.size());
      const auto through = [&](const std::string& name, std::size_t first, std::size_t count) {
        const auto as_view = [&](std::vector<double>& of, std::size_t width) {
          return MatrixView<double>(of.data() + first * width, static_cast<Index>(count), static_cast<Index>(width));
        };
        backend.layer_norm_forward(
            as_view(normed, 12), VectorView<double>(mean.data() + first, static_cast<Index>(count)),
            VectorView<double>(deviation.data() + first, static_cast<Index>(count)), as_view(rows, 12),
            VectorView<const double>(weights.data() + layout.find(name + ".weight").offset, 12),
            VectorView<const double>(weights.data() + layout.find(name + ".bias").offset, 12), layer_norm_epsilon);
      };
      const std::size_t classes = 2;
      through(config.class_norm ? "cls_norm" : "norm", 0, classes);
      through("norm", classes, read.size() - classes);
      rows = normed;
    }
    out.push_back(rows);
  }
  return out;
}

template <ViTConfig Size, Backend B>
void check_blocks(const B& backend) {
  using T = typename B::Scalar;
  INFO(backend.describe() << ", " << ViTFamily::describe(Size));
  const auto images = drawn_images(2);
  for (const bool norm : {true, false}) {
    const auto expected = block_outputs(Size, norm);
    for (const std::vector<Index>& blocks : std::vector<std::vector<Index>>{{}, {1}, {1, -1}, {2, 0}, {-1, -3, 1}}) {
      auto extractor = deep_extractor<Size>(backend, {.batch = 3, .blocks = blocks, .norm = norm});
      const std::vector<Index> read = blocks.empty() ? std::vector<Index>{2} : blocks;
      const std::size_t width = 12 * read.size();
      CHECK(extractor.width() == static_cast<Index>(width));
      std::vector<T> class_tokens(2 * width), patches(2 * 6 * width);
      extractor.extract(class_tokens, patches, images);
      std::vector<double> expected_class, expected_patches;
      for (std::size_t token = 0; token < 14; ++token) {
        for (const Index block : read) {
          const auto& from = expected[static_cast<std::size_t>(block < 0 ? block + 3 : block)];
          auto& to = token < 2 ? expected_class : expected_patches;
          to.insert(to.end(), from.begin() + static_cast<Index>(12 * token),
                    from.begin() + static_cast<Index>(12 * token + 12));
        }
      }
      CHECK(relative_difference<T, double>(class_tokens, expected_class) < 1e-5);
      CHECK(relative_difference<T, double>(patches, expected_patches) < 1e-5);
    }
  }
}

}  // namespace

TEST_CASE("features: the tokens of any blocks, side by side, with the last norm or without") {
  check_blocks<deep>(Reference<double>());
  check_blocks<own_norms>(Reference<double>());
#if __has_include(<dssl/backend/cpu.hpp>)
  check_blocks<deep>(Cpu({.threads = 2}));
  check_blocks<own_norms>(Cpu({.threads = 2}));
#endif
  CHECK(contains(thrown_by<OptionError>([] {
                   deep_extractor(Reference<double>(), {.blocks = {0, 3}});
                 }),
                 "'blocks' is 3; expected each block once, -3 to 2"));
  CHECK(contains(thrown_by<OptionError>([] {
                   deep_extractor(Reference<double>(), {.blocks = {0, -3}});
                 }),
                 "'blocks' is -3"));
}

TEST_CASE("features: the mean of an image and its mirror image, mirrored back") {
  const auto images = drawn_images(2);
  auto mirrored = images;
  for (auto row = mirrored.begin(); row != mirrored.end(); row += deep_width)
    std::reverse(row, row + deep_width);
  for (const std::vector<Index>& blocks : std::vector<std::vector<Index>>{{}, {0, 2}}) {
    auto plain = deep_extractor(Reference<double>(), {.batch = 2, .blocks = blocks});
    auto flips = deep_extractor(Reference<double>(), {.batch = 2, .blocks = blocks, .flips = true});
    const auto width = static_cast<std::size_t>(plain.width());
    std::vector<double> class_a(2 * width), class_b(2 * width), class_mean(2 * width);
    std::vector<double> a(12 * width), b(12 * width), mean(12 * width);
    plain.extract(class_a, a, images);
    plain.extract(class_b, b, mirrored);
    flips.extract(class_mean, mean, images);
    for (std::size_t i = 0; i < 2 * width; ++i) CHECK(class_mean[i] == Approx((class_a[i] + class_b[i]) / 2));
    for (std::size_t line = 0; line < 4; ++line) {
      for (std::size_t x = 0; x < 3; ++x) {
        for (std::size_t d = 0; d < width; ++d) {
          const double expected = (a[(line * 3 + x) * width + d] + b[(line * 3 + 2 - x) * width + d]) / 2;
          CHECK(mean[(line * 3 + x) * width + d] == Approx(expected));
        }
      }
    }
    // A mirror image has the mirrored features.
    std::vector<double> other(12 * width);
    flips.extract({}, other, mirrored);
    CHECK(other[0] == Approx(mean[2 * width]));
  }
}

namespace {

/// A backend that tells what it allocated, and whose memory is the host's or is taken for another's.
template <bool Host>
struct Telling : Reference<double> {
  static constexpr bool memory_is_host = Host;
  [[nodiscard]] Buffer allocate(std::size_t bytes) const {
    Buffer out = Reference<double>::allocate(bytes);
    begins->push_back(reinterpret_cast<const double*>(out.data()));
    return out;
  }
  std::shared_ptr<std::vector<const double*>> begins = std::make_shared<std::vector<const double*>>();
};

template <bool Host>
void check_load_by() {
  CAPTURE(Host);
  const Telling<Host> backend;
  FeatureExtractor<ViT<deep>, Telling<Host>> extractor(
      backend, {.height = deep_height, .width = deep_width, .batch = 1, .blocks = {1}});
  const auto image = drawn_images(1);
  const auto features = [&] {
    std::vector<double> out(6 * 12);
    extractor.extract({}, out, image);
    return out;
  };
  const auto drawn = drawn_weights<double>(extractor.layout());
  const auto half_written = [&](std::span<double> flat) {
    REQUIRE(flat.size() == drawn.size());
    CHECK(std::ranges::all_of(flat, [](double x) { return x == 0; }));
    std::ranges::copy(std::span(drawn).first(drawn.size() / 2), flat.begin());
    throw Error("half way");
  };
  const std::vector<double> of_zeros = features();
  CHECK_THROWS_AS(extractor.load_by(half_written), Error);
  CHECK(features() == of_zeros);

  const double* place = nullptr;
  extractor.load_by([&](std::span<double> flat) {
    CHECK(std::ranges::all_of(flat, [](double x) { return x == 0; }));
    std::ranges::copy(drawn, flat.begin());
    place = flat.data();
  });
  CHECK((std::ranges::count(*backend.begins, place) == 1) == Host);  // written where they stay
  auto loaded = deep_extractor(Reference<double>(), {.batch = 1, .blocks = {1}});
  loaded.load(drawn);
  std::vector<double> expected(6 * 12);
  loaded.extract({}, expected, image);
  CHECK(features() == expected);
  CHECK(features() != of_zeros);

  CHECK_THROWS_AS(extractor.load_by(half_written), Error);  // what was good stays
  CHECK(features() == expected);
}

}  // namespace

TEST_CASE("features: weights are written where they stay, and are as before where that fails") {
  check_load_by<true>();
  check_load_by<false>();
}

TEST_CASE("features: extractors of several sizes share one copy of the weights") {
  auto first = deep_extractor(Reference<double>(), {.batch = 1, .blocks = {1}});
  FeatureExtractor<ViT<deep>, Reference<double>> second(first, {.height = 32, .width = 8, .batch = 2});
  FeatureExtractor<ViT<deep>, Reference<double>> alone(Reference<double>(),
                                                       {.height = 32, .width = 8, .batch = 2});
  const auto weights = drawn_weights<double>(alone.layout());
  alone.load(weights);
  const auto images = std::vector<float>(3 * 32 * 8, 0.5F);
  std::vector<double> a(4 * 12), b(4 * 12);
  second.extract({}, a, images);
  alone.extract({}, b, images);
  CHECK(a == b);
  CHECK(second.memory_plan().total() + weights.size() * sizeof(double) == alone.memory_plan().total());
  // Weights that are loaded into one are the other's, too.
  second.load(std::vector<double>(weights.size(), 0.25));
  alone.load(std::vector<double>(weights.size(), 0.25));
  std::vector<double> c(6 * 12), d(4 * 12);
  auto same = deep_extractor(Reference<double>(), {.batch = 1, .blocks = {1}});
  same.load(std::vector<double>(weights.size(), 0.25));
  const auto other = drawn_images(1);
  std::vector<double> e(6 * 12);
  first.extract({}, c, other);
  same.extract({}, e, other);
  CHECK(c == e);
  CHECK(contains(thrown_by<OptionError>([&] {
                   FeatureExtractor<ViT<deep>, Reference<double>>(first,
                                                                  {.height = 16, .width = 16, .channels = 1});
                 }),
                 "'channels' is 1"));
  // A loading that fails half-way changes them for nobody, though this one was never loaded itself.
  FeatureExtractor<ViT<deep>, Reference<double>> third(first, {.height = 32, .width = 8, .batch = 1});
  CHECK_THROWS_AS(third.load_by([](std::span<double> flat) {
    std::ranges::fill(flat, 1.0);
    throw Error("half way");
  }),
                  Error);
  first.extract({}, e, other);
  CHECK(c == e);
}
