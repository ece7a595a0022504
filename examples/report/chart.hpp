// Line charts as inline SVG.
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace dssl::programs {

/// One line of a chart.
struct Series {
  std::string name;                               ///< empty: not in the legend
  std::string colour;                             ///< a CSS colour
  std::vector<std::pair<double, double>> values;  ///< x ascending
  bool smooth = true;                             ///< shows the values faintly and a running mean strongly
  bool dashed = false;                            ///< a level to compare with
};

/// A chart with axes, ticks at round numbers, and a legend.
struct Chart {
  std::string title;
  std::string note;  ///< what to read from it
  std::string x_label, y_label;
  std::vector<Series> series;
  std::vector<std::string> x_names = {};  ///< not empty: what stands at x = 0, 1, 2, ... in place of numbers

  /// The chart as a <figure>.
  [[nodiscard]] std::string html() const;
};

}  // namespace dssl::programs
