// A backbone's graph, computed node by node, against what the backbone gives: of every kind of ViT, and of
// any size.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <dssl/backend/reference.hpp>
#include <dssl/defects/defect_bank.hpp>
#include <dssl/defects/neighbourhood.hpp>
#include <dssl/features/onnx_backbone.hpp>
#include <dssl/io/backbone_file.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/search/knn.hpp>

#include "compare.hpp"
#include "interop.hpp"
#include "onnx_reader.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

struct Outputs {
  std::vector<double> classes, patches;  // (B,D), (B,N,D)
  std::string map_shape;
};

Outputs outputs_of(const std::string& path, const std::vector<Index>& shape,
                   const std::vector<float>& images) {
  const auto values =
      run_onnx(read_onnx(path), "image", {.shape = shape, .values = {images.begin(), images.end()}});
  const PlainTensor& map = values.at("patch_map");
  const PlainTensor rows = reshaped(map, {0, 0, -1});
  return {values.at("class_token").values, transposed(rows, {0, 2, 1}).values, shape_text(map.shape)};
}

double apart(const std::vector<double>& a, const std::vector<double>& b) {
  return relative_difference<double, double>(a, b);
}

/// A backbone of random weights as `save_named_backbone` would write it: width 8, 2 blocks, patch 2, a table
/// of 4 x 4.
void write_random(const std::string& path, const std::string& positions, bool options, Index depth = 2) {
  std::mt19937 draw(7);
  std::normal_distribution<float> normal(0, 0.3F);
  std::vector<std::pair<std::string, std::vector<Index>>> tensors{{"cls_token", {1, 1, 8}},
                                                                  {"cls_pos_embed", {1, 1, 8}},
                                                                  {"patch_pos_embed", {1, 16, 8}},
                                                                  {"norm.weight", {8}},
                                                                  {"patch_embed.proj.weight", {8, 3, 2, 2}},
                                                                  {"patch_embed.proj.bias", {8}},
                                                                  {"norm.bias", {8}}};
  if (options) tensors.push_back({"register_tokens", {1, 2, 8}});
  if (options) tensors.push_back({"cls_norm.weight", {8}});
  if (options) tensors.push_back({"cls_norm.bias", {8}});
  for (Index number = 0; number < depth; ++number) {
    const std::string block = "blocks." + std::to_string(number) + ".";
    for (const std::string name :
         {"norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias", "attn.proj.bias"})
      tensors.push_back({block + name, {8}});
    tensors.push_back({block + "attn.qkv.weight", {24, 8}});
    tensors.push_back({block + "attn.qkv.bias", {24}});
    tensors.push_back({block + "attn.proj.weight", {8, 8}});
    const std::string first = options ? "mlp.w12" : "mlp.fc1", last = options ? "mlp.w3" : "mlp.fc2";
    tensors.push_back({block + first + ".weight", {options ? 24 : 16, 8}});
    tensors.push_back({block + first + ".bias", {options ? 24 : 16}});
    tensors.push_back({block + last + ".weight", {8, options ? 12 : 16}});
    tensors.push_back({block + last + ".bias", {8}});
    if (options) tensors.push_back({block + "ls1.gamma", {8}});
    if (options) tensors.push_back({block + "ls2.gamma", {8}});
  }
  std::vector<std::vector<float>> values;
  SafetensorsWriter writer;
  writer.metadata("positions", positions);
  writer.metadata("norm_epsilon", "1e-6");
  values.reserve(tensors.size());
  for (const auto& [name, shape] : tensors) {
    std::vector<float>& all = values.emplace_back(static_cast<std::size_t>(count_of(shape)));
    for (float& v : all) v = normal(draw);
    writer.add(name, shape, std::span<const float>(all));
  }
  writer.write(path);
}

std::vector<float> random_images(const std::vector<Index>& shape, float low, float high) {
  std::mt19937 draw(11);
  std::uniform_real_distribution<float> uniform(low, high);
  std::vector<float> out(static_cast<std::size_t>(count_of(shape)));
  for (float& v : out) v = uniform(draw);
  return out;
}

}  // namespace

TEST_CASE("a backbone as ONNX gives what its family's own code does", "[onnx]") {
  const TemporaryFolder folder;
  // What is in the containers is one and the same.
  const auto is_tried = [](const std::string& name) {
    return !name.starts_with("torch17") && (!name.starts_with("container") || name == "container_zip");
  };
  std::size_t seen = 0;
  for (const auto& entry : std::filesystem::directory_iterator(interop_folder())) {
    const std::string name = entry.path().filename().string();
    if (!std::filesystem::exists(entry.path() / "expect.safetensors")) continue;
    if (!is_tried(name)) continue;
    INFO(name);
    ++seen;
    const auto expected = SafetensorsFile::open((entry.path() / "expect.safetensors").string());
    const std::string& facts = expected.metadata().at("dssl-interop");
    const Index heads = std::stol(facts.substr(facts.find("\"heads\":") + 8));
    BackboneFileOptions reading{.fold_layer_scale = seen % 2 == 0, .heads = heads};
    // Names are those of DINO, whose rule is another one.
    if (name.starts_with("timm") && !name.starts_with("timm_dinov3")) reading.family = WeightFamily::timm;
    const BackboneFile file = BackboneFile::open(weights_of(name), reading);
    onnx_backbone(file, {.heads = heads}).write(folder / "any.onnx");
    for (const std::string input : {"native", "wide", "other", "larger"}) {
      if (!expected.contains(input + ".image")) continue;
      INFO(input);
      const std::vector<Index> shape = expected.shape(input + ".image");
      const auto images = expected.read<float>(input + ".image");
      const OnnxBackboneOptions sized{.height = shape[2], .width = shape[3], .heads = heads};
      onnx_backbone(file, sized).write(folder / "sized.onnx", {.external_above = 0});
      for (const char* const model : {"any.onnx", "sized.onnx"}) {
        INFO(model);
        const Outputs out = outputs_of(folder / model, shape, images);
        CHECK(apart(out.classes, expected.read<double>(input + ".class")) < 3e-6);
        CHECK(apart(out.patches, expected.read<double>(input + ".patches")) < 3e-6);
      }
    }
  }
  CHECK(seen == cases_with_outputs(is_tried));
}

TEST_CASE("ONNX of any size reads positions as the library does, by every rule", "[onnx]") {
  const TemporaryFolder folder;
  for (const std::string positions : {"offset", "size", "size, antialiased", "corners"}) {
    for (const bool options : {false, true}) {
      INFO(positions << (options ? ", SwiGLU, registers, LayerScale" : ""));
      write_random(folder / "w.safetensors", positions, options);
      const BackboneFile file = BackboneFile::open(folder / "w.safetensors");
      CHECK(file.description().position == *position_scheme_named(positions));
      onnx_backbone(file, {.heads = 2}).write(folder / "any.onnx");
      for (const auto& [height, width] : std::vector<std::pair<Index, Index>>{
               {4, 4}, {4, 5}, {2, 8}, {3, 2}, {1, 1}, {1, 7}, {9, 3}, {6, 11}}) {
        INFO(height << " x " << width);
        const std::vector<Index> shape{2, 3, 2 * height, 2 * width};
        onnx_backbone(file, {.height = shape[2], .width = shape[3], .heads = 2}).write(folder / "sized.onnx");
        const auto images = random_images(shape, -2, 2);
        const Outputs any = outputs_of(folder / "any.onnx", shape, images);
        const Outputs sized = outputs_of(folder / "sized.onnx", shape, images);
        CHECK(any.map_shape == shape_text({2, 8, height, width}));
        CHECK(any.map_shape == sized.map_shape);
        CHECK(apart(any.classes, sized.classes) < 1e-6);
        CHECK(apart(any.patches, sized.patches) < 1e-6);
      }
    }
  }
}

TEST_CASE("ONNX: LayerScale folded or not, images normalised by the caller or the model, are the same",
          "[onnx]") {
  const TemporaryFolder folder;
  write_random(folder / "w.safetensors", "size", true);
  const BackboneFile scaled = BackboneFile::open(folder / "w.safetensors");
  const BackboneFile folded = BackboneFile::open(folder / "w.safetensors", {.fold_layer_scale = true});
  REQUIRE(scaled.description().layer_scale);
  const std::vector<Index> shape{2, 3, 8, 8};
  const std::vector<float> bytes = random_images(shape, 0, 255);
  const std::vector<float> mean{0.5F, 0.4F, 0.25F}, deviation{0.2F, 0.25F, 0.5F};
  std::vector<float> normal;
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    const std::size_t channel = i / 64 % 3;
    normal.push_back((bytes[i] / 255 - mean[channel]) / deviation[channel]);
  }
  onnx_backbone(scaled, {.heads = 2}).write(folder / "scaled.onnx");
  onnx_backbone(folded, {.heads = 2, .mean = mean, .deviation = deviation, .white = 255})
      .write(folder / "folded.onnx");
  const Outputs a = outputs_of(folder / "scaled.onnx", shape, normal);
  const Outputs b = outputs_of(folder / "folded.onnx", shape, bytes);
  CHECK(apart(a.classes, b.classes) < 1e-5);
  CHECK(apart(a.patches, b.patches) < 1e-5);
  const PlainModel read = read_onnx(folder / "folded.onnx");
  CHECK(read.metadata.at("normalised_by") == "model");
  CHECK(read.metadata.at("white") == "255");
  CHECK(read.metadata.at("mean") == "0.5, 0.4, 0.25");
  CHECK(read.metadata.at("heads") == "2");
  CHECK(read.metadata.at("registers") == "2");
  CHECK(read.metadata.at("patch") == "2");
  CHECK(read.inputs.at("image") == "batch 3 height width");
  CHECK(read.outputs.at("patch_map") == "batch 8 rows columns");
  CHECK(read_onnx(folder / "scaled.onnx").metadata.at("normalised_by") == "caller");
  CHECK(read_onnx(folder / "scaled.onnx").metadata.at("mean") == "0.485, 0.456, 0.406");
  // Normalised by the caller, by what the options say: the same graph, and the strings tell.
  onnx_backbone(scaled, {.heads = 2, .mean = mean, .deviation = deviation, .normalise = false}).write(folder / "told.onnx");
  CHECK(outputs_of(folder / "told.onnx", shape, normal).classes == a.classes);
  const PlainModel told = read_onnx(folder / "told.onnx");
  CHECK(told.metadata.at("normalised_by") == "caller");
  CHECK(told.metadata.at("deviation") == "0.2, 0.25, 0.5");
  onnx_backbone(scaled, {.height = 6, .width = 8, .heads = 2}).write(folder / "sized.onnx");
  const PlainModel sized = read_onnx(folder / "sized.onnx");
  CHECK(sized.inputs.at("image") == "batch 3 6 8");
  CHECK(sized.outputs.at("patch_map") == "batch 8 3 4");
  CHECK(sized.outputs.at("class_token") == "batch 8");
}

TEST_CASE("ONNX: tokens of several blocks side by side, and class tokens with a last norm of their own",
          "[onnx]") {
  const TemporaryFolder folder;
  const std::vector<Index> shape{1, 3, 6, 8};
  const auto images = random_images(shape, -2, 2);
  for (const bool options : {false, true}) {
    write_random(folder / "two.safetensors", "offset", options);
    write_random(folder / "one.safetensors", "offset", options, 1);
    const BackboneFile two = BackboneFile::open(folder / "two.safetensors");
    const BackboneFile one = BackboneFile::open(folder / "one.safetensors");
    CHECK(two.description().class_norm == options);
    onnx_backbone(two, {.heads = 2, .blocks = {-1, 0}}).write(folder / "both.onnx");
    onnx_backbone(two, {.heads = 2, .blocks = {0}}).write(folder / "first.onnx");
    onnx_backbone(two, {.heads = 2}).write(folder / "two.onnx");
    onnx_backbone(one, {.heads = 2}).write(folder / "one.onnx");
    onnx_backbone(one, {.heads = 2, .norm = false}).write(folder / "raw.onnx");
    const Outputs both = outputs_of(folder / "both.onnx", shape, images);
    const Outputs first = outputs_of(folder / "first.onnx", shape, images);
    const Outputs last = outputs_of(folder / "two.onnx", shape, images);
    const Outputs shallow = outputs_of(folder / "one.onnx", shape, images);
    CHECK(both.map_shape == "[1, 16, 3, 4]");
    CHECK(first.classes == shallow.classes);
    CHECK(first.patches == shallow.patches);
    for (std::size_t i = 0; i < both.patches.size(); ++i) {
      const std::size_t row = i / 16, column = i % 16;
      REQUIRE(both.patches[i] == (column < 8 ? last : first).patches[row * 8 + column % 8]);
      if (row == 0) REQUIRE(both.classes[column] == (column < 8 ? last : first).classes[column % 8]);
    }
    // The norms by hand, of the tokens without them.
    const Outputs raw = outputs_of(folder / "raw.onnx", shape, images);
    const auto normed = [&](std::span<const double> x, const std::string& norm) {
      const auto weight = one.read<double>(norm + ".weight"), bias = one.read<double>(norm + ".bias");
      double mean = 0, square = 0;
      for (const double v : x) mean += v / 8;
      for (const double v : x) square += (v - mean) * (v - mean) / 8;
      std::vector<double> out;
      for (std::size_t i = 0; i < 8; ++i)
        out.push_back((x[i] - mean) / std::sqrt(square + 1e-6) * weight[i] + bias[i]);
      return out;
    };
    CHECK(apart(shallow.classes, normed(raw.classes, options ? "cls_norm" : "norm")) < 1e-9);
    const std::vector<double> patch(shallow.patches.begin(), shallow.patches.begin() + 8);
    CHECK(apart(patch, normed(std::span(raw.patches).first(8), "norm")) < 1e-9);
  }
}

TEST_CASE("ONNX: linear heads, and the scores of a bank of normal patches", "[onnx]") {
  const TemporaryFolder folder;
  const std::vector<Index> shape{2, 3, 6, 8};
  const auto images = random_images(shape, -2, 2);
  write_random(folder / "w.safetensors", "offset", true);
  const BackboneFile file = BackboneFile::open(folder / "w.safetensors");
  std::mt19937 draw(5);
  std::normal_distribution<float> normal(0, 1);
  const auto drawn = [&](std::size_t count) {
    std::vector<float> out(count);
    for (float& v : out) v = normal(draw);
    return out;
  };
  const OnnxHead head{.classes = 3, .weight = drawn(3 * 16), .bias = drawn(3)};
  const OnnxHead wide{.classes = 2, .weight = drawn(2 * 24), .bias = {}};  // and the mean of the last block named, block 0
  const OnnxHead widest{.classes = 2, .weight = drawn(2 * 32), .bias = {}};  // and the mean of both
  OnnxBank bank{.rows = drawn(12 * 16)};
  std::copy_n(bank.rows.begin(), 16, bank.rows.begin() + 5 * 16);  // a row twice
  for (const bool fixed : {false, true}) {
    for (const Index neighbourhood : {1, 3}) {
      CAPTURE(fixed, neighbourhood);
      const OnnxHead& read_too = neighbourhood == 1 ? wide : widest;
      bank.neighbourhood = neighbourhood;
      bank.reweighting = fixed ? 4 : 20;  // of more rows than there are
      onnx_backbone(file, {.height = fixed ? 6 : 0,
                           .width = fixed ? 8 : 0,
                           .heads = 2,
                           .blocks = {-1, 0},
                           .head = fixed ? head : read_too,
                           .patch_head = head,
                           .bank = bank})
          .write(folder / "heads.onnx");
      const auto values = run_onnx(read_onnx(folder / "heads.onnx"), "image", {.shape = shape, .values = {images.begin(), images.end()}});
      const std::vector<double>& classes = values.at("class_token").values;
      const std::vector<double> patches = transposed(reshaped(values.at("patch_map"), {0, 0, -1}), {0, 2, 1}).values;  // (2,12,16)
      const auto linear = [](const OnnxHead& of, std::span<const double> x) {
        std::vector<double> out;
        for (std::size_t c = 0; c < static_cast<std::size_t>(of.classes); ++c) {
          double sum = of.bias.empty() ? 0 : static_cast<double>(of.bias[c]);
          for (std::size_t i = 0; i < x.size(); ++i) sum += static_cast<double>(of.weight[c * x.size() + i]) * x[i];
          out.push_back(sum);
        }
        return out;
      };
      std::vector<double> logits, patch_logits(2 * 3 * 12), scores, patch_scores;
      DefectBank<Reference<double>> known(Reference<double>(), {.width = 16, .pool = 12, .reweighting = bank.reweighting});
      const std::vector<double> rows(bank.rows.begin(), bank.rows.end());
      known.restore(MatrixView<const double>(rows.data(), 12, 16), 0);
      const auto taps = neighbourhood_taps<double>({3, 4}, neighbourhood);
      for (std::size_t b = 0; b < 2; ++b) {
        const std::span<const double> own = std::span(patches).subspan(b * 12 * 16, 12 * 16);
        std::vector<double> read(classes.begin() + static_cast<Index>(b) * 16, classes.begin() + static_cast<Index>(b + 1) * 16);
        for (std::size_t c = neighbourhood == 1 ? 8 : 0; !fixed && c < 16; ++c) {
          double mean = 0;
          for (std::size_t n = 0; n < 12; ++n) mean += own[n * 16 + c] / 12;
          read.push_back(mean);
        }
        for (const double value : linear(fixed ? head : read_too, read)) logits.push_back(value);
        for (std::size_t n = 0; n < 12; ++n) {
          const auto each = linear(head, own.subspan(n * 16, 16));
          for (std::size_t c = 0; c < 3; ++c) patch_logits[(b * 3 + c) * 12 + n] = each[c];
        }
        std::vector<double> means(12 * 16);
        Reference<double>().sample_rows_forward(MatrixView<double>(means.data(), 12, 16), MatrixView<const double>(own.data(), 12, 16),
                                                VectorView<const Taps<double>>(taps.data(), 12));
        std::vector<float> found(12);
        scores.push_back(known.score(found, MatrixView<const double>(means.data(), 12, 16)));
        patch_scores.insert(patch_scores.end(), found.begin(), found.end());
      }
      CHECK(apart(values.at("logits").values, logits) < 1e-9);
      CHECK(shape_text(values.at("patch_logits").shape) == "[2, 3, 3, 4]");
      CHECK(apart(values.at("patch_logits").values, patch_logits) < 1e-9);
      CHECK(shape_text(values.at("patch_scores").shape) == "[2, 3, 4]");
      CHECK(apart(values.at("patch_scores").values, patch_scores) < 1e-6);  // told as floats
      CHECK(shape_text(values.at("score").shape) == "[2]");
      CHECK(apart(values.at("score").values, scores) < 1e-9);
    }
  }
  const auto message = [&](const OnnxBackboneOptions& options) {
    return thrown_by<OptionError>([&] { static_cast<void>(onnx_backbone(file, options)); });
  };
  CHECK(contains(message({.heads = 2, .head = wide}), "option 'head' is 48 weights and 0 biases of 2 classes; expected for each class 8 weights or 16,"));
  CHECK(contains(message({.heads = 2, .patch_head = head}), "option 'patch_head' is 48 weights and 3 biases of 3 classes; expected for each class 8 weights,"));
  CHECK(contains(message({.heads = 2, .head = OnnxHead{}}), "option 'head' is 0 weights"));
  CHECK(contains(message({.heads = 2, .bank = OnnxBank{.rows = drawn(9)}}), "option 'bank' is 9 numbers; expected rows of 8"));
  CHECK(contains(message({.heads = 2, .bank = OnnxBank{.rows = drawn(8), .neighbourhood = 2}}), "option 'neighbourhood' is 2"));
}

TEST_CASE("ONNX: the nearest training features vote as they do in the classifier, also where they are as near", "[onnx]") {
  const TemporaryFolder folder;
  const std::vector<Index> shape{3, 3, 6, 8};
  const auto images = random_images(shape, -2, 2);
  write_random(folder / "w.safetensors", "offset", true);
  const BackboneFile file = BackboneFile::open(folder / "w.safetensors");
  const auto values_of = [&](const OnnxBackboneOptions& options) {
    onnx_backbone(file, options).write(folder / "knn.onnx");
    return run_onnx(read_onnx(folder / "knn.onnx"), "image", {.shape = shape, .values = {images.begin(), images.end()}});
  };
  const auto tokens = values_of({.heads = 2, .blocks = {-1, 0}});
  const std::vector<double>&classes = tokens.at("class_token").values, &map = tokens.at("patch_map").values;  // (3,16), (3,16,12)
  std::mt19937 draw(9);
  std::normal_distribution<float> normal(0, 1);
  for (const GroupSet reads : {GroupSet{.class_token = true}, GroupSet{.patch = true}, GroupSet{.class_token = true, .patch = true}}) {
    std::vector<double> queries;
    for (std::size_t b = 0; b < 3; ++b) {
      for (std::size_t i = 0; reads.class_token && i < 16; ++i) queries.push_back(classes[b * 16 + i]);
      for (std::size_t i = 0; reads.patch && i < 16; ++i) {
        const std::span<const double> own = std::span(map).subspan((b * 16 + i) * 12, 12);
        queries.push_back(std::accumulate(own.begin(), own.end(), 0.0) / 12);
      }
    }
    const std::size_t width = queries.size() / 3;
    OnnxKnn knn{.classes = 4, .labels = {3, 1, 1, 0, 2, 3, 0, 0, 1}, .reads = reads};
    for (std::size_t i = 0; i < 9 * width; ++i) knn.rows.push_back(normal(draw));
    // Two that are the first image's own, at another length and with other classes, and nearer to it than any: the first of
    // them is the nearest, and the lower class has as many votes.
    for (const std::size_t twin : {std::size_t{4}, std::size_t{7}}) {
      for (std::size_t i = 0; i < width; ++i) knn.rows[twin * width + i] = static_cast<float>(3 * queries[i]);
    }
    const std::vector<double> rows(knn.rows.begin(), knn.rows.end());
    for (const double temperature : {0.002, 0.07, 0.5}) {
      KnnClassifier<Reference<double>> own(Reference<double>(), MatrixView<const double>(rows.data(), 9, static_cast<Index>(width)), knn.labels,
                                           {.classes = 4, .temperature = temperature});
      for (const Index k : {1, 2, 5, 9}) {
        CAPTURE(reads.class_token, reads.patch, temperature, k);
        knn.k = k;
        knn.temperature = temperature;
        const auto found = values_of({.heads = 2, .blocks = {-1, 0}, .knn = knn}).at("votes");
        CHECK(shape_text(found.shape) == "[3, 4]");
        const MatrixView<const double> asked(queries.data(), 3, static_cast<Index>(width));
        std::vector<double> votes(12);
        own.votes(MatrixView<double>(votes.data(), 3, 4), asked, k);
        const std::vector<std::int64_t> named = own.predict(asked, k);
        for (std::size_t b = 0; b < 3; ++b) {
          const std::span<double> of = std::span(votes).subspan(b * 4, 4);
          const double sum = std::accumulate(of.begin(), of.end(), 0.0);
          for (double& vote : of) vote /= sum;
          const auto first = found.values.begin() + static_cast<Index>(b) * 4;
          CHECK(std::max_element(first, first + 4) - first == named[b]);
        }
        CHECK(apart(found.values, votes) < std::max(1e-5, 5e-7 / temperature));  // rows are told as floats
        if (k <= 2) CHECK(named[0] == (k == 1 ? 2 : 0));
      }
    }
  }
  const OnnxKnn good{.classes = 2, .rows = std::vector<float>(16, 1), .labels = {1, 0}, .k = 2};
  const auto message = [&](const auto& change) {
    OnnxKnn knn = good;
    change(knn);
    return thrown_by<OptionError>([&] { static_cast<void>(onnx_backbone(file, {.heads = 2, .knn = knn})); });
  };
  static_cast<void>(onnx_backbone(file, {.heads = 2, .knn = good}));
  CHECK(contains(message([](OnnxKnn& k) { k.rows.pop_back(); }), "option 'knn' is 15 numbers and 2 labels; expected features of 8 numbers"));
  CHECK(contains(message([](OnnxKnn& k) { k.labels.push_back(0); }), "option 'knn' is 16 numbers and 3 labels"));
  CHECK(contains(message([](OnnxKnn& k) { k.reads = {}; }), "option 'knn' is of other tokens"));
  CHECK(contains(message([](OnnxKnn& k) { k.reads.reference = true; }), "option 'knn' is of other tokens"));
  CHECK(contains(message([](OnnxKnn& k) { k.labels[1] = 2; }), "option 'knn' is of the label 2; expected labels from 0 to 1"));
  CHECK(contains(message([](OnnxKnn& k) { k.k = 3; }), "option 'k' is 3; expected 1 to the number of training features, 2"));
  CHECK(contains(message([](OnnxKnn& k) { k.temperature = 0.0019; }), "option 'knn' is of temperature 0.0019; expected a temperature of 0.002 or more"));
  CHECK(contains(message([](OnnxKnn& k) { k.classes = 0; }), "option 'knn' is of 0 classes; expected at least 1"));
  CHECK(contains(message([](OnnxKnn& k) { k.rows[9] = NAN; }), "option 'knn' is of the number nan in training feature 1; expected finite numbers"));
  CHECK(contains(message([](OnnxKnn& k) { k.names = {"good"}; }), "option 'names' is 1 of the 2 classes of votes; expected one for each class, or none"));
  // The model tells the classes' names, whatever is in them.
  OnnxKnn named = good;
  named.names = {"good, new", "\"bad\""};
  const OnnxHead head{.classes = 1, .weight = std::vector<float>(8, 1), .names = {"only"}};
  onnx_backbone(file, {.heads = 2, .head = head, .patch_head = OnnxHead{.classes = 1, .weight = head.weight}, .knn = named}).write(folder / "named.onnx");
  const auto words = read_onnx(folder / "named.onnx").metadata;
  CHECK(words.at("votes_classes") == R"(["good, new","\"bad\""])");
  CHECK(words.at("logits_classes") == R"(["only"])");
  CHECK_FALSE(words.contains("patch_logits_classes"));
}

TEST_CASE("ONNX: options that do not go with the backbone are refused by name", "[onnx]") {
  const TemporaryFolder folder;
  write_random(folder / "w.safetensors", "size", false);
  const BackboneFile file = BackboneFile::open(folder / "w.safetensors");
  const auto message = [&](const OnnxBackboneOptions& options) {
    return thrown_by<OptionError>([&] { static_cast<void>(onnx_backbone(file, options)); });
  };
  CHECK(contains(message({}), "option 'heads' is 0; expected the number of heads"));
  CHECK(contains(message({.heads = 3}), "option 'heads' is 3"));
  CHECK(contains(message({.height = 7, .width = 4, .heads = 2}),
                 "option 'height' is 7; expected a multiple of the patch, 2"));
  CHECK(contains(message({.height = 4, .heads = 2}), "option 'width' is 0"));
  CHECK(contains(message({.heads = 2, .mean = {1}, .deviation = {1}}),
                 "option 'mean' is 1 values; expected one a channel, 3"));
  CHECK(contains(message({.heads = 2, .mean = {1, 1, 1}}), "option 'deviation' is 0 values"));
  CHECK(contains(message({.heads = 2, .mean = {1, 1, 1}, .deviation = {1, 0, 1}}),
                 "option 'deviation' is 0; expected 1e-6 to 10"));
  CHECK(contains(message({.heads = 2, .white = -1}), "option 'white' is -1"));
  CHECK(contains(message({.heads = 2, .blocks = {0, -2}}),
                 "option 'blocks' is -2; expected each block once, -2 to 1"));
  CHECK(contains(message({.heads = 2, .blocks = {2}}), "option 'blocks' is 2"));
  const BackboneFile rotary = BackboneFile::open(weights_of("dinov3_7b_like"));
  CHECK(contains(thrown_by<OptionError>([&] { static_cast<void>(onnx_backbone(rotary, {.heads = 4})); }),
                 "option 'heads' is 4; expected 2, which"));
  for (const std::string relation : {"all-query", "all_query"}) {
    save_named_backbone(folder / "relation.safetensors", file, {{"relation", relation}});
    const BackboneFile trained = BackboneFile::open(folder / "relation.safetensors");
    CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(onnx_backbone(trained, {.heads = 2})); }),
                   "was trained with relation all-query"));
  }
}
