// The batches of a run: samples of a source in the order of its epochs, made ahead of their use, counted over all ranks.
// Tests: tests/train/trainer.cpp, tests/train/ranks.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/core/communicator.hpp>
#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/loader.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/data/source.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/train/any_step.hpp>
#include <dssl/train/options.hpp>
#include <dssl/train/rank_agreement.hpp>
#include <dssl/train/samples.hpp>
#include <dssl/train/view_batch.hpp>

namespace dssl {

/// Where the samples of a run begin, and how many there are.
struct SampleRange {
  Index first = 0;         ///< number of the first, over the whole run and all ranks
  Index count = 0;         ///< of this rank
  Index epoch_images = 0;  ///< that an epoch uses
};

/// Gives a run its batches. What it gives depends on the options, the images and the range alone.
class RunBatches {
 public:
  /// Starts to load. All arguments outlive it; `skips` is for `next` alone meanwhile.
  RunBatches(const SourceView& source, const SampleRange& range, const RunOptions& options, const SampleMaking& making,
             SkipCounter& skips, const AnyStep& step, std::stop_token token);

  /// Puts the next images of an epoch into `batch`, or where the backend renders them into the step's views. False where a
  /// rank was stopped before it had all of its own. Throws `DataError` where too many are unreadable, on all ranks.
  [[nodiscard]] bool next(ViewBatch& batch, Index epoch);
  /// Takes the batch after that where the backend renders it: while it is busy with the step.
  void work_ahead() {
    if (x_rendered) x_rendered->take();
  }
  /// Time lost to data so far.
  [[nodiscard]] double wait_seconds() const { return x_loader.wait_seconds(); }

  /// The name of an image, or of the one that stands in for it where it cannot be read.
  [[nodiscard]] static std::string name_of_used(const SourceView& source, Index channels, Index wanted);

 private:
  /// A source whose images have the wanted number of channels, or are unreadable.
  struct x_Matching {
    const SourceView& source;
    Index channels;
    [[nodiscard]] Index size() const { return source.size(); }
    [[nodiscard]] std::string name(Index i) const { return source.name(i); }
    [[nodiscard]] ImageOfSample image_of(Index i) const { return source.image_of(i); }
    [[nodiscard]] HeldImage load(Index i) const { return with_channels(source.hold(i), channels, source.image_of(i).name); }
  };

  /// Sample i of this rank: of each pass it has the images rank + size * n.
  [[nodiscard]] SampleViews x_sample(const SourceView& source, const SampleRange& range, Index i);
  void x_put(ViewBatch& batch, Index b, const SampleViews& sample);
  void x_draw_masks(ViewBatch& batch, Index epoch, Index first) const;
  [[nodiscard]] Index x_count_ranks(const ViewBatch& batch, Index asked, Index passed_over);

  const RunOptions& x_options;
  const SampleMaking& x_making;
  SkipCounter& x_skips;
  SkipPolicy x_policy;
  EpochOrder x_order;
  OrderedLoader<SampleViews> x_loader;
  std::unique_ptr<ViewsAhead> x_rendered;  // none: the host makes the views
};

#if defined(DSSL_WITH_DEFINITIONS)
DSSL_INLINE RunBatches::RunBatches(const SourceView& source, const SampleRange& range, const RunOptions& options,
                                   const SampleMaking& making, SkipCounter& skips, const AnyStep& step, std::stop_token token)
    : x_options(options),
      x_making(making),
      x_skips(skips),
      x_policy{.max_bad_share = options.max_unreadable},
      x_order(source.size(), options.seed),
      x_loader(
          range.count, [this, &source, range](Index i) { return std::optional(x_sample(source, range, i)); },
          {.prefetch = options.prefetch > 0 ? options.prefetch : 2 * options.rank_batch(), .threads = options.loader_threads},
          std::move(token)) {
  if (options.views_on != ViewsOn::device) return;
  x_rendered = step.rendering([this] { return x_loader.next(); });
  if (!x_rendered) throw OptionError("views_on", "device", "host: this step's backend renders no views");
}

DSSL_INLINE SampleViews RunBatches::x_sample(const SourceView& source, const SampleRange& range, Index i) {
  const Index size = x_options.ranks.size(), rank = x_options.ranks.rank(), own = x_options.rank_batch();
  const Index number = range.first + i / own * own * size + i % own * size + rank;
  const Index epoch = number / range.epoch_images;
  SampleViews out;
  const Index wanted = x_order(epoch, number % range.epoch_images);
  const auto matching = x_Matching{source, x_making.shape.channels};
  const HeldImage image = load_readable(out.skipped, out.index, matching, wanted, x_policy);
  // Keyed by the sample that was asked for: a stand-in seen twice in an epoch gets views of its own.
  const RandomKey key{.seed = x_options.seed,
                      .epoch = static_cast<std::uint32_t>(epoch),
                      .sample = static_cast<std::uint64_t>(wanted)};
  (x_options.views_on == ViewsOn::device ? x_making.make_packed : x_making.make)(out, image.view(), key);
  out.index = wanted;
  return out;
}

DSSL_INLINE bool RunBatches::next(ViewBatch& batch, Index epoch) {
  if (x_rendered) {
    const std::span<const SampleViews> samples = x_rendered->render();
    if (samples.empty()) return false;
    for (std::size_t b = 0; b < samples.size(); ++b) x_put(batch, static_cast<Index>(b), samples[b]);
    x_draw_masks(batch, epoch, batch.samples[0]);
    return true;
  }
  const Index asked = x_skips.asked(), passed_over = x_skips.skipped();
  const bool loaded = done_on_all(x_options.ranks, [&] {
    for (Index b = 0; b < x_options.rank_batch(); ++b) {
      const auto sample = x_loader.next();
      if (!sample) return false;
      x_put(batch, b, *sample);
    }
    return true;
  });
  if (!loaded) return false;
  // Masks are keyed by the first image of the batch, that of all ranks, which an epoch has once.
  x_draw_masks(batch, epoch,
               x_options.ranks.alone() ? batch.samples[0]
                                       : x_count_ranks(batch, x_skips.asked() - asked, x_skips.skipped() - passed_over));
  return true;
}

DSSL_INLINE void RunBatches::x_put(ViewBatch& batch, Index b, const SampleViews& sample) {
  // Ranks judge by what all of them met, once it is known.
  x_options.ranks.alone() ? x_skips.count(sample.skipped) : x_skips.meet(sample.skipped);
  put_sample(batch, b, sample);
}

DSSL_INLINE void RunBatches::x_draw_masks(ViewBatch& batch, Index epoch, Index first) const {
  if (!x_making.masks.draw) return;
  RandomStream random({.seed = x_options.seed,
                       .epoch = static_cast<std::uint32_t>(epoch),
                       .sample = static_cast<std::uint64_t>(first),
                       .purpose = Purpose::masks});
  x_making.masks.draw(batch.masks, random);
}

/// Counts what the other ranks loaded beside so many images of this one. Gives the first sample of the whole batch. Throws
/// `DataError` where all ranks together met too many unreadable images, the same on each.
DSSL_INLINE Index RunBatches::x_count_ranks(const ViewBatch& batch, Index asked, Index passed_over) {
  struct Loaded {
    Index first, asked, skipped;
  };
  const std::vector<Loaded> all = x_options.ranks.all_say(Loaded{batch.samples[0], asked, passed_over});
  Index all_asked = 0, all_skipped = 0;
  for (const Loaded& rank : all) {
    all_asked += rank.asked;
    all_skipped += rank.skipped;
  }
  x_skips.count_elsewhere(all_asked - asked, all_skipped - passed_over);
  if (all_skipped > 0 && !x_skips.borne()) {
    using detail::RankOutcome;
    std::string last;
    for (const RankOutcome& rank : x_options.ranks.all_say(RankOutcome::of(RankOutcome::Kind::data, x_skips.last()))) {
      if (rank.words[0] != 0) last = rank.words.data();
    }
    throw x_skips.too_many(last);
  }
  return all.front().first;
}

DSSL_INLINE std::string RunBatches::name_of_used(const SourceView& source, Index channels, Index wanted) {
  std::vector<SkippedImage> skipped;
  Index used = wanted;
  try {
    static_cast<void>(load_readable(skipped, used, x_Matching{source, channels}, wanted));
  } catch (const Error&) {  // it could be read before, and cannot be any more
    used = wanted;
  }
  return source.name(used);
}
#endif

}  // namespace dssl
