// dssl-report: one HTML page, with nothing outside it, of pretraining runs and what segmentation made of
// them.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <common/machine.hpp>
#include <common/output_files.hpp>
#include <common/program.hpp>
#include <common/progress.hpp>
#include <dssl/core/error.hpp>
#include <dssl/data/image_folder.hpp>
#include <dssl/data/voc.hpp>
#include <dssl/io/atomic_file.hpp>
#include <dssl/io/image_file.hpp>
#include <dssl/pictures/overlay.hpp>
#include <dssl/version.hpp>
#include <report/chart.hpp>
#include <report/page.hpp>
#include <report/runs.hpp>
#include <report/views.hpp>

namespace {

using namespace dssl::programs;
using dssl::Image;
using dssl::Index;
using dssl::join;

struct ReportSettings {
  std::string title = "Dense self-supervised learning, measured by segmentation";
  std::string data, split = "train", out = "report.html";
  std::vector<std::string> pretrain, segment;
  Index scenes = 2;
  Index shown = 6;
};

/// The colour of the series of that name: grey for what has no run, then one a run.
std::string colour_of(const std::vector<PretrainRun>& runs, const std::string& name) {
  for (std::size_t i = 0; i < runs.size(); ++i) {
    if (runs[i].name == name) return join("var(--s", 1 + i % 3, ")");
  }
  return "var(--s0)";
}

std::string percent(const Json& share) {
  return share.is_number() ? decimals(100 * share.get<double>(), 1) : "–";
}

std::string summary(const std::vector<ProbeRun>& probes) {
  std::string text;
  for (const ProbeRun& probe : probes) {
    text += join(text.empty() ? "" : "; ", "<b>", escaped(probe.name), " ", percent(probe.result["miou"]),
                 " %</b>");
  }
  return join("<p>Mean IoU of a linear classifier on frozen patch tokens: ", text, ".</p>\n");
}

std::string result_table(const std::vector<PretrainRun>& runs, const std::vector<ProbeRun>& probes) {
  std::string rows;
  double most = 0;
  for (const ProbeRun& probe : probes) {
    if (probe.result["miou"].is_number()) most = std::max(most, probe.result["miou"].get<double>());
  }
  for (const ProbeRun& probe : probes) {
    const auto run =
        std::find_if(runs.begin(), runs.end(), [&](const PretrainRun& r) { return r.name == probe.name; });
    const double miou = probe.result["miou"].is_number() ? probe.result["miou"].get<double>() : 0;
    rows += join("<tr><td><span class=\"key\" style=\"background:", colour_of(runs, probe.name), "\"></span>",
                 escaped(probe.name), "</td><td><b>", percent(probe.result["miou"]),
                 "</b></td><td class=\"wide\"><div class=\"bar\" style=\"background:",
                 colour_of(runs, probe.name), ";width:", decimals(most > 0 ? 100 * miou / most : 0, 1),
                 "%\"></div></td><td>", percent(probe.result["pixel_accuracy"]), "</td>");
    if (run == runs.end()) {
      rows += "<td>0</td><td>–</td><td>–</td><td>–</td></tr>\n";
      continue;
    }
    const auto images = run->metrics.back()["images"].get<double>();
    rows +=
        join("<td>", run->metrics.size(), "</td><td>", decimals(images, 0), "</td><td>",
             duration_text(run->seconds), "</td><td>", decimals(images / run->seconds, 1), "</td></tr>\n");
  }
  return join(
      "<div class=\"scroll\"><table><thead><tr><th>weights</th><th>mean IoU, %</th><th></th><th>pixel "
      "accuracy, %"
      "</th><th>steps</th><th>images seen</th><th>training time</th><th>images/s</th></tr></thead><tbody>\n",
      rows, "</tbody></table></div>\n");
}

std::string class_key(std::uint8_t id) {
  const auto c = dssl::class_colour(id);
  return join("<span class=\"key\" style=\"background:rgb(", int{c[0]}, ",", int{c[1]}, ",", int{c[2]},
              ")\"></span>");
}

std::string class_table(const std::vector<ProbeRun>& probes) {
  std::string head, rows;
  for (const ProbeRun& probe : probes) head += join("<th>", escaped(probe.name), "</th>");
  for (const Json& entry : probes.front().result["per_class"]) {
    const auto id = entry.at("id").get<std::uint8_t>();
    rows += join("<tr><td>", class_key(id), escaped(entry.at("name").get<std::string>()), "</td>");
    for (const ProbeRun& probe : probes) {
      std::string value = "–";
      for (const Json& other : probe.result["per_class"]) {
        if (other.at("id").get<std::uint8_t>() == id) value = percent(other.at("iou"));
      }
      rows += join("<td>", value, "</td>");
    }
    rows += "</tr>\n";
  }
  return join("<h2>IoU of each class, %</h2>\n<div class=\"scroll\"><table><thead><tr><th>class</th>", head,
              "</tr></thead><tbody>\n", rows, "</tbody></table></div>\n");
}

/// A figure of every step, found by its path in the metrics ("image", "loss").
Series series_of(const std::vector<PretrainRun>& runs, const PretrainRun& run, const std::string& level,
                 const std::string& field) {
  Series series{.name = run.name, .colour = colour_of(runs, run.name), .values = {}};
  for (const Json& step : run.metrics) {
    if (!level.empty() && !step.contains(level)) continue;  // not every step is looked at
    const Json& at = level.empty() ? step : step.at(level);
    if (at.contains(field) && at[field].is_number()) {
      series.values.emplace_back(step["images"].get<double>(), at[field].get<double>());
    }
  }
  return series;
}

/// A chart of each figure of held-out images that any run was watched by.
std::string monitor_charts(const std::vector<PretrainRun>& runs) {
  constexpr std::array<std::pair<std::string_view, std::string_view>, 4> notes{
      {{"retrieval", "Mean IoU by dense retrieval on held-out images; nothing is trained for it."},
       {"knn", "Share of held-out images that their nearest neighbours name rightly."},
       {"rank", "Effective rank of the class tokens of held-out images: dimensions that are used."},
       {"spread", "Standard deviation of the unit class tokens of held-out images."}}};
  std::string html;
  for (const auto& [figure, note] : notes) {
    Chart chart{.title = join("Monitor: ", figure),
                .note = std::string(note),
                .x_label = "images seen",
                .y_label = std::string(figure),
                .series = {}};
    for (const PretrainRun& run : runs) {
      Series series = series_of(runs, run, "monitor", std::string(figure));
      series.smooth = false;
      if (!series.values.empty()) chart.series.push_back(std::move(series));
    }
    if (!chart.series.empty()) html += chart.html();
  }
  return html;
}

/// The terms of the runs' losses, in their order: what has a loss of its own in the metrics.
std::vector<std::string> terms_of(const std::vector<PretrainRun>& runs) {
  std::vector<std::string> names;
  for (const PretrainRun& run : runs) {
    for (const auto& [name, value] : run.metrics.front().items()) {
      if (!value.is_object() || !value.contains("loss")) continue;
      if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
    }
  }
  return names;
}

/// What a chart of a term's loss is called, says, and counts in.
std::array<std::string, 3> words_of(const std::string& term) {
  if (term == "image") {
    return {"Image level: loss", "Cross-entropy of the student's class token with the teacher's.", "nats"};
  }
  if (term == "point") {
    return {"Point level: loss", "The same for reference tokens at one physical point of two views.", "nats"};
  }
  return {join("Term '", term, "': loss"), "Before its weight in the total.", "loss"};
}

std::string charts(const std::vector<PretrainRun>& runs) {
  std::string html;
  const auto add = [&](Chart chart, const std::string& level, const std::string& field) {
    for (const PretrainRun& run : runs) {
      Series series = series_of(runs, run, level, field);
      if (!series.values.empty()) chart.series.push_back(std::move(series));
    }
    if (!chart.series.empty()) html += chart.html();
  };
  for (const std::string& term : terms_of(runs)) {
    const auto [title, note, unit] = words_of(term);
    add({.title = title, .note = note, .x_label = "images seen", .y_label = unit, .series = {}}, term, "loss");
  }
  add({.title = "Image level: divergence",
       .note = "KL(teacher, student): the loss less the teacher's entropy, what is left to learn.",
       .x_label = "images seen",
       .y_label = "nats",
       .series = {}},
      "image", "divergence");
  add({.title = "Spread of class features",
       .note = "Standard deviation of unit class tokens over a batch; near 0 all images would look alike.",
       .x_label = "images seen",
       .y_label = "spread",
       .series = {}},
      "", "feature_spread");
  return join(
      "<h2>Training</h2>\n<p class=\"soft\">Faint: every step. Strong: running mean.</p>\n<div "
      "class=\"charts\">\n",
      html, monitor_charts(runs), "</div>\n");
}

std::string views(const ReportSettings& settings, const std::vector<PretrainRun>& runs) {
  if (settings.data.empty() || settings.scenes == 0) return {};
  const auto run =
      std::find_if(runs.begin(), runs.end(), [](const PretrainRun& r) { return r.has_points(); });
  if (run == runs.end()) return {};
  const dssl::VocFolder folder(settings.data, settings.split);
  std::string html = join("<h2>Views and their reference points</h2>\n<p>What ", escaped(run->name),
                          " sees of an image: random boxes, mirrored, recoloured and blurred. For each pair "
                          "of views a few points are drawn "
                          "in what both show; a reference token at a point must say the same in both. A "
                          "colour is a view; its discs are the "
                          "physical points it shares with the first view.</p>\n");
  try {
    const dssl::AnySampler sampler = sampler_of_run(*run, folder);
    Index drawn = 0;
    for (Index i = 0; i < folder.size() && drawn < settings.scenes; ++i) {
      const std::string scene = views_html(*run, sampler, folder.load_image(i), i);
      if (!scene.empty()) ++drawn;
      html += scene;
    }
    if (drawn == 0) throw dssl::DataError(join(settings.data, " has no image of the size of the camera of ", run->name));
  } catch (const dssl::DataError& error) {
    html += join("<p>They cannot be drawn: ", escaped(error.what()), "</p>\n");
  }
  return html;
}

/// Third `part` of a picture of three side by side, as dssl-segment writes them.
Image<std::uint8_t> third(const Image<std::uint8_t>& three, Index part, const std::string& path) {
  constexpr Index gap = 4;
  const Index width = (three.width() - 2 * gap) / 3;
  if (width < 1 || 3 * width + 2 * gap != three.width())
    throw dssl::ImageError(path, "is no overlay of three pictures");
  Image<std::uint8_t> out(three.height(), width, three.channels());
  for (Index y = 0; y < three.height(); ++y) {
    std::copy_n(three.row(y) + part * (width + gap) * three.channels(), width * three.channels(), out.row(y));
  }
  return out;
}

std::string segmentations(const std::vector<ProbeRun>& probes, Index shown) {
  std::vector<std::string> names = probes.front().overlays;
  std::erase_if(names, [&](const std::string& name) {
    return std::any_of(probes.begin(), probes.end(), [&](const ProbeRun& p) {
      return std::find(p.overlays.begin(), p.overlays.end(), name) == p.overlays.end();
    });
  });
  if (static_cast<Index>(names.size()) > shown) names.resize(static_cast<std::size_t>(shown));
  if (names.empty()) return {};
  std::string html = join(
      "<h2>Segmentation, before and after pretraining</h2>\n<p class=\"soft\">Images of the evaluation "
      "split, none of which the classifier has seen. A class is a colour.</p>\n"
      "<div class=\"shown\" style=\"grid-template-columns:repeat(",
      probes.size() + 2, ",1fr)\">\n<figcaption>image</figcaption><figcaption>truth</figcaption>");
  for (const ProbeRun& probe : probes) html += join("<figcaption>", escaped(probe.name), "</figcaption>");
  html += "\n";
  for (const std::string& name : names) {
    for (std::size_t i = 0; i < probes.size(); ++i) {
      const std::string path = probes[i].path + "/overlays/" + name;
      const dssl::AnyImage read = dssl::read_image(path);
      const auto* const three = std::get_if<Image<std::uint8_t>>(&read);
      if (three == nullptr) throw dssl::ImageError(path, "is not a picture of 8 bits");
      if (i == 0) {
        html += picture(third(*three, 0, path), name) + picture(third(*three, 1, path), name + ", truth");
      }
      html += picture(third(*three, 2, path), name + ", " + probes[i].name);
    }
    html += "\n";
  }
  return html + "</div>\n";
}

std::string text_of(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

std::string processor() {
  const std::string name = proc_field("/proc/cpuinfo", "model name");
  return name.empty() ? "unknown processor" : name;
}

std::string settings_tables(const std::vector<PretrainRun>& runs, const std::vector<ProbeRun>& probes) {
  constexpr std::array<std::string_view, 24> shown{"epochs",
                                                   "batch",
                                                   "accumulate",
                                                   "seed",
                                                   "points",
                                                   "optimiser.kind",
                                                   "optimiser.learning_rate",
                                                   "optimiser.warmup_epochs",
                                                   "optimiser.weight_decay",
                                                   "optimiser.final_weight_decay",
                                                   "optimiser.clip",
                                                   "optimiser.freeze_prototypes_epochs",
                                                   "teacher.momentum",
                                                   "teacher.temperature",
                                                   "teacher.warmup_temperature",
                                                   "loss.alpha",
                                                   "loss.image_all_views",
                                                   "stochastic_depth",
                                                   "views.locals",
                                                   "views.global_size.height",
                                                   "views.local_size.height",
                                                   "views.global_area.low",
                                                   "views.local_area.low",
                                                   "views.local_area.high"};
  std::string head, rows;
  for (const PretrainRun& run : runs) head += join("<th>", escaped(run.name), "</th>");
  const auto row = [&](std::string_view name, const auto& value) {
    rows += join("<tr><td>", escaped(name), "</td>");
    for (const PretrainRun& run : runs) rows += join("<td>", escaped(value(run)), "</td>");
    rows += "</tr>\n";
  };
  for (const char* const field : {"recipe", "arch", "parameters", "images"}) {
    row(field, [&](const PretrainRun& run) {
      return run.options.contains(field) ? text_of(run.options[field]) : std::string("–");
    });
  }
  for (const std::string_view field : shown) {
    row(field, [&](const PretrainRun& run) {
      const Json& options = run.options["options"];
      return options.contains(field) ? text_of(options[std::string(field)]) : std::string("–");
    });
  }
  std::string probe_rows;
  for (const auto& [key, value] : probes.front().result["settings"].items()) {
    if (key != "weights")
      probe_rows += join("<tr><td>", escaped(key), "</td><td>", escaped(text_of(value)), "</td></tr>\n");
  }
  std::string commands;
  for (const PretrainRun& run : runs) {
    std::string line;
    for (const Json& word : run.options.value("command", Json::array())) {
      line += (line.empty() ? "" : " ") + text_of(word);
    }
    commands += join("<p><b>", escaped(run.name), "</b>: <code>", escaped(line), "</code></p>\n");
  }
  const PretrainRun& first = runs.front();
  return join(
      "<h2>Settings</h2>\n", commands,
      "<div class=\"charts\">\n<div class=\"scroll panel\"><table><thead><tr><th>"
      "pretraining</th>",
      head, "</tr></thead><tbody>\n", rows,
      "</tbody></table></div>\n"
      "<div class=\"scroll panel\"><table><thead><tr><th>segmentation</th><th>all</th></tr></thead><tbody>\n",
      probe_rows, "</tbody></table></div>\n</div>\n<h2>Machine</h2>\n<p>", escaped(processor()), ", ",
      std::thread::hardware_concurrency(), " threads; ", escaped(text_of(first.options["backend"])),
      "; compiler ", escaped(text_of(first.options["compiler"])), "; dssl ", dssl::version_string, ".</p>\n");
}

/// Throws `FileError` where the page would be written over what it tells of.
void require_output_apart(const ReportSettings& settings, const std::vector<ProbeRun>& probes) {
  const OutputFiles output({settings.out});
  for (const auto& text : settings.pretrain) {
    const std::string folder = NamedFolder::parse("pretrain", text).path;
    for (const char* const file : {"/options.json", "/metrics.jsonl"}) output.require_other_than("--pretrain", folder + file);
  }
  for (const ProbeRun& probe : probes) {
    output.require_other_than("--segment", probe.path + "/result.json");
    for (const std::string& name : probe.overlays) output.require_other_than("--segment", probe.path + "/overlays/" + name);
  }
  if (!settings.data.empty() && settings.scenes > 0) {
    const dssl::VocFolder folder(settings.data, settings.split);
    output.require_other_than("--split", folder.list_name());
    output.require_other_than_all("--data", folder);
  }
  output.require_writable();
}

void write_report(const ReportSettings& settings) {
  std::vector<PretrainRun> runs;
  std::vector<ProbeRun> probes;
  for (const auto& text : settings.pretrain)
    runs.push_back(PretrainRun::read(NamedFolder::parse("pretrain", text)));
  for (const auto& text : settings.segment)
    probes.push_back(ProbeRun::read(NamedFolder::parse("segment", text)));
  require_output_apart(settings, probes);
  const std::string body =
      join("<h1>", escaped(settings.title), "</h1>\n", summary(probes), result_table(runs, probes),
           segmentations(probes, settings.shown), charts(runs), views(settings, runs), class_table(probes),
           settings_tables(runs, probes));
  const std::string text = page(settings.title, body);
  dssl::write_bytes(settings.out, std::as_bytes(std::span(text.data(), text.size())));
  std::printf("%s\n", settings.out.c_str());
}

}  // namespace

int main(int argc, char** argv) {
  ReportSettings settings;
  CLI::App app(
      "Writes a report of pretraining runs and of what segmentation made of them: one HTML page that needs "
      "no "
      "other file.",
      "dssl-report");
  app.option_defaults()->always_capture_default();
  app.set_version_flag("--version", std::string(dssl::version_string));
  app.add_option("--pretrain", settings.pretrain, "Output folders of dssl-pretrain, each under a name")
      ->required()
      ->option_text("NAME=DIR ...");
  app.add_option("--segment", settings.segment,
                 "Output folders of dssl-segment; one of the same name belongs to the pretraining run")
      ->required()
      ->option_text("NAME=DIR ...");
  app.add_option("--data", settings.data, "VOC folder whose images' views are shown; default: no views");
  app.add_option("--split", settings.split, "Split they are taken from");
  app.add_option("--scenes", settings.scenes, "Number of images whose views are shown")
      ->check(CLI::Range(0, 100));
  app.add_option("--shown", settings.shown, "Number of segmentations shown")->check(CLI::Range(0, 1000));
  app.add_option("--title", settings.title, "Title of the page");
  app.add_option("--out", settings.out, "File to write");
  return run_program(app, argc, argv, [&] {
    write_report(settings);
    return 0;
  });
}
