// What the ranks that share a training step send each other of it: gradients, weights, figures.
// Tests: tests/train/ranks.cpp.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include <dssl/backend/over_ranks.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/rank_part.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/block.hpp>
#include <dssl/nn/parameters.hpp>
#include <dssl/optim/optimiser.hpp>
#include <dssl/train/bucket_sums.hpp>
#include <dssl/train/report.hpp>

namespace dssl {

/// How ranks share a step: `BasicStepOptions` says what each is.
struct SharedStep {
  Communicator ranks{};
  SentAs reduce = SentAs::whole;
  Index bucket_bytes = 0;
  bool shard = false;
};

namespace detail {

/// Throws `OptionError` where a step cannot be shared by ranks. `on_device`: whether the backend is of a device;
/// `by_devices`: of `devices_add`; `within_rank`: the term that compares the images of one rank alone, or empty.
DSSL_INLINE void require_shared_step(const SharedStep& shared, OptimiserKind optimiser, bool on_device, bool by_devices,
                                     std::string_view within_rank);

/// Figures of a rank's share of an update = those of the whole update; the loss is added up anew. `weights`: of each term;
/// `counted`: whether the term counts what differs from rank to rank; `points_checked`: whether points may not be valid.
DSSL_INLINE void add_over_ranks(StepReport& report, const Communicator& ranks, std::span<const double> weights,
                                std::span<const bool> counted, bool points_checked);

}  // namespace detail

/// The gradients of a step on all ranks, and the weights that each rank has updated a part of. For one rank alone every
/// function returns at once.
template <Backend B>
class StepExchange {
 public:
  using T = typename B::Scalar;

  StepExchange() = default;
  StepExchange(const SharedStep& shared, const ParameterLayout& layout) : x_shared(shared), x_total(layout.total()) {
    if (shared.bucket_bytes > 0 && !shared.ranks.alone()) {
      x_buckets = GradientBuckets::of(layout, shared.bucket_bytes / static_cast<Index>(sizeof(T)));
    }
    const auto add = [&](Index begin, Index count) { x_ranges.push_back({begin, count, x_part(count)}); };
    if (sharded() && !x_buckets.begins.empty()) {
      x_buckets.each(x_total, add);
    } else {
      add(0, x_total);
    }
  }

  [[nodiscard]] const Communicator& ranks() const { return x_shared.ranks; }
  [[nodiscard]] bool sharded() const { return x_shared.shard && !ranks().alone(); }
  /// The weights, and of each range the part whose optimiser's state is here: all of them; of a sharded step each bucket, whose
  /// sum every rank then gets its part of, or all as one.
  [[nodiscard]] std::span<const SharedRange> ranges() const { return x_ranges; }
  /// Bytes in which gradients lie on their way between ranks.
  [[nodiscard]] std::size_t room() const {
    if (devices_add<B>(ranks())) return 0;
    const Index size = ranks().size();
    const Index summed = x_buckets.begins.empty() ? x_total : x_buckets.largest(x_total);
    const Index share = sharded() ? x_part(summed).share : (summed + size - 1) / size;
    return ranks().template sum_room<T>(share, x_shared.reduce, sharded());
  }

  /// Before the first of an update's backward passes; 0: none that an update follows.
  void begin(Index passes) {
    x_passes_left = passes;
    x_summed = false;
  }
  /// Calls run(done) for a backward pass: `done`, or null, wants to hear of each block whose gradients are there.
  template <class Run>
  void pass(const B& backend, VectorView<T> gradients, const Run& run) {
    if (--x_passes_left != 0 || x_buckets.begins.empty()) return run(static_cast<const BlockDone*>(nullptr));
    // On its thread ranks exchange, and copy what lies in the host's memory: no work of the backend.
    BucketSums sums(x_buckets.begins, x_total, [&](Index begin, Index count) { x_sum(backend, gradients, begin, count); });
    const BlockDone done = [&](std::size_t block) {
      if (!x_buckets.block_begins.empty()) sums.ready(x_buckets.block_begins[block]);
    };
    run(&done);
    sums.finish();
    x_summed = true;
  }
  /// gradients = their sums over ranks, of this rank's parts where each has some; nothing where `pass` has done it.
  void sum(const B& backend, VectorView<T> gradients) const {
    if (x_summed) return;
    for (const SharedRange& range : x_ranges) x_sum(backend, gradients, range.begin, range.count);
  }
  /// weights = of each rank the parts that it has updated.
  void gather(const B& backend, VectorView<T> weights) const {
    for (const SharedRange& range : x_ranges) {
      gather_parts_over_ranks(backend, ranks(), VectorView<T>(weights.data() + range.begin, range.count), range.part);
    }
  }

 private:
  [[nodiscard]] RankPart x_part(Index count) const {
    return sharded() ? RankPart::of(count, ranks().size(), ranks().rank()) : RankPart::all(count);
  }
  void x_sum(const B& backend, VectorView<T> gradients, Index begin, Index count) const {
    const VectorView<T> values(gradients.data() + begin, count);
    if (sharded()) {
      sum_parts_over_ranks(backend, ranks(), values, x_part(count), x_shared.reduce);
    } else {
      sum_over_ranks(backend, ranks(), values, x_shared.reduce);
    }
  }

  SharedStep x_shared;
  Index x_total = 0;
  GradientBuckets x_buckets;  // none: gradients are sent after the backward pass
  std::vector<SharedRange> x_ranges;
  Index x_passes_left = 0;
  bool x_summed = false;  // gradients are those of all ranks
};

#if defined(DSSL_WITH_DEFINITIONS)
DSSL_INLINE void detail::require_shared_step(const SharedStep& shared, OptimiserKind optimiser, bool on_device,
                                             bool by_devices, std::string_view within_rank) {
  if (shared.ranks.alone()) return;
  const Index size = shared.ranks.size();
  if (on_device && shared.bucket_bytes > 0) {
    throw OptionError("bucket_bytes", shared.bucket_bytes, "0 on a device, which has one stream of work");
  }
  if (by_devices && shared.reduce != SentAs::whole) {
    throw OptionError("reduce", name_of(shared.reduce), "full where devices add gradients in their memory");
  }
  if (!within_rank.empty()) {
    throw OptionError("ranks", size, join("1: the term '", within_rank, "' compares the images of one rank alone"));
  }
  if (shared.shard && optimiser == OptimiserKind::lars) {
    throw OptionError("shard", "true", "false with the optimiser lars, whose rate of a tensor is by the whole tensor");
  }
  if (shared.bucket_bytes > 0 && !shared.ranks.on_any_thread()) {
    throw OptionError("bucket_bytes", shared.bucket_bytes,
                      "0: what carries bytes between these ranks does so on one thread alone");
  }
}

DSSL_INLINE void detail::add_over_ranks(StepReport& report, const Communicator& ranks, std::span<const double> weights,
                                        std::span<const bool> counted, bool points_checked) {
  if (points_checked) ranks.all_sum(std::span<double>(&report.valid_points, 1));
  std::array<double, 4 * most_terms> figures{};
  for (std::size_t i = 0; i < report.term_count; ++i) {
    const TermReport& term = report.terms[i];
    figures[4 * i] = term.loss;
    figures[4 * i + 1] = term.teacher_entropy;
    figures[4 * i + 2] = term.counted;
    figures[4 * i + 3] = term.mean_entropy;
  }
  ranks.all_sum(std::span<double>(figures).first(4 * report.term_count));
  report.loss = 0;
  for (std::size_t i = 0; i < report.term_count; ++i) {
    TermReport& term = report.terms[i];
    term.loss = figures[4 * i];
    if (counted[i]) term.counted = figures[4 * i + 2];
    report.loss += weights[i] * term.loss;
    if (!std::isfinite(term.teacher_entropy)) continue;  // no prototypes
    term.teacher_entropy = figures[4 * i + 1];
    term.mean_entropy = figures[4 * i + 3];
    term.divergence = term.loss - term.teacher_entropy;
  }
}
#endif

}  // namespace dssl
