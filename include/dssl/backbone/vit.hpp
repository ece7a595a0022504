// The vision transformer as a backbone policy: class token, position table, patch embedding, blocks, last norm.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include <dssl/backbone/vit_buffers.hpp>
#include <dssl/backbone/vit_parameters.hpp>
#include <dssl/backbone/vit_pass.hpp>
#include <dssl/backend/concept.hpp>
#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/block.hpp>
#include <dssl/nn/block_parameters.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/nn/stochastic_depth.hpp>
#include <dssl/nn/token_layout.hpp>

namespace dssl {

/// The vision transformer of any sizes: the buffers it works in, and its forward and backward pass. All that is
/// compiled depends on this type; the sizes of `ViT<C>` are numbers to it.
struct ViTFamily {
  using Config = ViTConfig;

  template <class T>
  using Parameters = ViTParameters<T>;
  template <class T>
  using Inputs = ViTInputs<T>;
  template <class T>
  using Activations = ViTActivations<T>;
  template <class T>
  using Gradients = ViTGradients<T>;

  /// The sizes in words, for checkpoints.
  [[nodiscard]] static std::string describe(const Config& c);

  /// How the position of a reference token at a point of its view is read: what `Inputs::point_taps` takes.
  template <class T>
  [[nodiscard]] static Taps<T> point_taps(const Config& c, Point point) {
    return c.rotary() ? coordinate_read<T>(point) : point_read<T>(point, c.native_grid());
  }

  /// After a norm of all rows into `a.out`: that of class tokens which have their own.
  template <Backend B>
  static void norm_class_rows(const B& backend, const ViTActivations<typename B::Scalar>& a,
                              MatrixView<const typename B::Scalar> x,
                              const ViTParameters<const typename B::Scalar>& p, const ViTConfig& c,
                              const TokenLayout& layout) {
    dssl::norm_class_rows(backend, a, x, p, c, layout);
  }

  static constexpr void add_parameters(ParameterLayout& layout, const Config& sizes, LearnedTokens learned,
                                       std::string_view prefix) {
    add_vit_parameters(layout, sizes, learned, prefix);
  }

  template <class B>
  using Scalar = typename B::Scalar;

  template <AttentionRelation R, Backend B, class OnBlock = IgnoreBlocks>
  static void forward(const B& backend, const ViTActivations<Scalar<B>>& a, const ViTInputs<Scalar<B>>& in,
                      const ViTParameters<const Scalar<B>>& p, const ViTConfig& sizes, const TokenLayout& layout,
                      const DeviceTokenLayout& device, std::span<const BranchKeep<Scalar<B>>> keep,
                      const OnBlock& on_block = {}) {
    vit_forward<R>(backend, a, in, p, sizes, layout, device, keep, on_block);
  }

  template <AttentionRelation R, Backend B>
  static void forward_references(const B& backend, const ViTActivations<Scalar<B>>& a, const ViTInputs<Scalar<B>>& in,
                                 const ViTParameters<const Scalar<B>>& p, const ViTConfig& sizes, const TokenLayout& layout,
                                 const DeviceTokenLayout& device) {
    vit_forward_references<R>(backend, a, in, p, sizes, layout, device);
  }

  template <AttentionRelation R, Backend B>
  static void backward(const B& backend, const ViTParameters<Scalar<B>>& d_p, const BlockGradients<Scalar<B>>& g,
                       MatrixView<const Scalar<B>> d_out, const ViTActivations<Scalar<B>>& a, const ViTInputs<Scalar<B>>& in,
                       const ViTParameters<const Scalar<B>>& p, const ViTConfig& sizes, const TokenLayout& layout,
                       const DeviceTokenLayout& device, std::span<const BranchKeep<Scalar<B>>> keep, bool detached) {
    vit_backward<R>(backend, d_p, g, d_out, a, in, p, sizes, layout, device, keep, detached);
  }
};

#if defined(DSSL_WITH_DEFINITIONS)
DSSL_INLINE std::string ViTFamily::describe(const Config& c) {
  return join("image ", c.image, ", patch ", c.patch, ", width ", c.width, ", depth ", c.depth, ", heads ", c.heads,
              ", MLP ratio ", c.mlp_ratio, ", channels ", c.channels,
              // Said only where there are any: runs from before there could be are resumed as they were.
              c.registers > 0 ? join(", registers ", c.registers) : "",
              c.rotary() ? ", rotary positions" : "",
              c.positions == Positions::sincos ? ", positions of sines and cosines" : "",
              c.positions == Positions::none ? ", no positions" : "",
              c.qkv_bias == QkvBias::no_key ? ", keys without bias" : "",
              c.qkv_bias == QkvBias::none ? ", no bias of queries, keys and values" : "",
              c.position_rule != PositionRule::offset ? join(", positions by ", name_of(c.position_rule)) : "",
              c.swiglu           ? join(", SwiGLU of ", c.block().hidden)
              : c.mlp_hidden > 0 ? join(", MLP of ", c.mlp_hidden)
                                 : "",
              c.norm_exponent != 6 ? join(", norm epsilon 1e-", c.norm_exponent) : "",
              c.layer_scale ? ", LayerScale" : "",
              c.qk_norm ? ", norms of queries and keys" : "",
              c.class_norm ? ", a norm of class tokens" : "",
              c.local_class_norm ? ", a norm of local class tokens" : "");
}
#endif

/// The vision transformer as a backbone policy. Copy this page to write another backbone: a config whose sizes are known
/// at compile time, and all that `ViTFamily` has. A backbone without a family of its own compiles a step for each size.
template <ViTConfig C>
struct ViT : ViTFamily {
  static_assert(C.patch >= 1 && C.width >= 1 && C.depth >= 1 && C.heads >= 1 && C.mlp_ratio >= 1 && C.channels >= 1 && C.registers >= 0 &&
                    C.mlp_hidden >= 0,
                "every size of a ViT must be at least 1, its registers and mlp_hidden at least 0");
  static_assert(C.norm_exponent >= 0 && C.norm_exponent <= 22 && C.layer_scale_exponent >= 0 &&
                    C.layer_scale_exponent <= 22,
                "epsilon of the norms and first value of LayerScale are 10^-n, n from 0 to 22");
  static_assert(C.swiglu_multiple >= 1, "the width of SwiGLU is a multiple of at least 1");
  static_assert(C.heads >= 1 && C.width % C.heads == 0, "the heads of a ViT must divide its width");
  static_assert(C.positions != Positions::rotary || C.heads < 1 || C.width / C.heads % 4 == 0,
                "the width of a head must be a multiple of 4 with rotary positions");
  static_assert(C.positions != Positions::sincos || C.width % 4 == 0, "the width must be a multiple of 4 with positions of sines and cosines");
  static_assert(C.patch >= 1 && C.image >= C.patch && C.image % C.patch == 0,
                "the patch of a ViT must divide its native image size");

  using Family = ViTFamily;
  static constexpr Config config = C;
};

}  // namespace dssl
