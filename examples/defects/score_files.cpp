// Lines and maps of dssl-defects.
#include "defects/score_files.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string_view>

#include <dssl/io/atomic_file.hpp>
#include <dssl/io/png.hpp>
#include <dssl/views/image.hpp>

#include "common/csv.hpp"
#include "common/json_text.hpp"
#include "common/program.hpp"

namespace dssl::programs {

namespace {

std::string_view word(Truth truth) {
  return truth == Truth::unknown ? "" : truth == Truth::defect ? "defect" : "normal";
}

/// Scores 0 .. white as greys 0 .. the largest.
template <PixelType P>
Image<P> grey(const DefectScore& score, double white) {
  Image<P> out(score.height, score.width, 1);
  const double most = static_cast<double>(full_scale<P>);
  for (std::size_t i = 0; i < score.heat_map.size(); ++i) {
    const double share = std::clamp(static_cast<double>(score.heat_map[i]) / white, 0.0, 1.0);
    out.pixels()[i] = static_cast<P>(std::lround(share * most));
  }
  return out;
}

}  // namespace

std::string map_file(const std::string& id) { return "maps/" + file_name(id) + ".png"; }

double write_map(const std::string& id, const DefectScore& score, const DefectSettings& settings) {
  const double largest = static_cast<double>(*std::max_element(score.heat_map.begin(), score.heat_map.end()));
  const double white = settings.map_scale > 0 ? settings.map_scale : largest > 0 ? largest : 1.0;
  const std::string path = settings.out + "/" + map_file(id);
  if (settings.map_bits == 8) {
    write_png(path, grey<std::uint8_t>(score, white));
  } else {
    write_png(path, grey<std::uint16_t>(score, white));
  }
  return white;
}

void write_scores(const std::vector<ScoredImage>& scored, const Inspected& images, double threshold,
                  const std::string& folder) {
  AtomicFile lines(folder + "/scores.jsonl");
  AtomicFile table(folder + "/scores.csv");
  table.write("name,label,score,alarm,truth,map,map_white\n");
  for (const ScoredImage& image : scored) {
    const bool alarm = image.score >= threshold;
    nlohmann::ordered_json line{{"name", images.id(image.index)},
                                {"file", images.name(image.index)},
                                {"label", images.label(image.index)},
                                {"score", number_or_null(image.score)}};
    if (!std::isnan(threshold)) line["alarm"] = alarm;
    if (image.truth != Truth::unknown) line["truth"] = word(image.truth);
    if (!image.map.empty()) {
      line["map"] = image.map;
      line["map_white"] = image.map_white;
    }
    lines.write(json_text(line) + "\n");
    char number[64];
    std::snprintf(number, sizeof number, "%.9g", image.score);
    std::string row =
        csv_field(images.id(image.index)) + "," + csv_field(images.label(image.index)) + "," + number + ",";
    if (!std::isnan(threshold)) row += alarm ? "1" : "0";
    row += "," + std::string(word(image.truth)) + "," + csv_field(image.map) + ",";
    if (!image.map.empty()) {
      std::snprintf(number, sizeof number, "%.9g", image.map_white);
      row += number;
    }
    table.write(row + "\n");
  }
  lines.commit();
  table.commit();
}

}  // namespace dssl::programs
