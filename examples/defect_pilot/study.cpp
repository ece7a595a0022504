// The pilot's study: normal images alone, then more and more labels, other exposures, and what is simpler.
#include "defect_pilot/study.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include <dssl/core/error.hpp>
#include <dssl/data/apart.hpp>
#include <dssl/data/defect_files.hpp>
#include <dssl/defects/defect_bank.hpp>
#include <dssl/defects/defect_score.hpp>
#include <dssl/defects/difference_probe.hpp>
#include <dssl/defects/filter_probe.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/metrics/calibration.hpp>
#include <dssl/metrics/metrics.hpp>
#include <dssl/search/row_sample.hpp>

#include "common/progress.hpp"
#include "common/read_options.hpp"
#include "defect_pilot/tuned.hpp"
#include "defect_pilot/verdict.hpp"
#include "defects/label_choice.hpp"

namespace dssl::programs {

namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

Inspected inspected(const PilotSettings& s, ImageFiles files, bool with_masks) {
  return {DefectFiles(std::move(files),
                      {.masks = with_masks ? s.masks : "",
                       .mask_threshold = s.mask_threshold,
                       .foreground = s.foreground,
                       .good = {},
                       .read = s.backbone.reading()}),
          {}};
}

/// What scores of normal images and of defects are worth; heat maps are of the test's images.
class Judge {
 public:
  Judge(const PatchSet& normal, const PatchSet& defects, const PilotSettings& settings)
      : x_normal(normal), x_defects(defects), x_settings(settings) {}

  /// `held_out`: scores of normal images that nothing was learned from.
  [[nodiscard]] Worth operator()(const SetScores& normal, const SetScores& defects,
                                 const std::vector<double>& held_out) const {
    DetectionTally tally({.distinct = Index{1} << 16});
    CroppedHeatMaps maps;
    const auto add = [&](const PatchSet& set, const SetScores& scores) {
      for (std::size_t i = 0; i < set.images.size(); ++i) {
        const PatchImage& image = set.images[i];
        tally.add_image(scores.images[i], image.defect);
        tally.add_map(maps.of(scores.patches[i], image.grid, set.patch, image.height, image.width, x_settings.smoothing),
                      std::span<const std::uint8_t>(image.truth), image.height, image.width, ClassMap::ignored);
      }
    };
    add(x_normal, normal);
    add(x_defects, defects);
    Worth out = of_images(tally.images());
    out.aupro = tally.region_count() > 0 ? tally.aupro(0.3) : std::numeric_limits<double>::quiet_NaN();
    at_threshold(out, normal.images, defects.images, held_out, x_settings.false_alarms);
    return out;
  }

  [[nodiscard]] static Worth of_images(const ScoreTally& tally) {
    return {.auroc = auroc(tally),
            .missed_1 = at_false_alarms(tally, 0.01).missed(),
            .missed_5 = at_false_alarms(tally, 0.05).missed(),
            .aupro = std::numeric_limits<double>::quiet_NaN()};
  }

  /// Nothing where too few normal images were held out.
  [[nodiscard]] static std::optional<double> threshold(const std::vector<double>& held_out, double rate) {
    if (static_cast<Index>(held_out.size()) < calibration_size(rate)) return std::nullopt;
    return alarm_threshold(held_out, rate);
  }

  static void at_threshold(Worth& out, const std::vector<double>& normal, const std::vector<double>& defects,
                           const std::vector<double>& held_out, double rate) {
    const auto level = threshold(held_out, rate);
    if (!level) return;
    const auto share = [&](const std::vector<double>& scores) {
      const auto alarms = std::count_if(scores.begin(), scores.end(), [&](double s) { return s >= *level; });
      return static_cast<double>(alarms) / static_cast<double>(scores.size());
    };
    out.false_alarms = share(normal);
    out.missed = 1 - share(defects);
  }

 private:
  const PatchSet& x_normal;
  const PatchSet& x_defects;
  const PilotSettings& x_settings;
};

/// Says the figures of a way's last draw, so that a long study has shown them if it is stopped.
void say_last(const WayFigures& way) {
  const Worth& w = way.draws.back();
  std::printf("%s, %td labels, draw %zu: missed at 5 %% %.1f %%, at 1 %% %.1f %%, AUROC %.1f %%, AUPRO %.1f %%\n", way.way.c_str(), way.labels,
              way.draws.size(), 100 * w.missed_5, 100 * w.missed_1, 100 * w.auroc, 100 * w.aupro);
  std::fflush(stdout);
}

/// All sets through one backbone, its bank, and curves over labels.
class BackboneStudy {
 public:
  BackboneStudy(const PilotSettings& settings, const PilotSets& sets, std::unique_ptr<SetReader> reader,
                const LookSettings& look, std::string name, const Interruption& interruption)
      : x_settings(settings),
        x_sets(sets),
        x_look(look),
        x_name(std::move(name)),
        x_interruption(interruption),
        x_reader(std::move(reader)),
        x_normal(x_read(sets.normal, "normal images")),
        x_held_out(x_read(sets.held_out, "held-out images")),
        x_defects(x_read(sets.defects, "labelled defects")),
        x_test_normal(x_read(sets.test_normal, "test, normal")),
        x_test_defects(x_read(sets.test_defects, "test, defects")),
        x_judge(x_test_normal, x_test_defects, settings) {
    for (const PatchSet* set : {&x_defects, &x_test_defects}) {
      const auto with =
          std::count_if(set->images.begin(), set->images.end(), [](const PatchImage& i) { return i.defect; });
      if (with < static_cast<Index>(set->images.size())) {
        throw DataError(join(static_cast<Index>(set->images.size()) - with, " of ", set->images.size(),
                             " images with defects have an empty mask in ", settings.masks));
      }
    }
    x_bank = make_normal_bank(settings.backbone, x_normal, settings.pool, settings.coreset, look);
    x_of_held_out = x_bank->score(x_held_out);
    const auto start = Clock::now();
    x_of_test_normal = x_bank->score(x_test_normal);
    x_of_test_defects = x_bank->score(x_test_defects);
    x_trend = x_take_size_off({{x_of_held_out, x_held_out}, {x_of_test_normal, x_test_normal}, {x_of_test_defects, x_test_defects}});
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count() +
                           x_test_normal.seconds + x_test_defects.seconds;
    x_milliseconds =
        1000 * seconds / static_cast<double>(x_test_normal.images.size() + x_test_defects.images.size());
  }

  /// The bank alone, then heads on draws of labelled images, and both together.
  void add_curves(Study& study, const HeadTrainer& heads, const std::string& weights, bool main) const {
    study.ways.push_back({x_name, 0, {x_judge(x_of_test_normal, x_of_test_defects, x_of_held_out.images)}});
    say_last(study.ways.back());
    const auto all = static_cast<Index>(x_defects.images.size());
    std::vector<Index> counts(x_settings.labels);
    std::erase_if(counts, [&](Index n) { return n >= all; });
    std::sort(counts.begin(), counts.end());
    counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
    counts.push_back(all);
    Progress progress(x_name + ", labels", static_cast<Index>(counts.size()) * x_settings.draws, "draws");
    Index done = 0;
    for (const Index count : counts) {
      WayFigures alone{x_name + ", labels alone", count, {}}, both{x_name + ", with labels", count, {}};
      WayFigures tuned{x_name + tuned_alone, count, {}}, tuned_both{x_name + tuned_with_bank, count, {}};
      const Index draws = count == all ? 1 : x_settings.draws;
      for (Index draw = 0; draw < draws; ++draw) {
        auto order = shuffled(all, {.seed = x_settings.backbone.seed,
                                    .sample = static_cast<std::uint64_t>(draw),
                                    .view = 12,
                                    .purpose = Purpose::probe});
        order.resize(static_cast<std::size_t>(count));
        if (main) {
          DrawnLabels& drawn = study.drawn.emplace_back(DrawnLabels{.labels = count, .draw = draw, .names = {}, .images = {}});
          std::vector<Index> as_listed = order;  // folds are blocks: neighbours of the list are often of one piece
          std::ranges::sort(as_listed);
          for (const Index i : as_listed) {
            drawn.names.push_back(x_defects.images[static_cast<std::size_t>(i)].name);
            drawn.images.push_back(x_defects.images[static_cast<std::size_t>(i)].index);
          }
        }
        const DefectHead head = x_head(study, heads, order, draw);
        SetScores normal = head.score(x_held_out, x_look.top);
        SetScores test_normal = head.score(x_test_normal, x_look.top);
        SetScores test_defects = head.score(x_test_defects, x_look.top);
        x_take_size_off({{normal, x_held_out}, {test_normal, x_test_normal}, {test_defects, x_test_defects}});
        alone.draws.push_back(x_judge(test_normal, test_defects, normal.images));
        const SetScores both_normal = combined(x_of_held_out, x_of_held_out, normal, normal);
        both.draws.push_back(x_judge(combined(x_of_test_normal, x_of_held_out, test_normal, normal),
                                     combined(x_of_test_defects, x_of_held_out, test_defects, normal),
                                     both_normal.images));
        say_last(alone);
        say_last(both);
        if (x_settings.tuning.steps > 0 && draw < x_settings.tune_draws)
          x_add_tuned(study, tuned, tuned_both, heads, order, weights, static_cast<std::uint64_t>(draw), main && count == all);
        if (x_interruption.requested()) throw Error("stopped on request; no report was written");
        progress.at(++done);
      }
      done = (done + x_settings.draws - 1) / x_settings.draws * x_settings.draws;
      study.ways.push_back(std::move(alone));
      study.ways.push_back(std::move(both));
      if (tuned.draws.empty()) continue;
      study.ways.push_back(std::move(tuned));
      study.ways.push_back(std::move(tuned_both));
    }
    progress.at(static_cast<Index>(counts.size()) * x_settings.draws);
  }

  /// The test images of other exposures, by what was learned from those as taken.
  [[nodiscard]] Worth under(const Exposure& how) {
    const PatchSet normal = x_read(x_sets.test_normal, "exposure, normal", how);
    const PatchSet defects = x_read(x_sets.test_defects, "exposure, defects", how);
    SetScores of_normal = x_bank->score(normal), of_defects = x_bank->score(defects);
    take_size_off({{of_normal, normal}, {of_defects, defects}}, x_trend);
    return x_judge(of_normal, of_defects, x_of_held_out.images);
  }

  void add_cases(Study& study) const {
    const auto ranked = [&](const SetScores& scores, bool descending) {
      std::vector<Index> order(scores.images.size());
      for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<Index>(i);
      std::stable_sort(order.begin(), order.end(), [&](Index a, Index b) {
        const double x = scores.images[static_cast<std::size_t>(a)],
                     y = scores.images[static_cast<std::size_t>(b)];
        return descending ? x > y : x < y;
      });
      order.resize(std::min<std::size_t>(order.size(), static_cast<std::size_t>(x_settings.shown)));
      return order;
    };
    const auto take = [&](std::vector<ShownCase>& out, const PatchSet& set, const SetScores& scores,
                          const Inspected& files, bool descending) {
      for (const Index i : ranked(scores, descending)) {
        const auto at = static_cast<std::size_t>(i);
        out.push_back({.caption = files.id(set.images[at].index),
                       .defect = set.images[at].defect,
                       .index = set.images[at].index,
                       .score = scores.images[at],
                       .grid = set.images[at].grid,
                       .patches = scores.patches[at]});
      }
    };
    take(study.best, x_test_defects, x_of_test_defects, x_sets.test_defects, true);
    take(study.worst, x_test_defects, x_of_test_defects, x_sets.test_defects, false);
    take(study.false_alarms, x_test_normal, x_of_test_normal, x_sets.test_normal, true);
    // One scale for all pictures: from the middle of normal patches to the largest score of a test patch.
    std::vector<float> normal;
    for (const auto& own : x_of_test_normal.patches) normal.insert(normal.end(), own.begin(), own.end());
    std::nth_element(normal.begin(), normal.begin() + static_cast<Index>(normal.size() / 2), normal.end());
    study.low = static_cast<double>(normal[normal.size() / 2]);
    study.high = study.low;
    for (const auto& own : x_of_test_defects.patches)
      study.high = std::max(study.high, static_cast<double>(*std::max_element(own.begin(), own.end())));
  }

  void add_kinds(Study& study) const {
    std::map<std::string, ScoreTally> tallies;
    std::map<std::string, Index> counts;
    for (std::size_t i = 0; i < x_test_defects.images.size(); ++i) {
      const std::string& label = x_sets.test_defects.label(x_test_defects.images[i].index);
      tallies.try_emplace(label).first->second.add(x_of_test_defects.images[i], true);
      ++counts[label];
    }
    for (auto& [label, tally] : tallies) {
      for (const double score : x_of_test_normal.images) tally.add(score, false);
      study.kinds.emplace_back(label, std::pair(counts[label], Judge::of_images(tally)));
    }
  }

  /// What tells the test's two kinds of images apart without looking for defects.
  void add_confounders(Study& study) const {
    const auto ranked = [&](const char* name, const auto& of) {
      ScoreTally tally;
      for (const PatchImage& image : x_test_normal.images) tally.add(of(image.facts), false);
      for (const PatchImage& image : x_test_defects.images) tally.add(of(image.facts), true);
      // Of two samples from one distribution (Mann and Whitney).
      const double n = static_cast<double>(x_test_normal.images.size()), m = static_cast<double>(x_test_defects.images.size());
      study.confounders.push_back({name, auroc(tally), std::sqrt((n + m + 1) / (12 * n * m))});
    };
    ranked("size of the image (its area in pixels)", [](const ImageFacts& f) { return f.area; });
    ranked("mean brightness of the image", [](const ImageFacts& f) { return f.brightness; });
  }

  [[nodiscard]] static bool in_outer_two(Index cell, GridSize grid) {
    const Index y = cell / grid.width, x = cell % grid.width;
    return y < 2 || x < 2 || y >= grid.height - 2 || x >= grid.width - 2;
  }

  /// Share of images whose highest patch is in the outer two rows or columns.
  [[nodiscard]] static double at_edge(const PatchSet& set, const SetScores& scores) {
    Index count = 0;
    for (std::size_t i = 0; i < set.images.size(); ++i) {
      const PatchImage& image = set.images[i];
      std::int32_t highest = image.cells.front();
      for (const std::int32_t cell : image.cells) {
        if (scores.patches[i][static_cast<std::size_t>(cell)] > scores.patches[i][static_cast<std::size_t>(highest)]) highest = cell;
      }
      count += in_outer_two(highest, image.grid) ? 1 : 0;
    }
    return static_cast<double>(count) / static_cast<double>(set.images.size());
  }

  [[nodiscard]] static double patches_at_edge(const PatchSet& set) {
    double sum = 0;
    for (const PatchImage& image : set.images) {
      const auto there = std::count_if(image.cells.begin(), image.cells.end(), [&](std::int32_t c) { return in_outer_two(c, image.grid); });
      sum += static_cast<double>(there) / static_cast<double>(image.cells.size());
    }
    return sum / static_cast<double>(set.images.size());
  }

  void describe(Study& study) const {
    study.description = x_reader->description();
    study.patch = x_normal.patch;
    study.look = x_look;
    study.milliseconds = x_milliseconds;
    study.bank = x_bank->size();
    study.learned = static_cast<Index>(x_normal.images.size());
    study.held_out = static_cast<Index>(x_held_out.images.size());
    study.defects = static_cast<Index>(x_defects.images.size());
    study.test_normal = static_cast<Index>(x_test_normal.images.size());
    study.test_defects = static_cast<Index>(x_test_defects.images.size());
    study.unreadable = 0;
    for (const PatchSet* set : {&x_normal, &x_held_out, &x_defects, &x_test_normal, &x_test_defects})
      study.unreadable += set->unreadable;
    for (const PatchSet* set : {&x_normal, &x_held_out, &x_defects, &x_test_normal, &x_test_defects}) {
      study.windows += set->windows;
      study.smaller += set->smaller;
    }
    add_confounders(study);
    study.edge = {at_edge(x_test_normal, x_of_test_normal), at_edge(x_test_defects, x_of_test_defects), patches_at_edge(x_test_normal)};
    study.threshold = Judge::threshold(x_of_held_out.images, x_settings.false_alarms)
                          .value_or(std::numeric_limits<double>::quiet_NaN());
  }

 private:
  [[nodiscard]] PatchSet x_read(const Inspected& images, const char* label, const Exposure& how = {.name = "as taken"}) {
    return ruled(x_reader->read({.images = images, .how = how}, x_look, label, x_interruption), x_look.rules());
  }

  /// Trains the whole backbone on a draw of labelled images and judges it, alone and with the bank. `compare`: also says how
  /// all ways to use labels do on labelled images that were held out of their training.
  void x_add_tuned(Study& study, WayFigures& alone, WayFigures& both, const HeadTrainer& heads, const std::vector<Index>& order,
                   const std::string& weights, std::uint64_t draw, bool compare) const {
    std::vector<Index> drawn;  // their numbers in the set: some of it may be unreadable
    for (const Index i : order) drawn.push_back(x_defects.images[static_cast<std::size_t>(i)].index);
    std::ranges::sort(drawn);  // folds are blocks
    const std::clock_t start = std::clock();
    TunedPath path = tuned_path(x_settings, x_sets.normal, x_sets.defects, x_sets.held_out, x_sets.test_normal, x_sets.test_defects, drawn,
                                      weights, x_look, x_settings.backbone.seed + draw, compare,
                                      join(x_name, ", tuned on ", order.size()), x_interruption);
    study.tuned_trainings += path.tuning.trainings + (path.tuning.trainings == 1 ? 0 : 1);
    study.tuned_steps += path.tuning.steps_run;
    study.tuned_costs.push_back({.weights = x_name,
                                 .labels = static_cast<Index>(order.size()),
                                 .draw = static_cast<Index>(draw),
                                 .seconds = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC});
    for (const auto& [tuned, read] : {std::pair(&path.held_out, &x_held_out), {&path.test_normal, &x_test_normal}, {&path.test_defects, &x_test_defects}}) {
      if (x_look.foreground().any()) keep_read(*tuned, *read);
      require_same(tuned->shape, *read);
    }
    x_take_size_off({{path.held_out.scores, path.held_out.shape}, {path.test_normal.scores, path.test_normal.shape}, {path.test_defects.scores, path.test_defects.shape}});
    const Judge judge(path.test_normal.shape, path.test_defects.shape, x_settings);
    const SetScores& normal = path.held_out.scores;
    alone.draws.push_back(judge(path.test_normal.scores, path.test_defects.scores, normal.images));
    const SetScores bank = on_grids_of(x_of_held_out, x_held_out, path.held_out.shape);
    const auto with_bank = [&](const SetScores& of_bank, const PatchSet& read, const TunedSet& tuned) {
      return combined(on_grids_of(of_bank, read, tuned.shape), bank, tuned.scores, normal);
    };
    both.draws.push_back(judge(with_bank(x_of_test_normal, x_test_normal, path.test_normal),
                               with_bank(x_of_test_defects, x_test_defects, path.test_defects),
                               with_bank(x_of_held_out, x_held_out, path.held_out).images));
    say_last(alone);
    say_last(both);
    if (compare && !path.folds.empty()) x_compare(study, std::move(path.folds), heads, order);
  }

  /// Where it is asked for; the trend of the first set.
  SizeTrend x_take_size_off(const std::vector<SizedScores>& sets) const { return x_look.free_of_size ? take_size_off(sets) : SizeTrend{}; }

  /// Leaves out the images of which no patch of the size that was read is on the foreground.
  static void keep_read(TunedSet& tuned, const PatchSet& read) {
    TunedSet kept{.shape = {.patch = tuned.shape.patch, .images = {}}, .scores = {}};
    for (std::size_t i = 0; i < tuned.shape.images.size(); ++i) {
      if (std::ranges::find(read.images, tuned.shape.images[i].index, &PatchImage::index) == read.images.end()) continue;
      kept.shape.images.push_back(std::move(tuned.shape.images[i]));
      kept.scores.images.push_back(tuned.scores.images[i]);
      kept.scores.patches.push_back(std::move(tuned.scores.patches[i]));
    }
    tuned = std::move(kept);
  }

  /// The same images in the same order.
  static void require_same(const PatchSet& tuned, const PatchSet& read) {
    const bool same = std::ranges::equal(tuned.images, read.images, {}, &PatchImage::index, &PatchImage::index);
    if (!same) throw DataError("an image was read once and then no more; expected files that stay as they are");
  }

  /// A head on the images of `labelled`; where no patch of theirs that counts shows a defect, as where few lie in the border, one
  /// that tells nothing apart, and it is said.
  [[nodiscard]] DefectHead x_head(Study& study, const HeadTrainer& heads, const std::vector<Index>& labelled, Index draw, Index fold = -1) const {
    try {
      return heads.train(x_normal, x_defects, labelled, x_settings.backbone.seed + static_cast<std::uint64_t>(draw));
    } catch (const DataError& error) {
      std::printf("%s: no label was learned from: %s\n", x_name.c_str(), error.what());
      study.nothing_learned.push_back({x_name, static_cast<Index>(labelled.size()), draw, fold, error.what()});
      return {.weight = std::vector<float>(static_cast<std::size_t>(x_defects.width), 0.0F), .bias = 0};
    }
  }

  /// The AUROC of each way over labelled images that were held out, a mean over folds; the best first.
  void x_compare(Study& study, std::vector<HeldOutFold> folds, const HeadTrainer& heads, const std::vector<Index>& order) const {
    std::vector<HeldOutWay> ways{{x_name + ", with labels"}, {x_name + ", labels alone"}, {x_name + tuned_alone}, {x_name + tuned_with_bank}};
    for (Index number = 0; number < static_cast<Index>(folds.size()); ++number) {
      HeldOutFold& fold = folds[static_cast<std::size_t>(number)];
      std::vector<Index> learned;
      for (std::size_t i = 0; i < order.size(); ++i) {
        if (std::ranges::find(fold.labelled, static_cast<Index>(i)) == fold.labelled.end()) learned.push_back(order[i]);
      }
      std::vector<Index> held_out;
      for (const Index place : fold.labelled)
        held_out.push_back(x_defects.images[static_cast<std::size_t>(order[static_cast<std::size_t>(place)])].index);
      const PatchSet defects = some_of(x_defects, held_out), normal = some_of(x_held_out, fold.normal_images);
      const DefectHead head = x_head(study, heads, learned, 0, number);
      SetScores head_normal = images_of(head.score(normal, x_look.top)), head_defects = images_of(head.score(defects, x_look.top));
      SetScores bank_normal = images_of(x_bank->score(normal)), bank_defects = images_of(x_bank->score(defects));
      x_take_size_off({{head_normal, normal}, {head_defects, defects}});
      x_take_size_off({{bank_normal, normal}, {bank_defects, defects}});
      x_take_size_off({{fold.normal.images, fold.normal_patches}, {fold.defects.images, fold.defect_patches}});
      const std::array<std::pair<SetScores, SetScores>, 4> scores{{
          {combined(bank_normal, bank_normal, head_normal, head_normal), combined(bank_defects, bank_normal, head_defects, head_normal)},
          {head_normal, head_defects},
          {fold.normal, fold.defects},
          {combined(bank_normal, bank_normal, fold.normal, fold.normal), combined(bank_defects, bank_normal, fold.defects, fold.normal)}}};
      for (std::size_t w = 0; w < ways.size(); ++w) {
        ScoreTally tally;
        for (const double score : scores[w].first.images) tally.add(score, false);
        for (const double score : scores[w].second.images) tally.add(score, true);
        ways[w].auroc += auroc(tally) / static_cast<double>(folds.size());
      }
    }
    std::ranges::stable_sort(ways, std::greater<>(), &HeldOutWay::auroc);
    study.held_out_ways = std::move(ways);
  }

  /// The images whose numbers in the inspected ones are named, in that order.
  [[nodiscard]] static PatchSet some_of(const PatchSet& set, const std::vector<Index>& numbers) {
    PatchSet out{.width = set.width, .patch = set.patch, .images = {}};
    for (const Index number : numbers) {
      const auto found = std::ranges::find(set.images, number, &PatchImage::index);
      if (found != set.images.end()) out.images.push_back(*found);
    }
    return out;
  }

  [[nodiscard]] static SetScores images_of(SetScores scores) {
    scores.patches.clear();
    return scores;
  }

  static constexpr const char* tuned_alone = ", tuned on labels";
  static constexpr const char* tuned_with_bank = ", tuned, with the bank";

  const PilotSettings& x_settings;
  const PilotSets& x_sets;
  LookSettings x_look;
  std::string x_name;
  const Interruption& x_interruption;
  std::unique_ptr<SetReader> x_reader;
  PatchSet x_normal, x_held_out, x_defects, x_test_normal, x_test_defects;
  Judge x_judge;
  std::unique_ptr<NormalBank> x_bank;
  SetScores x_of_held_out, x_of_test_normal, x_of_test_defects;  // by the bank
  SizeTrend x_trend;                                             // of its scores
  double x_milliseconds = 0;
};

/// What probes ask of `PilotImages`, which have found the foreground.
Foreground brought(const LookSettings& look) { return {.masks = look.foreground().any()}; }

/// A way without a backbone: a probe that learns from normal images, then by `learn_more(probe)`.
template <class Probe, class More>
Worth without_backbone(Probe probe, const PilotSettings& s, const PilotSets& sets, const Exposure& how, bool free_of_size, const More& learn_more) {
  const auto taken = [&](const Inspected& images, const Exposure& exposure = {.name = "as taken"}) {
    return PilotImages({.images = images, .how = exposure}, s.look.foreground());
  };
  probe.learn(taken(sets.normal));
  learn_more(probe);
  SetScores held_out;
  std::vector<Index> patches;
  probe.on_score = [&](const DefectScore& image) {
    held_out.images.push_back(image.score);
    patches.push_back(image.patches);
  };
  probe.score(taken(sets.held_out));
  if constexpr (requires { probe.set_size_trend(SizeTrend{}); }) {
    if (free_of_size) probe.set_size_trend(take_size_off({{held_out.images, patches}}));
  }
  DefectResult result{.tally = DetectionTally({.distinct = Index{1} << 16})};
  probe.on_score = [&](const DefectScore& image) {
    result.tally.add_map(image.heat_map, image.truth, image.height, image.width, ClassMap::ignored);
    result.add_image(image.score, false);
  };
  probe.score(taken(sets.test_normal, how));
  DefectResult defects;
  probe.on_score = [&](const DefectScore& image) {
    result.tally.add_map(image.heat_map, image.truth, image.height, image.width, ClassMap::ignored);
    defects.add_image(image.score, true);
  };
  probe.score(taken(sets.test_defects, how));
  ScoreTally images;
  for (const double score : result.normal_scores) images.add(score, false);
  for (const double score : defects.defect_scores) images.add(score, true);
  Worth out = Judge::of_images(images);
  out.aupro =
      result.tally.region_count() > 0 ? result.tally.aupro(0.3) : std::numeric_limits<double>::quiet_NaN();
  Judge::at_threshold(out, result.normal_scores, defects.defect_scores, held_out.images, s.false_alarms);
  return out;
}

/// Plain differences of pixels to the mean normal image.
Worth difference(const PilotSettings& s, const PilotSets& sets, const Exposure& how) {
  return without_backbone(DifferenceProbe({.input = s.backbone.input(), .smoothing = s.smoothing, .foreground = brought(s.look), .loader = s.backbone.loader()}), s, sets,
                          how, false, [](DifferenceProbe&) {});
}

/// Fixed filters at the images' own size. The border is in patches of 8 pixels, whatever those of the backbone are.
template <class More>
Worth filters(const PilotSettings& s, const PilotSets& sets, const LookSettings& look, const Exposure& how, const More& learn_more) {
  return without_backbone(FilterProbe({.filters = {.flatten = look.flatten > 0 ? look.flatten : LocalFilterOptions{}.flatten},
                                       .border = look.border,
                                       .foreground = brought(look),
                                       .top = look.top,
                                       .channels = s.backbone.channels,
                                       .smoothing = s.smoothing,
                                       .loader = s.backbone.loader()}),
                          s, sets, how, look.free_of_size, learn_more);
}

/// The same with labels: trees beside the distribution, for each draw of labelled images. Adds a way for each number.
void add_labelled_filters(Study& study, const PilotSettings& s, const PilotSets& sets, const LookSettings& look, const Interruption& interruption) {
  for (const DrawnLabels& drawn : study.drawn) {
    if (interruption.requested()) throw Error("stopped on request; no report was written");
    const auto learn = [&](FilterProbe& probe) {
      const Exposure plain{.name = "as taken"};
      FilterLabelOptions options{.free_of_size = look.free_of_size};
      options.trees.seed = s.backbone.seed + static_cast<std::uint64_t>(drawn.draw);
      options.trees.threads = s.backbone.threads;
      try {
        const FilterLabelChoice choice = probe.learn_labels(PilotImages({.images = sets.normal, .how = plain}, look.foreground()),
                                                            PilotImages({.images = sets.defects, .how = plain, .chosen = drawn.images}, look.foreground()), options);
        std::printf("local filters, draw %td: %s\n", drawn.draw + 1, in_words(choice).c_str());
        study.filters.push_back({drawn.draw, choice});
      } catch (const DataError& error) {  // few labelled images, all of whose defects lie in the border: as without labels
        std::printf("local filters, draw %td: no label was learned from: %s\n", drawn.draw + 1, error.what());
        study.filters.push_back({drawn.draw, {.images = drawn.labels}});
        study.nothing_learned.push_back({"local filters", drawn.labels, drawn.draw, -1, error.what()});
      }
    };
    if (drawn.draw == 0) study.ways.push_back({"local filters, with labels", drawn.labels, {}});
    study.ways.back().draws.push_back(filters(s, sets, look, {.name = "as taken"}, learn));
    say_last(study.ways.back());
  }
}

Json worth_json(const Worth& w) {
  return {{"auroc", w.auroc},
          {"missed_at_1_percent_false_alarms", w.missed_1},
          {"missed_at_5_percent_false_alarms", w.missed_5},
          {"aupro_30", number_or_null(w.aupro)},
          {"false_alarms_at_threshold", w.false_alarms >= 0 ? Json(w.false_alarms) : Json(nullptr)},
          {"missed_at_threshold", w.missed >= 0 ? Json(w.missed) : Json(nullptr)}};
}

void require_masks(const PilotSettings& s, const Inspected& defects) {
  Index without = 0;
  for (Index i = 0; i < defects.size(); ++i) without += defects.files().truth_names(i).empty() ? 1 : 0;
  if (without > 0) {
    throw DataError(join(without, " of ", defects.size(), " images with defects have no mask in ", s.masks));
  }
}

/// No image in two of the sets, by whatever path or link.
void require_disjoint(const PilotSets& sets) {
  const std::array<std::pair<const Inspected*, const char*>, 5> all{{
      {&sets.normal, "the normal images to learn from"},
      {&sets.held_out, "the normal images for the threshold"},
      {&sets.defects, "the images with defects to learn from"},
      {&sets.test_normal, "the normal images of the test"},
      {&sets.test_defects, "the images with defects of the test"}}};
  for (std::size_t i = 0; i < all.size(); ++i) {
    for (std::size_t k = i + 1; k < all.size(); ++k) {
      require_apart(*all[i].first, all[i].second, *all[k].first, all[k].second);
    }
  }
}

}  // namespace

PilotSets open_pilot_sets(const PilotSettings& s) {
  const auto open = [&](const std::vector<std::string>& paths) {
    ImageFiles files(paths, {.folder = s.images, .read = s.backbone.reading(), .pages = false});  // a mask is of one image
    print_left_aside("dssl-defect-pilot", files);
    return files;
  };
  /// The last `share` of the images apart.
  const auto split = [](const ImageFiles& all, double share, const char* what, const char* purpose) {
    const auto kept = static_cast<Index>(std::llround(share * static_cast<double>(all.size())));
    if (kept < 1 || kept >= all.size()) {
      throw DataError(
          join(all.size(), " ", what, " are too few to keep ", 100 * share, " % for a ", purpose));
    }
    return std::pair(all.part(0, all.size() - kept), all.part(all.size() - kept, kept));
  };
  const auto sets = [&](const ImageFiles& normal, const ImageFiles& defects, const ImageFiles& test_normal,
                        const ImageFiles& test_defects) {
    const auto [learned, held_out] = split(normal, 0.2, "normal images", "threshold");
    return PilotSets{inspected(s, learned, false), inspected(s, held_out, false), inspected(s, defects, true),
                     inspected(s, test_normal, false), inspected(s, test_defects, true)};
  };
  const ImageFiles normal = open(s.normal), defects = open(s.defects);
  const auto chosen = [&] {
    if (!s.test_normal.empty()) return sets(normal, defects, open(s.test_normal), open(s.test_defects));
    const auto [normal_train, normal_test] = split(normal, s.test_share, "normal images", "test");
    const auto [defect_train, defect_test] = split(defects, s.test_share, "images with defects", "test");
    return sets(normal_train, defect_train, normal_test, defect_test);
  };
  PilotSets out = chosen();
  require_disjoint(out);
  require_masks(s, out.defects);
  require_masks(s, out.test_defects);
  return out;
}

void require_usable(const PilotSettings& s) {
  make_set_reader(s.backbone, "random")->require_usable(s.look);
  require_tunable(s);
  DefectBankOptions{.width = 1, .pool = s.pool, .coreset = s.coreset}.validate();
}

Study run_study(const PilotSettings& s, const PilotSets& sets, const std::string& weights,
                const Interruption& interruption) {
  Study study;
  study.weights = weights;
  const std::vector<Exposure> tried = exposures();
  std::vector<std::pair<std::string, std::vector<Worth>>> under;
  const std::unique_ptr<HeadTrainer> heads = make_head_trainer(s.backbone);
  LookSettings look = s.look;
  const auto run = [&](const std::string& of, const std::string& name, bool main) {
    std::unique_ptr<SetReader> reader = make_set_reader(s.backbone, of);
    // Random weights are looked at as the others are: one choice, one comparison.
    if (main && s.choose) {
      study.choice = choose_look(s, sets.normal, {&sets.normal, &sets.held_out, &sets.defects, &sets.test_normal, &sets.test_defects}, *reader,
                                 interruption);
      look = study.choice.tried.front().look;
    }
    BackboneStudy own(s, sets, std::move(reader), look, name, interruption);
    own.add_curves(study, *heads, of, main);
    if (main) {
      own.describe(study);
      own.add_cases(study);
      own.add_kinds(study);
      std::printf("%s\n", study.description.c_str());
    }
    under.emplace_back(name, std::vector<Worth>());
    for (const Exposure& how : tried) under.back().second.push_back(own.under(how));
  };
  if (weights != "random") run(weights, "pretrained", true);
  run("random", "random weights", weights == "random");
  const auto run_without = [&](const std::string& name, const auto& worth_of) {
    std::vector<Worth> worth;
    for (const Exposure& how : tried) {
      if (interruption.requested()) throw Error("stopped on request; no report was written");
      worth.push_back(worth_of(how));
    }
    study.ways.push_back({name, 0, {worth.front()}});
    say_last(study.ways.back());
    under.emplace_back(name, std::move(worth));
  };
  try {
    run_without("local filters", [&](const Exposure& how) { return filters(s, sets, look, how, [](FilterProbe&) {}); });
    add_labelled_filters(study, s, sets, look, interruption);
  } catch (const DataError& error) {  // a border that leaves nothing of an image at its own size ends no study
    std::printf("not tried, local filters: %s\n", error.what());
  }
  run_without("pixel differences", [&](const Exposure& how) { return difference(s, sets, how); });
  for (std::size_t e = 0; e < tried.size(); ++e) {
    study.exposures.emplace_back(tried[e].name, std::vector<std::pair<std::string, Worth>>());
    for (const auto& [name, worth] : under) study.exposures.back().second.emplace_back(name, worth[e]);
  }
  return study;
}

const WayFigures* Study::with_all_labels() const {
  const std::string by = held_out_ways.empty() ? ways.front().way + ", with labels" : held_out_ways.front().way;
  const auto found = std::ranges::find_if(ways, [&](const WayFigures& way) { return way.way == by && way.labels == defects; });
  return found == ways.end() ? nullptr : &*found;
}

std::string Study::relied_on() const {
  Missed missed{.without_labels = ways.front().draws.front().missed_5, .good = test_normal, .images = test_defects};
  if (const WayFigures* most = with_all_labels()) {
    missed.labels = most->labels;
    missed.with_labels = most->draws.front().missed_5;
  }
  const auto beside = std::ranges::find_if(confounders, &Confounder::tells);
  if (beside != confounders.end()) missed.beside = beside->name;
  return verdict(missed);
}

std::vector<std::string> Study::warnings() const {
  std::vector<std::string> out;
  if (!choice.tried.empty() && choice.tried.front().found < 2 * TriedLook::by_chance) {
    char text[80];
    std::snprintf(text, sizeof text, "%.1f %% of the made-up defects, %.1f %% by chance", 100 * choice.tried.front().found,
                  100 * TriedLook::by_chance);
    out.push_back(join("the best setting that was tried finds ", text,
                       ", in the mean over four shares of false alarms: by these features no setting is worth much, and the choice means little"));
  }
  for (const Confounder& c : confounders) {
    if (!c.tells()) continue;
    char text[40];
    std::snprintf(text, sizeof text, "%.1f", 100 * c.auroc);
    out.push_back(join("the ", c.name, " alone tells the test's defects from its normal images with an AUROC of ", text,
                       " % (50 % is guessing): a figure may be good, or bad, for that"));
  }
  return out;
}

Json Study::json() const {
  Json out{{"verdict", relied_on()},
           {"weights", weights},
           {"images",
            {{"learned", learned},
             {"held_out", held_out},
             {"labelled_defects", defects},
             {"test_normal", test_normal},
             {"test_defects", test_defects},
             {"unreadable", unreadable}}},
           {"bank", bank},
           {"look", look_json(look)},
           {"choice", choice.json()},
           {"confounders", Json::object()},
           {"highest_patch_in_outer_two", {{"normal", edge.normal}, {"defects", edge.defects}, {"by_chance", edge.by_chance}}},
           {"windows", windows},
           {"smaller_than_a_window", smaller},
           {"threshold", number_or_null(threshold)},
           {"milliseconds_an_image", milliseconds},
           {"ways", Json::array()},
           {"exposures", Json::object()},
           {"kinds", Json::object()}};
  for (const Confounder& c : confounders) out["confounders"][c.name] = c.auroc;
  out["held_out_labelled"] = Json::array();
  for (const HeldOutWay& way : held_out_ways) out["held_out_labelled"].push_back({{"way", way.way}, {"auroc", way.auroc}});
  out["drawn"] = Json::array();
  for (const DrawnLabels& own : drawn) out["drawn"].push_back({{"labels", own.labels}, {"draw", own.draw}, {"images", own.names}});
  out["nothing_learned"] = Json::array();
  for (const NothingLearned& own : nothing_learned) {
    out["nothing_learned"].push_back({{"way", own.way}, {"labels", own.labels}, {"draw", own.draw}, {"why", own.why}});
    if (own.fold >= 0) out["nothing_learned"].back()["fold"] = own.fold;
  }
  out["filters"] = Json::array();
  for (const DrawnFilters& own : filters) {
    out["filters"].push_back(choice_json(own.choice));
    out["filters"].back()["draw"] = own.draw;
  }
  out["tuned"] = {{"trainings", tuned_trainings}, {"steps", tuned_steps}, {"draws", Json::array()}};
  for (const TunedCost& own : tuned_costs) {
    out["tuned"]["draws"].push_back(
        {{"weights", own.weights}, {"labels", own.labels}, {"draw", own.draw}, {"processor_seconds", own.seconds}});
  }
  for (const WayFigures& way : ways) {
    Json draws = Json::array();
    for (const Worth& w : way.draws) draws.push_back(worth_json(w));
    out["ways"].push_back({{"way", way.way}, {"labels", way.labels}, {"draws", draws}});
  }
  for (const auto& [name, of_ways] : exposures) {
    for (const auto& [way, worth] : of_ways) out["exposures"][name][way] = worth_json(worth);
  }
  for (const auto& [label, kind] : kinds) {
    out["kinds"][label] = worth_json(kind.second);
    out["kinds"][label]["images"] = kind.first;
  }
  return out;
}

}  // namespace dssl::programs
