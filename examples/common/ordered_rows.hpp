// Rows of numbers that ranks make of the images of a set, brought together in the order of the set.
#pragma once

#include <algorithm>
#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/image_files.hpp>
#include <dssl/data/skip.hpp>

namespace dssl::programs {

/// One row an image. Ranks take turns of a few images each; after a turn of all, every rank is told their rows, and the first
/// hands them on. A rank alone hands its own on as they come. Every rank makes one, and throws what another does.
class OrderedRows {
 public:
  /// On the first rank, for each image in order: its number, and its row, or none where it could not be read.
  using Take = std::function<void(Index image, std::span<const float> row)>;

  /// `row`: numbers of one; `at_once`: images that a rank works on together, of which a turn is at most.
  OrderedRows(const Communicator& ranks, const ImageFiles& files, Index row, Index at_once, Take take)
      : x_ranks(ranks), x_files(files), x_row(row + 1), x_take(std::move(take)) {
    const Index bytes = x_row * static_cast<Index>(sizeof(float)) * ranks.size();
    const Index share = (files.size() + ranks.size() - 1) / ranks.size();
    x_each = ranks.alone() ? 1 : std::max(Index{1}, std::min({at_once, share, turn_bytes / bytes}));
    x_own.reserve(static_cast<std::size_t>(x_each * x_row));
    x_all.resize(static_cast<std::size_t>(x_each * x_row * ranks.size()));
    for (Index i = 0; i < files.size(); ++i) {
      if (i / x_each % ranks.size() == ranks.rank()) x_images.push_back(i);
    }
  }

  /// Images of this rank, in order; `add` counts among them.
  [[nodiscard]] const std::vector<Index>& images() const { return x_images; }

  /// The row of the image `own` of this rank: those before it that were not added could not be read.
  void add(Index own, std::span<const float> row) {
    x_unreadable_up_to(own);
    x_add(1, row);
  }
  /// All of this rank are added: goes on until all ranks' are. Throws `DataError` where no image can be read.
  void finish() {
    x_unreadable_up_to(static_cast<Index>(x_images.size()));
    while (x_done < x_files.size()) x_turn();
    if (x_read == 0) throw DataError("no image of the set can be read");
  }

 private:
  static constexpr Index turn_bytes = Index{1} << 25;  // of all ranks

  void x_unreadable_up_to(Index end) {
    while (x_added < end) x_add(0, {});
  }
  void x_add(float readable, std::span<const float> row) {
    x_own.push_back(readable);
    x_own.insert(x_own.end(), row.begin(), row.end());
    x_own.resize(static_cast<std::size_t>((x_added % x_each + 1) * x_row));
    if (++x_added % x_each == 0) x_turn();
  }

  /// The rows of a turn, of which the last may lack some.
  void x_turn() {
    x_own.resize(static_cast<std::size_t>(x_each * x_row));
    x_ranks.all_gather(std::span<float>(x_all), std::span<const float>(x_own));
    x_own.clear();
    const Index end = std::min(x_files.size(), x_done + x_each * x_ranks.size());
    for (std::size_t at = 0; x_done < end; ++x_done, at += static_cast<std::size_t>(x_row)) {
      const auto row = std::span<const float>(x_all).subspan(at, static_cast<std::size_t>(x_row));
      const bool readable = row[0] != 0;
      x_read += readable ? 1 : 0;
      if (!x_ranks.alone()) x_count(readable);  // of a rank alone the pass has counted
      if (x_ranks.first()) x_take(x_done, readable ? row.subspan(1) : std::span<const float>());
    }
  }
  /// As a pass over all images does.
  void x_count(bool readable) {
    std::vector<SkippedImage> skipped;
    if (!readable) skipped.push_back({.index = x_done, .name = x_files.name(x_done), .message = x_files.name(x_done)});
    x_skips.count(skipped);
  }

  Communicator x_ranks;
  const ImageFiles& x_files;
  Index x_row;  // numbers, of which the first tells whether the image could be read
  Take x_take;
  SkipCounter x_skips;
  Index x_each = 1;
  std::vector<Index> x_images;
  std::vector<float> x_own, x_all;
  Index x_added = 0, x_done = 0, x_read = 0;
};

}  // namespace dssl::programs
