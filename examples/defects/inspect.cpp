// Learns what is normal, takes a threshold from normal images, and scores the test images.
#include "defects/inspect.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/hash.hpp>
#include <dssl/data/apart.hpp>
#include <dssl/data/defect_files.hpp>
#include <dssl/data/few_bits.hpp>
#include <dssl/data/fingerprint.hpp>
#include <dssl/data/image_files.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/data/source.hpp>
#include <dssl/data/truth_survey.hpp>
#include <dssl/defects/size_trend.hpp>
#include <dssl/features/ordered_rows.hpp>
#include <dssl/features/tile_pass.hpp>
#include <dssl/io/mapped_file.hpp>
#include <dssl/metrics/calibration.hpp>
#include <dssl/version.hpp>

#include "common/earlier_outputs.hpp"
#include "common/json_text.hpp"
#include "common/output_files.hpp"
#include "common/program.hpp"
#include "common/progress.hpp"
#include "common/rank_work.hpp"
#include "common/ranks.hpp"
#include "defects/figures.hpp"
#include "defects/inspected.hpp"
#include "defects/label_choice.hpp"
#include "defects/score_files.hpp"
#include "defects/scorer.hpp"
#include "defects/told_score.hpp"

namespace dssl::programs {

namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

class Inspection {
 public:
  Inspection(DefectSettings& settings, RunRanks& ranks) : x_settings(settings), x_all(ranks) {}

  void run() {
    start_rank(x_all, x_settings.processes, x_settings.backbone);
    x_ranks = x_all.communicator();
    x_settings.validate();
    // Whatever can be wrong with the arguments shows before the work begins.
    if (!x_settings.bank.empty()) {
      const DefectSettings asked = x_settings;
      x_threshold = adopt_bank_settings(x_settings);
      asked.require_agreement(x_settings);
      std::string names;
      for (const std::string& option : asked.without_effect()) names += (names.empty() ? "" : ", ") + option;
      if (!names.empty()) x_warn(join(names, " without effect: ", x_settings.bank, " is made already"));
    }
    x_choose_rate();
    if (!(x_settings.false_alarms > 0 && x_settings.false_alarms < 1))
      throw OptionError("false-alarms", x_settings.false_alarms, "above 0, below 1");
    x_open();
    x_scorer = make_scorer(x_settings, x_ranks);
    x_require_output_apart();
    x_require_same();
    std::optional<FolderClaim> claim;
    if (x_ranks.first()) {
      claim = claim_output_folder(x_settings.out, {"result.json", "scores.jsonl", "scores.csv", "bank.safetensors"});
      if (x_settings.maps) prepare_output_folder(x_settings.out + "/maps");
    }
    if (x_settings.look.free_of_size && x_settings.bank.empty() && !x_held_out)
      throw OptionError("free-of-size", "given", "--calibrate or --hold-out beside it: the trend over sizes is of images of which nothing was learned");
    x_describe();
    if (x_normal && x_settings.bank.empty()) x_learn();
    if (x_held_out) x_calibrate();
    if (x_ranks.first()) {
      // A bank stays until it is written anew: it may be what is read.
      remove_earlier_outputs(x_settings.out, {"result.json", "scores.jsonl", "scores.csv"}, "maps", x_maps());
      x_save();
    }
    static_cast<void>(x_ranks.any(false));  // no rank writes a map before the first has come so far
    if (x_test) x_score();
  }

 private:
  void x_require_same() const {
    if (x_ranks.alone()) return;
    std::vector<std::pair<std::string_view, std::string>> things{{"weights", x_scorer->weights()}, {"--bank", x_bank_words()}};
    for (const auto& [option, set] : {std::pair("--normal", &x_normal), {"--calibrate", &x_held_out}, {"--test", &x_test}})
      things.emplace_back(option, *set ? fingerprint_of(SourceView(ImagesOf<Inspected>(**set))).text() : "none");
    Json options = x_settings.json();
    options["maps"] = x_settings.maps;
    options["map_bits"] = x_settings.map_bits;
    options["map_scale"] = x_settings.map_scale;
    require_same_work(x_ranks, std::move(things), x_settings.backbone, std::move(options));
  }

  /// What tells a bank that is read from another: its file's bytes.
  [[nodiscard]] std::string x_bank_words() const {
    if (x_settings.bank.empty()) return "none";
    const std::vector<std::byte> bytes = read_bytes(x_settings.bank);
    return join(bytes.size(), " bytes, ", dssl::detail::hash_of_bytes(bytes));
  }

  /// The rate that was asked for, but a bank's threshold holds for its own alone.
  void x_choose_rate() {
    const std::optional<double>& asked = x_settings.asked_false_alarms;
    if (!asked) return;
    if (x_threshold && x_settings.calibrate.empty() && *asked != x_settings.false_alarms) {
      throw OptionError("false-alarms", *asked,
                        join(x_settings.false_alarms, ", for which the threshold of ", x_settings.bank,
                             " was taken, or --calibrate with normal images for another"));
    }
    x_settings.false_alarms = *asked;
  }

  [[nodiscard]] ImageFiles x_files(const std::vector<std::string>& paths) const {
    return ImageFiles(paths, {.folder = x_settings.images,
                              .file = x_settings.image_file,
                              .read = x_settings.backbone.reading(),
                              .pages = false});  // a mask is of one image
  }

  [[nodiscard]] Inspected x_inspected(ImageFiles files, bool with_truth) const {
    return {DefectFiles(std::move(files), {.masks = with_truth ? x_settings.masks : "",
                                           .boxes = with_truth ? x_settings.boxes : "",
                                           .templates = x_settings.templates,
                                           .template_file = x_settings.template_file,
                                           .mask_threshold = x_settings.mask_threshold,
                                           .foreground = x_settings.foreground,
                                           .good = x_settings.good,
                                           .missing_is_normal = x_settings.missing_is_normal,
                                           .read = x_settings.backbone.reading()}),
            with_truth ? x_settings.good : std::vector<std::string>{}};
  }

  void x_open() {
    if (!x_settings.normal.empty()) x_split(x_files(x_settings.normal));
    if (!x_settings.calibrate.empty()) {
      x_held_out.emplace(x_inspected(x_files(x_settings.calibrate), false));
      x_require_enough(x_held_out->size());
    }
    if (x_normal && x_held_out) require_apart(*x_normal, x_learned_from, *x_held_out, x_calibrated_with);
    x_open_labelled();
    if (x_settings.test.empty()) return;
    x_test.emplace(x_inspected(x_files(x_settings.test), true));
    constexpr std::string_view scored = "the images to score (--test)";
    if (x_normal) require_apart(*x_normal, x_learned_from, *x_test, scored);
    if (x_held_out) require_apart(*x_held_out, x_calibrated_with, *x_test, scored);
    if (x_labelled) require_apart(*x_labelled, x_labelled_for, *x_test, scored);
    std::set<std::string> ids, maps;
    for (Index i = 0; i < x_test->size(); ++i) {
      const std::string& id = x_test->id(i);
      if (!ids.insert(id).second)
        throw DataError(join(x_test->name(i), ": is listed twice among the images to score"));
      if (x_settings.maps && !maps.insert(map_file(id)).second) {
        throw DataError(join(x_test->name(i), ": its map, ", map_file(id),
                             ", would be another image's too; score them in two runs"));
      }
    }
  }

  void x_open_labelled() {
    if (x_settings.defects.empty()) return;
    x_labelled.emplace(x_inspected(x_files(x_settings.defects), true));
    for (Index i = 0; i < x_labelled->size(); ++i) {
      if (x_labelled->files().truth_names(i).empty())
        throw DataError(join(x_labelled->name(i), ": has no ", x_labelled->files().truth_kind(), "; expected one for each of --defects"));
    }
    require_apart(*x_normal, x_learned_from, *x_labelled, x_labelled_for);
    if (x_held_out) require_apart(*x_held_out, x_calibrated_with, *x_labelled, x_labelled_for);
  }

  [[nodiscard]] Index x_enough() const { return calibration_size(x_settings.false_alarms); }

  void x_require_enough(Index count) const {
    if (count >= x_enough()) return;
    throw DataError(join(count, " normal images are too few for a threshold of ",
                         100 * x_settings.false_alarms, " % false alarms; at least ", x_enough(),
                         " are needed"));
  }

  /// Neighbours in a folder are often of one piece: what is held out is a block at the end, not a drawing of
  /// lots.
  void x_split(const ImageFiles& all) {
    Index kept_back = 0;
    if (x_settings.calibrate.empty()) {
      kept_back = static_cast<Index>(
          std::llround(x_settings.hold_out.value_or(DefectSettings::usual_hold_out) * static_cast<double>(all.size())));
      if (x_settings.hold_out && *x_settings.hold_out > 0) x_require_enough(kept_back);
      if (kept_back < x_enough()) kept_back = 0;
    }
    if (kept_back >= all.size()) throw DataError("no normal image is left to learn from");
    if (kept_back > 0) x_held_out.emplace(x_inspected(all.part(all.size() - kept_back, kept_back), false));
    x_normal.emplace(x_inspected(all.part(0, all.size() - kept_back), false));
  }

  void x_describe() const {
    print_ranks(x_all);
    for (const auto* const set : {&x_normal, &x_held_out, &x_labelled, &x_test}) {
      if (!*set) continue;
      const bool of_normal = set == &x_held_out && x_settings.calibrate.empty();  // a part of the same folders
      if (!of_normal && x_ranks.first()) print_left_aside("dssl-defects", (*set)->files().files());
      if (const std::string& without = (*set)->files().without_foreground(); !without.empty()) x_warn(without);
      if (const std::string few = few_bits_warning(ImagesOf(**set)); !few.empty()) x_warn(few);
    }
    std::printf("%s; %td normal images to learn from, %td to calibrate with, %td to score, at %s\n",
                x_scorer->describe().c_str(), x_normal ? x_normal->size() : Index{0},
                x_held_out ? x_held_out->size() : Index{0}, x_test ? x_test->size() : Index{0},
                x_settings.scorer == "filters" ? "their own size" : x_settings.backbone.size.c_str());
    if (!x_held_out && !x_threshold) {
      std::printf("no threshold: at least %td normal images are needed that nothing was learned from\n",
                  x_enough());
    }
    if (x_test && x_test->has_masks()) {
      const DefectFiles& files = x_test->files();
      std::printf("%s\n", files.survey().text(files.truth_kind()).c_str());
      if (files.survey().defect_without > 0)
        x_warn(join(files.survey().defect_without, " images whose label tells of a defect have no ", files.truth_kind(),
                    " and count as normal (--missing-is-normal)"));
    }
    std::fflush(stdout);
  }

  void x_warn(const std::string& text) const {
    if (x_ranks.first()) print_error("dssl-defects", "warning: " + text);
  }

  /// Runs a pass over images, pass(token, progress), and tells of its progress where the pass does not; returns its seconds.
  template <class Pass>
  double x_with_progress(const char* label, Index total, const Pass& pass, bool pass_tells = false) {
    const auto start = Clock::now();
    std::stop_source stop;
    Progress progress(label, total, "images");
    x_scorer->on_images = [&](Index done) {
      if (!pass_tells) progress.at(done);
      if (x_interruption.requested()) stop.request_stop();
    };
    x_scorer->on_skip = [&](std::string_view, std::string_view message) {
      progress.warn(skipped_words(x_ranks, message));
    };
    const FeaturePassCount count = pass(stop.get_token(), progress);
    x_unreadable += count.unreadable;
    x_unreadable_masks += count.unreadable_labels;
    if (stop.stop_requested()) throw Error("stopped on request; no result was written");
    TilePassCount tiled;
    for (const TilePassCount& of : x_ranks.all_say(x_scorer->tiled())) tiled += of;
    if (tiled.windows > 0) {
      std::printf("%s: %td windows over %td images", label, tiled.windows, tiled.images);
      if (tiled.smaller > 0) std::printf("; %td do not fill a window and are mirrored beyond their ends", tiled.smaller);
      std::printf("\n");
    }
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  /// Scores a set; take(number, told) is called on every rank for each of all ranks' images, in order. `maps`: each rank writes
  /// those of its own, and what they show is told where masks are.
  template <class Take>
  double x_score_set(const char* label, const Inspected& images, bool maps, const Take& take) {
    const bool told_whole = maps && images.has_masks();
    const auto pass = [&](const std::stop_token& token, Progress& progress) {
      Index done = 0;
      const InputOptions& size = x_scorer->renderer().options();
      const Index pixels = told_whole ? size.height * size.width : 0;
      const FeaturePassCount count = pass_in_turns<std::byte>(
          x_ranks, images, static_cast<Index>(sizeof(ToldScore::Figures)) + pixels * static_cast<Index>(sizeof(float) + 1),
          x_settings.look.tiles ? 1 : x_settings.backbone.at_once, {}, token,
          [&](Index number, std::optional<std::span<const std::byte>> told) {
            if (!told) return;
            progress.at(++done);
            take(number, ToldScore::of(*told));
          },
          [&](const ChosenSamples<Inspected>& own, const SkipPolicy&, const auto& add) {
            x_scorer->on_score = [&](const DefectScore& image) {
              const Index number = own.number(image.index);
              ToldScore told{.figures = {.score = image.score, .patches = image.patches, .height = image.height, .width = image.width, .truth = images.truth(number)}};
              if (maps && x_settings.maps) told.figures.map_white = write_map(images.id(number), image, x_settings);
              if (told_whole) {
                told.heat_map.assign(image.heat_map.begin(), image.heat_map.end());
                told.labels.assign(image.truth.begin(), image.truth.end());
              }
              add(image.index, told.bytes());
            };
            return x_scorer->score(InspectedPart(images, own), token);
          });
      if (count.images == 0 && !token.stop_requested()) throw DataError("no image of the set can be read");
      return count;
    };
    return x_with_progress(label, images.size(), pass, true);
  }

  void x_learn() {
    x_learn_seconds = x_with_progress("normal images", x_normal->size(), [&](const std::stop_token& token, Progress&) {
      return x_scorer->learn(*x_normal, token);
    });
    if (x_labelled) {
      x_learn_seconds += x_with_progress("labelled images", x_normal->size() + x_labelled->size(), [&](const std::stop_token& token, Progress&) {
        x_label_choice = x_scorer->learn_labels(*x_normal, *x_labelled, token);
        return FeaturePassCount{};
      });
      std::printf("%s\n", in_words(*x_label_choice).c_str());
    }
    const Json bank = x_scorer->bank();
    if (!bank.is_null()) std::printf("bank of %td patches\n", bank.at("rows").get<Index>());
  }

  void x_calibrate() {
    std::vector<double> scores;
    std::vector<Index> patches;
    x_score_set("calibration", *x_held_out, false, [&](Index, const ToldScore& told) {
      scores.push_back(told.figures.score);
      patches.push_back(told.figures.patches);
    });
    x_calibrated = static_cast<Index>(scores.size());
    // A bank of an earlier run has its own.
    if (x_settings.look.free_of_size && x_settings.bank.empty()) {
      x_trend = SizeTrend::of(scores, patches);
      x_scorer->set_size_trend(*x_trend);
      for (std::size_t i = 0; i < scores.size(); ++i) scores[i] = x_trend->without(scores[i], patches[i]);
      std::printf("scores of normal images rise by %.4g where the patches are twice as many: that is taken off; %.0f patches are usual\n",
                  x_trend->slope * std::log(2.0), x_trend->usual);
    }
    x_threshold = alarm_threshold(scores, x_settings.false_alarms);
    std::printf("threshold %.6g for %g %% false alarms, from %td normal images\n", *x_threshold,
                100 * x_settings.false_alarms, x_calibrated);
  }

  /// Whether a bank is made, and written.
  [[nodiscard]] bool x_makes_bank() const { return x_settings.has_bank() && x_settings.bank.empty() && x_normal; }

  /// Names of the maps that will be written.
  [[nodiscard]] std::vector<std::string> x_maps() const {
    std::vector<std::string> names;
    for (Index i = 0; x_settings.maps && x_test && i < x_test->size(); ++i)
      names.push_back(map_file(x_test->id(i)).substr(std::string_view("maps/").size()));
    return names;
  }

  void x_require_output_apart() const {
    std::vector<std::string> paths;
    if (x_makes_bank()) paths.push_back(x_settings.out + "/bank.safetensors");
    if (x_test) {
      for (const char* const file : {"/result.json", "/scores.jsonl", "/scores.csv"}) paths.push_back(x_settings.out + file);
    }
    for (const std::string& name : x_maps()) paths.push_back(x_settings.out + "/maps/" + name);
    const OutputFiles output(with_earlier_pictures(std::move(paths), x_settings.out, "maps"));
    const DefectSettings& s = x_settings;
    for (const auto& [option, given, set] : {std::tuple("--normal", &s.normal, &x_normal),
                                             {"--calibrate", &s.calibrate, &x_held_out},
                                             {"--defects", &s.defects, &x_labelled},
                                             {"--test", &s.test, &x_test}}) {
      output.require_other_than_given(option, *given);
      if (!*set) continue;
      output.require_other_than_all(option, **set);
      const DefectFiles& files = (*set)->files();
      for (Index i = 0; i < files.size(); ++i) {
        for (const std::string& truth : files.truth_names(i))
          output.require_other_than(s.masks.empty() ? "--boxes" : "--masks", truth);
        if (files.has_templates()) output.require_other_than("--templates", files.template_name(i));
        for (const std::string& mask : files.foreground_names(i)) output.require_other_than("--foreground", mask);
      }
    }
    output.require_outside("--masks", s.masks);
    output.require_outside("--templates", s.templates);
    if (!s.bank.empty()) output.require_other_than("--bank", s.bank);
    if (s.has_backbone() && !s.backbone.random_weights()) output.require_other_than_weights("--weights", s.backbone.weights);
  }

  void x_save() {
    if (!x_settings.bank.empty() || !x_normal) return;
    std::map<std::string, std::string> metadata;
    if (x_threshold) {
      metadata["threshold"] = exact_text(*x_threshold);
      metadata["false_alarms"] = exact_text(x_settings.false_alarms);
    }
    x_scorer->save(x_settings.out + "/bank.safetensors", std::move(metadata));
  }

  void x_score() {
    DefectResult result;
    std::vector<ScoredImage> scored;
    const double seconds = x_score_set("scoring", *x_test, true, [&](Index number, const ToldScore& told) {
      if (!x_ranks.first()) return;
      const ToldScore::Figures& of = told.figures;
      if (of.truth != Truth::unknown) result.add_image(of.score, of.truth == Truth::defect);
      if (x_test->has_masks()) {
        result.tally.add_map(std::span<const float>(told.heat_map), std::span<const std::uint8_t>(told.labels), of.height, of.width,
                             ClassMap::ignored, of.truth == Truth::defect);
      }
      scored.push_back({.index = number,
                        .score = of.score,
                        .truth = of.truth,
                        .map = x_settings.maps ? map_file(x_test->id(number)) : "",
                        .map_white = of.map_white});
    });
    x_test->files().share_findings(x_ranks);
    if (!x_ranks.first()) return;
    x_require_truth(scored);
    const double threshold = x_threshold.value_or(std::numeric_limits<double>::quiet_NaN());
    write_scores(scored, *x_test, threshold, x_settings.out);
    const Json report = x_report(result, scored, seconds);
    write_json(x_settings.out + "/result.json", report);
    x_print(report);
    if (x_unreadable_masks > 0)
      x_warn(join(x_unreadable_masks, " images were not scored, as their masks cannot be read"));
    for (const std::string& text : x_test->files().findings().texts()) x_warn(text);
  }

  /// Throws `DataError` where masks that cannot be read leave no defect to judge by.
  void x_require_truth(const std::vector<ScoredImage>& scored) const {
    const auto is_defect = [](const ScoredImage& image) { return image.truth == Truth::defect; };
    if (x_unreadable_masks == 0 || std::ranges::any_of(scored, is_defect)) return;
    throw DataError(join("none of the test images with a defect is left: ", x_unreadable_masks,
                         " masks cannot be read, see the warnings; expected masks, or without --masks labels alone"));
  }

  /// The figures of each label that has defects, against all normal images.
  [[nodiscard]] Json x_by_label(const std::vector<ScoredImage>& scored) const {
    std::map<std::string, ScoreTally> tallies;
    for (const ScoredImage& image : scored) {
      if (image.truth == Truth::defect)
        tallies.try_emplace(x_test->label(image.index)).first->second.add(image.score, true);
    }
    Json out = Json::object();
    if (tallies.size() < 2) return out;
    for (auto& [label, tally] : tallies) {
      for (const ScoredImage& image : scored) {
        if (image.truth == Truth::normal) tally.add(image.score, false);
      }
      out[label] = ranking_figures(tally);
    }
    return out;
  }

  /// What the threshold does to the test images.
  [[nodiscard]] Json x_at_threshold(const std::vector<ScoredImage>& scored) const {
    if (!x_threshold) return nullptr;
    Index count[2] = {0, 0};
    Index alarms[2] = {0, 0};
    Index all = 0;
    for (const ScoredImage& image : scored) {
      const bool alarm = image.score >= *x_threshold;
      all += alarm ? 1 : 0;
      if (image.truth == Truth::unknown) continue;
      const int kind = image.truth == Truth::defect ? 1 : 0;
      ++count[kind];
      alarms[kind] += alarm ? 1 : 0;
    }
    const auto share = [](Index part, Index whole) {
      return whole > 0 ? Json(static_cast<double>(part) / static_cast<double>(whole)) : Json(nullptr);
    };
    return {{"promised_false_alarms", x_settings.false_alarms},
            {"threshold", *x_threshold},
            {"normal_images", x_calibrated > 0 ? Json(x_calibrated) : Json(nullptr)},
            {"alarms", all},
            {"false_alarms", share(alarms[0], count[0])},
            {"missed", share(count[1] - alarms[1], count[1])}};
  }

  [[nodiscard]] Json x_report(const DefectResult& result, const std::vector<ScoredImage>& scored,
                              double seconds) const {
    Json images = ranking_figures(result.tally.images());
    Json pixels = nullptr;
    Json aupro = nullptr;
    if (x_test->has_masks()) {
      pixels = ranking_figures(result.tally.pixels());
      const ScoreTally& regions = result.tally.regions();
      if (regions.positives() > 0 && regions.negatives() > 0) aupro = result.tally.aupro(0.3);
    }
    const auto count = static_cast<double>(std::max<std::size_t>(1, scored.size()));
    return {{"scored", scored.size()},
            {"unreadable", x_unreadable},
            {"unreadable_masks", x_unreadable_masks},
            {"truth", x_truth()},
            {"images", std::move(images)},
            {"pixels", std::move(pixels)},
            {"aupro_30", std::move(aupro)},
            {"regions", x_test->has_masks() ? Json(result.tally.region_count()) : Json(nullptr)},
            {"regions_found", x_test->has_masks() ? region_figures(result.tally) : Json(nullptr)},
            {"calibrated", x_at_threshold(scored)},
            {"labels", x_by_label(scored)},
            {"size_trend", x_trend ? Json{{"slope", x_trend->slope}, {"usual", x_trend->usual}} : Json(nullptr)},
            {"bank", x_scorer->bank()},
            {"labelled", x_label_choice ? choice_json(*x_label_choice) : Json(nullptr)},
            {"milliseconds_an_image", 1000 * seconds / count},
            {"seconds", {{"learning", x_learn_seconds}, {"scoring", seconds}}},
            {"settings", x_settings.json()},
            {"version", version_string}};
  }

  /// Which images have masks, and where these and labels disagree.
  [[nodiscard]] Json x_truth() const {
    if (!x_test->has_masks()) return nullptr;
    const TruthSurvey& survey = x_test->files().survey();
    const TruthFindings found = x_test->files().findings();
    return {{"images", survey.images},           {"found", survey.found},
            {"missing", survey.defect_without},  {"unused", survey.unused},
            {"marked_good", found.marked_good},  {"empty_defects", found.empty_defects},
            {"many_values", found.between}};
  }

  static void x_print(const Json& report) {
    if (report.at("images").at("positives").get<double>() +
            report.at("images").at("negatives").get<double>() >
        0)
      std::printf("images  %s\n", ranking_text(report.at("images")).c_str());
    for (const auto& [label, figures] : report.at("labels").items())
      std::printf("  %s: %s\n", label.c_str(), ranking_text(figures).c_str());
    if (!report.at("pixels").is_null())
      std::printf("pixels  %s\n", ranking_text(report.at("pixels")).c_str());
    if (!report.at("aupro_30").is_null())
      std::printf("AUPRO (30 %%) %.1f %% of %td regions\n", 100 * report.at("aupro_30").get<double>(),
                  report.at("regions").get<Index>());
    if (!report.at("regions_found").is_null()) std::printf("%s\n", region_text(report.at("regions_found")).c_str());
    const Json& at = report.at("calibrated");
    if (!at.is_null()) {
      std::printf("at the threshold: %td alarms in %td images", at.at("alarms").get<Index>(),
                  report.at("scored").get<Index>());
      if (at.at("false_alarms").is_number())
        std::printf(", %.1f %% false alarms", 100 * at.at("false_alarms").get<double>());
      if (at.at("missed").is_number()) std::printf(", %.1f %% missed", 100 * at.at("missed").get<double>());
      std::printf("\n");
    }
    std::printf("%.2f ms an image\n", report.at("milliseconds_an_image").get<double>());
  }

  static constexpr std::string_view x_learned_from = "the normal images to learn from (--normal)";
  static constexpr std::string_view x_labelled_for = "the labelled images (--defects)";
  static constexpr std::string_view x_calibrated_with = "the normal images to calibrate with";

  DefectSettings& x_settings;
  RunRanks& x_all;
  Communicator x_ranks;
  Interruption x_interruption;
  std::unique_ptr<Scorer> x_scorer;
  std::optional<Inspected> x_normal, x_held_out, x_labelled, x_test;
  std::optional<FilterLabelChoice> x_label_choice;
  std::optional<double> x_threshold;
  std::optional<SizeTrend> x_trend;  // that this run found
  Index x_calibrated = 0;
  Index x_unreadable = 0;
  Index x_unreadable_masks = 0;
  double x_learn_seconds = 0;
};

}  // namespace

void inspect(DefectSettings settings, RunRanks& ranks) { Inspection(settings, ranks).run(); }

}  // namespace dssl::programs
