// An image and the plans of its views as one run of bytes, which a backend can render.
#pragma once

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <span>
#include <type_traits>
#include <variant>
#include <vector>

#include <dssl/backend/view_work.hpp>
#include <dssl/core/camera.hpp>
#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/blur.hpp>
#include <dssl/views/geometry.hpp>
#include <dssl/views/hue.hpp>
#include <dssl/views/image.hpp>
#include <dssl/views/lens.hpp>
#include <dssl/views/photometric.hpp>
#include <dssl/views/photometric_parts.hpp>
#include <dssl/views/planar_image.hpp>
#include <dssl/views/quarter_turn.hpp>
#include <dssl/views/resample_weights.hpp>
#include <dssl/views/view_plan.hpp>
#include <dssl/views/warp.hpp>

namespace dssl {

/// A view generator whose plans say all that is done to a view: they are `ViewPlan`, `interpolation` is how
/// boxes are resized, normalisation(mean, deviation, channels) fills means and deviations (C).
template <class X>
concept PlansViews = std::same_as<typename X::Plan, ViewPlan> &&
    requires(const X& x, std::vector<float>& values, Index channels) {
  { X::interpolation } -> std::convertible_to<Interpolation>;
  x.normalisation(values, values, channels);
};

/// How a view is read: its box is cut out of a picture, resized to its size and turned; or, where there is a
/// map, it is read through that, as it lies in the picture (`warp`).
struct ViewReading {
  ViewPlan view;
  QuarterTurn turn{};
  std::optional<LensMap> map{};
  Box picture{};  ///< the part of the image that is the picture; of no height: all of it
};

/// A generator of other plans, each of which its function reading(plan) makes a `ViewReading` of.
template <class X>
concept ReadsViews = requires(const X& x, const typename X::Plan& plan, std::vector<float>& values, Index channels) {
  { x.reading(plan) } -> std::same_as<ViewReading>;
  { X::interpolation } -> std::convertible_to<Interpolation>;
  x.normalisation(values, values, channels);
};

/// A view generator whose views a backend can render.
template <class X>
concept PacksViews = PlansViews<X> || ReadsViews<X>;

/// How each of a generator's plans is read.
template <PacksViews X>
[[nodiscard]] std::vector<ViewReading> readings_of(const X& views, std::span<const typename X::Plan> plans) {
  std::vector<ViewReading> out;
  for (const auto& plan : plans) {
    if constexpr (PlansViews<X>) {
      out.push_back({.view = plan});
    } else {
      out.push_back(views.reading(plan));
    }
  }
  return out;
}

/// One image and what its views need: pixels, filters, normalisation, all in `bytes`. Offsets in `views`
/// count from the first of them; `out` is not set.
struct ViewPack {
  std::vector<ViewWork> views;
  std::vector<std::byte> bytes;
};

namespace detail {

/// Appends arrays to a run of bytes, each at a multiple of 16.
class ByteWriter {
 public:
  explicit ByteWriter(std::vector<std::byte>& bytes) : x_bytes(bytes) { x_bytes.clear(); }

  /// Where the array then begins.
  template <class V>
  std::int64_t append(const V* values, std::size_t count) {
    const std::size_t begin = room(count * sizeof(V));
    std::memcpy(x_bytes.data() + begin, values, count * sizeof(V));
    return static_cast<std::int64_t>(begin);
  }
  /// The same for bytes that are written later.
  [[nodiscard]] std::size_t room(std::size_t count) {
    const std::size_t begin = (x_bytes.size() + 15) / 16 * 16;
    x_bytes.resize(begin + count);
    return begin;
  }

 private:
  std::vector<std::byte>& x_bytes;
};

/// `ViewAxis` of weights; `lowest` is subtracted from where they begin.
template <WorkType W>
[[nodiscard]] ViewAxis pack_axis(ByteWriter& bytes, std::vector<std::uint32_t>& words,
                                 const AxisWeights<W>& weights, Index lowest) {
  const Index size = weights.size();
  Index taps = 0;
  for (Index i = 0; i < size; ++i) taps = std::max(taps, weights.count(i));
  words.assign(static_cast<std::size_t>((2 + taps) * size), 0U);
  for (Index i = 0; i < size; ++i) {
    words[static_cast<std::size_t>(i)] = static_cast<std::uint32_t>(weights.first(i) - lowest);
    words[static_cast<std::size_t>(size + i)] = static_cast<std::uint32_t>(weights.count(i));
    for (Index t = 0; t < weights.count(i); ++t) {
      words[static_cast<std::size_t>((2 + t) * size + i)] =
          std::bit_cast<std::uint32_t>(weights.weights(i)[t]);
    }
  }
  return {bytes.append(words.data(), words.size()), static_cast<std::int32_t>(size),
          static_cast<std::int32_t>(taps)};
}

/// The changes of colour, in their order and without those that change nothing, as `apply` carries them out.
template <WorkType W>
void pack_colour(ViewWork& work, const ColourPlan& plan) {
  constexpr bool bytes = std::is_same_v<W, std::uint8_t>;
  const auto add = [&work](ViewStep step, float value) {
    work.steps[work.step_count] = step;
    work.step_values[work.step_count++] = value;
  };
  std::int32_t contrast = -1;
  for (const ColourStep step : plan.order) {
    switch (step) {
      case ColourStep::brightness:
        if (plan.brightness != 1.0) add(ViewStep::brightness, static_cast<float>(plan.brightness));
        break;
      case ColourStep::contrast:
        if (plan.contrast == 1.0) break;
        contrast = work.step_count;
        add(ViewStep::contrast, static_cast<float>(plan.contrast));
        break;
      case ColourStep::saturation:
        if (plan.saturation == 1.0 || work.channels == 1) break;
        add(ViewStep::saturation, static_cast<float>(plan.saturation));
        break;
      case ColourStep::hue:
        if (plan.hue == 0.0 || work.channels != 3) break;
        add(ViewStep::hue, bytes ? static_cast<float>(hue_steps(plan.hue)) : hue_sectors(plan.hue));
        break;
    }
  }
  if (plan.grey && work.channels != 1) add(ViewStep::grey, 0.0F);
  work.contrast_at = contrast < 0 ? work.step_count : contrast;
  work.solarise = plan.solarise ? 1 : 0;
  if (!(plan.blur_radius > 0.0)) return;
  const ExtendedBox<W> box(extended_box_radius(static_cast<float>(plan.blur_radius)));
  work.blur_radius = box.radius;
  if constexpr (bytes) {
    work.blur_weights[0] = box.inner;
    work.blur_weights[1] = box.outer;
  } else {
    work.blur_shares[0] = box.inner;
    work.blur_shares[1] = box.outer;
  }
}

template <WorkType W>
[[nodiscard]] std::int64_t pack_normalisation(ByteWriter& bytes, std::span<const float> mean,
                                              std::span<const float> deviation) {
  std::vector<float> terms(2 * mean.size());
  for (std::size_t c = 0; c < mean.size(); ++c) {
    const auto [factor, offset] = normalisation_terms<W>(mean[c], deviation[c]);
    terms[c] = factor;
    terms[mean.size() + c] = offset;
  }
  return bytes.append(terms.data(), terms.size());
}

}  // namespace detail

namespace detail {

/// A map to be read through, with the numbers of its plan.
[[nodiscard]] inline ViewMapping mapping_of(const LensMap& map, const WarpPlan& plan, Interpolation kind) {
  ViewMapping out;
  std::ranges::copy(map.first().plane().matrix(), out.plane);
  const Camera& c = map.then().camera();
  out.lens = {.fx = c.fx, .fy = c.fy, .cx = c.cx, .cy = c.cy, .k1 = c.k1, .k2 = c.k2,
              .p1 = c.p1, .p2 = c.p2, .k3 = c.k3, .k4 = c.k4, .k5 = c.k5, .k6 = c.k6};
  out.radius = map.then().radius();
  out.left = static_cast<double>(plan.box.x);
  out.top = static_cast<double>(plan.box.y);
  out.scale_x = plan.scale_x;
  out.scale_y = plan.scale_y;
  out.bent = map.straight() ? 0 : 1;
  out.bilinear = kind == Interpolation::bilinear ? 1 : 0;
  out.reads_across = plan.reads_across;
  out.reads_down = plan.reads_down;
  return out;
}

}  // namespace detail

/// Packs an image with the readings of its views: the rows that some view shows, and for each view the weights
/// with which `resample` would resize it, the map through which `warp` would read it, and the numbers with which
/// `apply` and `normalise` would change it.
///
/// `mean` (C), `deviation` (C). Throws `ShapeError` if a box is not inside its picture, or a picture not inside
/// the image, a size is not positive, a length does not fit, or a view has 2^30 values or more, `OptionError` for
/// a view with photometric parts, which a backend does not render. Allocates. Test: tests/cuda/views.cpp,
/// tests/cuda/warped_views.cpp.
template <PixelType T>
void pack_views(ViewPack& out, const ImageView<T>& image, std::span<const ViewReading> readings, Interpolation kind,
                std::span<const float> mean, std::span<const float> deviation) {
  using W = work_type<T>;
  const Index channels = image.channels();
  require_shape(mean.size() == static_cast<std::size_t>(channels) && deviation.size() == mean.size(),
                "pack_views: ", mean.size(), " means and ", deviation.size(), " deviations for ", channels,
                " channels; expected one of each a channel");
  out.views.clear();
  detail::ByteWriter bytes(out.bytes);
  const std::int64_t normalisation = detail::pack_normalisation<W>(bytes, mean, deviation);
  detail::AxisWeights<W> across;
  detail::AxisWeights<W> down;
  std::vector<std::uint32_t> words;
  std::vector<Index> first_rows;
  Index top = image.height();
  Index bottom = 0;
  for (const ViewReading& reading : readings) {
    const ViewPlan& plan = reading.view;
    const Box picture = reading.picture.height != 0 ? reading.picture : Box{0, 0, image.height(), image.width()};
    require_shape(inside(picture, image.height(), image.width()), "pack_views: picture of ", picture.height, " x ",
                  picture.width, " pixels at row ", picture.y, ", column ", picture.x,
                  " is not inside the image of ", image.height(), " x ", image.width());
    require_shape(reading.map || inside(plan.map.box, picture.height, picture.width), "pack_views: box of ",
                  plan.map.box.height, " x ", plan.map.box.width, " pixels at row ", plan.map.box.y, ", column ",
                  plan.map.box.x, " is not inside the image of ", picture.height, " x ", picture.width);
    if (!plan.parts.empty()) throw OptionError("parts", name_of(plan.parts.front().kind).name, "none where a backend renders views");
    require_shape(plan.height >= 1 && plan.width >= 1, "pack_views: to ", plan.height, " x ", plan.width,
                  " pixels; expected at least 1 x 1");
    ViewWork& work = out.views.emplace_back();
    // A turn is a mirror along each axis, or none, and rows for columns or not.
    const QuarterTurn& turn = reading.turn;
    const bool lies = turn.lying();
    bool from_right = plan.map.flip != (turn.quarters == 2 || turn.quarters == 3);
    bool from_below = turn.upside_down != (turn.quarters == 1 || turn.quarters == 2);
    detail::WarpPlan warp{.box = plan.map.box, .rows = lies ? plan.width : plan.height, .columns = lies ? plan.height : plan.width};
    if (reading.map) {
      warp = detail::plan_warp(*reading.map, picture.height, picture.width, plan.height, plan.width, kind);
      const ViewMapping mapping = detail::mapping_of(*reading.map, warp, kind);
      work.mapping = bytes.append(&mapping, 1);
      from_right = from_below = false;
    } else {
      work.lying = lies ? 1 : 0;
    }
    const Box& box = warp.box;
    across.prepare(box.width, warp.columns, kind, from_right);
    down.prepare(box.height, warp.rows, kind, from_below);
    Index first = box.height;
    Index last = 0;
    for (Index y = 0; y < warp.rows; ++y) {
      first = std::min(first, down.first(y));
      last = std::max(last, down.first(y) + down.count(y));
    }
    constexpr Index most = (Index{1} << 30) - 1;  // kernels count in 32 bits
    const Index most_rows = std::max({plan.height, last - first, warp.rows}), most_columns = std::max(plan.width, warp.columns);
    require_shape(channels <= most / most_rows / most_columns, "pack_views: ", channels, " channels of ", most_rows,
                  " x ", most_columns, " pixels; expected fewer than 2^30 values");
    work.normalisation = normalisation;
    work.row_values = image.width() * channels;
    work.pixels = (picture.x + box.x) * channels * static_cast<std::int64_t>(sizeof(T));
    work.depth = std::is_same_v<T, std::uint8_t>    ? PixelDepth::bits8
                 : std::is_same_v<T, std::uint16_t> ? PixelDepth::bits16
                                                    : PixelDepth::real;
    work.channels = static_cast<std::int32_t>(channels);
    work.height = static_cast<std::int32_t>(plan.height);
    work.width = static_cast<std::int32_t>(plan.width);
    work.copies = kind == Interpolation::nearest ? 1 : 0;
    work.across = detail::pack_axis(bytes, words, across, 0);
    work.down = detail::pack_axis(bytes, words, down, first);
    work.rows = static_cast<std::int32_t>(last - first);
    const auto blocks = [](Index pixels) {
      return static_cast<std::int32_t>((pixels + pixels_of_part - 1) / pixels_of_part);
    };
    work.row_blocks = blocks((last - first) * warp.columns);
    work.parts = blocks(plan.height * plan.width);
    detail::pack_colour<W>(work, plan.colour);
    const Index above = picture.y + box.y;
    first_rows.push_back(above + first);
    top = std::min(top, above + first);
    bottom = std::max(bottom, above + last);
  }
  if (readings.empty()) return;
  const std::size_t row_bytes = static_cast<std::size_t>(image.width() * channels) * sizeof(T);
  const std::size_t rows = bytes.room(static_cast<std::size_t>(bottom - top) * row_bytes);
  for (Index y = top; y < bottom; ++y) {
    std::memcpy(out.bytes.data() + rows + static_cast<std::size_t>(y - top) * row_bytes, image.row(y), row_bytes);
  }
  for (std::size_t v = 0; v < out.views.size(); ++v) {
    ViewWork& work = out.views[v];
    work.pixels += static_cast<std::int64_t>(rows) + (first_rows[v] - top) * work.row_values * static_cast<std::int64_t>(sizeof(T));
  }
}

/// The same for an image whose pixel type is known at run time.
DSSL_INLINE void pack_views(ViewPack& out, const AnyImageView& image, std::span<const ViewReading> readings,
                            Interpolation kind, std::span<const float> mean, std::span<const float> deviation);

#if defined(DSSL_WITH_DEFINITIONS)
DSSL_INLINE void pack_views(ViewPack& out, const AnyImageView& image, std::span<const ViewReading> readings,
                            Interpolation kind, std::span<const float> mean, std::span<const float> deviation) {
  std::visit([&](const auto& typed) { pack_views(out, typed, readings, kind, mean, deviation); }, image);
}
#endif

/// The same of views that are boxes.
inline void pack_views(ViewPack& out, const AnyImageView& image, std::span<const ViewPlan> plans, Interpolation kind,
                       std::span<const float> mean, std::span<const float> deviation) {
  std::vector<ViewReading> readings;
  for (const ViewPlan& plan : plans) readings.push_back({.view = plan});
  pack_views(out, image, readings, kind, mean, deviation);
}

/// The same of the plans of a generator.
template <PacksViews X>
void pack_views(ViewPack& out, const AnyImageView& image, const X& views, std::span<const typename X::Plan> plans) {
  std::vector<float> mean, deviation;
  views.normalisation(mean, deviation, channels(image));
  pack_views(out, image, readings_of(views, plans), X::interpolation, mean, deviation);
}

}  // namespace dssl
