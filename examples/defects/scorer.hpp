// The ways of dssl-defects to score images, behind one type.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include <dssl/core/communicator.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/defects/defect_score.hpp>
#include <dssl/defects/filter_labels.hpp>
#include <dssl/defects/size_trend.hpp>
#include <dssl/features/feature_pass.hpp>
#include <dssl/features/tile_pass.hpp>

#include "defects/inspected.hpp"
#include "defects/settings.hpp"

namespace dssl::programs {

class Scorer {
 public:
  Scorer() = default;
  Scorer(const Scorer&) = delete;
  Scorer& operator=(const Scorer&) = delete;
  virtual ~Scorer() = default;

  std::function<void(Index)> on_images;  ///< learned, or scored, so far
  std::function<void(const DefectScore&)> on_score;
  SkipCounter::Warn on_skip;

  [[nodiscard]] virtual std::string describe() const = 0;
  [[nodiscard]] virtual const InputRenderer& renderer() const = 0;
  /// Learns what is normal, where the way learns anything. Throws what went wrong.
  virtual FeaturePassCount learn(const Inspected& normal, const std::stop_token& token) = 0;
  /// Learns from labelled images too, where the way can; else nothing.
  virtual std::optional<FilterLabelChoice> learn_labels(const Inspected& /*normal*/, const Inspected& /*labelled*/,
                                                        const std::stop_token& /*token*/) {
    return std::nullopt;
  }
  virtual FeaturePassCount score(const InspectedPart& images, const std::stop_token& token) = 0;
  /// Writes what was learned; false where there is nothing to write.
  virtual bool save(const std::string& path, std::map<std::string, std::string> metadata) const = 0;
  /// From now on image scores are without it; false where the way's are not of patches of images of any size.
  virtual bool set_size_trend(const SizeTrend& /*trend*/) { return false; }
  /// What the last pass by windows went over; of other passes nothing.
  [[nodiscard]] virtual TilePassCount tiled() const { return {}; }
  /// Tells the weights that features are by from others; empty where there are none.
  [[nodiscard]] virtual std::string weights() const { return {}; }
  /// Rows and width of the bank, and its radius; null where there is none.
  [[nodiscard]] virtual nlohmann::ordered_json bank() const = 0;
};

/// The scorer of the settings, with its weights, and with its bank where that was named. Ranks share what a bank learns from.
/// Throws `OptionError`, also where there are several without a bank, `CheckpointError`, `FileError`.
[[nodiscard]] std::unique_ptr<Scorer> make_scorer(const DefectSettings& settings, const Communicator& ranks);

/// Takes from a bank's file the settings it was made with, and its threshold if it has one.
/// Throws `CheckpointError`.
[[nodiscard]] std::optional<double> adopt_bank_settings(DefectSettings& settings);

}  // namespace dssl::programs
