// The terms with prototypes, by what they compare: class tokens, points or masked patches.
// Tests: tests/train/loss_parity.cpp.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include <dssl/backend/concept.hpp>
#include <dssl/core/error.hpp>
#include <dssl/loss/prototype_run.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/loss/view_pairs.hpp>
#include <dssl/nn/head.hpp>
#include <dssl/nn/parameters.hpp>

namespace dssl {

/// A level's own head: the recipe's, under the name that the level gives it. A level with a head of other sizes has a
/// `head_of` of its own.
template <class Term>
struct OwnHead {
  /// Sizes of the level's head, where the recipe's are `head`.
  static constexpr HeadConfig head_of(const HeadConfig& head) { return head; }
  static constexpr void add_parameters(ParameterLayout& layout, const HeadConfig& head, Index width) {
    add_head_parameters(layout, Term::head_of(head), width, Term::head_name);
  }
  template <class T>
  static HeadParameters<T> bind(ParameterCursor<T>& next, const HeadConfig& head) {
    return HeadParameters<T>::bind(next, Term::head_of(head));
  }
};

/// The head of another level in the same sum, which both train.
template <class Level>
struct HeadOfLevel {
  using HeadOf = Level;
  static constexpr HeadConfig head_of(const HeadConfig& head) { return Level::head_of(head); }
};

/// What all levels have in common: a head and an EMA teacher.
template <class Term, class Head = OwnHead<Term>>
struct PrototypeLevel : Head {
  static constexpr bool spans_ranks = true;
  static constexpr Whole whole = Whole::row;
  using Teacher = Ema;
  using Options = LevelOptions;
  template <class T>
  using Parameters = HeadParameters<T>;
  template <Backend B>
  using Run = PrototypeRun<Term, B>;

  /// The rows of the teacher that go through its head.
  template <class X>
  static auto of_teacher(const X& features) {
    return Term::of(features);
  }
};

/// The class tokens of every pair of a global teacher view and another student view, through a head named `head`.
template <class Term>
struct ClassTokenLevel : PrototypeLevel<Term> {
  static constexpr std::string_view head_name = "head.";
  static constexpr std::string_view centre_name = "center";
  static constexpr Reads reads{{.class_level = true}, {.class_level = true}};

  static constexpr double pairs_epsilon = 0;  ///< added to the number of pairs that the mean is over

  static LevelPairs pairs(const TermSetting& s, const LevelOptions& o) {
    return image_pairs(s.views, s.batch, o.all_views, Term::pairs_epsilon);
  }
  /// Student rows of so many views.
  static Index student_rows(const TermSetting& s, Index views) { return views * s.batch; }
  template <class X>
  static auto of(const X& features) {
    return features.class_level;
  }
  static constexpr bool of_kind(FeatureKinds kinds) { return kinds.class_level; }
};

/// DINO's term, with a moving centre, which is `center` in checkpoints. Source: DINO, with DenseDINO's epsilon in the mean
/// over pairs.
struct ImageLevel : ClassTokenLevel<ImageLevel> {
  static constexpr std::string_view name = "image";
  static constexpr double pairs_epsilon = pair_epsilon;
};

/// The same without the epsilon. Source: DINOv2 with centring. Test: fixture `training_dinov2_centering`.
struct CentredImageLevel : ClassTokenLevel<CentredImageLevel> {
  static constexpr std::string_view name = "image-centred";
};

/// The same by softmax alone: no centre is taken off the teacher's scores, which is what a centre held at 0 would be. Nothing
/// then keeps all images from one prototype (DINO, section 5.3, where runs without centring collapse) but terms beside it, as
/// `KoLeo`. `centre_momentum` has no say. A level of one's own says it by `uncentred` too. Test: tests/train/two_view_terms.cpp.
struct UncentredImageLevel : ClassTokenLevel<UncentredImageLevel> {
  static constexpr std::string_view name = "image-uncentred";
  static constexpr bool uncentred = true;
};

/// DINOv2's: the teacher's rows of a pass are assigned to the prototypes so that all get the same share
/// (`sinkhorn_centre`, at the teacher's temperature, all rows of both global views at once). The published temperature is
/// 0.04 to 0.07. Memory: (2B,P) scores of the teacher. `centre_momentum` has no say. Source: DINOv2, section 4.
template <Index Rounds = 3>
struct SinkhornImageLevel : ClassTokenLevel<SinkhornImageLevel<Rounds>> {
  static_assert(Rounds >= 1, "SinkhornImageLevel: at least one round");
  static constexpr std::string_view name = "image-sinkhorn";
  static constexpr Index sinkhorn_rounds = Rounds;

  static std::string words() { return join(Rounds, " rounds"); }
};

/// The features of shared points, through a head named `ref_head`, with a moving centre, which is `ref_center` in
/// checkpoints. Points that are not valid have no part in the means of loss and centre. Source: DenseDINO.
struct PointLevel : PrototypeLevel<PointLevel> {
  static constexpr bool skips_points = true;
  static constexpr std::string_view name = "point";
  static constexpr std::string_view head_name = "ref_head.";
  static constexpr std::string_view centre_name = "ref_center";
  static constexpr Reads reads{{.points = true}, {.points = true}};

  static LevelPairs pairs(const TermSetting& s, const LevelOptions& o) {
    return point_pairs(s.views, s.batch, s.points, o.all_views);
  }
  /// Student rows of so many views.
  static Index student_rows(const TermSetting& s, Index views) { return views * s.batch * 2 * s.points; }
  template <class X>
  static auto of(const X& features) {
    return features.points;
  }
  static constexpr bool of_kind(FeatureKinds kinds) { return kinds.points; }
};

/// The patches of the global views that the student does not see, compared with what the teacher makes of them, through a
/// head named `patch_head`.
///
///   loss = mean over the 2B global views of (1 / max(masked of the view, 1)) sum over its masked patches of
///          cross-entropy(teacher's patch, student's patch)
///
/// Views without masks count as 0. Patches are masked by the view generator (`Masked`). `LevelOptions::all_views` has no
/// say. Memory: buffers for as many patches as may be masked. Source: iBOT, equation 2, as DINOv2 weighs it
/// (loss/ibot_patch_loss.py). Tests: tests/train/masked.cpp, fixture `ibot_patch`.
template <class Term, class Head = OwnHead<Term>>
struct MaskedPatchLevel : PrototypeLevel<Term, Head> {
  static constexpr std::string_view head_name = "patch_head.";
  static constexpr std::string_view centre_name = "patch_center";
  static constexpr Reads reads{{.masked = true}, {.masked = true}};

  static LevelPairs pairs(const TermSetting& s, const LevelOptions& /*options*/) {
    LevelPairs out;
    out.teacher_rows = Term::reads.teacher.map ? 2 * s.batch * s.grids[0].size() : s.masked;
    for (Index i = 0; i < s.masked; ++i) {
      out.student_rows.push_back(static_cast<std::int32_t>(i));
      out.targets.push_back({static_cast<std::int32_t>(i), -1});
    }
    for (Index i = 0; i < out.teacher_rows; ++i) out.centre_rows.push_back(static_cast<std::int32_t>(i));
    out.scale = 1.0 / static_cast<double>(2 * s.batch);
    return out;
  }
  template <class X>
  static auto of(const X& features) {
    return features.masked;
  }
  static constexpr bool of_kind(FeatureKinds kinds) { return kinds.masked; }
};

/// With a moving centre, the mean of the masked patches, which is `patch_center` in checkpoints. Source: DINOv2 with
/// centring.
struct MaskedLevel : MaskedPatchLevel<MaskedLevel> {
  static constexpr std::string_view name = "masked";
};

/// The same through the head of another level, which both train. Source: DINOv2's default, as ViT-S and ViT-B were trained
/// (`ibot.separate_head` off).
template <class Level>
struct SharedMaskedLevel : MaskedPatchLevel<SharedMaskedLevel<Level>, HeadOfLevel<Level>> {
  static constexpr std::string_view name = "masked-shared";
};

/// With the centre that iBOT has: the mean of all patches of the global views. The teacher's head sees all of them.
struct IbotLevel : MaskedPatchLevel<IbotLevel> {
  static constexpr std::string_view name = "masked-ibot";
  static constexpr Reads reads{{.masked = true}, {.map = true}};

  template <class X>
  static auto of_teacher(const X& features) {
    return features.map;
  }
};

/// DINOv2's: the teacher's masked patches of a pass are assigned to the prototypes so that all get the same share.
template <Index Rounds = 3>
struct SinkhornMaskedLevel : MaskedPatchLevel<SinkhornMaskedLevel<Rounds>> {
  static_assert(Rounds >= 1, "SinkhornMaskedLevel: at least one round");
  static constexpr std::string_view name = "masked-sinkhorn";
  static constexpr Index sinkhorn_rounds = Rounds;

  static std::string words() { return join(Rounds, " rounds"); }
};

}  // namespace dssl
