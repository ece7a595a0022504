// What work on a backend needs beside its buffers, learned before any of it is done.
// Tests: tests/cuda/memory_plan.cpp.
#pragma once

#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>

#include <dssl/core/arena.hpp>

namespace dssl {

/// Bytes that a backend works in beside the buffers that it is given.
struct WorkingMemory {
  std::size_t scratch = 0;    ///< of its own memory: what primitives need meanwhile, whichever of them needs most
  std::size_t workspace = 0;  ///< of its own memory: what it holds for products, whoever uses it
  std::size_t staging = 0;    ///< of the host's, for uploads
};

/// Optional: tells what work will need, and takes all of it at once.
///
/// rehearse(work): calls `work`, in which primitives, uploads and downloads do nothing but note what they would need.
///   Nothing is read or written, so views may lie at addresses where no memory is; the host's side of a download stays
///   as it is.
/// allocate(bytes, plan, beside): a block as from allocate(bytes), and the working memory; the next calls of what was
///   rehearsed allocate nothing. Throws where there is not enough, before anything is taken, with the plan by part.
template <class B>
concept Rehearses = requires(const B& b, void (*work)(), const MemoryPlan& plan, const WorkingMemory& beside) {
  { b.rehearse(work) } -> std::same_as<WorkingMemory>;
  { b.allocate(std::size_t{}, plan, beside) } -> std::same_as<Buffer>;
};

/// An address of no memory, aligned for whatever is asked of it: for what is laid out and never touched. (Null would not
/// do: views without an address are empty, and mean something else.)
[[nodiscard]] inline std::byte* pretended_memory() {
  return reinterpret_cast<std::byte*>(std::uintptr_t{1} << 21);
}

/// Measures what `place(arena)` takes into `plan`, and allocates it.
///
/// Where the backend rehearses, `work` is called over a block that is not there, laid out as the real one will be: what
/// it needs becomes a part of the plan, and is allocated, too, with at least `least_scratch` bytes of scratch. (Elsewhere
/// scratch grows as work needs it.)
template <class B, class Place, class Work>
[[nodiscard]] Buffer allocate_planned(const B& backend, MemoryPlan& plan, const Place& place, const Work& work,
                                      std::size_t least_scratch = 0) {
  Arena measure;
  place(measure);
  plan = measure.plan();
  if constexpr (Rehearses<B>) {
    const Buffer pretended(pretended_memory(), measure.high_water(), [](std::byte*) {});
    WorkingMemory beside = backend.rehearse([&] {
      Arena arena(pretended);
      place(arena);
      work();
    });
    beside.scratch = std::max(beside.scratch, least_scratch);
    plan.entries.push_back({"scratch of the device", beside.scratch + beside.workspace});
    return backend.allocate(measure.high_water(), plan, beside);
  } else {
    return backend.allocate(measure.high_water());
  }
}

}  // namespace dssl
