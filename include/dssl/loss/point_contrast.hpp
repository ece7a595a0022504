// A contrast of shared points: each picks itself in the other view among all points of the batch.
// Tests: tests/train/catalogue.cpp, tests/train/two_view_terms.cpp.
#pragma once

#include <string_view>

#include <dssl/loss/projected_term.hpp>
#include <dssl/loss/two_view_terms.hpp>

namespace dssl {

/// NT-Xent at the points that both global views share: SimCLR's loss with a point in the place of an image.
///
///   loss = mean over the 2KB rows i of -log softmax(u[i] . u[j] / temperature)[partner of i], j over all rows but i
///
/// u the projections (2KB,O) of K points of B images in both views, as unit vectors; the partner of a row is the same point in
/// the other view, and every other point is a negative, of the same image too. Features of reference tokens, or reads of the map
/// (any tokens with points). Where points may not be valid the pairs that are not, in either view, have no part in anything, the
/// projector's batch norms included; a pass without a valid one has no loss. No teacher, no centre, no prototypes. Memory:
/// (2KB,2KB) logits. Formula: `nt_xent_loss`. Its like is VADeR (O. Pinheiro et al. 2020), which has a queue of other images'
/// pixels for negatives; no publication has it for reference tokens.
template <MlpConfig Projector, HeadName Name = "points">
struct PointNtXent : ProjectedTerm<PointNtXent<Projector, Name>, NoTeacher, Projector, no_mlp, Name> {
  static constexpr std::string_view name = "point-nt-xent";
  static constexpr Reads reads{{.points = true}, {}};
  static constexpr bool views_together = true;
  static constexpr bool at_points = true;
  static constexpr bool skips_points = true;
  static constexpr bool points_of_globals = true;
  using Options = NtXentOptions;
  template <class T>
  using Compare = NtXentCompare<T>;
};

}  // namespace dssl
