// Tries settings on pasted defects.
#include "defect_pilot/choice.hpp"

#include <algorithm>
#include <cstdio>
#include <set>
#include <tuple>
#include <utility>

#include <dssl/core/error.hpp>
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
  TriedLook out{.look = look, .auroc = auroc(tally), .missed_5 = at_false_alarms(tally, 0.05).missed()};
  for (const double rate : {0.02, 0.05, 0.1, 0.2}) out.found += (1 - at_false_alarms(tally, rate).missed()) / 4;
  return out;
}

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

Choice choose_look(const PilotSettings& s, const Inspected& normal, SetReader& reader, const Interruption& interruption) {
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
  Choice out{.tried = {}, .learned = static_cast<Index>(to_learn.size()), .normal = static_cast<Index>(to_judge.size()), .pasted = each * static_cast<Index>(to_judge.size())};
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
        if (border == s.look.border) throw;
        std::printf("not tried, border %td: %s\n", border, error.what());
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
  return {{"learned", learned}, {"normal", normal}, {"pasted", pasted}, {"tried", std::move(list)}};
}

}  // namespace dssl::programs
