// The features of one image in one line: what resizing, normalising and extracting by hand give.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/core/random.hpp>
#include <dssl/features/features.hpp>
#include <dssl/features/labelled_input.hpp>
#include "backbone/convolution.hpp"
#include "catch.hpp"
#include "thrown.hpp"
#include "views/pictures.hpp"

using namespace dssl;
using test::contains;
using test::thrown_by;

namespace {

constexpr ViTConfig small{.image = 16, .patch = 8, .width = 8, .depth = 1, .heads = 2};
using Extractor = FeatureExtractor<ViT<small>, Reference<double>>;

Extractor extractor_with(FeatureOptions options) {
  options.height = 16;
  options.width = 24;
  Extractor out(Reference<double>(), options);
  std::vector<double> weights(static_cast<std::size_t>(out.layout().total()));
  RandomStream random({.seed = 3});
  for (double& w : weights) w = 0.3 * random.normal();
  out.load(std::span<const double>(weights));
  return out;
}

/// The same by hand: the input made by a renderer of its own, then extracted.
ImageFeatures<double> by_hand(Extractor& extractor, const AnyImageView& image, const InputOptions& input) {
  const std::vector<float> values = InputRenderer(input, ClassMap({.classes = 1, .void_ids = {}})).render_image(image);
  ImageFeatures<double> out{.grid = {2, 3}, .class_token = std::vector<double>(8), .patches = std::vector<double>(48)};
  extractor.extract(out.class_token, out.patches, values);
  return out;
}

/// Largest difference. Where the two inputs are normalised by code that was compiled with other flags, a multiplication and
/// an addition may be rounded once or twice.
double apart(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double most = 0;
  for (std::size_t i = 0; i < a.size(); ++i) most = std::max(most, std::abs(a[i] - b[i]));
  return most;
}

}  // namespace

TEST_CASE("Features of an image are those of the input that its options describe", "[features]") {
  const Image<std::uint8_t> image = test::drawn_picture<std::uint8_t>(50, 61, 3);
  InputOptions input{.height = 16, .width = 24, .interpolation = Interpolation::bicubic};
  SECTION("as in training by default, also with room for more images") {
    Extractor extractor = extractor_with({.batch = 2});
    const ImageFeatures<double> features = extractor.features(image);
    CHECK(features.grid.height == 2);
    CHECK(features.grid.width == 3);
    const ImageFeatures<double> expected = by_hand(extractor, image, input);
    CHECK(apart(features.class_token, expected.class_token) < 1e-6);
    CHECK(apart(features.patches, expected.patches) < 1e-6);
    CHECK(features.patch(1, 2).data() == features.patches.data() + 5 * 8);
    CHECK(features.patch(1, 2).size() == 8);
  }
  SECTION("with other numbers") {
    input.interpolation = Interpolation::bilinear;
    input.mean = {0.1F, 0.2F, 0.3F};
    input.deviation = {0.4F, 0.5F, 0.6F};
    Extractor extractor =
        extractor_with({.interpolation = input.interpolation, .mean = input.mean, .deviation = input.deviation});
    CHECK(apart(extractor.features(image).patches, by_hand(extractor, image, input).patches) < 1e-6);
  }
  SECTION("of patches alone") {
    Extractor extractor = extractor_with({.reads = {.class_token = false, .patch = true}});
    const ImageFeatures<double> features = extractor.features(image);
    CHECK(features.class_token.empty());
    CHECK(features.patches.size() == 48);
  }
}

TEST_CASE("A grey image fills the channels, another number of them is refused in words", "[features]") {
  Extractor extractor = extractor_with({});
  const Image<float> grey = test::drawn_picture<float>(20, 20, 1);
  Image<float> colour(20, 20, 3);
  for (Index y = 0; y < 20; ++y) {
    for (Index x = 0; x < 20; ++x) {
      for (Index c = 0; c < 3; ++c) colour(y, x, c) = grey(y, x, 0);
    }
  }
  CHECK(extractor.features(grey).patches == extractor.features(colour).patches);
  CHECK(contains(thrown_by<ImageError>([&] { static_cast<void>(extractor.features(Image<float>(9, 9, 2))); }),
                 "the image: has 2 channels; expected 3"));
}

TEST_CASE("Means that do not fit the channels are refused by name", "[features]") {
  CHECK(contains(thrown_by<OptionError>([] { extractor_with({.mean = {0.5F}, .deviation = {0.5F}}); }), "'mean'"));
  CHECK(contains(thrown_by<OptionError>([] { extractor_with({.mean = {0.5F, 0.5F, 0.5F}}); }), "'deviation'"));
  CHECK(contains(thrown_by<OptionError>([] {
                   extractor_with({.mean = {0.5F, 0.5F, 0.5F}, .deviation = {0.5F, 0.0F, 0.5F}});
                 }),
                 "'deviation'"));
}

TEST_CASE("Features of a backbone without blocks are what it gives, and its blocks are refused", "[features]") {
  constexpr test::ConvolutionConfig sizes{.patch = 4, .width = 6, .layers = 1, .channels = 1};
  using Extractor = FeatureExtractor<test::Convolutional<sizes>, Reference<double>>;
  const auto drawn = []<class T>(std::vector<T> out, std::uint64_t seed) {
    RandomStream random({.seed = seed});
    for (T& value : out) value = static_cast<T>(random.normal());
    return out;
  };
  Extractor extractor({}, {.height = 8, .width = 12, .batch = 2});
  const auto weights = drawn(std::vector<double>(static_cast<std::size_t>(extractor.layout().total())), 3);
  extractor.load(std::span<const double>(weights));
  const auto images = drawn(std::vector<float>(2 * 8 * 12), 4);
  std::vector<double> class_tokens(2 * 6), patches(2 * 6 * 6);
  extractor.extract(class_tokens, patches, images);

  const Reference<double> backend;
  const TokenLayout tokens({{.count = 2, .grid = {2, 3}}}, {.class_token = true, .patch = true});
  test::Convolution::Inputs<double> inputs;
  test::Convolution::Activations<double> activations;
  const auto place = [&](Arena& arena) {
    inputs = inputs.place(backend, arena, sizes, tokens);
    activations = activations.take(arena, sizes, tokens, false);
  };
  Arena measure;
  place(measure);
  const Buffer memory = backend.allocate(measure.high_water());
  Arena live(memory);
  place(live);
  std::copy(images.begin(), images.end(), inputs.images[0].data());
  ParameterCursor<const double> next(extractor.layout(), weights.data());
  const auto bound = test::Convolution::Parameters<const double>::bind(next, sizes, {});
  test::Convolution::forward<private_relation>(backend, activations, inputs, bound, sizes, tokens, {}, {});
  std::vector<double> found(class_tokens);
  found.insert(found.end(), patches.begin(), patches.end());
  const auto expected = activations.out.flat();
  CHECK(found == std::vector<double>(expected.begin(), expected.end()));
  CHECK(std::abs(found[0] - found[6]) > 1e-3);

  const auto refused = [](FeatureOptions options) {
    options.height = 8, options.width = 12;
    return thrown_by<OptionError>([&] { Extractor({}, options); });
  };
  CHECK(refused({.blocks = {-1}}) == "option 'blocks' is -1; expected none: the backbone has no blocks");
  CHECK(refused({.norm = false}) ==
        "option 'norm' is false; expected true: the backbone has no blocks whose tokens could be read before its last norm");
  CHECK(refused({.references = {.per_patch = 1}}) ==
        "option 'references' is given; expected none: the backbone has no reference tokens");
}
