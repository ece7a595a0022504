// Host arrays copied into a backend's memory while its buffers are laid out.
#pragma once

#include <span>
#include <type_traits>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>

namespace dssl {

/// Takes room for `host` from the arena and, if that is live, uploads it.
template <Backend B, class U>
[[nodiscard]] VectorView<const U> place_copy(const B& backend, Arena& arena, std::span<const U> host) {
  U* const device = arena.take<U>(static_cast<Index>(host.size()));
  if (device != nullptr) backend.upload(device, host);
  return VectorView<const U>(device, static_cast<Index>(host.size()));
}

template <Backend B, class U>
[[nodiscard]] VectorView<const U> place_copy(const B& backend, Arena& arena, const std::vector<U>& host) {
  return place_copy(backend, arena, std::span<const U>(host));
}

}  // namespace dssl
