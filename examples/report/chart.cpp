#include <report/chart.hpp>

#include <algorithm>
#include <cmath>
#include <cstddef>

#include <dssl/core/error.hpp>
#include <report/page.hpp>

namespace dssl::programs {
namespace {

constexpr double width = 520, height = 300, left = 58, right = 28, top = 10, bottom = 46;

using Values = std::vector<std::pair<double, double>>;

/// An axis from the data's range, widened to round numbers.
struct Axis {
  double low = 0, high = 1, step = 1;
  int places = 0;

  static Axis over(double low, double high, int ticks) {
    if (!(high > low)) {
      const double middle = 0.5 * (low + high);
      low = middle - std::max(1e-6, 0.05 * std::abs(middle));
      high = middle + std::max(1e-6, 0.05 * std::abs(middle));
    }
    const double rough = (high - low) / ticks;
    const double power = std::pow(10.0, std::floor(std::log10(rough)));
    const double digit = rough / power;
    const double step = power * (digit <= 1 ? 1 : digit <= 2 ? 2 : digit <= 5 ? 5 : 10);
    const int places = std::max(0, -static_cast<int>(std::floor(std::log10(step) + 1e-9)));
    return {std::floor(low / step) * step, std::ceil(high / step) * step, step, places};
  }

  [[nodiscard]] double share(double value) const { return (value - low) / (high - low); }
};

/// A number with spaces between thousands.
std::string grouped(double value, int places) {
  std::string text = decimals(value, places);
  const std::size_t point = text.find('.');
  const std::size_t end = point == std::string::npos ? text.size() : point;
  for (std::size_t i = end; i > 3 + (value < 0 ? 1 : 0); i -= 3) text.insert(i - 3, "\u2009");
  return text;
}

/// Means over a centred window of a twentieth of the values.
Values smoothed(const Values& values) {
  const std::size_t reach = values.size() / 40;
  Values out;
  for (std::size_t i = 0; i < values.size(); ++i) {
    // The window shrinks towards both ends, so that the line neither lags nor bends there.
    const std::size_t r = std::min({reach, i, values.size() - 1 - i});
    double sum = 0;
    for (std::size_t k = i - r; k <= i + r; ++k) sum += values[k].second;
    out.emplace_back(values[i].first, sum / static_cast<double>(2 * r + 1));
  }
  return out;
}

/// At most about `most` values, means of neighbours: a page need not hold every step of a long run.
Values thinned(const Values& values, std::size_t most) {
  const std::size_t group = (values.size() + most - 1) / most;
  if (group <= 1) return values;
  Values out;
  for (std::size_t i = 0; i < values.size(); i += group) {
    const std::size_t end = std::min(values.size(), i + group);
    double x = 0, y = 0;
    for (std::size_t k = i; k < end; ++k) {
      x += values[k].first;
      y += values[k].second;
    }
    out.emplace_back(x / static_cast<double>(end - i), y / static_cast<double>(end - i));
  }
  return out;
}

std::string polyline(const Values& values, const Axis& x, const Axis& y, const std::string& attributes) {
  std::string points;
  for (const auto& [at, value] : values) {
    points += join(decimals(left + x.share(at) * (width - left - right), 1), ",",
                   decimals(height - bottom - y.share(value) * (height - top - bottom), 1), " ");
  }
  return join("<polyline fill=\"none\" stroke-linejoin=\"round\" ", attributes, " points=\"", points,
              "\"/>\n");
}

}  // namespace

std::string Chart::html() const {
  double x_low = 1e300, x_high = -1e300, y_low = 1e300, y_high = -1e300;
  for (const Series& s : series) {
    const Values strong = s.smooth ? smoothed(s.values) : s.values;
    for (std::size_t i = 0; i < s.values.size(); ++i) {
      x_low = std::min(x_low, s.values[i].first);
      x_high = std::max(x_high, s.values[i].first);
      // Single spikes may leave the picture; the mean may not.
      y_low = std::min(y_low, strong[i].second);
      y_high = std::max(y_high, strong[i].second);
    }
  }
  const double margin = 0.08 * (y_high - y_low);
  Axis x = Axis::over(std::min(0.0, x_low), x_high, 5);
  x.high = std::max(x_high, x.low + 1e-9);
  if (!x_names.empty()) x = {0, std::max(1.0, static_cast<double>(x_names.size() - 1)), 1, 0};
  const Axis y = Axis::over(y_low - margin, y_high + margin, 5);
  std::string frame = "frame-" + title;
  std::replace(frame.begin(), frame.end(), ' ', '-');
  std::string svg =
      join("<svg viewBox=\"0 0 ", width, " ", height, "\" role=\"img\" aria-label=\"", escaped(title),
           "\">\n<defs><clipPath id=\"", escaped(frame), "\"><rect x=\"", left, "\" y=\"", top, "\" width=\"",
           width - left - right, "\" height=\"", height - top - bottom, "\"/></clipPath></defs>\n");
  for (double tick = y.low; tick <= y.high + 0.5 * y.step; tick += y.step) {
    const std::string at = decimals(height - bottom - y.share(tick) * (height - top - bottom), 1);
    svg += join("<line x1=\"", left, "\" x2=\"", width - right, "\" y1=\"", at, "\" y2=\"", at,
                "\" stroke=\"var(--line)\"/><text x=\"", left - 8, "\" y=\"", at,
                "\" dy=\"0.35em\" text-anchor=\"end\">", grouped(tick, y.places), "</text>\n");
  }
  const auto name_of = [&](double tick) {
    if (x_names.empty()) return grouped(tick, x.places);
    const auto number = static_cast<std::size_t>(std::lround(tick));
    return number < x_names.size() ? escaped(x_names[number]) : std::string();
  };
  for (double tick = x.low; tick <= x.high + 1e-9; tick += x.step) {
    const std::string at = decimals(left + x.share(tick) * (width - left - right), 1);
    svg += join("<line x1=\"", at, "\" x2=\"", at, "\" y1=\"", height - bottom, "\" y2=\"",
                height - bottom + 5, "\" stroke=\"var(--soft)\"/><text x=\"", at, "\" y=\"",
                height - bottom + 19, "\" text-anchor=\"middle\">", name_of(tick), "</text>\n");
  }
  svg += join("<line x1=\"", left, "\" x2=\"", width - right, "\" y1=\"", height - bottom, "\" y2=\"",
              height - bottom, "\" stroke=\"var(--soft)\"/>\n<text x=\"", 0.5 * (left + width - right),
              "\" y=\"", height - 6, "\" text-anchor=\"middle\">", escaped(x_label),
              "</text>\n<text transform=\"translate(13 ", 0.5 * (top + height - bottom),
              ") rotate(-90)\" text-anchor=\"middle\">", escaped(y_label), "</text>\n<g clip-path=\"url(#",
              escaped(frame), ")\">\n");
  for (const Series& s : series) {
    const std::string stroke = join("stroke=\"", s.colour, "\"");
    if (s.smooth)
      svg += polyline(thinned(s.values, 600), x, y, stroke + " stroke-width=\"1\" opacity=\"0.28\"");
    svg += polyline(
        thinned(s.smooth ? smoothed(s.values) : s.values, 600), x, y,
        stroke + (s.dashed ? " stroke-width=\"1.5\" stroke-dasharray=\"5 5\"" : " stroke-width=\"2.2\""));
  }
  svg += "</g>\n</svg>\n";
  std::string legend;
  for (const Series& s : series) {
    if (s.name.empty()) continue;
    legend += join("<span><span class=\"key\" style=\"background:", s.colour,
                   s.dashed ? ";height:3px;margin-bottom:4px" : "", "\"></span>", escaped(s.name), "</span>");
  }
  return join("<figure><figcaption><b>", escaped(title), "</b><br>", escaped(note), "</figcaption>\n", svg,
              "<div class=\"legend\">", legend, "</div></figure>\n");
}

}  // namespace dssl::programs
