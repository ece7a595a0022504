// Writes small valid inputs for every fuzz target, made by the library itself: what fuzzing starts from.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/backend/reference.hpp>
#include <dssl/defects/bank_settings.hpp>
#include <dssl/defects/defect_bank_file.hpp>
#include <dssl/defects/filter_bank_file.hpp>
#include <dssl/io/jpeg.hpp>
#include <dssl/io/png.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/nn/parameters.hpp>

#include "../tests/io/bmp_samples.hpp"
#include "../tests/io/image_samples.hpp"
#include "../tests/io/jpeg_samples.hpp"
#include "../tests/temporary_folder.hpp"
#ifdef DSSL_WITH_TIFF
#include "../tests/io/tiff_samples.hpp"
#endif
#ifdef DSSL_WITH_WEBP
#include "../tests/io/webp_samples.hpp"
#endif
#include "tiny_run.hpp"

using namespace dssl;

namespace {

std::string root;

std::string place(std::string_view target, std::string_view name) {
  std::filesystem::create_directories(root + "/" + std::string(target));
  return join(root, "/", target, "/", name);
}

template <class Bytes>
void seed(std::string_view target, std::string_view name, const Bytes& bytes) {
  test::write_text(place(target, name), bytes);
}

void tensors() {
  SafetensorsWriter writer;
  const std::vector<float> floats{1, -2, 3e9F, 0};
  const std::vector<std::int8_t> small{-1, 2, 3};
  const std::array<std::byte, 4> halves{};
  writer.add("a", {2, 2}, std::span<const float>(floats));
  writer.add("b.c", {3}, std::span<const std::int8_t>(small));
  writer.add_bytes("half", ElementType::f16, {2, 1}, halves);
  writer.add_bytes("empty", ElementType::bf16, {0, 5}, {});
  writer.metadata("key", "a \"quoted\"\nvalue");
  writer.write(place("safetensors", "some"));
  SafetensorsWriter().write(place("safetensors", "none"));

  const ParameterLayout layout = vit_layout(fuzz::tiny_backbone);
  std::vector<float> flat(static_cast<std::size_t>(layout.total()));
  initialise(std::span<float>(flat), layout, 1);
  save_backbone(place("weights", "backbone"), std::span<const float>(flat), layout,
                {{"best.figure", "knn"}, {"best.value", "0.5"}, {"best.step", "7"}});

  using B = Reference<float>;
  const std::vector<float> rows{0, 0, 1, 0, 0, 1, 2, 2, 5, 5, 1, 1};
  DefectBank<B> bank(B(), {.width = 2, .pool = 6, .coreset = 0.5, .reweighting = 2});
  bank.add(MatrixView<const float>(rows.data(), 6, 2));
  bank.build();
  save_defect_bank(place("bank", "bank"), bank);

  // Fixed filters, alone and with two trees of two levels.
  constexpr Index width = LocalFilters::width;
  const std::vector<double> mean(static_cast<std::size_t>(width), 0.5);
  std::vector<double> factor(static_cast<std::size_t>(width * width));
  for (Index i = 0; i < width; ++i) factor[static_cast<std::size_t>(i * (width + 1))] = 2;
  const auto filters = [&](std::optional<FilterLabels> labels) {
    RowGaussian normal(width);
    normal.restore(mean, factor, 9);
    FilterProbe probe(FilterProbeOptions{});
    probe.take(std::move(normal), std::move(labels), {.slope = 0.5, .usual = 12});
    return probe;
  };
  save_filter_bank(place("bank", "filters"), filters({}));
  TreeNumbers trees{.width = 7 * width,
                    .depth = 2,
                    .start = -1.5,
                    .columns = {0, 13, 90, 7, 1, 2},
                    .thresholds = {0.5F, -1, 2, 0, 1, 3},
                    .values = {-1, 0, 1, 2, 0.5F, -0.5F, 0, 1}};
  save_filter_bank(place("bank", "trees"),
                   filters(FilterLabels{.trees = BoostedTrees(std::move(trees)), .scales = {.share = 0.5, .distance = {.mean = 3, .deviation = 1}, .logit = {}}}));
}

std::vector<std::byte> jpeg(const Image<std::uint8_t>& image) { return encode_jpeg(image, 60); }

/// A JPEG of a kind that the library reads and does not write.
std::vector<std::byte> other_jpeg(const Image<std::uint8_t>& image, J_COLOR_SPACE space, bool progressive, bool arithmetic) {
  return test::make_jpeg(image, space, [&](jpeg_compress_struct& codec) {
    if (space == JCS_CMYK) jpeg_set_colorspace(&codec, JCS_YCCK);
    if (progressive) jpeg_simple_progression(&codec);
    codec.arith_code = arithmetic ? TRUE : FALSE;
    codec.restart_interval = progressive ? 0 : 1;
  });
}

void images() {
  for (const Index channels : {1, 2, 3, 4}) {
    const std::string name = join("channels", channels);
    seed("png", name, encode_png(test::scrambled<std::uint8_t>(3, 5, channels)));
    seed("png", name + "deep", encode_png(test::scrambled<std::uint16_t>(3, 2, channels)));
    seed("mask", name, encode_png(Image<std::uint8_t>(3, 5, channels)));
  }
  for (const int depth : {1, 2, 4}) {
    const std::string name = join("bits", depth);
    const test::PngLayout layout{.depth = depth, .colour_type = PNG_COLOR_TYPE_PALETTE, .interlaced = true, .packed = true};
    seed("png", name, test::make_png(layout, 5, 3, std::vector<std::uint8_t>(15, 1)));
  }
  Image<std::uint8_t> mask(4, 4, 1);
  mask(1, 2, 0) = 15;
  seed("png", "indices", encode_png_indices(mask, Palette(16)));
  seed("mask", "indices", encode_png_indices(mask, Palette(16)));
  mask(1, 2, 0) = 255;
  seed("mask", "grey", encode_png(mask));
  seed("mask", "jpeg", jpeg(mask));
  seed("jpeg", "grey", jpeg(test::smooth_picture(9, 7, 1)));
  seed("jpeg", "cmyk", other_jpeg(test::scrambled<std::uint8_t>(9, 9, 4), JCS_CMYK, false, false));
  seed("jpeg", "progressive", other_jpeg(test::smooth_picture(17, 9, 3), JCS_RGB, true, false));
  seed("jpeg", "arithmetic", other_jpeg(test::smooth_picture(9, 9, 3), JCS_RGB, true, true));
  seed("jpeg", "colour", jpeg(test::smooth_picture(17, 9, 3)));
  // The orientation of EXIF, alone and within a file.
  const std::string exif("Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0", 32);
  seed("exif", "big_endian", exif);
  seed("exif", "bare", exif.substr(6));
  seed("exif", "little_endian", std::string("II\x2a\0\x08\0\0\0\x02\0\x00\x01\x03\0\x01\0\0\0\x02\0\0\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0", 34));
  const auto plain = jpeg(test::smooth_picture(2, 3, 3));
  std::string turned(reinterpret_cast<const char*>(plain.data()), plain.size());
  const std::string length{'\0', static_cast<char>(exif.size() + 2)};
  turned.insert(2, "\xff\xe1" + length + exif);
  seed("jpeg", "turned", turned);
}

/// Files of kinds that the library reads and does not write.
void plain_images() {
  using namespace std::string_view_literals;
  seed("netpbm", "grey", "P5\n# a\n3 2 255\n\x01\x02\x03\x04\x05\xff"sv);
  seed("netpbm", "deep", "P6 1 1 4095\n\x00\x01\x02\x03\x0f\xff"sv);
  seed("netpbm", "text", "P3 1 1 15 0 7 15"sv);
  seed("netpbm", "greys", "P2 2 1\n300\n300 2\n"sv);
  seed("netpbm", "float", "Pf 1 2 -1.0\n\x00\x00\x80\x3f\x00\x00\x00\xbf"sv);
  seed("netpbm", "floats", "PF 1 1 1\n\x3f\x80\x00\x00\x3f\x80\x00\x00\x3f\x80\x00\x00"sv);
  seed("bmp", "colour", test::bmp_file({.width = 2, .height = 2, .bits = 24}, "123456..abcdef.."));
  seed("bmp", "old", test::bmp_file({.width = 2, .height = 1, .bits = 1, .header = 12, .palette = {0, 0xFFFFFF}}, "\x40..."));
  seed("bmp", "grey", test::bmp_file({.width = 3, .height = -1, .bits = 8, .palette = {0, 0x777777}}, "\x01\x01\x01."));
  seed("bmp", "palette", test::bmp_file({.width = 3, .height = 1, .bits = 4, .palette = {0, 0x123456}}, "\x11\x10.."));
  seed("bmp", "short", test::bmp_file({.width = 2, .height = 1, .bits = 16}, "1234"));
  seed("bmp", "masks", test::bmp_file({.width = 2, .height = 1, .bits = 16, .compression = 3, .masks = {0xF800, 0x7E0, 0x1F}}, "1234"));
  seed("bmp", "alpha", test::bmp_file({.width = 1, .height = 1, .bits = 32, .compression = 3, .header = 124,
                                       .masks = {0xFF, 0xFF00, 0xFF0000, 0xFF000000}}, "1234"));
}

/// Files of kinds for which the build may have no library.
void more_images() {
#ifdef DSSL_WITH_TIFF
  const std::string values(4096, '\1');
  const auto tiff = [&](std::string_view name, const test::TiffLayout& layout) { seed("tiff", name, test::tiff_file(layout, values)); };
  tiff("grey", {.width = 5, .height = 3});
  tiff("tiles", {.width = 17, .height = 3, .samples = 4, .photometric = PHOTOMETRIC_RGB, .compression = COMPRESSION_LZW, .tile = 16, .predictor = true});
  tiff("planes", {.width = 5, .height = 3, .bits = 16, .samples = 3, .photometric = PHOTOMETRIC_RGB, .compression = COMPRESSION_ADOBE_DEFLATE, .separate = true, .mode = "wb"});
  tiff("floats", {.width = 5, .height = 3, .bits = 32, .format = SAMPLEFORMAT_IEEEFP, .orientation = 6, .mode = "w8"});
  tiff("jpeg", {.width = 17, .height = 9, .samples = 3, .photometric = PHOTOMETRIC_YCBCR, .compression = COMPRESSION_JPEG});
  tiff("fax3", {.width = 19, .height = 3, .bits = 1, .photometric = PHOTOMETRIC_MINISWHITE, .compression = COMPRESSION_CCITTFAX3});
  tiff("fax4", {.width = 19, .height = 3, .bits = 1, .photometric = PHOTOMETRIC_MINISWHITE, .compression = COMPRESSION_CCITTFAX4});
  tiff("palette", {.width = 5, .height = 3, .bits = 2, .photometric = PHOTOMETRIC_PALETTE, .compression = COMPRESSION_PACKBITS, .colours = std::vector<std::uint16_t>(12, 771), .pages = 2});
#endif
#ifdef DSSL_WITH_WEBP
  using namespace std::string_view_literals;
  for (const Index channels : {3, 4}) {
    for (const float quality : {-1.0F, 70.0F}) {
      const std::string file = test::webp_file(test::scrambled<std::uint8_t>(5, 7, channels), quality);
      const std::string name = join("channels", channels, quality < 0 ? "exact" : "near");
      seed("webp", name, file);
      if (channels == 3) seed("webp", name + "turned", test::webp_with_exif(file, 7, 5, "MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"sv));
    }
  }
#endif
}

void texts() {
  using namespace std::string_view_literals;
  seed("list", "names", "a.png\nb.jpg good\n# all\n\nb c.png\tbad # why\n'd#1.png' x\nmissing_mask\n"sv);
  seed("list", "marked", "\xef\xbb\xbf\xc3\xa4.png\r\ns\\e.jpeg label\r"sv);
  seed("list", "utf16", "\xff\xfe" "a\0.\0p\0n\0g\0\r\0\n\0\x3d\xd8\x00\xde"sv);
  seed("camera", "opencv",
       "%YAML:1.0\n---\nimage_width: 64\nimage_height: 48\ncamera_matrix: !!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n"
       "   data: [ 52., 0., 33.25, 0., 51.,\n       22.5, 0., 0., 1. ]\ndistortion_coefficients: !!opencv-matrix\n   rows: 5\n"
       "   cols: 1\n   dt: d\n   data: [ -0.21, 0.03, 2.0e-03, -1.0e-03, 0. ]\n"sv);
  seed("camera", "ros",
       "image_width: 64\nimage_height: 48\ncamera_name: left\ncamera_matrix:\n  rows: 3\n  cols: 3\n"
       "  data: [52, 0, 33.25, 0, 51, 22.5, 0, 0, 1]\ndistortion_model: rational_polynomial\ndistortion_coefficients:\n  rows: 1\n"
       "  cols: 8\n  data: [0.2, -0.1, 0.002, -0.001, 0.01, 0.3, 0.05, -0.01]\n"sv);
  seed("camera", "homography",
       "%YAML 1.2\n---\nhomography: !!opencv-matrix\n   rows: 3\n   cols: 3\n   dt: d\n   data: [ 1., 0.1, 3., 0., 0.9, -2., 1.0e-04, 0., 1. ]\n"sv);
  seed("camera", "json",
       "{\"image_width\": 64, \"image_height\": 48, \"camera_matrix\": {\"type_id\": \"opencv-matrix\", \"rows\": 3, \"cols\": 3, "
       "\"dt\": \"d\", \"data\": [52.0, 0, 33.25, 0, 51, 22.5, 0, 0, 1]}}"sv);
  seed("config", "vit",
       "\x04{\"model_type\":\"vit\",\"hidden_size\":32,\"num_hidden_layers\":2,\"num_attention_heads\":4,\"intermediate_size\":128,"
       "\"hidden_act\":\"gelu\",\"layer_norm_eps\":1e-12,\"image_size\":56,\"patch_size\":8,\"num_channels\":3,\"qkv_bias\":true,"
       "\"id2label\":{\"0\":\"cat\"}}"sv);
  seed("config", "dinov2", "\x01{\"model_type\":\"dinov2\",\"num_attention_heads\":2,\"mlp_ratio\":4,\"use_swiglu_ffn\":false,"
                           "\"hidden_act\":\"gelu\",\"layer_norm_eps\":1e-6}"sv);
  seed("config", "registers", "\x02{\"model_type\":\"dinov2_with_registers\",\"num_attention_heads\":4,\"mlp_ratio\":4,"
                              "\"use_swiglu_ffn\":true,\"num_register_tokens\":4}"sv);
  seed("config", "dinov3", "\x03{\"model_type\":\"dinov3_vit\",\"num_attention_heads\":2,\"query_bias\":true,\"key_bias\":false,"
                           "\"rope_theta\":100.0,\"rope_parameters\":{\"rope_theta\":100,\"rope_type\":\"default\"}}"sv);
  seed("config", "bank", "b" + BankSettings{.arch = "nano8", .blocks = {0, -1}, .seed = ~std::uint64_t{0}}.json());
  seed("boxes", "boxes", "0 1 3 4 crack\n 2,2, 7,5\n# none\n-5 -5 100 100\n"sv);
  seed("npy", "matrix", "\x02\x02\x01\0\0\x80\x3f\0\0\0\x40"sv);
  seed("npy", "vector", "\x01\x02\0\0\x80\x3f\0\0\0\x40"sv);
  seed("npy", "scalar", "\x00\0\0\x80\x3f"sv);
  seed("checkpoint", "same", "\n"sv);
  seed("checkpoint", "numbers", "step=12\ncollapsed_steps=2\noption.epochs=50\n"sv);
  seed("checkpoint", "tensors", "-center\n*student.backbone.cls_token\n^teacher.backbone.cls_token\ncheck_sum=1"sv);
  seed("options", "run",
       "{\"options\":{\"batch\":4,\"seed\":1},\"arch\":\"tiny16\",\"recipe\":\"dino\",\"backend\":\"cpu\",\"compiler\":\"c\","
       "\"version\":\"0\"}\n.\n"
       "{\"step\":1,\"images\":4,\"loss\":2.5,\"image\":{\"loss\":2.5},\"point\":{\"loss\":1},\"seconds\":0.5}\n"sv);
  seed("options", "probe", "{\"miou\":0.5,\"pixel_accuracy\":0.5,\"per_class\":[{\"id\":1,\"name\":\"a\",\"iou\":null}],\"settings\":{}}"sv);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
    return 2;
  }
  root = argv[1];
  try {
    tensors();
    images();
    plain_images();
    more_images();
    texts();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
