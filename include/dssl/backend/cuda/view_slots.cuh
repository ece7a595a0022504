// Cuda backend: sheets of views on their way to the device, two at a time.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <utility>

#include <dssl/backend/cuda.hpp>
#include <dssl/backend/cuda/device.cuh>
#include <dssl/backend/cuda/runtime.cuh>
#include <dssl/backend/cuda/view_passes.cuh>
#include <dssl/backend/view_work.hpp>
#include <dssl/core/error.hpp>

namespace dssl {

namespace cuda {

/// A point in a stream's work that others wait for.
class Event {
 public:
  Event() {
    check(cudaEventCreateWithFlags(&x_event, cudaEventDisableTiming), "cudaEventCreateWithFlags",
          "making an event");
  }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;
  ~Event() { static_cast<void>(cudaEventDestroy(x_event)); }

  void record(const Stream& stream) const {
    check(cudaEventRecord(x_event, stream.handle()), "cudaEventRecord", stream.operation());
  }
  /// Lets what is given to the stream from here on wait; nothing where the event was never recorded.
  void hold(const Stream& stream) const {
    check(cudaStreamWaitEvent(stream.handle(), x_event, 0), "cudaStreamWaitEvent", stream.operation());
  }
  /// Lets the host wait.
  void wait() const {
    check(cudaEventSynchronize(x_event), "cudaEventSynchronize", "waiting for an upload of views");
  }

 private:
  cudaEvent_t x_event = nullptr;
};

/// Two places for sheets, in pinned memory of the host and on the device: one is copied by a stream of its
/// own while the views of the other are rendered, and whatever follows is done.
class ViewSlots {
 public:
  explicit ViewSlots(std::shared_ptr<const Device> device)
      : x_device(std::move(device)), x_slots{}, x_copies(x_device->stream.device()) {}
  ViewSlots(const ViewSlots&) = delete;
  ViewSlots& operator=(const ViewSlots&) = delete;
  ~ViewSlots() {
    static_cast<void>(cudaStreamSynchronize(x_copies.handle()));
    static_cast<void>(cudaStreamSynchronize(x_device->stream.handle()));
  }

  [[nodiscard]] const Device& device() const { return *x_device; }

  /// Pinned memory of the next sheet. Waits where the copy of the sheet before the last is not done.
  [[nodiscard]] std::span<std::byte> stage(std::size_t bytes) {
    if (x_sent == x_rendered + 2) {
      throw Error("two sheets of views are on the device already; render one before another is staged");
    }
    Slot& slot = x_slots[x_sent % 2];
    slot.sent.wait();
    slot.bytes = bytes;
    return {x_room(slot.host, bytes), bytes};
  }

  /// Begins the copy of the sheet that was staged, of that many views.
  void send(Index views) {
    Slot& slot = x_slots[x_sent % 2];
    x_copies.begin("sending views", {views});
    // The first sheet makes room for the next one, too: what a batch needs is known then.
    if (x_sent == 0) static_cast<void>(x_room(x_slots[1].device, slot.bytes));
    std::byte* const to = x_room(slot.device, slot.bytes);
    slot.rendered.hold(x_copies);
    if (slot.bytes != 0) {
      check(cudaMemcpyAsync(to, x_room(slot.host, slot.bytes), slot.bytes, cudaMemcpyHostToDevice,
                            x_copies.handle()),
            "cudaMemcpyAsync", "upload of ", slot.bytes, " bytes of views");
    }
    slot.sent.record(x_copies);
    slot.views = views;
    ++x_sent;
  }

  /// Renders the sheet that was sent first of those that were not rendered yet.
  template <class T>
  void render(std::span<const ViewRun> runs) {
    if (x_rendered == x_sent) throw Error("no sheet of views was sent that is not rendered yet");
    Slot& slot = x_slots[x_rendered % 2];
    const Stream& stream = x_device->stream;
    slot.sent.hold(stream);
    const std::byte* const sheet = slot.device.at_least(0, stream.device());
    std::size_t most = 0;
    for (const ViewRun& run : runs) most = std::max(most, run.bytes);
    static_cast<void>(stream.scratch(most));
    for (const ViewRun& run : runs) {
      render_run<T>(stream, reinterpret_cast<const ViewWork*>(sheet),
                    reinterpret_cast<const unsigned char*>(sheet + view_data_offset(slot.views)), run);
    }
    slot.rendered.record(stream);
    ++x_rendered;
  }

  [[nodiscard]] std::size_t device_bytes() const {
    return x_slots[0].device.bytes() + x_slots[1].device.bytes();
  }
  [[nodiscard]] std::size_t pinned_bytes() const { return x_slots[0].host.bytes() + x_slots[1].host.bytes(); }

 private:
  struct Slot {
    Block host{Block::Where::pinned};
    Block device{Block::Where::device};
    Event sent;
    Event rendered;
    std::size_t bytes = 0;
    Index views = 0;
  };

  /// Images differ in size from batch to batch: what grows gets a quarter more than is asked for.
  [[nodiscard]] std::byte* x_room(Block& block, std::size_t bytes) const {
    const int device = x_device->stream.device();
    if (bytes <= block.bytes()) return block.at_least(bytes, device);
    const std::size_t wanted = bytes + bytes / 4;
    return block.at_least(wanted, device, {{{"for one of two sheets of views", wanted}}});
  }

  std::shared_ptr<const Device> x_device;
  std::array<Slot, 2> x_slots;
  Stream x_copies;
  std::size_t x_sent = 0;  // sheets, since the beginning
  std::size_t x_rendered = 0;
};

}  // namespace cuda

template <std::floating_point T>
BasicCuda<T>::ViewRenderer::ViewRenderer(const BasicCuda& backend) {
  const cuda::Call call(*backend.x_device, "view_renderer", {});
  x_slots = std::make_shared<cuda::ViewSlots>(backend.x_device);
}

template <std::floating_point T>
std::span<std::byte> BasicCuda<T>::ViewRenderer::stage(std::size_t bytes) const {
  const cuda::OnDevice here(x_slots->device().stream.device());
  return x_slots->stage(bytes);
}

template <std::floating_point T>
void BasicCuda<T>::ViewRenderer::send(Index views) const {
  const cuda::OnDevice here(x_slots->device().stream.device());
  x_slots->send(views);
}

template <std::floating_point T>
void BasicCuda<T>::ViewRenderer::render(std::span<const ViewRun> runs) const {
  Index views = 0;
  for (const ViewRun& run : runs) views += run.count;
  const cuda::Call call(x_slots->device(), "render_views", {views});
  x_slots->template render<T>(runs);
}

template <std::floating_point T>
std::size_t BasicCuda<T>::ViewRenderer::device_bytes() const {
  return x_slots->device_bytes();
}

}  // namespace dssl
