#include "compare/table.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <string_view>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/version.hpp>

#include "common/machine.hpp"
#include "common/serve.hpp"

namespace dssl::programs {
namespace {

using Json = nlohmann::ordered_json;

std::string number(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

std::string mebibytes(std::size_t bytes) { return number("%.0f", static_cast<double>(bytes) / 1048576.0); }

double images_per_second(const CompareSettings& s, const Row& row) {
  return static_cast<double>(s.options.batch) / median(row.seconds);
}

/// Of the gradient norm, relative to Reference's.
double norm_difference(const Row& row, const Oracle& oracle) {
  return (row.gradient_norm - oracle.gradient_norm) / oracle.gradient_norm;
}

std::string line(const std::vector<std::string>& cells) {
  std::string out = "|";
  for (const std::string& cell : cells) out += " " + cell + (cell.empty() ? "|" : " |");
  return out + "\n";
}

std::string cells_of(const CompareSettings& s, const Comparison& c, const Row& row) {
  const Combination& by = row.combination;
  std::vector<std::string> cells{by.backend, by.products, by.precision, by.threads == 0 ? "all" : join(by.threads)};
  if (!row.ran()) {
    cells.push_back("cannot run: " + row.reason);
    cells.resize(10);
    return line(cells);
  }
  const auto [least, most] = std::minmax_element(row.seconds.begin(), row.seconds.end());
  cells.push_back(number("%.4g", median(row.seconds)) + " (" + number("%.4g", *least) + " to " +
                  number("%.4g", *most) + ")");
  cells.push_back(number("%.3g", images_per_second(s, row)));
  cells.push_back(c.oracle ? number("%+.1e", row.loss - c.oracle->loss) : "");
  cells.push_back(c.oracle ? number("%+.1e", norm_difference(row, *c.oracle)) : "");
  cells.push_back(mebibytes(row.plan));
  cells.push_back(mebibytes(row.peak));
  return line(cells);
}

Json json_of(const CompareSettings& s, const Comparison& c, const Row& row) {
  const Combination& by = row.combination;
  Json out{{"backend", by.backend}, {"products", by.products}, {"precision", by.precision}, {"threads", by.threads},
           {"ran", row.ran()}};
  if (!row.ran()) {
    out["reason"] = row.reason;
    return out;
  }
  out.update({{"describe", row.describe},
              {"seconds", seconds_json(row.seconds)},
              {"images_per_second", images_per_second(s, row)},
              {"loss", row.loss},
              {"gradient_norm", row.gradient_norm}});
  if (c.oracle) {
    out["loss_difference"] = row.loss - c.oracle->loss;
    out["gradient_norm_difference"] = norm_difference(row, *c.oracle);
  }
  out["memory"] = {{"plan", row.plan}, {"peak", row.peak}, {"at_start", row.at_start}};
  return out;
}

}  // namespace

std::string comparison_text(const CompareSettings& s, const Comparison& c) {
  const Json settings = s.json();
  std::string views;
  for (const Json& size : settings.at("views")) views += (views.empty() ? "" : ", ") + size.dump();
  std::string out = join("A training step: ", s.recipe, ", ", s.arch, ", ", s.options.batch, " images of ", s.step().shape.view_count(),
                         " views (", views, " pixels), ", s.network().head.prototypes, " prototypes");
  if (c.parameters > 0) out += ", " + number("%.1f", c.parameters / 1e6) + " million parameters";
  out += join(". ", proc_field("/proc/cpuinfo", "model name"), ", ", processors(), " processors; ", s.turns,
              s.turns == 1 ? " turn" : " turns", ", of which others used ", number("%.1f", 100 * c.others_load),
              " % of the processors.");
  if (c.oracle) out += " Loss by Reference: " + number("%.6f", c.oracle->loss) + ".";
  out += "\n\n";
  out += line({"backend", "products", "precision", "threads", "s a step, median (min to max)", "images/s",
               "loss beside Reference", "gradient norm beside it, relative", "planned MiB", "peak MiB"});
  out += "|---|---|---|---|---|---|---|---|---|---|\n";
  for (const Row& row : c.rows) out += cells_of(s, c, row);
  return out;
}

Json comparison_json(const CompareSettings& s, const Comparison& c) {
  Json rows = Json::array();
  for (const Row& row : c.rows) rows.push_back(json_of(s, c, row));
  Json reference = nullptr;
  if (c.oracle) reference = {{"loss", c.oracle->loss}, {"gradient_norm", c.oracle->gradient_norm}};
  return {{"program", "dssl-compare"},
          {"version", version_string},
          {"compiler", __VERSION__},
          {"machine", {{"cpu", proc_field("/proc/cpuinfo", "model name")}, {"processors", processors()}}},
          {"settings", s.json()},
          {"parameters", c.parameters},
          {"reference", reference},
          {"others_load", c.others_load},
          {"rows", rows}};
}

}  // namespace dssl::programs
