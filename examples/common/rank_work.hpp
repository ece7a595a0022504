// What programs whose images ranks share have in common.
#pragma once

#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/train/rank_agreement.hpp>

#include "common/backbone.hpp"
#include "common/json_text.hpp"
#include "common/program.hpp"
#include "common/ranks.hpp"

namespace dssl::programs {

/// Makes this process a rank, with a GPU and a share of the threads for its backbone. The first alone has a standard output from
/// now on. Throws as `RunRanks::start`.
inline void start_rank(RunRanks& ranks, const RankSettings& settings, BackboneSettings& backbone) {
  ranks.start(settings);
  if (!ranks.communicator().first() && std::freopen("/dev/null", "w", stdout) == nullptr)
    throw FileError("standard output", "cannot be given up");
  if (backbone.backend == "cuda") backbone.device = ranks.device(gpus());
  if (backbone.threads == 0) backbone.threads = ranks.threads();
}

/// Tells of the ranks, where there are several.
inline void print_ranks(const RunRanks& ranks) {
  if (const std::string words = ranks.describe(); !words.empty()) std::printf("ranks: %s\n", words.c_str());
}

/// What is said of an image that a rank passes over.
[[nodiscard]] inline std::string skipped_words(const Communicator& ranks, std::string_view message) {
  return one_line(join(ranks.first() ? std::string() : join("rank ", ranks.rank(), ": "), "skipped: ", message));
}

/// Throws `RankError` where ranks differ in what decides which rows are exchanged, and of how many numbers: `things`, images at a
/// time, and `settings`, a program's options without the name of weights, which may lie elsewhere on another machine.
inline void require_same_work(const Communicator& ranks, std::vector<std::pair<std::string_view, std::string>> things,
                              const BackboneSettings& backbone, nlohmann::ordered_json settings) {
  settings.erase("weights");
  things.emplace_back("--at-once", std::to_string(backbone.at_once));
  things.emplace_back("options", json_text(settings));
  require_same(ranks, things);
}

}  // namespace dssl::programs
