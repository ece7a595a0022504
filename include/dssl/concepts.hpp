// Every extension point on one page: what a part of a recipe must offer.
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/core/point.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/image.hpp>

// Roles of a recipe: backbone, tokens, views, points, loss, head. The other extension points have pages of their
// own: backends (dssl/backend/concept.hpp), the matrix products of the CPU's (dssl/backend/cpu/product_policy.hpp), and
// image sources (dssl/data/source.hpp).

namespace dssl {

class Arena;               // dssl/core/arena.hpp
class ParameterLayout;     // dssl/nn/parameters.hpp
class TokenLayout;         // dssl/nn/token_layout.hpp
struct DeviceTokenLayout;  // the same
template <class T>
class ParameterCursor;     // dssl/nn/parameters.hpp
template <class T>
struct BranchKeep;  // dssl/nn/stochastic_depth.hpp
struct SampledScene;       // dssl/points/scene_points.hpp
struct TeacherDrawn;       // dssl/points/teacher_points.hpp

/// Sizes known at compile time, as a structural type with `==`.
template <class X>
concept HasConfig = requires {
  X::config;
  requires std::equality_comparable<std::remove_cvref_t<decltype(X::config)>>;
};

/// Config: the sizes as a type; `X::config`, or a run-time copy with other channels, is one.
template <class X>
concept NamesConfig = requires { typename X::Config; };

/// Parameters<T>: views of all parameters (or their gradients) in a flat buffer.
template <class X>
concept NamesParameters = requires { typename X::template Parameters<float>; };

/// Inputs<T>: the images, and where its tables are read.
template <class X>
concept NamesInputs = requires { typename X::template Inputs<float>; };

/// Activations<T>: what a forward pass computes; the tokens that are read are its `out`.
template <class X>
concept NamesActivations = requires { typename X::template Activations<float>; };

/// Gradients<T>: the buffers of a backward pass.
template <class X>
concept NamesGradients = requires { typename X::template Gradients<float>; };

/// Activations<T>::take(arena, sizes, layout, saved): `saved`, where a backward pass follows. One that offers to keep little
/// takes another bool, `recompute`.
template <class X>
concept TakesActivations = requires(Arena& arena, const typename X::Config& sizes, const TokenLayout& layout) {
  X::template Activations<float>::take(arena, sizes, layout, true);
};

/// Parameters<T>::bind(cursor, sizes, learned tokens): the views, in the order of `add_parameters`.
template <class X>
concept BindsParameters = requires(ParameterCursor<float>& next, const typename X::Config& sizes) {
  X::template Parameters<float>::bind(next, sizes, LearnedTokens{});
};

/// Gradients<T>::take(arena, sizes, layout).
template <class X>
concept TakesGradients = requires(Arena& arena, const typename X::Config& sizes, const TokenLayout& layout) {
  X::template Gradients<float>::take(arena, sizes, layout);
};

/// patch, width, channels: pixels a side of what a row of the map stands for, numbers a row, channels of the images.
template <class X>
concept SizesOfFeatures = requires(const typename X::Config& sizes) {
  { sizes.patch } -> std::convertible_to<Index>;
  { sizes.width } -> std::convertible_to<Index>;
  { sizes.channels } -> std::convertible_to<Index>;
};

/// describe(sizes): in words, which a checkpoint must agree with to be resumed.
template <class X>
concept DescribesItself = requires(const typename X::Config& sizes) {
  { X::describe(sizes) } -> std::convertible_to<std::string>;
};

/// add_parameters(layout, sizes, learned tokens, prefix): appends the parameters, under their published names.
template <class X>
concept AddsParameters = requires(ParameterLayout& layout, const typename X::Config& sizes, std::string_view prefix) {
  X::add_parameters(layout, sizes, LearnedTokens{}, prefix);
};

/// A backbone: images in, features out, with a backward pass: a row for each view (the class token, or a pooled map) and a
/// row for each patch of it, in the order of a `TokenLayout`. Do-nothing example: none is possible; copy `ViT`
/// (dssl/backbone/vit.hpp), a page that is the whole interface, or the small convolutional one of
/// tests/backbone/convolution.hpp. Optional: sizes with `depth` (stochastic depth drops residual branches), `registers`,
/// `native_grid()`; `PlacesPoints` and `ReadsContent` for reference tokens, `MasksTokens` for masked patches. That it also
/// runs on the backend, its functions `forward` and `backward`, is asked where the backend is known: `GoesForward` and
/// `GoesBackward` below.
template <class X>
concept BackbonePolicy = HasConfig<X> && NamesConfig<X> && NamesParameters<X> && NamesInputs<X> && NamesActivations<X> &&
                         NamesGradients<X> && AddsParameters<X> && BindsParameters<X> && TakesActivations<X> && TakesGradients<X> &&
                         SizesOfFeatures<X> && DescribesItself<X>;

/// Inputs<T>::place(backend, arena, sizes, layout, images of each group): more than once, as everything that is placed. One
/// that masks takes the number of patches that may be masked besides.
template <class X, class B, class T = typename B::Scalar>
concept PlacesInputs = requires(const B& backend, Arena& arena, const typename X::Config& sizes, const TokenLayout& layout,
                                std::vector<TensorView<T, 4>> images) {
  X::template Inputs<T>::place(backend, arena, sizes, layout, std::move(images));
};

/// forward<Relation>(backend, activations, inputs, parameters, sizes, layout, device layout, keep): images to the rows
/// that are read. One whose features are extracted takes a function that is called after each block, besides.
template <class X, class B, class T = typename B::Scalar>
concept GoesForward =
    requires(const B& backend, const typename X::template Activations<T>& a, const typename X::template Inputs<T>& in,
             const typename X::template Parameters<const T>& p, const typename X::Config& sizes, const TokenLayout& layout,
             const DeviceTokenLayout& device, std::span<const BranchKeep<T>> keep) {
      X::template forward<private_relation>(backend, a, in, p, sizes, layout, device, keep);
    };

/// backward<Relation>(backend, d_parameters +=, gradients, d_out, activations, inputs, parameters, sizes, layout, device
/// layout, keep, detached): the gradient of the rows that are read to those of the parameters.
template <class X, class B, class T = typename B::Scalar>
concept GoesBackward =
    requires(const B& backend, const typename X::template Parameters<T>& d_p, const typename X::template Gradients<T>& g,
             MatrixView<const T> d_out, const typename X::template Activations<T>& a,
             const typename X::template Inputs<T>& in, const typename X::template Parameters<const T>& p,
             const typename X::Config& sizes, const TokenLayout& layout, const DeviceTokenLayout& device,
             std::span<const BranchKeep<T>> keep) {
      X::template backward<private_relation>(backend, d_p, g, d_out, a, in, p, sizes, layout, device, keep, false);
    };

/// Inputs<T>::point_taps: where the position table is read for reference tokens; then the sizes have `native_grid()`.
/// Optional: X::point_taps<T>(config, point), what is put there for a point, else `point_read` of a table of that grid.
template <class X>
concept PlacesPoints = requires(typename X::template Inputs<float> in, const typename X::Config& sizes) {
  in.point_taps;
  sizes.native_grid();
};

/// Inputs<T>::content_taps, content_attached: where what is embedded of all patches is read and added to reference tokens,
/// and whether gradients flow back from there.
template <class X>
concept ReadsContent = requires(typename X::template Inputs<float> in) {
  in.content_taps;
  in.content_attached;
};

/// Inputs<T>::masked_patches: the patches in whose place the backbone puts its mask token. Its output has no patches of groups
/// whose `patches_read` is false (dssl/nn/token_layout.hpp); of one that is no such backbone all groups' are read, or none's.
template <class X>
concept MasksTokens = requires(typename X::template Inputs<float> in) { in.masked_patches; };

/// forward_references<Relation>(backend, activations, inputs, parameters, sizes, layout, device layout): what reference tokens
/// put out at other points, after a `forward` into the same saved activations under a relation that `hides_references`: from
/// the keys and values that the other tokens left in each block.
template <class X, class B, class T = typename B::Scalar>
concept ForwardsReferences =
    requires(const B& backend, const typename X::template Activations<T>& a, const typename X::template Inputs<T>& in,
             const typename X::template Parameters<const T>& p, const typename X::Config& sizes, const TokenLayout& layout,
             const DeviceTokenLayout& device) {
      X::template forward_references<private_relation>(backend, a, in, p, sizes, layout, device);
    };

/// Activations<T>::blocks[i].qkv (M,3D): the queries, keys and values of each block, so that its attention can be looked at; and
/// `heads`, how many there are.
template <class X>
concept KeepsAttention = requires(typename X::template Activations<float>& a, const typename X::Config& sizes) {
  a.blocks[0].qkv.row(0);
  { sizes.heads } -> std::convertible_to<Index>;
};

/// A token scheme: who attends to whom, where point features come from. Which output rows are read follows from
/// that and from the loss.
///
///   struct MyTokens {                                     // patches only see patches, class sees all
///     static constexpr AttentionRelation relation{...};
///     static constexpr PointFeatures point_features = PointFeatures::reference_tokens;
///     static constexpr ReferenceConfig reference{};
///   };
template <class X>
concept TokenScheme = requires {
  { X::relation } -> std::convertible_to<AttentionRelation>;
  X::point_features;
  { X::reference.learned } -> std::convertible_to<bool>;
  { X::reference.detached } -> std::convertible_to<bool>;
};

/// A view generator: plans V views of an image (where each lies in the scene, and what is done to it), then
/// renders them. The first two views are the global ones. `plan` and `render` are pure functions of their
/// arguments and are called by several threads at once, each with a workspace of its own. One that also models
/// `PacksViews` (dssl/views/view_pack.hpp) can have its views rendered by the backend.
template <class X>
concept ViewGenerator = requires(const X& x, std::vector<typename X::Plan>& plans, Index i, const RandomKey& key,
                                 const AnyImageView& image, std::span<float> out, typename X::Workspace& workspace) {
  typename X::Plan;
  typename X::Workspace;
  plans.front().map;  // a ViewMap (dssl/views/geometry.hpp): points follow the view through it
  { x.views() } -> std::convertible_to<Index>;
  { x.size(i).height } -> std::convertible_to<Index>;
  { x.size(i).width } -> std::convertible_to<Index>;
  x.plan(plans, i, i, key);
  x.render(image, plans.front(), out, workspace);
};

/// masks(): which patches of the global views of a batch the student does not see (`Masked`, dssl/views/masks.hpp).
template <class X>
concept MasksPatches = requires(const X& x) {
  { x.masks().words() } -> std::convertible_to<std::string>;
};

/// count(): K, points of each pair of views.
template <class X>
concept CountsPoints = requires(const X& x) {
  { x.count() } -> std::convertible_to<Index>;
};

/// sample(out, random): K points relative to the overlap, whatever the views show.
template <class X>
concept SamplesOverlap =
    CountsPoints<X> && requires(const X& x, std::span<Point> out, RandomStream& random) { x.sample(out, random); };

/// look(scene): once an image, before its points are drawn. What it gives draws those of each pair by sample(out, random,
/// region), where `region` is the pair's overlap as a part of the scene's unit square; points are relative to it all the same.
template <class X>
concept LooksAtScene =
    CountsPoints<X> && requires(const X& x, const SampledScene& scene, std::span<Point> out, RandomStream& random,
                                const ViewFrame& region) { x.look(scene).sample(out, random, region); };

/// drawn_by_teacher(): which of its K points the step draws anew once the teacher has seen the views (dssl/points/teacher_points.hpp);
/// `sample` draws those that loaders have before.
template <class X>
concept AsksTeacher = CountsPoints<X> && requires(const X& x) {
  { x.drawn_by_teacher() } -> std::convertible_to<std::vector<TeacherDrawn>>;
};

/// What a sampler's type asks a teacher for, so that a recipe that cannot say it is refused where it is compiled.
struct TeacherAsked {
  bool attention = false;
  bool disagreement = false;

  [[nodiscard]] constexpr bool any() const { return attention || disagreement; }
  [[nodiscard]] constexpr TeacherAsked operator|(TeacherAsked other) const {
    return {attention || other.attention, disagreement || other.disagreement};
  }
};

/// `X::asks`; nothing where a sampler does not say, as one that is chosen at run time.
template <class X>
inline constexpr TeacherAsked teacher_asked_by = [] {
  if constexpr (requires { TeacherAsked(X::asks); }) {
    return X::asks;
  } else {
    return TeacherAsked{};
  }
}();

/// A point sampler: K points of the overlap of two views, relative to it, in [0, 1]^2.
///
///   struct CentrePoint {
///     Index count() const { return 1; }
///     void sample(std::span<Point> out, RandomStream&) const { out[0] = {0.5, 0.5}; }
///   };
///
/// Or one that looks at the scene first (`LooksAtScene`), as `SalientPoints` does; one that does not is handed no pixels.
/// `name` (static), or words() where it depends on the run, says in checkpoints which it is.
template <class X>
concept PointSampler = SamplesOverlap<X> || LooksAtScene<X>;

/// name, reads, whole: how a term is told in reports, what it reads of each network, and the least of the student's pass
/// that must be there at once (dssl/loss/term.hpp).
template <class X>
concept SaysWhatItReads = requires {
  { X::name } -> std::convertible_to<std::string_view>;
  X::reads.student.class_level;
  X::reads.teacher.class_level;
  X::whole;
};

/// Teacher: Ema, StopGradient, NoTeacher, Snapshot<Ema> or Frozen<Backbone>.
template <class X>
concept NamesItsTeacher = requires {
  { X::Teacher::weights } -> std::convertible_to<bool>;
  { X::Teacher::pass } -> std::convertible_to<bool>;
};

namespace detail {

/// What `for_each` of options is called with to ask whether it can be: nvcc takes no lambda in a concept.
struct AnyNumber {
  template <class Name, class Value>
  void operator()(const Name&, const Value&) const {}
};

}  // namespace detail

/// Options: an aggregate with validate(prefix), and for_each(prefix, f), which calls f(name, value) for each number.
template <class X>
concept HasTermOptions = requires(const typename X::Options& o, std::string_view prefix) {
  requires std::default_initializable<typename X::Options>;
  o.validate(prefix);
  o.for_each(prefix, detail::AnyNumber{});
};

/// A term of an objective. What it does in a step is its `Run<B>`, made from (TermSetting, Options): derive from `TermRun`
/// (dssl/loss/term.hpp), which says when each function is called, and copy `PrototypeRun` (dssl/loss/prototype_run.hpp).
template <class X>
concept LossTerm = SaysWhatItReads<X> && NamesItsTeacher<X> && HasTermOptions<X>;

/// A loss: a list of terms with their weights and options; `WeightedSum<Terms...>` is one (dssl/loss/objective.hpp).
template <class X>
concept Objective = requires(const typename X::Options& o) {
  typename X::Terms;
  X::reads.points;
  { X::teacher_pass } -> std::convertible_to<bool>;
  { X::describe() } -> std::convertible_to<std::string>;
  requires std::default_initializable<typename X::Options>;
  o.validate();
  o.for_each(detail::AnyNumber{});
};

/// A head: the sizes of a projection head.
template <class X>
concept HeadPolicy = HasConfig<X> && requires {
  { X::config.prototypes } -> std::convertible_to<Index>;
  { X::config.bottleneck } -> std::convertible_to<Index>;
};

}  // namespace dssl
