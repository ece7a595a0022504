// What the ranks of a run agree on: that they run the same run, and whether a part of it is done on all of them.
// Tests: tests/train/ranks.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/core/communicator.hpp>
#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/hash.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/train/lasting_state.hpp>

namespace dssl {

namespace detail {

/// How a part of the work ended on a rank, and the words of its error.
struct RankOutcome {
  enum class Kind : std::uint8_t { done, ended, data, not_finite, failed };
  Kind kind = Kind::done;
  std::array<char, 255> words{};

  static RankOutcome of(Kind kind, std::string_view words) {
    RankOutcome out{.kind = kind};
    std::copy_n(words.begin(), std::min(words.size(), out.words.size() - 1), out.words.begin());
    return out;
  }
};

}  // namespace detail

/// Does `work`, which exchanges nothing after it may have thrown, on every rank. True where it gave true on all of them;
/// where it threw on one, it throws on all: there what it threw, and on the others an error of the same kind (`DataError`,
/// `NonFiniteError`, else `RankError`) that says which rank and why. One exchange; none for a rank alone.
template <class Work>
[[nodiscard]] bool done_on_all(const Communicator& ranks, const Work& work) {
  if (ranks.alone()) return work();
  using detail::RankOutcome;
  using Kind = RankOutcome::Kind;
  RankOutcome own;
  std::exception_ptr thrown;
  try {
    if (!work()) own.kind = Kind::ended;
  } catch (const RankError&) {
    throw;  // there is nobody to tell
  } catch (const DataError& error) {
    own = RankOutcome::of(Kind::data, error.what());
    thrown = std::current_exception();
  } catch (const NonFiniteError& error) {
    own = RankOutcome::of(Kind::not_finite, error.what());
    thrown = std::current_exception();
  } catch (const std::exception& error) {
    own = RankOutcome::of(Kind::failed, error.what());
    thrown = std::current_exception();
  }
  const std::vector<RankOutcome> all = ranks.all_say(own);
  if (thrown) std::rethrow_exception(thrown);
  bool done = true;
  for (std::size_t r = 0; r < all.size(); ++r) {
    const std::string words = join("rank ", r, ": ", all[r].words.data());
    switch (all[r].kind) {
      case Kind::done: break;
      case Kind::ended: done = false; break;
      case Kind::data: throw DataError(words);
      case Kind::not_finite: throw NonFiniteError(words);
      case Kind::failed: throw RankError(words);
    }
  }
  return done;
}

/// Throws `RankError` on every rank unless all have the same of everything that must be the same: `things`, each a name and
/// a text. Sends 8 bytes for each to every other rank. The words name the rank that has another than most, or where no more
/// than half agree the first that has another than rank 0. `expected`: what they say beside.
DSSL_INLINE void require_same(const Communicator& ranks, std::span<const std::pair<std::string_view, std::string>> things,
                              std::string_view expected = "the same on all ranks");

/// The same of `things` and of what lasts of a step, a frozen teacher's weights too, to the bit. (Of the optimiser's state where
/// ranks have parts of it each, nothing is compared.)
DSSL_INLINE void require_same_run(const Communicator& ranks, const LastingState& state,
                                  std::vector<std::pair<std::string_view, std::string>> things);

/// The same of what lasts of a step after so many updates: it drifts apart where processors round differently, or one is
/// faulty, and is then no longer that of a run. The words name the first tensor that differs. 8 bytes to every other rank, and 8 a
/// tensor where they differ; for a rank alone nothing is looked at.
DSSL_INLINE void require_same_state(const Communicator& ranks, const LastingState& state, Index steps);

namespace detail {

/// Two ranks that have not the same of something.
struct OddRank {
  std::size_t odd = 0;   ///< which has another one
  std::size_t like = 0;  ///< than this one
  bool most = false;     ///< which has what most ranks have

  [[nodiscard]] std::string words(std::string_view thing) const {
    return join("rank ", odd, " has other ", thing, " than ", most ? "most ranks" : "rank 0");
  }
};

/// By a check sum of each rank; nothing where all are the same.
[[nodiscard]] DSSL_INLINE std::optional<OddRank> odd_rank(std::span<const std::uint64_t> of_ranks);

/// Throws unless ranks have the same of what lasts: `name`, of which its words speak.
DSSL_INLINE void require_same_tensors(const Communicator& ranks, const LastingState& state, std::string_view name,
                                      std::string_view expected);

}  // namespace detail

#if defined(DSSL_WITH_DEFINITIONS)
DSSL_INLINE void require_same(const Communicator& ranks, std::span<const std::pair<std::string_view, std::string>> things,
                              std::string_view expected) {
  if (ranks.alone()) return;
  std::vector<std::uint64_t> own;
  for (const auto& [name, text] : things) own.push_back(detail::check_sum(0, std::as_bytes(std::span(text))));
  std::vector<std::uint64_t> all(own.size() * static_cast<std::size_t>(ranks.size()));
  ranks.all_gather(std::span(all), std::span<const std::uint64_t>(own));
  std::vector<std::uint64_t> of_ranks;
  for (std::size_t i = 0; i < own.size(); ++i) {
    of_ranks.clear();
    for (std::size_t at = i; at < all.size(); at += own.size()) of_ranks.push_back(all[at]);
    if (const auto odd = detail::odd_rank(of_ranks)) throw RankError(join(odd->words(things[i].first), "; expected ", expected));
  }
}

DSSL_INLINE std::optional<detail::OddRank> detail::odd_rank(std::span<const std::uint64_t> of_ranks) {
  OddRank out;
  for (std::size_t r = 0; r < of_ranks.size() && !out.most; ++r) {
    out.most = 2 * static_cast<std::size_t>(std::ranges::count(of_ranks, of_ranks[r])) > of_ranks.size();
    if (out.most) out.like = r;
  }
  const auto other = std::ranges::find_if(of_ranks, [&](std::uint64_t sum) { return sum != of_ranks[out.like]; });
  if (other == of_ranks.end()) return std::nullopt;
  out.odd = static_cast<std::size_t>(other - of_ranks.begin());
  return out;
}

DSSL_INLINE void detail::require_same_tensors(const Communicator& ranks, const LastingState& state, std::string_view name,
                                              std::string_view expected) {
  const std::vector<LastingTensor> tensors = state.tensors();
  std::vector<std::uint64_t> own;
  std::vector<std::byte> host;
  for (const LastingTensor& tensor : tensors) {
    host.resize(state.bytes(tensor));
    state.download(host, tensor);
    own.push_back(check_sum(0, host));
  }
  const auto odd = odd_rank(ranks.all_say(check_sum(0, std::as_bytes(std::span(own)))));
  if (!odd) return;
  std::vector<std::uint64_t> all(own.size() * static_cast<std::size_t>(ranks.size()));
  ranks.all_gather(std::span(all), std::span<const std::uint64_t>(own));
  std::size_t first = 0;
  while (all[odd->odd * own.size() + first] == all[odd->like * own.size() + first]) ++first;
  throw RankError(join(odd->words(name), ", the first of them ", tensors[first].name, "; expected ", expected));
}

DSSL_INLINE void require_same_state(const Communicator& ranks, const LastingState& state, Index steps) {
  if (ranks.alone()) return;
  detail::require_same_tensors(ranks, state, join("weights and state after step ", steps),
                               "the same on all ranks, whose processors round alike");
}

DSSL_INLINE void require_same_run(const Communicator& ranks, const LastingState& state,
                                  std::vector<std::pair<std::string_view, std::string>> things) {
  if (ranks.alone()) return;
  const auto frozen = state.frozen();  // also where there is none: ranks compare as many things
  things.emplace_back("weights of the frozen teacher", frozen ? std::to_string(frozen->check_sum) : "none");
  require_same(ranks, things);
  detail::require_same_tensors(ranks, state, "weights and state", "the same on all ranks");
}
#endif

}  // namespace dssl
