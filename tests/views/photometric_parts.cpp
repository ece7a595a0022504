// What cameras do to views: each part against its formula, the order and numbers of a list, presets.
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <map>
#include <numbers>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "thrown.hpp"
#include "views/pictures.hpp"

#include <dssl/core/random.hpp>
#include <dssl/views/multi_crop.hpp>
#include <dssl/views/photometric_plan.hpp>
#include <dssl/views/view_pack.hpp>
#include <dssl/views/view_presets.hpp>

using namespace dssl;
using test::contains;
using test::drawn_picture;
using test::thrown_by;

namespace {

using Planes = PlanarImage<float>;

Planes flat(Index channels, Index height, Index width, float value) {
  Planes out;
  out.reshape(channels, height, width);
  std::fill_n(out.plane(0), channels * height * width, value);
  return out;
}

Planes drawn(Index height, Index width, Index channels) {
  Planes out;
  to_planes(out, drawn_picture<float>(height, width, channels));
  return out;
}

std::span<const float> values_of(const Planes& planes) {
  return {planes.plane(0), static_cast<std::size_t>(planes.channels() * planes.plane_size())};
}

double mean_of(std::span<const float> values) {
  double sum = 0;
  for (const float v : values) sum += static_cast<double>(v);
  return sum / static_cast<double>(values.size());
}

double variance_of(std::span<const float> values) {
  const double mean = mean_of(values);
  double sum = 0;
  for (const float v : values) sum += (static_cast<double>(v) - mean) * (static_cast<double>(v) - mean);
  return sum / static_cast<double>(values.size());
}

std::span<const float> row_of(const Planes& planes, Index c, Index y) {
  return {planes.row(c, y), static_cast<std::size_t>(planes.width())};
}

Planes after(Planes planes, const PhotometricStep& step) {
  PhotometricWorkspace workspace;
  apply(planes, step, workspace);
  return planes;
}

PhotometricKind kind_of(std::size_t i) { return static_cast<PhotometricKind>(i); }

/// An amount of each kind that is seen in any picture.
PhotometricStep strong(PhotometricKind kind) {
  const PhotometricName& name = name_of(kind);
  return {.kind = kind, .amount = name.both_ways ? 0.7 : 0.3 * name.most, .direction = 0.4, .seed = 9};
}

/// Largest difference of two pictures of one size.
double apart(const Planes& a, const Planes& b) {
  double out = 0;
  for (std::size_t i = 0; i < values_of(a).size(); ++i)
    out = std::max(out, static_cast<double>(std::abs(values_of(a)[i] - values_of(b)[i])));
  return out;
}

}  // namespace

TEST_CASE(
    "every part changes pictures of any channels and keeps them in range; an amount of 0 changes no bit") {
  for (const Index channels : {1, 3, 5}) {
    const Planes before = drawn(37, 43, channels);
    for (std::size_t i = 0; i < photometric_names.size(); ++i) {
      PhotometricStep step = strong(kind_of(i));
      INFO(photometric_names[i].name << " of " << channels << " channels");
      const Planes changed = after(before, step);
      const bool balances =
          step.kind == PhotometricKind::white_balance || step.kind == PhotometricKind::grey_world;
      CHECK((apart(changed, before) > 0.005) == !(channels == 1 && balances));
      CHECK(std::ranges::all_of(values_of(changed), [](float v) { return v >= 0 && v <= 1; }));
      CHECK(std::ranges::equal(values_of(changed), values_of(after(before, step))));
      step.amount = 0;
      CHECK(std::ranges::equal(values_of(before), values_of(after(before, step))));
    }
  }
}

TEST_CASE("exposure, gamma, vignetting and fewer bits follow their formulas") {
  const Planes before = drawn(30, 41, 3);
  const auto cut = [](double v) { return std::clamp(v, 0.0, 1.0); };
  const auto holds = [&](const PhotometricStep& step, const auto& formula) {
    const Planes changed = after(before, step);
    double worst = 0;
    for (Index c = 0; c < 3; ++c)
      for (Index y = 0; y < 30; ++y)
        for (Index x = 0; x < 41; ++x)
          worst = std::max(worst, std::abs(static_cast<double>(changed.row(c, y)[x]) -
                                           formula(static_cast<double>(before.row(c, y)[x]), y, x)));
    CHECK(worst < 2e-6);
  };
  for (const double stops : {-1.5, 0.5})
    holds({.kind = PhotometricKind::exposure, .amount = stops},
          [&](double v, Index, Index) { return cut(v * std::pow(2, stops)); });
  for (const double g : {-0.5, 1.0})
    holds({.kind = PhotometricKind::gamma, .amount = g},
          [&](double v, Index, Index) { return std::pow(v, std::pow(2, g)); });
  // The light of a corner is 1 - loss of the middle's, and falls off with the fourth power of the cosine of
  // the angle.
  const double loss = 0.6,
               corner = std::sqrt(std::pow(1 - loss, -0.5) - 1);  // tangent there: cos^2 = 1 / (1 + tan^2)
  holds({.kind = PhotometricKind::vignetting, .amount = loss}, [&](double v, Index y, Index x) {
    const double r = std::hypot(static_cast<double>(y) + 0.5 - 15, static_cast<double>(x) + 0.5 - 20.5) /
                     std::hypot(15, 20.5);
    return v * std::pow(std::cos(std::atan(corner * r)), 4);
  });
  CHECK(std::pow(std::cos(std::atan(corner)), 4) == Approx(1 - loss));
  for (const double fewer : {3.0, 7.0, 5.4}) {
    const double levels = std::max(2.0, std::round(std::pow(2, 8 - fewer)));
    std::set<float> seen;
    const Planes changed = after(before, {.kind = PhotometricKind::quantise, .amount = fewer});
    for (const float v : values_of(changed)) seen.insert(v);
    CHECK(seen.size() <= static_cast<std::size_t>(levels));
    CHECK(seen.size() >= static_cast<std::size_t>(0.7 * levels));
    CHECK(apart(changed, before) <= 0.5 / (levels - 1) + 1e-6);
    for (const float v : seen)
      CHECK(std::abs(static_cast<double>(v) * (levels - 1) -
                     std::round(static_cast<double>(v) * (levels - 1))) < 1e-4);
  }
}

TEST_CASE("white balance keeps the geometric mean of the channels, and a grey world gives them one mean") {
  for (const Index channels : {3, 4}) {
    const Planes changed =
        after(flat(channels, 2, 2, 0.3F), {.kind = PhotometricKind::white_balance, .amount = 0.8, .seed = 5});
    double logs = 0, most = 0;
    for (Index c = 0; c < channels; ++c) {
      const double stops = std::log2(static_cast<double>(changed.plane(c)[0]) / 0.3);
      logs += stops;
      most = std::max(most, std::abs(stops));
      CHECK(changed.plane(c)[3] == changed.plane(c)[0]);
    }
    CHECK(std::abs(logs) < 1e-5);
    CHECK(most > 0.05);
    CHECK(most < 1.6);
  }
  Planes tinted;
  tinted.reshape(3, 20, 20);
  for (Index c = 0; c < 3; ++c)
    for (Index i = 0; i < 400; ++i)
      tinted.plane(c)[i] =
          static_cast<float>(0.2 + 0.1 * static_cast<double>(c)) * (i % 2 == 0 ? 1.0F : 0.5F);
  const auto mean = [](const Planes& planes, Index c) { return mean_of({planes.plane(c), 400}); };
  const double all = (mean(tinted, 0) + mean(tinted, 1) + mean(tinted, 2)) / 3;
  const Planes whole = after(tinted, {.kind = PhotometricKind::grey_world, .amount = 1});
  const Planes half = after(tinted, {.kind = PhotometricKind::grey_world, .amount = 0.5});
  for (Index c = 0; c < 3; ++c) {
    CHECK(mean(whole, c) == Approx(all).epsilon(1e-5));
    CHECK(mean(half, c) == Approx(std::sqrt(all * mean(tinted, c))).epsilon(1e-5));
  }
  Planes black = flat(3, 4, 4, 0.5F);
  std::fill_n(black.plane(1), 16, 0.0F);
  CHECK(after(black, {.kind = PhotometricKind::grey_world, .amount = 1}).plane(1)[7] == 0);
  black.plane(1)[3] = 1e-40F;  // its mean is nearly none, and the factor beyond the floats
  const Planes lit = after(black, {.kind = PhotometricKind::grey_world, .amount = 1});
  CHECK(lit.plane(1)[7] == 0);
  CHECK(lit.plane(1)[3] > 0.01F);
}

TEST_CASE("noise has the mean and variance that its formula says, and is new in every value") {
  constexpr Index side = 160;
  // Standard errors: of a mean s / sqrt(n), of a variance s^2 sqrt(2 / n).
  const auto measured = [](const Planes& planes, double mean, double variance) {
    const auto n = static_cast<double>(values_of(planes).size());
    CHECK(std::abs(mean_of(values_of(planes)) - mean) < 4 * std::sqrt(variance / n));
    CHECK(std::abs(variance_of(values_of(planes)) - variance) < 4 * variance * std::sqrt(2 / n));
  };
  for (const double level : {0.2, 0.5}) {
    const auto planes = flat(3, side, side, static_cast<float>(level));
    const double a = 0.05, electrons = 1 / (a * a);
    measured(after(planes, {.kind = PhotometricKind::shot_noise, .amount = a, .seed = 1}), level,
             level / electrons);
    measured(after(planes, {.kind = PhotometricKind::read_noise, .amount = a, .seed = 2}), level, a * a);
    measured(after(planes, {.kind = PhotometricKind::fixed_pattern, .amount = a, .seed = 3}), level,
             a * a * level * level);
  }
  const Planes noisy =
      after(flat(3, side, side, 0.5F), {.kind = PhotometricKind::read_noise, .amount = 0.1, .seed = 4});
  double rows = 0, columns = 0, channels = 0;  // products of neighbours
  for (Index y = 0; y + 1 < side; ++y) {
    for (Index x = 0; x + 1 < side; ++x) {
      const auto at = [&](Index c, Index down, Index right) {
        return static_cast<double>(noisy.row(c, y + down)[x + right]) - 0.5;
      };
      rows += at(0, 0, 0) * at(0, 1, 0);
      columns += at(0, 0, 0) * at(0, 0, 1);
      channels += at(0, 0, 0) * at(1, 0, 0);
    }
  }
  for (const double sum : {rows, columns, channels})
    CHECK(std::abs(sum) < 4 * 0.01 * static_cast<double>(side));
  CHECK(apart(noisy, after(flat(3, side, side, 0.5F),
                           {.kind = PhotometricKind::read_noise, .amount = 0.1, .seed = 5})) > 0.1);
}

TEST_CASE("noise is Box's and Muller's of the stream's words") {
  for (const Index width : {Index{1}, Index{7}, Index{131}, Index{300}}) {
    const Planes noisy = after(flat(2, 50, width, 0.5F), {.kind = PhotometricKind::read_noise, .amount = 0.08, .seed = 9});
    RandomStream random({.seed = 9, .purpose = Purpose::photometric});
    double worst = 0;
    for (Index row = 0; row < 2 * 50; ++row) {  // a row's own pairs, of the last of an odd row its first alone
      for (Index x = 0; x < width; x += 2) {
        const double u = std::ldexp(static_cast<double>(random.bits() >> 8U) + 1, -24);
        const double angle = 2 * std::numbers::pi * std::ldexp(static_cast<double>(random.bits() >> 8U), -24);
        const double length = 0.08 * std::sqrt(-2 * std::log(u));
        const float* const values = noisy.row(row / 50, row % 50);
        const auto differs = [&](Index at, double n) { return std::abs(static_cast<double>(values[at]) - std::clamp(0.5 + n, 0.0, 1.0)); };
        worst = std::max(worst, differs(x, length * std::cos(angle)));
        if (x + 1 < width) worst = std::max(worst, differs(x + 1, length * std::sin(angle)));
      }
    }
    CHECK(worst < 3e-7);
  }
}

TEST_CASE("rows are banded in rows, columns in columns, all channels alike") {
  constexpr Index height = 900, width = 700;
  const auto planes = flat(2, height, width, 0.4F);
  const Planes banded = after(planes, {.kind = PhotometricKind::row_banding, .amount = 0.03, .seed = 6});
  const Planes striped = after(planes, {.kind = PhotometricKind::column_pattern, .amount = 0.03, .seed = 7});
  std::vector<float> rows, columns;
  for (Index y = 0; y < height; ++y) {
    rows.push_back(banded.row(0, y)[0]);
    for (Index c = 0; c < 2; ++c) {
      CHECK(std::ranges::all_of(row_of(banded, c, y), [&](float v) { return v == rows.back(); }));
      CHECK(std::ranges::equal(row_of(striped, c, y), row_of(striped, 0, 0)));
    }
  }
  columns.assign(striped.row(0, 0), striped.row(0, 0) + width);
  CHECK(std::sqrt(variance_of(rows)) == Approx(0.03).epsilon(0.1));
  CHECK(std::sqrt(variance_of(columns)) == Approx(0.03 * 0.4).epsilon(0.12));  // of a gain
}

TEST_CASE("hot pixels are the share that was asked for, at full scale, the others as they were") {
  constexpr Index side = 300;
  for (const double share : {0.001, 0.02, 0.4}) {
    const Planes changed =
        after(flat(3, side, side, 0.25F), {.kind = PhotometricKind::hot_pixels, .amount = share, .seed = 8});
    double hot = 0;
    bool others = true;
    for (const float v : values_of(changed)) {
      hot += v == 1 ? 1 : 0;
      others = others && (v == 1 || v == 0.25F);
    }
    const double expected = share * 3 * side * side;
    CHECK(others);
    CHECK(std::abs(hot - expected) < 4 * std::sqrt(expected));
  }
}

TEST_CASE("a point out of focus is a disc, a moving one a line; an even picture stays even") {
  constexpr Index side = 61, middle = 30;
  Planes point = flat(1, side, side, 0);
  point.row(0, middle)[middle] = 1;
  struct Moments {
    double mass = 0, x = 0, y = 0, xx = 0, yy = 0, xy = 0;
  };
  const auto moments = [&](const PhotometricStep& step) {
    Moments m;
    const Planes spread = after(point, step);
    for (Index y = 0; y < side; ++y) {
      for (Index x = 0; x < side; ++x) {
        const double v = static_cast<double>(spread.row(0, y)[x]), dx = static_cast<double>(x - middle),
                     dy = static_cast<double>(y - middle);
        m = {m.mass + v,         m.x + v * dx,       m.y + v * dy,
             m.xx + v * dx * dx, m.yy + v * dy * dy, m.xy + v * dx * dy};
      }
    }
    CHECK(m.mass == Approx(1).epsilon(1e-5));
    CHECK(std::abs(m.x) < 1e-4);
    CHECK(std::abs(m.y) < 1e-4);
    return m;
  };
  for (const double radius : {2.0, 5.5, 12.0}) {
    const Moments m = moments({.kind = PhotometricKind::defocus, .amount = radius});
    CHECK(std::abs(m.xx - radius * radius / 4) < 0.25);  // of an even disc, and what its soft edge adds
    CHECK(m.yy == Approx(m.xx).epsilon(1e-4));
    const Planes disc = after(point, {.kind = PhotometricKind::defocus, .amount = radius});
    const auto inside = static_cast<Index>(radius - 0.5);
    CHECK(disc.row(0, middle)[middle + inside] == disc.row(0, middle)[middle]);
    CHECK(disc.row(0, middle)[middle + static_cast<Index>(std::ceil(radius + 0.5))] == 0);
  }
  for (const double angle : {0.0, 0.7, 2.0}) {
    constexpr double length = 14;
    const Moments m = moments({.kind = PhotometricKind::motion_blur, .amount = length, .direction = angle});
    const double c = std::cos(angle), s = std::sin(angle);
    const double along = c * c * m.xx + 2 * c * s * m.xy + s * s * m.yy,
                 across = s * s * m.xx - 2 * c * s * m.xy + c * c * m.yy;
    CHECK(along == Approx(length * length / 12).epsilon(0.05));  // of an even line
    CHECK(across < 0.3);                                         // what sharing among pixels adds
  }
  for (const PhotometricKind kind : {PhotometricKind::defocus, PhotometricKind::motion_blur}) {
    const Planes even =
        after(flat(2, 9, 12, 0.37F), {.kind = kind, .amount = 11, .direction = 1});  // wider than the view
    CHECK(std::ranges::all_of(values_of(even), [](float v) { return std::abs(v - 0.37F) < 1e-5F; }));
    for (double amount = 0.5; amount < 32; amount *= 1.3) {  // rounded weights may be more than 1 together
      const Planes white = after(flat(1, 5, 6, 1.0F), {.kind = kind, .amount = amount, .direction = 1});
      CHECK(std::ranges::all_of(values_of(white), [](float v) { return v <= 1 && v > 0.9999F; }));
    }
  }
}

TEST_CASE("amounts, sizes, losses and qualities that no part has are refused in one line") {
  for (std::size_t i = 0; i < photometric_names.size(); ++i) {
    const PhotometricName& name = photometric_names[i];
    INFO(name.name);
    CHECK_NOTHROW(after(flat(3, 2, 2, 0.5F), {.kind = kind_of(i), .amount = name.most}));
    const double least = name.both_ways ? -name.most : 0;
    for (const double amount : {1.01 * name.most, least - 0.01, std::nan("")}) {
      const std::string said =
          thrown_by<OptionError>([&] { after(flat(3, 2, 2, 0.5F), {.kind = kind_of(i), .amount = amount}); });
      CHECK(said == join("option 'parts' is ", name.name, "=", amount, "; expected ", name.name, " from ", least, " to ",
                         name.most, " (", name.unit, ")"));
    }
    if (name.both_ways) CHECK_NOTHROW(after(flat(3, 2, 2, 0.5F), {.kind = kind_of(i), .amount = least}));
  }
  CHECK(thrown_by<OptionError>([] { after(flat(1, 2, 2, 0.5F), {.kind = kind_of(15), .amount = 1}); }) ==
        "option 'parts' is 15; expected a kind below 15");
  for (const int quality : {0, -3, 101}) {
    const std::string said = join("option 'quality' is ", quality, "; expected 1 to 100");
    CHECK(thrown_by<OptionError>([&] { static_cast<void>(block_steps(quality, true)); }) == said);
  }
  Planes planes = flat(1, 2, 2, 0.5F);
  for (const double loss : {1.0, -0.1, std::nan("")})
    CHECK(contains(thrown_by<OptionError>([&] { vignette(planes, loss); }), "expected at least 0 and below 1"));
  for (const double size : {64.5, 1e12, -1.0, std::nan("")}) {
    CHECK(contains(thrown_by<OptionError>([&] { static_cast<void>(disc_spread(size)); }),
                   "; expected 0 to 32 pixels"));
    CHECK(contains(thrown_by<OptionError>([&] { static_cast<void>(line_spread(size, 0)); }),
                   "; expected 0 to 64 pixels"));
  }
  CHECK(contains(thrown_by<OptionError>([] { static_cast<void>(line_spread(3, std::nan(""))); }),
                 "expected an angle in radians"));
}

namespace {

/// The cosine transform of JPEG as the standard writes it, in double: four sums.
std::array<std::array<double, 8>, 8> plain_transform(const std::array<std::array<double, 8>, 8>& f,
                                                     bool back) {
  const auto c = [](std::size_t k) { return k == 0 ? std::sqrt(0.5) : 1.0; };
  const auto wave = [](std::size_t n, std::size_t k) {
    return std::cos((2.0 * static_cast<double>(n) + 1) * static_cast<double>(k) * std::numbers::pi / 16);
  };
  std::array<std::array<double, 8>, 8> out{};
  for (std::size_t u = 0; u < 8; ++u)
    for (std::size_t v = 0; v < 8; ++v)
      for (std::size_t y = 0; y < 8; ++y)
        for (std::size_t x = 0; x < 8; ++x) {
          if (back) {
            out[u][v] += 0.25 * c(y) * c(x) * f[y][x] * wave(u, y) * wave(v, x);
          } else {
            out[u][v] += 0.25 * c(u) * c(v) * f[y][x] * wave(y, u) * wave(x, v);
          }
        }
  return out;
}

/// One plane on the scale of 0 to 255 less 128, block by block.
void plain_round_trip(std::vector<double>& plane, Index height, Index width, const BlockSteps& steps) {
  std::vector<double> out(plane.size());
  for (Index top = 0; top < height; top += 8) {
    for (Index left = 0; left < width; left += 8) {
      std::array<std::array<double, 8>, 8> block{};
      for (Index y = 0; y < 8; ++y)
        for (Index x = 0; x < 8; ++x)
          block[static_cast<std::size_t>(y)][static_cast<std::size_t>(x)] = plane[static_cast<std::size_t>(
              std::min(top + y, height - 1) * width + std::min(left + x, width - 1))];
      auto waves = plain_transform(block, false);
      for (std::size_t i = 0; i < 64; ++i)
        waves[i / 8][i % 8] =
            std::round(waves[i / 8][i % 8] / static_cast<double>(steps[i])) * static_cast<double>(steps[i]);
      block = plain_transform(waves, true);
      for (Index y = top; y < std::min(top + 8, height); ++y)
        for (Index x = left; x < std::min(left + 8, width); ++x)
          out[static_cast<std::size_t>(y * width + x)] =
              block[static_cast<std::size_t>(y - top)][static_cast<std::size_t>(x - left)];
    }
  }
  plane = out;
}

}  // namespace

TEST_CASE("JPEG's steps are the standard's tables at quality 50, finer above and coarser below") {
  const BlockSteps brightness = block_steps(50, false), colour = block_steps(50, true);
  CHECK(brightness[0] == 16);
  CHECK(brightness[7] == 61);
  CHECK(brightness[56] == 72);
  CHECK(brightness[63] == 99);
  CHECK(colour[0] == 17);
  CHECK(colour[3] == 47);
  CHECK(colour[4] == 99);
  // The sums of libjpeg's tables, each step times its place.
  const auto placed = [](const BlockSteps& steps) {
    int sum = 0;
    for (std::size_t i = 0; i < 64; ++i)
      sum += static_cast<int>((i + 1) * static_cast<std::size_t>(steps[i]));
    return sum;
  };
  CHECK(placed(brightness) == 151242);
  CHECK(placed(colour) == 196971);
  CHECK(std::ranges::all_of(block_steps(100, false), [](float s) { return s == 1; }));
  CHECK(block_steps(75, false)[0] == 8);
  CHECK(block_steps(25, false)[0] == 32);
  CHECK(block_steps(1, true)[0] == 255);
}

TEST_CASE("JPEG's losses are those of the standard's formulas, written out") {
  constexpr Index height = 21, width = 29;  // no whole number of blocks, and odd
  const auto clean = [](double v) { return std::round(std::clamp(v, 0.0, 255.0)) / 255; };
  for (const int quality : {90, 40, 10}) {
    for (const Index channels : {1, 3}) {
      const Planes before = drawn(height, width, channels);
      const Planes changed = after(before, {.kind = PhotometricKind::jpeg, .amount = 100.0 - quality});
      std::vector<std::vector<double>> planes(static_cast<std::size_t>(channels),
                                              std::vector<double>(static_cast<std::size_t>(height * width)));
      const auto value = [&](Index c, std::size_t i) {
        return 255 * static_cast<double>(before.plane(c)[i]);
      };
      for (std::size_t i = 0; i < planes[0].size(); ++i) {
        if (channels == 1) {
          planes[0][i] = value(0, i) - 128;
          continue;
        }
        const double r = value(0, i), g = value(1, i), b = value(2, i), y = 0.299 * r + 0.587 * g + 0.114 * b;
        planes[0][i] = y - 128;
        planes[1][i] = (b - y) / 1.772;
        planes[2][i] = (r - y) / 1.402;
      }
      plain_round_trip(planes[0], height, width, block_steps(quality, false));
      for (std::size_t c = 1; c < planes.size(); ++c) {
        const Index h = (height + 1) / 2, w = (width + 1) / 2;
        std::vector<double> half;
        for (Index y = 0; y < h; ++y) {
          for (Index x = 0; x < w; ++x) {
            double sum = 0;
            for (const Index down : {0, 1})
              for (const Index right : {0, 1})
                sum += planes[c][static_cast<std::size_t>(std::min(2 * y + down, height - 1) * width +
                                                          std::min(2 * x + right, width - 1))];
            half.push_back(sum / 4);
          }
        }
        plain_round_trip(half, h, w, block_steps(quality, true));
        for (Index y = 0; y < height; ++y)
          for (Index x = 0; x < width; ++x)
            planes[c][static_cast<std::size_t>(y * width + x)] =
                half[static_cast<std::size_t>(y / 2 * w + x / 2)];
      }
      // A coefficient or a value half way between two steps may go either way: a few blocks and values.
      std::size_t off = 0, total = 0;
      for (Index c = 0; c < channels; ++c) {
        for (std::size_t i = 0; i < planes[0].size(); ++i) {
          double expected = planes[0][i] + 128;
          if (channels == 3) {
            const double y = expected, cb = planes[1][i], cr = planes[2][i], r = y + 1.402 * cr,
                         b = y + 1.772 * cb;
            expected = c == 0 ? r : c == 2 ? b : (y - 0.299 * r - 0.114 * b) / 0.587;
          }
          off += std::abs(clean(expected) - static_cast<double>(changed.plane(c)[i])) > 1e-3 ? 1 : 0;
          ++total;
        }
      }
      INFO("quality " << quality << ", " << channels << " channels: " << off << " of " << total << " differ");
      CHECK(static_cast<double>(off) <= 0.002 * static_cast<double>(total));
      CHECK(apart(changed, before) > (quality == 90 ? 0.01 : 0.05));
    }
  }
}

TEST_CASE("a list is drawn by the key: its order uniformly, its numbers whatever else is in the list") {
  const std::vector<PhotometricPart> three{
      {PhotometricKind::exposure, 1}, {PhotometricKind::jpeg, 50}, {PhotometricKind::read_noise, 0.1}};
  std::map<std::string, int> orders;
  constexpr int views = 3000;
  double least = 1e9, most = -1e9, jpeg = 0;
  for (std::uint64_t sample = 0; sample < views; ++sample) {
    const RandomKey key{.seed = 3, .sample = sample};
    const auto steps = plan_parts(three, view_stream(key, 0, Purpose::photometric));
    REQUIRE(steps.size() == 3);
    std::string order;
    for (const PhotometricStep& step : steps) {
      order += name_of(step.kind).name[0];
      if (step.kind == PhotometricKind::exposure)
        least = std::min(least, step.amount), most = std::max(most, step.amount);
      if (step.kind == PhotometricKind::jpeg) jpeg += step.amount / views;
    }
    ++orders[order];
    CHECK(steps == plan_parts(three, view_stream(key, 0, Purpose::photometric)));
    // Alone, or in another order of the list, a part is the same.
    const auto alone = plan_parts({three[2]}, view_stream(key, 0, Purpose::photometric));
    REQUIRE(alone.size() == 1);
    CHECK(std::ranges::count(steps, alone[0]) == 1);
    CHECK(steps == plan_parts({three[1], three[2], three[0]}, view_stream(key, 0, Purpose::photometric)));
  }
  CHECK(orders.size() == 6);
  for (const auto& [order, count] : orders) {
    INFO(order);
    CHECK(std::abs(count - views / 6) < 4 * std::sqrt(views / 6.0));
  }
  CHECK((least < -0.95 && most > 0.95));
  CHECK(jpeg == Approx(25).epsilon(0.05));
  int has = 0;
  for (std::uint64_t sample = 0; sample < views; ++sample)
    has += static_cast<int>(plan_parts({{PhotometricKind::jpeg, 50, 0.3}},
                                       view_stream({.sample = sample}, 1, Purpose::photometric))
                                .size());
  CHECK(std::abs(has - 0.3 * views) < 4 * std::sqrt(0.21 * views));
  CHECK(plan_parts({{PhotometricKind::jpeg, 0}}, view_stream({}, 0, Purpose::photometric)).empty());
}

namespace {

template <class T>
std::vector<float> rendered(const MultiCrop<>& crop, const ViewPlan& plan, Index channels) {
  ViewWorkspace workspace;
  std::vector<float> out(static_cast<std::size_t>(channels * plan.height * plan.width));
  crop.render(drawn_picture<T>(70, 90, channels), plan, out, workspace);
  return out;
}

/// Share of values that are further apart than `most`.
double share_apart(const std::vector<float>& a, const std::vector<float>& b, double most) {
  REQUIRE(a.size() == b.size());
  double out = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    out += std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])) <= most ? 0 : 1;
  return out / static_cast<double>(a.size());
}

}  // namespace

TEST_CASE(
    "views with parts: boxes and colours as without, pixels of their own, alike in all pixel types and on "
    "all threads") {
  MultiCropOptions plain;
  plain.locals = 1;
  plain.global_size = plain.local_size = {48, 40};
  MultiCropOptions options = with_preset(plain, "old_camera");
  options.grey = plain.grey;
  const MultiCrop<> without(plain), with(options);
  const RandomKey key{.seed = 11, .epoch = 2, .sample = 5};
  const auto bare = without.plan(70, 90, key), plans = with.plan(70, 90, key);
  std::set<std::uint64_t> seeds;
  for (std::size_t v = 0; v < plans.size(); ++v) {
    CHECK(plans[v].map == bare[v].map);
    CHECK(plans[v].colour == bare[v].colour);
    CHECK(bare[v].parts.empty());
    REQUIRE(!plans[v].parts.empty());
    for (const PhotometricStep& step : plans[v].parts) CHECK(seeds.insert(step.seed).second);
    const auto view = rendered<std::uint8_t>(with, plans[v], 3);
    CHECK(view != rendered<std::uint8_t>(without, bare[v], 3));
    std::vector<float> elsewhere;
    std::thread([&] { elsewhere = rendered<std::uint8_t>(with, plans[v], 3); }).join();
    CHECK(view == elsewhere);
    for (const Index channels : {1, 3, 5}) {  // 16 bits are floats from the beginning
      // By what they round away, a coefficient or level half way between two steps may go the other way.
      CHECK(share_apart(rendered<std::uint16_t>(with, plans[v], channels),
                        rendered<float>(with, plans[v], channels), 1e-3) < 0.02);
    }
  }
  // What 8 bits round away: half a level when the view is made, half when it is done.
  ViewPlan calm = plans[0];
  calm.colour = {};
  calm.parts = {{.kind = PhotometricKind::exposure, .amount = -0.5},
                {.kind = PhotometricKind::read_noise, .amount = 0.05, .seed = 4}};
  const auto bytes = rendered<std::uint8_t>(with, calm, 3), floats = rendered<float>(with, calm, 3);
  CHECK(share_apart(bytes, floats, 3 / 255.0 / 0.22) == 0);
  CHECK(share_apart(rendered<std::uint16_t>(with, calm, 3), floats, 3 / 65535.0 / 0.22) == 0);
}

TEST_CASE("8 bits are rounded to the nearest, once") {
  PlanarImage<std::uint8_t> levels;
  levels.reshape(1, 16, 16);
  PhotometricWorkspace workspace;
  for (const double stops : {1e-9, -1.0}) {
    for (Index i = 0; i < 256; ++i) levels.plane(0)[i] = static_cast<std::uint8_t>(i);
    apply(levels, std::vector<PhotometricStep>{{.kind = PhotometricKind::exposure, .amount = stops}},
          workspace);
    for (int i = 0; i < 256; ++i) CHECK(int{levels.plane(0)[i]} == (stops == -1 ? (i + 1) / 2 : i));
  }
}

TEST_CASE("a grey view stays grey: a camera of one channel took it") {
  const Image<std::uint8_t> grey = drawn_picture<std::uint8_t>(40, 50, 1);
  PlanarImage<std::uint8_t> one, three;
  to_planes(one, grey);
  three.reshape(3, 40, 50);
  for (Index c = 0; c < 3; ++c) std::copy_n(one.plane(0), 2000, three.plane(c));
  std::vector<PhotometricStep> steps;
  for (std::size_t i = 0; i < photometric_names.size(); ++i) {
    steps.push_back(strong(kind_of(i)));
    steps.back().amount *= 0.1;
  }
  PhotometricWorkspace workspace;
  const PlanarImage<std::uint8_t> before = one;
  apply(one, steps, workspace);
  apply(three, steps, workspace);
  CHECK(!std::equal(one.plane(0), one.plane(0) + 2000, before.plane(0)));
  for (Index c = 0; c < 3; ++c) CHECK(std::equal(one.plane(0), one.plane(0) + 2000, three.plane(c)));
  // One value apart, it is a view in colour.
  three = before;
  three.reshape(3, 40, 50);
  for (Index c = 0; c < 3; ++c) std::copy_n(before.plane(0), 2000, three.plane(c));
  three.plane(2)[1999] ^= 1U;
  apply(three, steps, workspace);
  CHECK(!std::equal(three.plane(0), three.plane(0) + 2000, three.plane(1)));
}

TEST_CASE("lists as text: read, written to the bit, merged, and refused in one line") {
  const std::string text = "exposure=1,shot_noise=0.1@0.25,jpeg=60";
  const auto parts = photometric_parts_of(text);
  REQUIRE(parts.size() == 3);
  CHECK(parts[1] == PhotometricPart{PhotometricKind::shot_noise, 0.1, 0.25});
  CHECK(text_of(parts) == text);
  CHECK(photometric_parts_of("").empty());
  CHECK(text_of(std::vector<PhotometricPart>()).empty());
  CHECK(text_of(merged(parts, photometric_parts_of("jpeg=0,exposure=0.5@0.5,gamma=1"))) ==
        "exposure=0.5@0.5,gamma=1,shot_noise=0.1@0.25");
  // Lists that make the same views have the same text, and those that do not another.
  CHECK(text_of(photometric_parts_of("jpeg=60,gamma=0,shot_noise=0.1@0.25,defocus=3@0,exposure=1")) == text);
  CHECK(text_of(photometric_parts_of("jpeg=60,shot_noise=0.1@0.2,exposure=1")) != text);
  for (std::size_t i = 0; i < photometric_names.size(); ++i) {
    const PhotometricPart most{kind_of(i), photometric_names[i].most};
    CHECK(photometric_parts_of(text_of({most})) == std::vector{most});
    const std::string more = thrown_by<OptionError>([&] {
      validate({{kind_of(i), photometric_names[i].most * 1.01}}, "views.");
    });
    CHECK(more.starts_with(join("option 'views.parts' is ", photometric_names[i].name, "=")));
    CHECK(contains(more,
                   join("expected ", photometric_names[i].name, " from 0 to ", photometric_names[i].most)));
  }
  for (const char* wrong : {"jpg=4", "jpeg", "jpeg=", "jpeg=4x", "jpeg=4@", "jpeg=4,", ",jpeg=4",
                            "jpeg=4@0.5@1", "jpeg:4", "jpeg@1=4", "jpeg=4 "}) {
    INFO(wrong);
    const std::string said = thrown_by<OptionError>([&] { static_cast<void>(photometric_parts_of(wrong)); });
    CHECK(contains(said, "expected NAME=STRENGTH or NAME=STRENGTH@PROBABILITY"));
    CHECK(said.find('\n') == std::string::npos);
  }
  CHECK_THROWS_AS(photometric_parts_of("jpeg=nan"), OptionError);
  CHECK_THROWS_AS(photometric_parts_of("jpeg=-1"), OptionError);
  CHECK_THROWS_AS(photometric_parts_of("jpeg=1@1.5"), OptionError);
  CHECK(thrown_by<OptionError>([] { static_cast<void>(photometric_parts_of("jpeg=1,jpeg=2")); }) ==
        "option 'parts' is jpeg twice; expected every part once");
  MultiCropOptions options;
  options.parts = {{PhotometricKind::defocus, 100}};
  CHECK(contains(thrown_by<OptionError>([&] { MultiCrop<> refused(options); }),
                 "option 'parts' is defocus=100; expected defocus from 0 to 32"));
}

TEST_CASE("presets set what they say and leave the rest") {
  const MultiCropOptions published;
  for (const ViewPreset& preset : view_presets) {
    MultiCropOptions options = with_preset(published, preset.name);
    CHECK_NOTHROW(validate(options));
    CHECK(options != published);
    CHECK(options.parts == photometric_parts_of(preset.parts));
    const bool industrial = preset.name == "industrial";
    CHECK(options.hue == (industrial ? 0 : published.hue));
    CHECK(options.turned() == industrial);
    options.parts.clear();
    options.grey = published.grey;
    if (industrial) options.hue = published.hue, options.vertical_flip = options.quarter_turns = 0;
    CHECK(options == published);
  }
  CHECK(thrown_by<OptionError>([] { static_cast<void>(with_preset({}, "new_camera")); }) ==
        "option 'preset' is new_camera; expected old_camera, line_scan, mobile, industrial");
}

TEST_CASE("views with parts are not packed for a backend") {
  MultiCropOptions options;
  options.parts = {{PhotometricKind::jpeg, 50}};
  const MultiCrop<> crop(options);
  ViewPack pack;
  const std::vector<float> ones{1, 1, 1};
  CHECK(thrown_by<OptionError>([&] {
          pack_views(pack, drawn_picture<std::uint8_t>(40, 40, 3), crop.plan(40, 40, {}),
                     Interpolation::bicubic, ones, ones);
        }) == "option 'parts' is jpeg; expected none where a backend renders views");
}
