// Host memory of the Cpu backend: zeroed, aligned, on huge pages where that pays.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <memory_resource>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <dssl/core/arena.hpp>

namespace dssl::cpu {

/// Size of a huge page, and from where on a buffer is worth some.
inline constexpr std::size_t huge_page = std::size_t{2} << 20;

/// `bytes` zeroed bytes aligned to `Arena::alignment`; from 4 MiB on aligned to huge pages, which the system is
/// asked to use (a step that walks hundreds of MB otherwise loses time to missing address translations).
///
/// `resource`: takes the bytes from there instead, with its own ideas about pages; null: from the system. Throws std::bad_alloc.
[[nodiscard]] inline Buffer allocate(std::size_t bytes, std::pmr::memory_resource* resource = nullptr) {
  if (resource != nullptr) {
    auto* data = static_cast<std::byte*>(resource->allocate(bytes, Arena::alignment));
    std::memset(data, 0, bytes);
    return {data, bytes, [resource, bytes](std::byte* p) { resource->deallocate(p, bytes, Arena::alignment); }};
  }
  if (bytes >= 2 * huge_page) {
    // The system's new pages are zeros: they are not written here once more, and are touched first by whoever uses them.
    std::size_t room = bytes > SIZE_MAX - huge_page ? bytes : bytes + huge_page;
    void* const block = std::calloc(room, 1);
    void* start = block;
    if (block == nullptr || std::align(huge_page, bytes, start, room) == nullptr) {
      std::free(block);
      throw std::bad_alloc();
    }
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    ::madvise(start, bytes, MADV_HUGEPAGE);  // advice only: a refusal changes nothing
#endif
    return {static_cast<std::byte*>(start), bytes, [block](std::byte*) { std::free(block); }};
  }
  auto* data = static_cast<std::byte*>(::operator new(std::max<std::size_t>(bytes, 1), std::align_val_t{Arena::alignment}));
  std::memset(data, 0, bytes);
  return {data, bytes, [](std::byte* p) { ::operator delete(p, std::align_val_t{Arena::alignment}); }};
}

}  // namespace dssl::cpu
