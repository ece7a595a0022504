// What ranks make of the images of a source, brought together in the order of the source.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <numeric>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <utility>
#include <vector>

#include <dssl/core/communicator.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/skip.hpp>
#include <dssl/data/source.hpp>
#include <dssl/features/feature_pass.hpp>

namespace dssl {

/// A row of numbers of each image. Ranks take turns of a few images each; after a turn of all, every rank is told their rows, and
/// hands them on in the order of the source. A rank alone hands its own on as they come. Every rank makes one, and throws what
/// another does. Test: tests/features/ordered_rows.cpp.
template <class T>
class OrderedRows {
 public:
  /// For each image of the source in order: its number, and its row, or none where it could not be read.
  using Take = std::function<void(Index image, std::optional<std::span<const T>> row)>;

  /// `row`: numbers of one, about; `at_once`: images that a rank works on together, of which a turn is at most. Images that cannot
  /// be read are judged by `skip`, but of a rank alone, whose pass does. `source` must outlive this. Throws `OptionError`.
  template <NamedSamples Source>
  OrderedRows(const Communicator& ranks, const Source& source, Index row, Index at_once, const SkipPolicy& skip, Take take)
      : x_ranks(ranks),
        x_size(source.size()),
        x_name([&source](Index i) -> std::string { return source.name(i); }),
        x_take(std::move(take)),
        x_skips(skip) {
    const Index bytes = (row * static_cast<Index>(sizeof(T)) + static_cast<Index>(sizeof(Index))) * ranks.size();
    const Index share = (x_size + ranks.size() - 1) / ranks.size();
    x_each = std::max(Index{1}, std::min({at_once, share, turn_bytes / bytes}));
    for (Index i = 0; i < x_size; ++i) {
      if (i / x_each % ranks.size() == ranks.rank()) x_images.push_back(i);
    }
  }

  /// Images of this rank, in order; `add` counts among them.
  [[nodiscard]] const std::vector<Index>& images() const { return x_images; }

  /// The row of the image `own` of this rank: those before it that were not added could not be read.
  void add(Index own, std::span<const T> row) {
    x_unreadable_up_to(own);
    x_add(row);
  }
  /// All of this rank are added: goes on until all ranks' are. Throws `DataError` where `skip` says so.
  void finish() {
    x_unreadable_up_to(static_cast<Index>(x_images.size()));
    while (!x_ranks.alone() && x_done < x_size) x_turn();
  }

 private:
  static constexpr Index turn_bytes = Index{1} << 25;  // of all ranks
  static constexpr Index unreadable = -1;              // in the place of a row's numbers

  void x_unreadable_up_to(Index end) {
    while (x_added < end) x_add(std::nullopt);
  }
  void x_add(std::optional<std::span<const T>> row) {
    ++x_added;
    if (x_ranks.alone()) return x_hand_on(row);
    x_lengths.push_back(row ? static_cast<Index>(row->size()) : unreadable);
    if (row) x_own.insert(x_own.end(), row->begin(), row->end());
    if (x_added % x_each == 0) x_turn();
  }

  /// The rows of a turn, of which the last may lack some.
  void x_turn() {
    const auto each = static_cast<std::size_t>(x_each), ranks = static_cast<std::size_t>(x_ranks.size());
    x_lengths.resize(each, unreadable);
    std::vector<Index> lengths(each * ranks);
    x_ranks.all_gather(std::span<Index>(lengths), std::span<const Index>(x_lengths));
    const auto numbers_of = [&](std::size_t rank) {
      const auto of = std::span(lengths).subspan(rank * each, each);
      return static_cast<std::size_t>(std::accumulate(of.begin(), of.end(), Index{0}, [](Index sum, Index n) { return sum + std::max(n, Index{0}); }));
    };
    std::size_t most = 0;
    for (std::size_t r = 0; r < ranks; ++r) most = std::max(most, numbers_of(r));
    x_own.resize(most);
    x_all.resize(most * ranks);
    x_ranks.all_gather(std::span<T>(x_all), std::span<const T>(x_own));
    x_own.clear();
    x_lengths.clear();
    std::size_t at = 0;
    for (std::size_t i = 0; i < lengths.size() && x_done < x_size; ++i) {
      if (i % each == 0) at = i / each * most;
      if (lengths[i] == unreadable) {
        x_hand_on(std::nullopt);
        continue;
      }
      const auto count = static_cast<std::size_t>(lengths[i]);
      x_hand_on(std::span<const T>(x_all).subspan(at, count));
      at += count;
    }
  }

  void x_hand_on(std::optional<std::span<const T>> row) {
    const Index image = x_done++;
    if (!x_ranks.alone()) {  // of a rank alone the pass has counted
      std::vector<SkippedImage> skipped;
      if (!row) skipped.push_back({.index = image, .name = x_name(image), .message = x_name(image)});
      x_skips.count(skipped);
    }
    x_take(image, row);
  }

  Communicator x_ranks;
  Index x_size;
  std::function<std::string(Index)> x_name;
  Take x_take;
  SkipCounter x_skips;
  Index x_each = 1;
  std::vector<Index> x_images, x_lengths;
  std::vector<T> x_own, x_all;
  Index x_added = 0, x_done = 0;
};

/// Does pass(images, skip, add) over this rank's images of a source, `ChosenSamples` of it: that goes through them in order, bears
/// what cannot be read by `skip`, and calls add(i, row) for image i of `images` that could be read. take(image, row) is called
/// on every rank for each image of the source in order, as of `OrderedRows`. The counts are those of all ranks.
///
/// A rank whose pass a stop request ended exchanges no more, and gives its own counts: whoever asked for the stop makes it leave
/// (`Communicator::leave`). Throws what `pass` does, and as `OrderedRows`. Test: tests/features/ordered_rows.cpp.
template <class T, NamedSamples Source, class Pass>
FeaturePassCount pass_in_turns(const Communicator& ranks, const Source& source, Index row, Index at_once, const SkipPolicy& skip,
                               const std::stop_token& token, typename OrderedRows<T>::Take take, const Pass& pass) {
  OrderedRows<T> rows(ranks, source, row, at_once, skip, std::move(take));
  const ChosenSamples<Source> own(source, rows.images());
  SkipPolicy of_rank = skip;
  if (!ranks.alone()) of_rank.max_bad_share = 1;  // all ranks' are judged together
  FeaturePassCount count = pass(own, of_rank, [&rows](Index i, std::span<const T> made) { rows.add(i, made); });
  if (token.stop_requested()) return count;
  rows.finish();
  FeaturePassCount all;
  for (const FeaturePassCount& of : ranks.all_say(count)) all += of;
  return all;
}

namespace detail {

/// The features of each readable image of this rank go to make(index, image), and what that gives of each image of all ranks, in
/// order, to take(row), of about `row` numbers; how many were taken to `on_images`, where there is one. `options`: a probe's.
template <class T, class Extractor, class Options, NamedSamples Source, class Make, class Take>
FeaturePassCount features_in_turns(Extractor& extractor, const InputRenderer& renderer, const Options& options, const Source& source, Index row,
                                   const SkipCounter::Warn& on_skip, const std::function<void(Index)>& on_images,
                                   const std::stop_token& token, const Make& make, const Take& take) {
  Index done = 0;
  return pass_in_turns<T>(
      options.ranks, source, row, extractor.options().batch, options.skip, token,
      [&](Index, std::optional<std::span<const T>> made) {
        if (!made) return;
        take(*made);
        if (on_images) on_images(++done);
      },
      [&](const auto& own, const SkipPolicy& skip, const auto& add) {
        return pass_features(extractor, renderer, own, {.loader = options.loader, .skip = skip}, on_skip, token,
                             [&](const PassedImage<T>& image) { add(image.index, make(own.number(image.index), image)); });
      });
}

}  // namespace detail

}  // namespace dssl
