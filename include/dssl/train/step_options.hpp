// What a training step is made with.
#pragma once

#include <cstddef>
#include <cstdint>

#include <dssl/core/communicator.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/loss/objective.hpp>
#include <dssl/optim/optimiser.hpp>
#include <dssl/train/view_batch.hpp>

namespace dssl {

/// Numbers that a training step takes from the run's options. `LossNumbers`: the objective's options.
template <class LossNumbers>
struct BasicStepOptions {
  BatchShape shape{};      ///< of one forward pass
  Index accumulate = 1;    ///< forward passes an update
  Index prototypes = 0;    ///< 0: the recipe's own
  double stochastic_depth = 0.1;
  bool recompute = false;  ///< keep only what enters each block and compute the rest again going backward
  /// The student's views go forward, through the loss and backward one after the other, not all at once: the
  /// activations of one view are in memory. Nothing of a view is computed twice; the products are smaller. Losses,
  /// gradients and centres are the same but for rounding. Not with batch norm in heads, nor with terms that need the
  /// batch whole.
  bool stream_views = false;
  std::size_t render_bytes = 0;  ///< of scratch, in which the backend renders the views; 0: they come from the host
  std::uint64_t seed = 0;
  LossNumbers loss{};
  OptimiserOptions optimiser{};
  /// That share the step: each passes `shape.batch` images, and all do the update of all of them. They call `begin`,
  /// `forward_backward`, `update` and `inspect` alike.
  Communicator ranks{};
  SentAs reduce = SentAs::whole;  ///< how ranks send gradients
  /// Gradients are sent in buckets of at least so many bytes while the last backward pass of an update goes on
  /// (`GradientBuckets`); 0: after it. The same bits.
  Index bucket_bytes = 0;
  /// Each rank keeps the optimiser's state of its part of the weights alone, and updates that.
  bool shard = false;
};
/// Those of the published objectives.
using StepOptions = BasicStepOptions<LossOptions>;

}  // namespace dssl
