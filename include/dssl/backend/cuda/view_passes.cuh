// Cuda backend: the passes in which views are rendered, each over all views of a run in one launch.
//
// Resize across, resize down, reading through a map with the changes of colour up to contrast (of boxes the
// second pass has them), contrast and what follows it, five of the six box blurs, and the sixth with solarise
// and normalise. A block works on one view; how many of them
// do follows from the view's size alone, so a view does not depend on the others of its batch.
#pragma once

#include <cstddef>
#include <cstdint>

#include <dssl/backend/cuda/kernel.cuh>
#include <dssl/backend/cuda/runtime.cuh>
#include <dssl/backend/cuda/view_pixels.cuh>
#include <dssl/backend/view_place.hpp>
#include <dssl/backend/view_work.hpp>
#include <dssl/core/point.hpp>

namespace dssl::cuda {

/// A sheet on the device, and the memory in which the views of a run are computed.
struct ViewMemory {
  const ViewWork* works;
  const unsigned char* data;
  unsigned char* run;

  template <class V>
  __device__ __forceinline__ const V* table(std::int64_t offset) const {
    return reinterpret_cast<const V*>(data + offset);
  }
  template <class V>
  __device__ __forceinline__ V* work(std::int64_t offset) const {
    return reinterpret_cast<V*>(run + offset);
  }
};

/// What `ViewAxis` points to.
template <class Weight>
struct AxisTable {
  const std::int32_t* first;
  const std::int32_t* count;
  const Weight* weights;
  int size;

  __device__ __forceinline__ AxisTable(const ViewMemory& memory, const ViewAxis& axis)
      : first(memory.table<std::int32_t>(axis.table)),
        count(first + axis.size),
        weights(reinterpret_cast<const Weight*>(count + axis.size)),
        size(axis.size) {}

  /// The weighted sum of output i, of values `step` apart.
  template <class W, class V>
  __device__ __forceinline__ W weigh(const V* from, Index step, int i, bool copies) const {
    from += first[i] * step;
    if (copies) return stored_value(*from);
    Weight sum = ViewLevels<W>::start();
    const int taps = count[i];
    for (int t = 0; t < taps; ++t) {
      sum += weights[t * size + i] * static_cast<Weight>(stored_value(from[t * step]));
    }
    return ViewLevels<W>::finish(sum);
  }
};

/// The calling thread's share of `count` things that `blocks` blocks share.
template <class Body>
__device__ __forceinline__ void for_share(int count, int blocks, const Body& body) {
  const int step = blocks * threads_of_block();
  for (int i = static_cast<int>(blockIdx.x) * threads_of_block() + thread_number(); i < count; i += step)
    body(i);
}

/// The box's rows that are read, each resized: `narrowed` (C, rows, size of `across`).
struct ResizeAcross {
  static __device__ __forceinline__ int blocks(const ViewWork& view) { return view.row_blocks; }

  template <class V, class W>
  __device__ __forceinline__ void rows_of(const ViewMemory& memory, const ViewWork& view) const {
    const AxisTable<typename ViewLevels<W>::Weight> across(memory, view.across);
    const V* const pixels = memory.table<V>(view.pixels);
    W* const out = memory.work<W>(view.narrowed);
    const int width = view.across.size;
    const int size = view.rows * width;
    for_share(size, blocks(view), [&](int i) {
      const int row = i / width;
      const V* const from = pixels + row * view.row_values;
      for (int c = 0; c < view.channels; ++c) {
        out[c * size + i] =
            across.template weigh<W>(from + c, view.channels, i - row * width, view.copies != 0);
      }
    });
  }
  template <class W>
  __device__ __forceinline__ void over(const ViewMemory& memory, const ViewWork& view) const {
    if constexpr (sizeof(W) == 1) {
      rows_of<std::uint8_t, W>(memory, view);
    } else if (view.depth == PixelDepth::bits16) {
      rows_of<std::uint16_t, W>(memory, view);
    } else {
      rows_of<float, W>(memory, view);
    }
  }
};

/// The view before its contrast: `planes` (C,h,w), as set(pixel, y, x) sets each of its pixels, and the sum of
/// its grey by blocks.
template <class W, class Set>
__device__ __forceinline__ void set_pixels(const ViewMemory& memory, const ViewWork& view, const Set& set) {
  using Sum = typename ViewLevels<W>::Sum;
  W* const planes = memory.work<W>(view.planes);
  const int plane = view.height * view.width;
  const bool contrast = view.contrast_at < view.step_count;
  Sum sum = 0;
  for_share(plane, view.parts, [&](int i) {
    const int y = i / view.width;
    const ViewPixel<W> pixel{planes + i, plane, view.channels};
    set(pixel, y, i - y * view.width);
    for (int s = 0; s < view.contrast_at; ++s) pixel.change(view.steps[s], view.step_values[s], W(0));
    if (contrast) sum += static_cast<Sum>(pixel.grey());
  });
  if (!contrast) return;  // the whole block
  const double total = block_sum<view_threads>(static_cast<double>(sum));
  if (thread_number() == 0) memory.work<double>(view.partial_sums)[blockIdx.x] = total;
}

/// The box resized: the view before its contrast, or what it is read out of through its mapping.
struct ResizeDown {
  static __device__ __forceinline__ int blocks(const ViewWork& view) { return view.parts; }

  template <class W>
  __device__ __forceinline__ void over(const ViewMemory& memory, const ViewWork& view) const {
    const AxisTable<typename ViewLevels<W>::Weight> down(memory, view.down);
    const W* const narrowed = memory.work<W>(view.narrowed);
    const int columns = view.across.size;
    const int from_plane = view.rows * columns;
    const auto resize = [&](const ViewPixel<W>& pixel, int y, int x) {
      for (int c = 0; c < view.channels; ++c) {
        pixel.first[c * pixel.plane] =
            down.template weigh<W>(narrowed + c * from_plane + x, columns, y, view.copies != 0);
      }
    };
    if (view.mapping < 0) {
      set_pixels<W>(memory, view, [&](const ViewPixel<W>& pixel, int y, int x) {
        resize(pixel, view.lying != 0 ? x : y, view.lying != 0 ? y : x);
      });
    } else {
      W* const resized = memory.work<W>(view.resized);
      const int plane = view.down.size * columns;
      for_share(plane, blocks(view), [&](int i) {
        const int y = i / columns;
        resize({resized + i, plane, view.channels}, y, i - y * columns);
      });
    }
  }
};

/// The view before its contrast, read through its mapping out of what its box was resized to.
struct ReadMapping {
  static __device__ __forceinline__ int blocks(const ViewWork& view) { return view.parts; }

  /// Where read (i, j) of the pixel at row y, column x lies in what is read, in pixels from its corner.
  static __device__ __forceinline__ Point place(const ViewMapping& map, const ViewWork& view, int y, int x,
                                                int i, int j) {
    Point at = dssl::detail::through_matrix(
        map.plane, dssl::detail::read_place(x, j, 1.0 / map.reads_across, 2.0 / view.width),
        dssl::detail::read_place(y, i, 1.0 / map.reads_down, 2.0 / view.height));
    if (map.bent != 0) at = dssl::detail::recorded_place(map.lens, map.radius, at.x, at.y);
    return {(at.x - map.left) * map.scale_x, (at.y - map.top) * map.scale_y};
  }

  /// Four pixels along an axis of n, `step` apart, and their weights.
  struct Axis {
    int offsets[4];
    float weights[4];

    __device__ __forceinline__ Axis(double position, int n, int step, bool bilinear) {
      const dssl::detail::ReadPlace at = dssl::detail::place_of_read(position);
      for (int k = 0; k < 4; ++k)
        offsets[k] = static_cast<int>(dssl::detail::reflected(at.first + k, n)) * step;
      dssl::detail::read_weights(at.share, bilinear, weights[0], weights[1], weights[2], weights[3]);
    }
  };

  template <class W>
  __device__ __forceinline__ void over(const ViewMemory& memory, const ViewWork& view) const {
    if (view.mapping < 0) return;  // the whole block
    const ViewMapping& map = *memory.table<ViewMapping>(view.mapping);
    const W* const resized = memory.work<W>(view.resized);
    const int rows = view.down.size;
    const int columns = view.across.size;
    const float share = 1.0F / static_cast<float>(map.reads_across * map.reads_down);
    constexpr int lanes = 4;  // channels at a time, whose places are computed once
    set_pixels<W>(memory, view, [&](const ViewPixel<W>& pixel, int y, int x) {
      for (int first = 0; first < view.channels; first += lanes) {
        const W* const from = resized + first * rows * columns;
        const int count = view.channels - first < lanes ? view.channels - first : lanes;
        float sums[lanes]{};
        for (int i = 0; i < map.reads_down; ++i) {
          for (int j = 0; j < map.reads_across; ++j) {
            const Point at = place(map, view, y, x, i, j);
            if (view.copies != 0) {
              const auto row = static_cast<int>(dssl::detail::reflected(dssl::detail::nearest_read(at.y), rows));
              const auto column =
                  static_cast<int>(dssl::detail::reflected(dssl::detail::nearest_read(at.x), columns));
              for (int l = 0; l < count; ++l)
                sums[l] += static_cast<float>(from[(l * rows + row) * columns + column]);
              continue;
            }
            const Axis across(at.x, columns, 1, map.bilinear != 0);
            const Axis down(at.y, rows, columns, map.bilinear != 0);
            for (int l = 0; l < count; ++l) {
              const W* const own = from + l * rows * columns;
              const auto value = [&](int row, int k) {
                return down.weights[row] * static_cast<float>(own[down.offsets[row] + across.offsets[k]]);
              };
              float sum = 0;
              for (int k = 0; k < 4; ++k)
                sum += across.weights[k] * (value(0, k) + value(1, k) + value(2, k) + value(3, k));
              sums[l] += sum;
            }
          }
        }
        for (int l = 0; l < count; ++l)
          dssl::detail::set_read(pixel.first[(first + l) * pixel.plane], share * sums[l]);
      }
    });
  }
};

/// Contrast and the changes after it, in place.
struct Contrast {
  static __device__ __forceinline__ int blocks(const ViewWork& view) { return view.parts; }

  template <class W>
  __device__ __forceinline__ void over(const ViewMemory& memory, const ViewWork& view) const {
    if (view.contrast_at >= view.step_count) return;
    const int plane = view.height * view.width;
    const double* const sums = memory.work<double>(view.partial_sums);
    double total = 0;
    for (int part = 0; part < view.parts; ++part) total += sums[part];
    const W mean = ViewLevels<W>::of_mean(total / static_cast<double>(plane));
    W* const planes = memory.work<W>(view.planes);
    for_share(plane, blocks(view), [&](int i) {
      const ViewPixel<W> pixel{planes + i, plane, view.channels};
      for (int s = view.contrast_at; s < view.step_count; ++s) {
        pixel.change(view.steps[s], view.step_values[s], mean);
      }
    });
  }
};

/// A value of a box blur along an axis of `length` values `step` apart, at place `at`; edges are repeated.
template <class W>
__device__ __forceinline__ W box_blur(const ViewWork& view, const W* line, int at, int length, int step) {
  using Sum = typename ViewLevels<W>::Sum;
  const auto value = [&](int place) {
    const int inside = place < 0 ? 0 : place >= length ? length - 1 : place;
    return static_cast<Sum>(line[static_cast<Index>(inside) * step]);
  };
  Sum near = 0;
  for (int offset = -view.blur_radius; offset <= view.blur_radius; ++offset) near += value(at + offset);
  const Sum far = value(at - view.blur_radius - 1) + value(at + view.blur_radius + 1);
  return ViewLevels<W>::box(near, far, ViewLevels<W>::box_weight(view, 0),
                            ViewLevels<W>::box_weight(view, 1));
}

/// Box blur `pass` of 0 to 4 of a view that has one: the first three along rows; even ones from `planes` to
/// `other`, odd ones back.
struct BoxBlur {
  int pass;
  static __device__ __forceinline__ int blocks(const ViewWork& view) { return view.parts; }

  template <class W>
  __device__ __forceinline__ void over(const ViewMemory& memory, const ViewWork& view) const {
    if (view.blur_radius < 0) return;
    const W* const from = memory.work<W>(pass % 2 == 0 ? view.planes : view.other);
    W* const to = memory.work<W>(pass % 2 == 0 ? view.other : view.planes);
    const int width = view.width;
    const int height = view.height;
    const int plane = height * width;
    for_share(plane, blocks(view), [&](int i) {
      const int y = i / width;
      const int x = i - y * width;
      for (int c = 0; c < view.channels; ++c) {
        const W* const own = from + c * plane;
        to[c * plane + i] = pass < 3 ? box_blur(view, own + y * width, x, width, 1)
                                     : box_blur(view, own + x, y, height, width);
      }
    });
  }
};

/// The last box blur, solarise and normalise: the network's input (C,h,w) in T.
template <class T>
struct FinishViews {
  static __device__ __forceinline__ int blocks(const ViewWork& view) { return view.parts; }

  template <class W>
  __device__ __forceinline__ void over(const ViewMemory& memory, const ViewWork& view) const {
    const bool blurred = view.blur_radius >= 0;
    const W* const from = memory.work<W>(blurred ? view.other : view.planes);
    const float* const terms = memory.table<float>(view.normalisation);
    T* const out = static_cast<T*>(view.out);
    const int width = view.width;
    const int height = view.height;
    const int plane = height * width;
    for_share(plane, blocks(view), [&](int i) {
      const int y = i / width;
      for (int c = 0; c < view.channels; ++c) {
        const W* const own = from + c * plane;
        W value = blurred ? box_blur(view, own + (i - y * width), y, height, width) : own[i];
        if (view.solarise != 0) value = ViewLevels<W>::solarised(value);
        out[c * plane + i] = static_cast<T>(static_cast<float>(value) * terms[c] + terms[view.channels + c]);
      }
    });
  }
};

/// Block (b, v) does its part of view v of the run that begins at `first`.
template <class Pass>
__global__ void __launch_bounds__(view_threads) over_views(ViewMemory memory, Index first, Pass pass) {
  const ViewWork& view = memory.works[first + static_cast<Index>(blockIdx.y)];
  if (static_cast<int>(blockIdx.x) >= Pass::blocks(view)) return;
  if (view.depth == PixelDepth::bits8) {
    pass.template over<std::uint8_t>(memory, view);
  } else {
    pass.template over<float>(memory, view);
  }
}

/// Renders the views of one run, in memory of the stream's scratch.
template <class T>
void render_run(const Stream& stream, const ViewWork* works, const unsigned char* data, const ViewRun& run) {
  const ViewMemory memory{works, data, stream.scratch<unsigned char>(static_cast<Index>(run.bytes))};
  const auto over = [&](Index blocks, const auto& pass) {
    launch(stream, over_views<std::decay_t<decltype(pass)>>,
           dim3(static_cast<unsigned>(blocks), static_cast<unsigned>(run.count)), dim3(view_threads), 0,
           memory, run.first, pass);
  };
  over(run.row_blocks, ResizeAcross{});
  over(run.parts, ResizeDown{});
  if (run.maps) over(run.parts, ReadMapping{});
  if (run.contrasts) over(run.parts, Contrast{});
  for (int pass = 0; run.blurs && pass < 5; ++pass) over(run.parts, BoxBlur{pass});
  over(run.parts, FinishViews<T>{});
}

}  // namespace dssl::cuda
