#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "views/pictures.hpp"

#include <dssl/views/photometric.hpp>

using namespace dssl;
using test::difference;
using test::drawn_picture;
using test::picture;

namespace {

using Planes = PlanarImage<std::uint8_t>;

Image<std::uint8_t> changed(const Image<std::uint8_t>& image, const std::function<void(Planes&)>& operation) {
  Planes planes;
  to_planes(planes, image);
  operation(planes);
  return to_image<std::uint8_t>(planes);
}

/// The number after the underscore of a fixture's name.
double parameter(const std::string& name) { return std::stod(name.substr(name.find('_') + 1)); }

}  // namespace

TEST_CASE("colour and blur are Pillow's") {
  const auto file = SafetensorsFile::open(test::fixture_path("augment.safetensors"));
  const auto source = picture(file, "source");
  std::set<std::string> seen;
  for (const auto& tensor : file.tensors()) {
    const std::string& name = tensor.name;
    const std::string kind = name.substr(0, name.find('_'));
    std::function<void(Planes&)> operation;
    if (kind == "brightness") operation = [&](Planes& p) { adjust_brightness(p, parameter(name)); };
    if (kind == "contrast") operation = [&](Planes& p) { adjust_contrast(p, parameter(name)); };
    if (kind == "saturation") operation = [&](Planes& p) { adjust_saturation(p, parameter(name)); };
    if (kind == "hue") operation = [&](Planes& p) { adjust_hue(p, parameter(name)); };
    if (kind == "grey") operation = [&](Planes& p) { to_grey(p); };
    if (kind == "flip") operation = [&](Planes& p) { mirror(p); };
    if (kind == "solarize") operation = [&](Planes& p) { solarise(p); };
    if (kind == "blur") {
      operation = [&](Planes& p) {
        BlurWorkspace<std::uint8_t> workspace;
        gaussian_blur(p, parameter(name), workspace);
      };
    }
    if (!operation) continue;
    seen.insert(kind);
    const auto d = difference(changed(source, operation), picture(file, name));
    INFO(name << ": largest difference " << d.largest << ", share different " << d.share_different);
    CHECK(d.largest <= 2);
    CHECK(d.share_above_one <= 0.001);
    CHECK(d.share_different <= 0.01);
  }
  CHECK(seen.size() == 8);
}

TEST_CASE("normalising is torchvision's") {
  const auto file = SafetensorsFile::open(test::fixture_path("augment.safetensors"));
  const auto source = picture(file, "source");
  const auto wanted = file.read<float>("normalised");
  Planes planes;
  to_planes(planes, source);
  std::vector<float> out(wanted.size());
  normalise(out, planes, std::vector<float>{0.485F, 0.456F, 0.406F},
            std::vector<float>{0.229F, 0.224F, 0.225F});
  double worst = 0;
  for (std::size_t i = 0; i < out.size(); ++i) {
    worst = std::max(worst, static_cast<double>(std::abs(out[i] - wanted[i])));
  }
  CHECK(worst < 1e-6);
}

TEST_CASE("hue in 8 bits follows the formula with Pillow's roundings for every colour") {
  // The conversion written out as the format defines it: through float, double and truncation.
  const auto formula = [](int r, int g, int b) {
    const int largest = std::max({r, g, b});
    const int smallest = std::min({r, g, b});
    if (largest == smallest) return 0;
    const auto spread = static_cast<float>(largest - smallest);
    const float rc = static_cast<float>(largest - r) / spread;
    const float gc = static_cast<float>(largest - g) / spread;
    const float bc = static_cast<float>(largest - b) / spread;
    float h;
    if (r == largest) {
      h = bc - gc;
    } else if (g == largest) {
      h = static_cast<float>(2.0 + double{rc} - double{bc});
    } else {
      h = static_cast<float>(4.0 + double{gc} - double{rc});
    }
    h = static_cast<float>(std::fmod(double{h} / 6.0 + 1.0, 1.0));
    return static_cast<int>(double{h} * 255.0);
  };
  // The hue depends on differences to the largest channel only, so the largest can stay at 255.
  int wrong = 0;
  for (int a = 0; a < 256; ++a) {
    for (int b = 0; b < 256; ++b) {
      const int low = std::min(a, b);
      wrong += detail::hue_of(255, a, b, 255, low) != formula(255, a, b) ? 1 : 0;
      wrong += detail::hue_of(a, 255, b, 255, low) != formula(a, 255, b) ? 1 : 0;
      wrong += detail::hue_of(a, b, 255, 255, low) != formula(a, b, 255) ? 1 : 0;
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("a full turn and no turn of the hue leave the colours, within the 8-bit steps") {
  const auto image = drawn_picture<float>(40, 50, 3);
  PlanarImage<float> planes;
  to_planes(planes, image);
  adjust_hue(planes, 0.37);
  adjust_hue(planes, -0.37);
  const auto back = to_image<float>(planes);
  double worst = 0;
  for (std::size_t i = 0; i < image.pixels().size(); ++i) {
    worst = std::max(worst, static_cast<double>(std::abs(image.pixels()[i] - back.pixels()[i])));
  }
  CHECK(worst < 1e-5);
}

TEST_CASE("turning the hue by a third permutes the channels") {
  PlanarImage<float> planes;
  to_planes(planes, drawn_picture<float>(20, 30, 3));
  const auto before = to_image<float>(planes);
  adjust_hue(planes, 1.0 / 3.0);
  const auto after = to_image<float>(planes);
  double worst = 0;
  for (Index y = 0; y < 20; ++y) {
    for (Index x = 0; x < 30; ++x) {
      for (Index c = 0; c < 3; ++c) {
        worst = std::max(worst, static_cast<double>(std::abs(after(y, x, (c + 1) % 3) - before(y, x, c))));
      }
    }
  }
  CHECK(worst < 1e-5);
}

TEST_CASE("every operation is defined for any number of channels") {
  for (const Index channels : {1, 2, 3, 5}) {
    const auto image = drawn_picture<std::uint8_t>(24, 31, channels);
    INFO(channels << " channels");
    CHECK(changed(image, [](Planes& p) { adjust_brightness(p, 1.0); }) == image);
    CHECK(changed(image, [](Planes& p) { adjust_contrast(p, 1.0); }) == image);
    CHECK(changed(image, [](Planes& p) { adjust_saturation(p, 1.0); }) == image);
    const auto grey = changed(image, [](Planes& p) { to_grey(p); });
    const auto faded = changed(image, [](Planes& p) { adjust_saturation(p, 0.0); });
    CHECK(grey == faded);
    if (channels == 1) CHECK(grey == image);
    for (Index c = 1; c < channels; ++c) CHECK(grey(7, 9, c) == grey(7, 9, 0));
    if (channels != 3) CHECK(changed(image, [](Planes& p) { adjust_hue(p, 0.2); }) == image);
    if (channels == 3) CHECK(changed(image, [](Planes& p) { adjust_hue(p, 0.2); }) != image);
    // Contrast 0 is the mean grey everywhere.
    const auto flat = changed(image, [](Planes& p) { adjust_contrast(p, 0.0); });
    CHECK(std::all_of(flat.pixels().begin(), flat.pixels().end(),
                      [&](auto v) { return v == flat.pixels()[0]; }));
    CHECK(changed(image, [](Planes& p) {
            mirror(p);
            mirror(p);
          }) == image);
  }
}

TEST_CASE("blur keeps a constant, spreads a point by its variance and takes any radius") {
  BlurWorkspace<float> workspace;
  for (const double radius : {0.1, 0.7, 1.3, 2.0, 4.5, 9.0}) {
    const Index size = 121;
    PlanarImage<float> planes;
    planes.reshape(1, size, size);
    std::fill_n(planes.plane(0), size * size, 0.0F);
    planes.row(0, size / 2)[size / 2] = 1.0F;
    gaussian_blur(planes, radius, workspace);
    double total = 0;
    double variance = 0;
    for (Index y = 0; y < size; ++y) {
      for (Index x = 0; x < size; ++x) {
        const double v = planes.row(0, y)[x];
        total += v;
        variance += v * static_cast<double>((x - size / 2) * (x - size / 2));
      }
    }
    CHECK(total == Approx(1.0).epsilon(1e-5));
    CHECK(variance == Approx(radius * radius).epsilon(0.01));
  }
}

TEST_CASE("blur of pictures smaller than its kernel") {
  BlurWorkspace<std::uint8_t> workspace;
  for (const auto& [h, w] : {std::pair<Index, Index>{1, 1}, {1, 5}, {4, 1}, {2, 3}}) {
    Planes planes;
    planes.reshape(2, h, w);
    std::fill_n(planes.plane(0), 2 * h * w, std::uint8_t{201});
    for (const double radius : {0.0, 0.3, 2.0, 7.0}) gaussian_blur(planes, radius, workspace);
    CHECK(std::all_of(planes.plane(0), planes.plane(0) + 2 * h * w, [](auto v) { return v == 201; }));
  }
}

TEST_CASE("normalise refuses lengths that do not fit") {
  Planes planes;
  planes.reshape(2, 3, 4);
  std::vector<float> out(24);
  const std::vector<float> two{0.5F, 0.5F};
  const std::vector<float> three{0.5F, 0.5F, 0.5F};
  CHECK_THROWS_AS(normalise(std::span<float>(out).first(23), planes, two, two), ShapeError);
  CHECK_THROWS_AS(normalise(out, planes, three, two), ShapeError);
  CHECK_THROWS_AS(normalise(out, planes, two, three), ShapeError);
}
