// Tries settings on pasted defects.
#include "defect_pilot/choice.hpp"

#include <algorithm>
#include <cstdio>
#include <map>
#include <set>
#include <string>
#include <tuple>
#include <utility>

#include <dssl/core/error.hpp>
#include <dssl/data/source.hpp>
#include <dssl/defects/defect_score.hpp>
#include <dssl/defects/patch_rules.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/features/tiles.hpp>
#include <dssl/metrics/metrics.hpp>
#include <dssl/metrics/score_tally.hpp>

#include "defect_pilot/scoring.hpp"

namespace dssl::programs {

namespace {

/// `most` of first .. last - 1 at most, spread evenly.
std::vector<Index> spread_out(Index first, Index last, Index most) {
  const Index count = std::min(most, last - first);
  std::vector<Index> out;
  for (Index i = 0; i < count; ++i) out.push_back(first + i * (last - first) / count);
  return out;
}

TriedLook judged(const LookSettings& look, const std::vector<double>& normal, const std::vector<double>& pasted) {
  ScoreTally tally;
  for (const double score : normal) tally.add(score, false);
  for (const double score : pasted) tally.add(score, true);
  return {.look = look, .found = found_at_few_alarms(tally), .auroc = auroc(tally), .missed_5 = at_false_alarms(tally, 0.05).missed()};
}

/// Throws `DataError` naming the first image of which a border leaves nothing where windows see it at that scale.
void require_patches(const std::vector<const Inspected*>& all, const PilotSettings& s, const PatchRules& rules, double scale, Index patch,
                     const Interruption& interruption) {
  // Labels of any size; no pixel is looked at but for brightness.
  const InputRenderer renderer({.height = 1, .width = 1, .channels = s.backbone.channels}, defect_classes());
  const TileOptions windows{.scale = scale};
  for (const Inspected* const set : all) {
    const BinaryMasks<Inspected> images(*set, rules.foreground);
    for (Index i = 0; i < images.size(); ++i) {
      if (interruption.requested()) throw Error("stopped on request; no report was written");
      try {
        const LabelledImage image = images.load(i);
        const Index h = windows.resized(image.mask.height()), w = windows.resized(image.mask.width());
        static_cast<void>(counted_patches(renderer.render(image, h, w).labels, h, w, {(h + patch - 1) / patch, (w + patch - 1) / patch}, patch,
                                          rules, images.name(i)));
      } catch (const ImageError&) {  // left out, and counted, where it is read
      }
    }
  }
}

/// Why no setting of that border, read so, can be taken; empty: it can. Asked once for each border and way to read.
class Borders {
 public:
  Borders(const PilotSettings& s, const std::vector<const Inspected*>& all, const Interruption& interruption)
      : x_settings(s), x_all(all), x_interruption(interruption) {}

  /// `patch`: pixels. Throws `DataError` where the bank or the tuned path would be left nothing of an image.
  void require(const LookSettings& look, Index patch) {
    if (look.border == 0) return;
    if (x_settings.tuning.steps > 0) x_require({"with labels, at --crop-scale", look.border}, look, x_settings.tuning.scale, patch);
    if (look.tiles) x_require({"by windows", look.border}, look, look.scale, patch);
  }

 private:
  void x_require(const std::pair<std::string, Index>& key, const LookSettings& look, double scale, Index patch) {
    const auto [found, fresh] = x_known.try_emplace(key);
    if (fresh) {
      try {
        require_patches(x_all, x_settings, look.rules(), scale, patch, x_interruption);
      } catch (const DataError& error) {
        found->second = join(key.first, ": ", error.what());
      }
    }
    if (!found->second.empty()) throw DataError(found->second);
  }

  const PilotSettings& x_settings;
  const std::vector<const Inspected*>& x_all;
  const Interruption& x_interruption;
  std::map<std::pair<std::string, Index>, std::string> x_known;
};

}  // namespace

std::string in_words(const LookSettings& look) {
  std::string out = look.tiles ? join("windows at ", look.scale == 1 ? std::string("own resolution") : join(look.scale, " times own resolution"))
                               : std::string("resized");
  if (look.flatten > 0) out += join(", light flattened over ", look.flatten);
  if (look.standardise_images && look.flatten == 0) out += ", images standardised";
  if (look.standardise_features) out += ", features standardised";
  if (look.border > 0) out += join(", border ", look.border);
  if (look.foreground_masks) out += ", foreground by masks";
  if (look.foreground_above) out += join(", foreground above ", *look.foreground_above);
  if (look.foreground_below) out += join(", foreground below ", *look.foreground_below);
  if (look.top > 1) out += join(", mean of top ", look.top);
  if (look.free_of_size) out += ", free of size";
  if (look.place > 0) out += join(", place ", look.place);
  return out;
}

Choice choose_look(const PilotSettings& s, const Inspected& normal, const std::vector<const Inspected*>& all_sets, SetReader& reader,
                   const Interruption& interruption) {
  // The last fifth, not lots that are drawn: neighbours are often of one piece.
  const Index all = normal.size();
  const Index first = all - std::max<Index>(1, all / 5);
  if (first < 1) throw DataError(join(all, " normal images are too few to choose by"));
  const std::vector<Index> to_learn = spread_out(0, first, s.choose_images * 3 / 5);
  const std::vector<Index> to_judge = spread_out(first, all, s.choose_images * 2 / 5);
  constexpr Index each = 2;
  const auto key = [](const LookSettings& l) {
    return std::tuple(l.tiles, l.standardise_images, l.flatten, l.border, l.standardise_features, l.top, l.free_of_size);
  };
  std::vector<LookSettings> candidates{s.look};
  for (const bool tiles : {false, true}) {
    for (const auto& [images, flatten] : {std::pair(false, Index{0}), {true, Index{0}}, {false, Index{16}}}) {
      for (const Index border : {0, 2}) {
        for (const bool features : {false, true}) {
          for (const Index top : {1, 5, 20}) {
            for (const bool free_of_size : {false, true}) {
              if (free_of_size && !tiles) continue;  // images that were resized have as many patches each
              LookSettings look = s.look;
              look.tiles = tiles;
              look.standardise_images = images;
              look.flatten = flatten;
              look.border = border;
              look.standardise_features = features;
              look.top = top;
              look.free_of_size = free_of_size;
              if (key(look) != key(s.look)) candidates.push_back(look);
            }
          }
        }
      }
    }
  }
  Borders borders(s, all_sets, interruption);
  Choice out{.tried = {}, .left_out = {}, .learned = static_cast<Index>(to_learn.size()), .normal = static_cast<Index>(to_judge.size()), .pasted = each * static_cast<Index>(to_judge.size())};
  std::set<std::tuple<bool, bool, Index>> readings;
  for (const LookSettings& l : candidates) readings.emplace(l.tiles, l.standardise_images, l.flatten);
  for (const auto& [tiles, images, flatten] : readings) {
    LookSettings reading = s.look;
    reading.tiles = tiles;
    reading.standardise_images = images;
    reading.flatten = flatten;
    const PatchSet learned = reader.read({.images = normal, .chosen = to_learn}, reading, "choice, to learn", interruption);
    const PatchSet clean = reader.read({.images = normal, .chosen = to_judge}, reading, "choice, normal", interruption);
    const PatchSet pasted = reader.read({.images = normal, .chosen = to_judge, .pasted = each, .seed = s.backbone.seed}, reading,
                                        "choice, pasted", interruption);
    std::set<std::pair<Index, bool>> rules;
    for (const LookSettings& l : candidates) {
      if (std::tuple(l.tiles, l.standardise_images, l.flatten) == std::tuple(tiles, images, flatten)) rules.emplace(l.border, l.standardise_features);
    }
    for (const auto& [border, features] : rules) {
      LookSettings look = reading;
      look.border = border;
      look.standardise_features = features;
      look.top = 1;
      SetScores of_clean, of_pasted;
      try {
        reader.require_usable(look);
        borders.require(look, learned.patch);
        const PatchSet own = ruled(learned, look.rules()), own_clean = ruled(clean, look.rules()), own_pasted = ruled(pasted, look.rules());
        const auto bank = make_normal_bank(s.backbone, own, std::min<Index>(s.pool, 20'000), s.coreset, look);
        of_clean = bank->score(own_clean);
        of_pasted = bank->score(own_pasted);
        for (const LookSettings& l : candidates) {
          if (std::tuple(l.tiles, l.standardise_images, l.flatten, l.border, l.standardise_features) ==
              std::tuple(tiles, images, flatten, border, features)) {
            std::vector<double> clean_scores = with_top(of_clean, own_clean, l.top), pasted_scores = with_top(of_pasted, own_pasted, l.top);
            if (l.free_of_size) take_size_off({{clean_scores, own_clean}, {pasted_scores, own_pasted}});
            out.tried.push_back(judged(l, clean_scores, pasted_scores));
          }
        }
      } catch (const Error& error) {
        // A border that leaves nothing of some image is no setting for this set; what the user asked for is an error.
        if (border == s.look.border || interruption.requested()) throw;
        const std::string why = join("border ", border, ", ", error.what());
        if (std::ranges::find(out.left_out, why) != out.left_out.end()) continue;
        std::printf("not tried, %s\n", why.c_str());
        out.left_out.push_back(why);
      }
      if (interruption.requested()) throw Error("stopped on request; no report was written");
    }
  }
  std::stable_sort(out.tried.begin(), out.tried.end(), [](const TriedLook& a, const TriedLook& b) {
    return a.found != b.found ? a.found > b.found : a.auroc > b.auroc;
  });
  std::printf("chosen by %td pasted defects on %td normal images, of %zu settings: %s; %.1f %% of them missed at 5 %% false alarms\n",
              out.pasted, out.normal, out.tried.size(), in_words(out.tried.front().look).c_str(), 100 * out.tried.front().missed_5);
  return out;
}

nlohmann::ordered_json Choice::json() const {
  if (tried.empty()) return nullptr;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const TriedLook& t : tried) {
    nlohmann::ordered_json one = look_json(t.look);
    one.update({{"found", t.found}, {"auroc", t.auroc}, {"missed_at_5_percent_false_alarms", t.missed_5}});
    list.push_back(std::move(one));
  }
  return {{"learned", learned}, {"normal", normal}, {"pasted", pasted}, {"left_out", left_out}, {"tried", std::move(list)}};
}

}  // namespace dssl::programs
