// Several ranks in one process, a thread each: for tests, and for trying what a run over several processes does.
// Tests: tests/core/communicator.cpp.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstring>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// Ranks that meet in memory.
///
///   dssl::ThreadRanks ranks(2);
///   std::jthread other([&] { work(ranks.communicator(1)); });
///   work(ranks.communicator(0));
///
/// An exchange copies what each rank reads once all have come, and throws `RankError` where one has left, one does not come
/// within `timeout`, or two exchange unlike things.
class ThreadRanks {
 public:
  /// Throws `OptionError`.
  explicit ThreadRanks(Index size, std::chrono::milliseconds timeout = std::chrono::seconds(60))
      : x_place(std::make_shared<x_Place>()) {
    if (size < 1) throw OptionError("ranks", size, "at least 1");
    x_place->timeout = timeout;
    x_place->guests.resize(static_cast<std::size_t>(size));
  }

  [[nodiscard]] Index size() const { return static_cast<Index>(x_place->guests.size()); }
  /// What rank `rank` talks through, on one thread at a time; one object a rank.
  [[nodiscard]] Communicator communicator(Index rank) const {
    require_shape(rank >= 0 && rank < size(), "rank ", rank, " of ", size());
    return Communicator(std::make_shared<x_Rank>(x_place, rank));
  }

 private:
  struct x_Guest {
    bool here = false;
    bool to_all = false;  // all_gather, else all_to_all
    std::span<std::byte> out;
    std::span<const std::byte> in;
  };

  /// Where they meet.
  struct x_Place {
    std::mutex mutex;
    std::condition_variable changed;
    std::chrono::milliseconds timeout{};
    std::vector<x_Guest> guests;
    std::size_t come = 0;
    std::size_t meetings = 0;
    std::string left;  // why one is missing for good

    void meet(Index rank, const x_Guest& guest) {
      std::unique_lock lock(mutex);
      if (!left.empty()) throw RankError(left);
      x_Guest& own = guests[static_cast<std::size_t>(rank)];
      own = guest;
      own.here = true;
      if (++come == guests.size()) {
        hold(lock);
        return;
      }
      const std::size_t meeting = meetings;
      const bool over = changed.wait_for(lock, timeout, [&] { return meetings != meeting || !left.empty(); });
      if (meetings != meeting) return;
      if (!over) {
        std::string missing;
        for (std::size_t r = 0; r < guests.size(); ++r) {
          if (!guests[r].here) missing += join(missing.empty() ? "" : ", ", r);
        }
        left = join("rank ", missing, " was not heard of for ", static_cast<double>(timeout.count()) / 1000, " s");
        changed.notify_all();
      }
      throw RankError(left);
    }

    void hold(std::unique_lock<std::mutex>& /*lock*/) {
      const x_Guest& last = guests.front();
      for (std::size_t r = 1; r < guests.size(); ++r) {
        if (guests[r].to_all == last.to_all && guests[r].in.size() == last.in.size()) continue;
        left = join("rank ", r, " exchanges ", guests[r].in.size(), " bytes where rank 0 exchanges ", last.in.size());
        changed.notify_all();
        throw RankError(left);
      }
      for (std::size_t to = 0; to < guests.size(); ++to) {
        for (std::size_t from = 0; from < guests.size(); ++from) {
          const std::size_t each = guests[to].out.size() / guests.size();
          const std::span<const std::byte> in = guests[from].in;
          std::ranges::copy(guests[to].to_all ? in : in.subspan(to * each, each),
                            guests[to].out.begin() + static_cast<std::ptrdiff_t>(from * each));
        }
      }
      for (x_Guest& guest : guests) guest.here = false;
      come = 0;
      ++meetings;
      changed.notify_all();
    }
  };

  class x_Rank final : public RankExchange {
   public:
    x_Rank(std::shared_ptr<x_Place> place, Index rank) : x_shared(std::move(place)), x_rank(rank) {}

    [[nodiscard]] Index rank() const override { return x_rank; }
    [[nodiscard]] Index size() const override { return static_cast<Index>(x_shared->guests.size()); }
    void all_to_all(std::span<std::byte> out, std::span<const std::byte> in) override {
      x_shared->meet(x_rank, {.out = out, .in = in});
    }
    void all_gather(std::span<std::byte> out, std::span<const std::byte> in) override {
      x_shared->meet(x_rank, {.to_all = true, .out = out, .in = in});
    }
    void leave(std::string_view why) noexcept override {
      const std::lock_guard lock(x_shared->mutex);
      if (x_shared->left.empty()) x_shared->left = left_words(x_rank, why);
      x_shared->changed.notify_all();
    }
    void listen() override {
      const std::lock_guard lock(x_shared->mutex);
      if (!x_shared->left.empty()) throw RankError(x_shared->left);
    }

   private:
    std::shared_ptr<x_Place> x_shared;
    Index x_rank;
  };

  std::shared_ptr<x_Place> x_place;
};

}  // namespace dssl
