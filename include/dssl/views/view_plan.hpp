// What is done to make one view: drawn first, carried out later, and kept as the view's map to the scene.
// Tests: tests/views/multi_crop.cpp.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/geometry.hpp>
#include <dssl/views/photometric.hpp>
#include <dssl/views/photometric_plan.hpp>

namespace dssl {

/// One of the four changes of colour that happen in random order.
enum class ColourStep : std::uint8_t { brightness, contrast, saturation, hue };

/// The changes of a view's values, with every number drawn. Factors of 1, a hue of 0 and a radius of 0 change
/// nothing and are skipped.
struct ColourPlan {
  std::array<ColourStep, 4> order{ColourStep::brightness, ColourStep::contrast, ColourStep::saturation,
                                  ColourStep::hue};
  double brightness = 1.0;
  double contrast = 1.0;
  double saturation = 1.0;
  double hue = 0.0;
  bool grey = false;
  double blur_radius = 0.0;
  bool solarise = false;

  [[nodiscard]] bool operator==(const ColourPlan&) const = default;
};

/// Where a view lies in the scene, its size in pixels, and what is done to its values: changes of colour, then what a camera
/// does.
struct ViewPlan {
  CropMap map;
  Index height = 1;
  Index width = 1;
  ColourPlan colour;
  std::vector<PhotometricStep> parts{};

  [[nodiscard]] bool operator==(const ViewPlan&) const = default;
};

/// The stream of a view's numbers for one purpose.
[[nodiscard]] inline RandomStream view_stream(RandomKey base, Index view, Purpose purpose) {
  base.view = static_cast<std::uint32_t>(view);
  base.purpose = purpose;
  return RandomStream(base);
}

/// Four steps in an order drawn uniformly from all 24.
[[nodiscard]] inline std::array<ColourStep, 4> random_order(RandomStream& random) {
  std::array<ColourStep, 4> order = ColourPlan{}.order;
  for (std::uint32_t i = 3; i > 0; --i) std::swap(order[i], order[random.below(i + 1)]);
  return order;
}

/// Carries out a plan of colour on planes (C,h,w), in place: the four steps in their order, grey, blur,
/// solarise.
template <WorkType W>
void apply(PlanarImage<W>& planes, const ColourPlan& plan, BlurWorkspace<W>& workspace) {
  for (const ColourStep step : plan.order) {
    switch (step) {
      case ColourStep::brightness:
        if (plan.brightness != 1.0) adjust_brightness(planes, plan.brightness);
        break;
      case ColourStep::contrast:
        if (plan.contrast != 1.0) adjust_contrast(planes, plan.contrast);
        break;
      case ColourStep::saturation:
        if (plan.saturation != 1.0) adjust_saturation(planes, plan.saturation);
        break;
      case ColourStep::hue:
        if (plan.hue != 0.0) adjust_hue(planes, plan.hue);
        break;
    }
  }
  if (plan.grey) to_grey(planes);
  gaussian_blur(planes, plan.blur_radius, workspace);
  if (plan.solarise) solarise(planes);
}

}  // namespace dssl

#if defined(DSSL_INSTANCE)  // dssl::cpu has them: the same bits, and as quick, whatever a program is compiled with
DSSL_INSTANCE void dssl::apply(PlanarImage<std::uint8_t>&, const ColourPlan&, BlurWorkspace<std::uint8_t>&);
DSSL_INSTANCE void dssl::apply(PlanarImage<float>&, const ColourPlan&, BlurWorkspace<float>&);
#endif
