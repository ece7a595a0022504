// Figures, curves and heat maps of the pilot.
#include "defect_pilot/report.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <set>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/defects/defect_score.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/pictures/heat_map.hpp>
#include <dssl/pictures/overlay.hpp>
#include <dssl/version.hpp>

#include "common/json_text.hpp"
#include "report/chart.hpp"
#include "report/page.hpp"

namespace dssl::programs {

namespace {

constexpr double nothing = std::numeric_limits<double>::quiet_NaN();

std::string percent(double share) { return decimals(100 * share, 1); }

/// Mean, least and largest of a figure over the draws.
struct Spread {
  double mean = nothing, low = nothing, high = nothing;
  [[nodiscard]] std::string html() const {
    if (!std::isfinite(mean)) return "–";
    if (!(high > low)) return percent(mean);
    return join(percent(mean), " <span class=\"soft\">", percent(low), "–", percent(high), "</span>");
  }
};

template <class Of>
Spread spread(const WayFigures& way, const Of& of) {
  Spread out{0, nothing, nothing};
  for (const Worth& w : way.draws) {
    const double value = of(w);
    if (!std::isfinite(value) || value < 0) return {};
    out.mean += value / static_cast<double>(way.draws.size());
    out.low = std::isnan(out.low) ? value : std::min(out.low, value);
    out.high = std::isnan(out.high) ? value : std::max(out.high, value);
  }
  return out;
}

std::string colour_of(std::string_view way) {
  return way.starts_with("pretrained") ? "var(--s2)" : way.starts_with("random") ? "var(--s1)" : way.starts_with("local") ? "var(--s3)" : "var(--s0)";
}

/// Draws of labels that count in the table as if they had none; nothing where there are none.
std::string nothing_learned(const Study& study) {
  std::string draws;
  for (const NothingLearned& own : study.nothing_learned) {
    if (own.fold >= 0) continue;
    draws += join(draws.empty() ? "" : "; ", own.way, ", ", own.labels, own.labels == 1 ? " label" : " labels", ", draw ", own.draw + 1, ": ", own.why);
  }
  if (draws.empty()) return {};
  return join("<p>Nothing could be learned from some labels, which count above as if there were none: ", escaped(draws), ".</p>\n");
}

std::string ways_table(const PilotSettings& s, const Study& study) {
  std::string rows;
  for (const WayFigures& way : study.ways) {
    rows += join("<tr><td><span class=\"key\" style=\"background:", colour_of(way.way), "\"></span>",
                 escaped(way.way), "</td><td>", way.labels, "</td>");
    for (const auto& of :
         {+[](const Worth& w) { return w.missed_1; }, +[](const Worth& w) { return w.missed_5; },
          +[](const Worth& w) { return w.missed; }, +[](const Worth& w) { return w.false_alarms; },
          +[](const Worth& w) { return w.auroc; }, +[](const Worth& w) { return w.aupro; }}) {
      rows += join("<td>", spread(way, of).html(), "</td>");
    }
    rows += "</tr>\n";
  }
  return join(
      "<div class=\"scroll\"><table><thead><tr><th>way</th><th>labels used</th><th>missed at 1 % false "
      "alarms</th>"
      "<th>missed at 5 %</th><th>missed at the threshold</th><th>false alarms there (promised ",
      percent(s.false_alarms), " %)</th><th>AUROC</th><th>AUPRO (30 %)</th></tr></thead><tbody>\n", rows,
      "</tbody></table></div>\n<p class=\"soft\">All in percent; mean over draws of labelled images, with "
      "the least and "
      "the largest. Missed at 1 % and 5 %: the share of defects without an alarm if that share of the test's "
      "normal images "
      "raises one. At the threshold: taken from ",
      study.held_out, " normal images that nothing was learned from, before the test.</p>\n", nothing_learned(study));
}

std::string curves(const Study& study) {
  std::set<Index> counts;
  for (const WayFigures& way : study.ways) counts.insert(way.labels);
  const std::vector<Index> at(counts.begin(), counts.end());
  std::vector<std::string> names;
  for (const Index n : at) names.push_back(n == study.defects ? join("all ", n) : join(n));
  const auto chart = [&](const char* title, const char* note, const auto& of) {
    Chart out{.title = title,
              .note = note,
              .x_label = "labelled images with defects",
              .y_label = "%",
              .series = {},
              .x_names = names};
    for (const std::string backbone : {"pretrained", "random weights", "local filters"}) {
      Series tuned{.name = backbone + ", tuned on labels", .colour = colour_of(backbone), .values = {}, .smooth = false, .dashed = true};
      for (std::size_t x = 0; x < at.size(); ++x) {
        for (const WayFigures& way : study.ways) {
          if (way.labels == at[x] && way.way == tuned.name) tuned.values.emplace_back(static_cast<double>(x), 100 * spread(way, of).mean);
        }
      }
      if (!tuned.values.empty()) out.series.push_back(std::move(tuned));
      Series mean{.name = backbone, .colour = colour_of(backbone), .values = {}, .smooth = false};
      Series low = mean, high = mean;
      low.name = backbone + ", least and largest draw";
      low.dashed = high.dashed = true;
      for (std::size_t x = 0; x < at.size(); ++x) {
        for (const WayFigures& way : study.ways) {
          if (way.labels != at[x] || way.way != (at[x] == 0 ? backbone : backbone + ", with labels"))
            continue;
          const Spread s = spread(way, of);
          mean.values.emplace_back(static_cast<double>(x), 100 * s.mean);
          low.values.emplace_back(static_cast<double>(x), 100 * s.low);
          high.values.emplace_back(static_cast<double>(x), 100 * s.high);
        }
      }
      if (mean.values.empty()) continue;
      out.series.push_back(std::move(mean));
      out.series.push_back(std::move(low));
      high.name = "";
      out.series.push_back(std::move(high));
    }
    for (const WayFigures& way : study.ways) {
      if (way.way != "pixel differences") continue;
      const double level = 100 * of(way.draws.front());
      out.series.push_back({.name = way.way,
                            .colour = colour_of(way.way),
                            .values = {{0.0, level}, {static_cast<double>(at.size() - 1), level}},
                            .smooth = false,
                            .dashed = true});
    }
    return out.html();
  };
  return join(
      "<h2>What labels buy</h2>\n<div class=\"charts\">\n",
      chart("Missed defects at 5 % false alarms",
            "Lower is better. Normal images, and as many labelled ones.",
            [](const Worth& w) { return w.missed_5; }),
      chart("AUROC of images", "50 % is guessing, 100 % no mistake.", [](const Worth& w) { return w.auroc; }),
      "</div>\n");
}

/// Image, mask and heat map of one case.
std::string case_html(const PilotSettings& s, const Inspected& files, const Study& study,
                      const ShownCase& shown) {
  const LabelledImage loaded = files.load(shown.index);
  InputOptions size = s.backbone.input();
  if (study.look.tiles) {
    size.height = study.look.windows()->resized(loaded.mask.height());
    size.width = study.look.windows()->resized(loaded.mask.width());
    size.fit = InputFit::stretch;
  }
  const InputRenderer renderer(size, defect_classes());
  const LabelledInput input = renderer.render(loaded, size.height, size.width);
  // The last patches may reach beyond the image: what is beyond is cut off.
  CroppedHeatMaps maps;
  const std::span<const float> heat = maps.of(shown.patches, shown.grid, study.patch, size.height, size.width, 0);
  const Image<std::uint8_t> image = renderer.picture(input.image);
  const std::array<Image<std::uint8_t>, 3> three{
      image, overlay(image, input.labels, renderer.classes(), 0.5),
      heat_overlay(image, heat, GridSize{size.height, size.width}, {study.low, study.high})};
  const bool alarm = shown.score >= study.threshold;
  return join("<figure>", picture(side_by_side(three), shown.caption), "<figcaption><b>",
              escaped(shown.caption), "</b> score ", decimals(shown.score, 3),
              std::isnan(study.threshold) ? ""
              : alarm                     ? ", alarm"
                                          : ", no alarm",
              "</figcaption></figure>\n");
}

std::string cases(const PilotSettings& s, const PilotSets& sets, const Study& study) {
  const auto row = [&](const char* title, const std::vector<ShownCase>& shown, const Inspected& files) {
    if (shown.empty()) return std::string();
    std::string html = join("<h3>", title, "</h3>\n<div class=\"charts\">\n");
    for (const ShownCase& one : shown) html += case_html(s, files, study, one);
    return html + "</div>\n";
  };
  if (study.best.empty()) return {};
  return join(
      "<h2>Best and worst cases, without labels</h2>\n<p>Image, mask, and heat map: how far each patch is "
      "from those "
      "of normal images, on one scale for all pictures, from ",
      decimals(study.low, 3),
      " (the middle of normal "
      "patches) to ",
      decimals(study.high, 3), ".</p>\n",
      row("Defects with the highest scores", study.best, sets.test_defects),
      row("Defects with the lowest scores: missed first", study.worst, sets.test_defects),
      row("Normal images with the highest scores: false alarms first", study.false_alarms, sets.test_normal));
}

std::string exposures_table(const Study& study) {
  std::string head, rows;
  for (const auto& [way, worth] : study.exposures.front().second) {
    static_cast<void>(worth);
    head += join("<th>", escaped(way), ": AUROC</th><th>false alarms</th><th>missed</th>");
  }
  for (const auto& [name, of_ways] : study.exposures) {
    rows += join("<tr><td>", escaped(name), "</td>");
    for (const auto& [way, worth] : of_ways) {
      static_cast<void>(way);
      const auto at = [](double share) { return share >= 0 ? percent(share) : std::string("–"); };
      rows += join("<td>", percent(worth.auroc), "</td><td>", at(worth.false_alarms), "</td><td>",
                   at(worth.missed), "</td>");
    }
    rows += "</tr>\n";
  }
  return join(
      "<h2>Other light, older cameras</h2>\n<p>The test images changed, what was learned and the threshold "
      "as they "
      "were. A way whose false alarms rise here needs its light held still, or normal images of every "
      "light.</p>\n"
      "<div class=\"scroll\"><table><thead><tr><th>taken with</th>",
      head, "</tr></thead><tbody>\n", rows, "</tbody></table></div>\n");
}

std::string kinds_table(const Study& study) {
  if (study.kinds.size() < 2) return {};
  std::string rows;
  for (const auto& [label, kind] : study.kinds) {
    rows += join("<tr><td>", escaped(label), "</td><td>", kind.first, "</td><td>",
                 percent(kind.second.missed_1), "</td><td>", percent(kind.second.missed_5), "</td><td>",
                 percent(kind.second.auroc), "</td></tr>\n");
  }
  return join(
      "<h2>Kinds of defects, without labels</h2>\n<div "
      "class=\"scroll\"><table><thead><tr><th>kind</th><th>test "
      "images</th><th>missed at 1 % false alarms, %</th><th>missed at 5 %, %</th><th>AUROC, "
      "%</th></tr></thead>"
      "<tbody>\n",
      rows, "</tbody></table></div>\n");
}

/// What else tells defects from normal images, and where the highest patches lie.
std::string beside_table(const Study& study) {
  std::string warnings, rows;
  for (const std::string& text : study.warnings())
    warnings += join("<p><b>Warning:</b> ", escaped(text), ".</p>\n");
  for (const Confounder& c : study.confounders)
    rows += join("<tr><td>AUROC of the ", escaped(c.name), "</td><td>", percent(c.auroc), "</td></tr>\n");
  rows += join("<tr><td>normal test images whose highest patch is in the outer two rows or columns</td><td>",
               percent(study.edge.normal), "</td></tr>\n<tr><td>test images with defects, likewise</td><td>",
               percent(study.edge.defects), "</td></tr>\n<tr><td>by chance: patches that count and lie there, of normal images</td><td>",
               percent(study.edge.by_chance), "</td></tr>\n");
  return join("<h2>What scores may follow in place of defects</h2>\n", warnings,
              "<p>An AUROC far from 50 % says that the test's defects differ from its normal images in something that is no "
              "defect. Highest patches that lie at the edge far more often than by chance say that edges raise the false "
              "alarms: --border leaves them out.</p>\n<div class=\"scroll\"><table><thead><tr><th>figure, without "
              "labels</th><th>%</th></tr></thead><tbody>\n",
              rows, "</tbody></table></div>\n");
}

/// Which settings were tried on pasted defects.
std::string choice_table(const Study& study) {
  const Choice& choice = study.choice;
  if (choice.tried.empty())
    return join("<p>Patches were looked at as asked for: ", escaped(in_words(study.look)), ".</p>\n");
  constexpr std::size_t shown = 10;
  std::string rows;
  const auto row = [&](const TriedLook& t, bool strong) {
    rows += join("<tr><td>", strong ? "<b>" : "", escaped(in_words(t.look)), strong ? "</b>" : "", "</td><td>", percent(t.found),
                 "</td><td>", percent(t.missed_5), "</td><td>", percent(t.auroc), "</td></tr>\n");
  };
  for (std::size_t i = 0; i < std::min(shown, choice.tried.size()); ++i) row(choice.tried[i], i == 0);
  if (choice.tried.size() > shown) {
    if (choice.tried.size() > shown + 1) rows += join("<tr><td>", choice.tried.size() - shown - 1, " more</td><td></td><td></td><td></td></tr>\n");
    row(choice.tried.back(), false);
  }
  std::string left_out;
  for (const std::string& why : choice.left_out) left_out += join("<li>", escaped(why), "</li>");
  if (!left_out.empty()) left_out = join("<p>Left out, as they cannot be for these images:</p>\n<ul>", left_out, "</ul>\n");
  return join("<h2>How the settings were chosen</h2>\n<p>Of ", choice.tried.size(), " settings <b>", escaped(in_words(choice.tried.front().look)),
              "</b> was chosen by the first column: ", choice.pasted, " made-up defects (cut-outs, scars and blobs of several sizes) pasted on ",
              choice.normal, " normal images, against those images as they are, with banks of ", choice.learned,
              " others. No label, no held-out and no test image was looked at, and made-up defects are not those of a plant: only "
              "the order of the rows means anything. The best first, the worst last.</p>\n<div class=\"scroll\"><table><thead><tr><th>setting</th><th>found, mean "
              "at 2, 5, 10 and 20 % false alarms, %</th><th>missed at 5 %, %</th><th>AUROC, %</th></tr></thead><tbody>\n",
              rows, "</tbody></table></div>\n", left_out);
}

/// What the trained backbone took, and which way to use labels is best by those that were held out.
std::string tuned_text(const PilotSettings& s, const Study& study) {
  if (study.tuned_trainings == 0) return "<p>The backbone itself was not trained on labels (--tune-steps 0).</p>\n";
  std::string rows;
  for (const HeldOutWay& way : study.held_out_ways)
    rows += join("<tr><td>", escaped(way.way), "</td><td>", percent(way.auroc), "</td></tr>\n");
  return join(
      "<h2>Training the backbone on labels</h2>\n<p>Tuned: the whole backbone with a linear head, trained on crops of ", escaped(s.tuning.crop),
      " pixels at ", s.tuning.scale == 1 ? std::string("the images' own resolution, ") : join("a scale of ", s.tuning.scale, ", "), percent(s.tuning.balanced), " % of them about defects, turned, mirrored and in other light; at most ",
      s.tuning.steps, " steps of ", s.tuning.batch, " crops, as many as labelled images that are held out say (cross-validated below 20 of them; one alone "
      "cannot be held out). In all ", study.tuned_trainings, " trainings and ", study.tuned_steps, " steps, of the first ", s.tune_draws,
      s.tune_draws == 1 ? " draw" : " draws", " of each number. The score of an image is the mean of its ", study.look.top,
      " highest patches, as everywhere here.</p>\n",
      rows.empty() ? std::string()
                   : join("<p>Which way to use all labels the first sentences are about was chosen by labelled images that were held out of its training, "
                          "against normal images that nothing learned from; no test image took part. The figure flatters the tuned ways a little, whose "
                          "steps were chosen by the same images.</p>\n<div class=\"scroll\"><table><thead><tr><th>way, all labels</th><th>AUROC on held-out "
                          "images, %</th></tr></thead><tbody>\n", rows, "</tbody></table></div>\n"));
}

std::string summary(const Study& study) {
  const WayFigures& first = study.ways.front();
  const Worth& w = first.draws.front();
  const WayFigures* most = study.with_all_labels();
  const WayFigures* floor = &study.ways.back();
  const WayFigures *plain = nullptr, *labelled = nullptr;  // fixed filters, and with all labels
  for (const WayFigures& way : study.ways) {
    if (way.way == "local filters") plain = &way;
    if (way.way == "local filters, with labels" && way.labels == study.defects) labelled = &way;
  }
  return join("<p><b>", escaped(study.relied_on()), "</b></p>\n<p>Learned from ", study.learned, " normal images and no label, ", escaped(first.way),
              " features miss <b>", percent(w.missed_5), " %</b> of the defects at 5 % false alarms (<b>",
              percent(w.missed_1), " %</b> at 1 %)",
              most == nullptr ? std::string()
                              : join("; with the masks of ", most->labels, " images <b>",
                                     percent(most->draws.front().missed_5), " %</b> (", escaped(most->way),
                                     study.held_out_ways.empty() ? ")" : ", the best on labelled images that were held out)"),
              ". ",
              plain == nullptr || labelled == nullptr ? std::string()
                                 : join("Fixed filters without a backbone miss <b>", percent(plain->draws.front().missed_5), " %</b>, with the masks <b>",
                                        percent(labelled->draws.front().missed_5), " %</b>. "),
              "Plain differences of pixels miss ", percent(floor->draws.front().missed_5),
              " %. Without labels, one image takes <b>", decimals(study.milliseconds, 1), " ms</b> (<b>",
              decimals(1000 / study.milliseconds, 1),
              " images a second</b>): reading, features and search. Tested on ", study.test_normal,
              " normal images and ", study.test_defects,
              " with defects that nothing was learned from.</p>\n");
}

}  // namespace

std::string pilot_report(const PilotSettings& settings, const PilotSets& sets, const Study& study) {
  std::string setting_rows;
  const nlohmann::ordered_json all_settings = settings.json();
  for (const auto& [key, value] : all_settings.items()) {
    setting_rows +=
        join("<tr><td>", escaped(key), "</td><td>",
             escaped(value.is_string() ? value.get<std::string>() : json_text(value)), "</td></tr>\n");
  }
  const std::string body = join(
      "<h1>", escaped(settings.title), "</h1>\n", summary(study), ways_table(settings, study), curves(study),
      tuned_text(settings, study), cases(settings, sets, study), kinds_table(study), exposures_table(study), beside_table(study), choice_table(study),
      "<h2>How it was measured</h2>\n<p>Normal images alone: distances of patches to a bank of ", study.bank,
      " normal patches (PatchCore). Labels alone: a linear classifier of patches, trained on the masks of "
      "the labelled "
      "images and on normal images. With labels: the mean of both, each less its mean and over its deviation "
      "on the ",
      study.held_out,
      " held-out normal images. Random weights have learned nothing; pixel differences are to the mean "
      "normal image; local filters are a few fixed ones at the images' own size, by their distribution on normal images, and with labels by trees "
      "boosted on what they see about a patch as well: what does "
      "not beat these has not helped. Nothing was learned from the held-out images, nor pretrained on them "
      "here. Test images are the last of each set, or sets of their own; images of "
      "one piece in both "
      "would flatter every figure.</p>\n<p class=\"soft\">",
      escaped(study.description), "; ", study.unreadable, " images could not be read",
      study.windows > 0 ? join("; ", study.windows, " windows, ", study.smaller, " images that do not fill one and are mirrored beyond their ends") : std::string(),
      "; dssl ", version_string,
      ".</p>\n<div class=\"scroll panel\"><table><tbody>\n", setting_rows, "</tbody></table></div>\n");
  return page(settings.title, body);
}

}  // namespace dssl::programs
