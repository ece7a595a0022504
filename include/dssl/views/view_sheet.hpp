// The views of a batch of images as one block of bytes for a backend that renders them.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include <dssl/backend/view_work.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/views/view_pack.hpp>

namespace dssl {

/// Several packs one after the other, and the runs in which their views are rendered.
///
/// What a view becomes does not depend on the others of its sheet. Test: tests/cuda/views.cpp.
class ViewSheet {
 public:
  /// Memory that the views of one run are computed in, at most, where a run holds more than one: so that it
  /// stays in the cache of a large device.
  static constexpr std::size_t work_bytes = std::size_t{48} << 20;
  static constexpr Index most_views_of_run = 65535;  ///< the second extent of a grid of blocks

  explicit ViewSheet(std::size_t most_work = work_bytes) : x_most_work(most_work) {}

  /// Forgets all packs, and keeps the memory.
  void clear() {
    x_works.clear();
    x_packs.clear();
    x_runs.clear();
    x_data_bytes = 0;
  }

  /// Takes the views of one image; view v goes to `outs[v]`, of the backend's memory. `pack` must live until
  /// `write` was called. Throws `ShapeError` unless there is a place for each view.
  void add(const ViewPack& pack, std::span<void* const> outs) {
    require_shape(outs.size() == pack.views.size(), "ViewSheet: ", pack.views.size(), " views for ",
                  outs.size(), " places");
    const auto base = static_cast<std::int64_t>(x_data_bytes);
    for (std::size_t v = 0; v < outs.size(); ++v) {
      ViewWork& work = x_works.emplace_back(pack.views[v]);
      work.out = outs[v];
      work.pixels += base;
      work.normalisation += base;
      work.across.table += base;
      work.down.table += base;
      if (work.mapping >= 0) work.mapping += base;
      x_place(work);
    }
    x_packs.push_back(&pack);
    x_data_bytes += x_aligned(pack.bytes.size());
  }

  [[nodiscard]] Index views() const { return static_cast<Index>(x_works.size()); }
  [[nodiscard]] std::size_t bytes() const { return view_data_offset(views()) + x_data_bytes; }
  [[nodiscard]] std::span<const ViewRun> runs() const { return x_runs; }

  /// Writes the sheet to the first `bytes()` of `to`. Throws `ShapeError` where they do not fit.
  void write(std::span<std::byte> to) const {
    require_shape(to.size() >= bytes(), "ViewSheet: ", bytes(), " bytes into ", to.size());
    std::memcpy(to.data(), x_works.data(), x_works.size() * sizeof(ViewWork));
    std::byte* at = to.data() + view_data_offset(views());
    for (const ViewPack* pack : x_packs) {
      std::memcpy(at, pack->bytes.data(), pack->bytes.size());
      at += x_aligned(pack->bytes.size());
    }
  }

 private:
  [[nodiscard]] static constexpr std::size_t x_aligned(std::size_t bytes) {
    return (bytes + Arena::alignment - 1) / Arena::alignment * Arena::alignment;
  }

  /// Gives a view its place in the memory of the last run, or of a new one where that is full.
  void x_place(ViewWork& work) {
    const std::size_t value = work.depth == PixelDepth::bits8 ? sizeof(std::uint8_t) : sizeof(float);
    const auto planes = [&](std::int32_t rows, std::int32_t columns) {
      return x_aligned(static_cast<std::size_t>(work.channels) * static_cast<std::size_t>(rows) *
                       static_cast<std::size_t>(columns) * value);
    };
    // One is read while the other is written: narrowed, resized and, through a mapping, the view.
    const bool mapped = work.mapping >= 0;
    const std::size_t view = planes(work.height, work.width);
    const std::size_t narrowed = planes(work.rows, work.across.size);
    const std::size_t own = mapped ? std::max(view, narrowed) : view;
    const std::size_t other = std::max(view, mapped ? planes(work.down.size, work.across.size) : narrowed);
    const std::size_t needed = own + other + x_aligned(static_cast<std::size_t>(work.parts) * sizeof(double));
    if (x_runs.empty() || x_runs.back().bytes + needed > x_most_work ||
        x_runs.back().count == most_views_of_run) {
      x_runs.push_back({.first = views() - 1});
    }
    ViewRun& run = x_runs.back();
    work.planes = static_cast<std::int64_t>(run.bytes);
    work.other = work.planes + static_cast<std::int64_t>(own);
    work.narrowed = mapped ? work.planes : work.other;
    work.resized = mapped ? work.other : work.planes;
    work.partial_sums = work.other + static_cast<std::int64_t>(other);
    run.bytes += needed;
    ++run.count;
    run.row_blocks = std::max(run.row_blocks, Index{work.row_blocks});
    run.parts = std::max(run.parts, Index{work.parts});
    run.maps |= mapped;
    run.contrasts |= work.contrast_at < work.step_count;
    run.blurs |= work.blur_radius >= 0;
  }

  std::size_t x_most_work;
  std::vector<ViewWork> x_works;
  std::vector<const ViewPack*> x_packs;
  std::vector<ViewRun> x_runs;
  std::size_t x_data_bytes = 0;
};

}  // namespace dssl
