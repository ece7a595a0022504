// Host memory of the Cpu backend: zeroed, aligned, on huge pages where that pays.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
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
  const std::align_val_t alignment{bytes >= 2 * huge_page ? huge_page : Arena::alignment};
  const std::size_t size = std::max<std::size_t>(bytes, 1);
  auto* data = static_cast<std::byte*>(::operator new(size, alignment));
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  if (bytes >= 2 * huge_page) ::madvise(data, size, MADV_HUGEPAGE);  // advice only: a refusal changes nothing
#endif
  std::memset(data, 0, bytes);
  return {data, bytes, [alignment](std::byte* p) { ::operator delete(p, alignment); }};
}

}  // namespace dssl::cpu
