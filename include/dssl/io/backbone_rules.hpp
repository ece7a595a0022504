// The rules that a backbone is run by, which files of what was learned on its features keep.
// Tests: tests/features/published.cpp, tests/defects/defect_bank.cpp.
#pragma once

#include <cmath>
#include <string>
#include <string_view>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/io/backbone_description.hpp>

namespace dssl {

/// What decides a backbone's features and is in none of its tensors, so that their fingerprint does not tell it.
struct BackboneRules {
  Index heads = 0;          ///< 0: not known, of files from before it was kept
  double norm_epsilon = 0;  ///< of every layer norm
  std::string positions{};  ///< "rotary", "none", or how the table is read at other sizes than its own: `position_scheme_name`

  /// Of a backbone's sizes, `ViTConfig`.
  template <class Config>
  [[nodiscard]] static BackboneRules of(const Config& c) {
    return {.heads = c.heads,
            .norm_epsilon = c.norm_epsilon(),
            .positions = std::string(c.table() ? name_of(c.position_rule) : c.rotary() ? "rotary" : "none")};
  }
  /// Of published weights, as `published_config` of them has it.
  [[nodiscard]] static BackboneRules of(const BackboneDescription& d) {
    return {.heads = d.heads, .norm_epsilon = d.norm_epsilon, .positions = std::string(position_scheme_name(d.position))};
  }
  [[nodiscard]] bool operator==(const BackboneRules&) const = default;

  /// Throws `CheckpointError` for the file `path`, of features by these rules, where `weights` is run by others `now`; at the
  /// table's own size every rule reads it as it is. `otherwise`: what can take the file's place. Files that do not say their
  /// rules are taken.
  void require_same(const std::string& path, const BackboneRules& now, bool at_own_size, const std::string& weights,
                    std::string_view otherwise) const {
    if (norm_epsilon == 0) return;
    const auto refuse = [&](std::string_view what, const auto& own, const auto& other) {
      throw CheckpointError(path, join("was made with ", what, " ", own, ", and ", weights, " is run with ", what, " ", other,
                                       "; expected config.json beside the weights as it was, or ", otherwise));
    };
    if (now.heads != heads) refuse("heads", heads, now.heads);
    if (std::abs(now.norm_epsilon / norm_epsilon - 1) > 1e-6) refuse("norm epsilon", norm_epsilon, now.norm_epsilon);
    if (now.positions != positions && !at_own_size) refuse("positions", join("'", positions, "'"), join("'", now.positions, "'"));
  }
};

}  // namespace dssl
