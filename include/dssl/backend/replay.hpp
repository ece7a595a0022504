// Work that a backend is given again and again with the same shapes, addresses and numbers.
// Tests: tests/cuda/graphs.cpp.
#pragma once

#include <functional>

namespace dssl {

/// Optional: keeps what work gave to the device, and gives it again as one.
///
/// replay(slot, key, work): does what `work` does. Where the last call with this slot had the same key, and nothing has
///   moved since, `work` may be left uncalled: it must then be primitives alone (no upload, no download), on the same
///   views with the same numbers, or numbers that `key` stands for.
template <class B>
concept Replays = requires(const B& b, typename B::Replay& slot, const std::function<void()>& work) {
  b.replay(slot, double{}, work);
};

/// What a backend keeps of one piece of work; nothing where it keeps none.
template <class B>
struct ReplaySlot {};
template <Replays B>
struct ReplaySlot<B> {
  typename B::Replay kept{};
};

/// Does `work`, by what was kept of it where the backend keeps it.
template <class B, class Work>
void replay(const B& backend, [[maybe_unused]] ReplaySlot<B>& slot, [[maybe_unused]] double key, const Work& work) {
  if constexpr (Replays<B>) {
    backend.replay(slot.kept, key, work);
  } else {
    work();
  }
}

}  // namespace dssl
