// Ranks that have a GPU each: what lies in the memory of their devices is added there, by NCCL.
// Tests: tests/cuda/nccl.cpp. Needs NCCL 2.14 or newer (dssl::nccl).
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <exception>
#include <memory>
#include <string>
#include <thread>

#include <nccl.h>

#include <dssl/backend/cuda/calls.cuh>
#include <dssl/backend/cuda/error.hpp>
#include <dssl/core/communicator.hpp>
#include <dssl/core/device_exchange.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/rank_part.hpp>
#include <dssl/core/tensor_view.hpp>

#if NCCL_VERSION_CODE < NCCL_VERSION(2, 14, 0)
#error "<dssl/backend/nccl.hpp> takes NCCL 2.14 or newer, whose calls need not block"
#endif

namespace dssl {

/// The devices of the ranks of a run, one each, that add their numbers by NCCL. The ranks find each other, and tell each other
/// all that is not in their devices' memory, by what they are given: MPI between processes.
///
///   dssl::MpiRanks mpi;                                                 // mpirun -n 4 program
///   const int device = static_cast<int>(mpi.rank_here());
///   dssl::NcclRanks nccl(mpi.communicator(), device);
///   dssl::Trainer<Recipe, dssl::Cuda> trainer({.batch = 256, .ranks = nccl.communicator()}, dssl::Cuda({.device = device}));
///
/// Sums are NCCL's, in float or double as the numbers are: equal bits on all ranks, and from run to run where NCCL takes the
/// same way, but another rounding than `Communicator`'s sums, which are in double. An exchange is put into the stream of the
/// backend whose numbers they are, and waited for. While one waits, it listens for ranks that leave, and throws `RankError` in
/// their words; or where nothing is heard for `timeout`. What NCCL has begun is given up then (ncclCommAbort), so that the
/// device's later work goes on; these ranks exchange nothing more.
///
/// Throws `CudaError` that names the call of NCCL or CUDA which failed, and tells the other ranks, which throw `RankError` in its
/// words; `RankError` too where NCCL has lost a rank that says nothing.
class NcclRanks {
 public:
  static constexpr std::chrono::seconds farewell{20};
  static constexpr std::chrono::seconds hearing{1};  ///< in which a rank that NCCL has lost may still say why

  /// Called by all ranks of `host`, with the device of each, which no other rank has. Nothing where there is one rank alone.
  NcclRanks(const Communicator& host, int device, std::chrono::milliseconds timeout = std::chrono::minutes(30))
      : x_communicator(host) {
    if (!host.alone()) x_communicator = host.with(std::make_shared<x_Exchange>(host, device, timeout));
  }

  [[nodiscard]] Communicator communicator() const { return x_communicator; }

 private:
  using x_clock = std::chrono::steady_clock;

  class x_Exchange final : public DeviceExchange {
   public:
    x_Exchange(const Communicator& host, int device, std::chrono::milliseconds timeout)
        : x_host(host), x_device(device), x_timeout(timeout) {
      try {
        const cuda::OnDevice here(device);
        ncclUniqueId own{};
        if (host.first()) x_check(ncclGetUniqueId(&own), "ncclGetUniqueId", "beginning");
        const ncclUniqueId id = host.all_say(own).front();
        ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
        config.blocking = 0;
        x_settle(ncclCommInitRankConfig(&x_comm, static_cast<int>(host.size()), id, static_cast<int>(host.rank()), &config),
                 "ncclCommInitRankConfig", join("making device ", device, " that of a rank"));
        cuda::check(cudaEventCreateWithFlags(&x_done, cudaEventDisableTiming), "cudaEventCreateWithFlags",
                    "making what tells that ranks are done");
      } catch (const std::exception&) {
        x_give_up();
      }
    }
    ~x_Exchange() override {
      if (x_done != nullptr) static_cast<void>(cudaEventDestroy(x_done));
      if (x_comm == nullptr) return;
      if (std::uncaught_exceptions() > 0 || x_somebody_left() || !x_ended()) {
        x_abort();
      } else {
        static_cast<void>(ncclCommDestroy(x_comm));
      }
    }

    void all_sum(const DeviceNumbers& values) override {
      x_exchange(values, "ncclAllReduce", "adding", [&](cudaStream_t stream) {
        return ncclAllReduce(values.data, values.data, static_cast<std::size_t>(values.count), x_type(values), ncclSum, x_comm,
                             stream);
      });
    }
    // Parts are of any size: a call for each rank, all together one exchange.
    void sum_parts(const DeviceNumbers& values, const RankPart& part) override {
      x_each_part(values, part, "ncclReduce", "adding parts of", [&](void* at, std::size_t count, int rank, cudaStream_t stream) {
        return ncclReduce(at, at, count, x_type(values), ncclSum, rank, x_comm, stream);
      });
    }
    void gather_parts(const DeviceNumbers& values, const RankPart& part) override {
      x_each_part(values, part, "ncclBroadcast", "telling parts of",
                  [&](void* at, std::size_t count, int rank, cudaStream_t stream) {
                    return ncclBroadcast(at, at, count, x_type(values), rank, x_comm, stream);
                  });
    }

   private:
    static ncclDataType_t x_type(const DeviceNumbers& values) {
      require_shape(values.number_bytes == 4 || values.number_bytes == 8, "numbers of ", values.number_bytes, " bytes; expected 4 or 8");
      return values.number_bytes == 4 ? ncclFloat : ncclDouble;
    }

    template <class Begin>
    void x_each_part(const DeviceNumbers& values, const RankPart& part, const char* call, const char* what, const Begin& begin) {
      x_exchange(values, call, what, [&](cudaStream_t stream) {
        ncclResult_t out = ncclGroupStart();
        for (Index r = 0; r < x_host.size() && x_goes_on(out); ++r) {
          const Index first = std::min(values.count, r * part.share), count = std::min(part.share, values.count - first);
          if (count == 0) continue;
          auto* const at = static_cast<std::byte*>(values.data) + static_cast<std::size_t>(first) * values.number_bytes;
          out = begin(at, static_cast<std::size_t>(count), static_cast<int>(r), stream);
        }
        const ncclResult_t end = ncclGroupEnd();
        return x_goes_on(out) ? end : out;
      });
    }

    /// Gives the backend's stream what `begin` calls, and waits until the stream has done it.
    template <class Begin>
    void x_exchange(const DeviceNumbers& values, const char* call, const char* verb, const Begin& begin) {
      if (x_comm == nullptr) throw RankError(x_left);
      if (values.count == 0) return;
      const cuda::OnDevice here(x_device);
      const auto stream = static_cast<cudaStream_t>(values.stream);
      const std::string what = join(verb, " ", values.count, " numbers over ", x_host.size(), " ranks");
      try {
        x_settle(begin(stream), call, what);
        cuda::check(cudaEventRecord(x_done, stream), "cudaEventRecord", what);
        x_wait(call, what, [&] {
          const cudaError_t status = cudaEventQuery(x_done);
          if (status == cudaSuccess) return true;
          if (status != cudaErrorNotReady) cuda::check(status, call, what);
          static_cast<void>(cudaGetLastError());  // which is no failure of the next call
          return false;
        });
      } catch (const std::exception&) {
        x_give_up();
      }
    }

    /// NCCL has lost another rank, and does not say which, nor why.
    struct x_Lost : RankError {
      using RankError::RankError;
    };
    /// In a handler: throws what it caught, of which the other ranks know then; where a rank was lost that has said why, its
    /// words. They are told before NCCL's own connections break.
    [[noreturn]] void x_give_up() {
      try {
        x_tell();
      } catch (const std::exception& error) {
        x_left = error.what();
        x_abort();
        throw;
      }
    }
    [[noreturn]] void x_tell() {
      try {
        throw;
      } catch (const x_Lost& error) {
        // NCCL may know sooner than words come.
        for (const auto began = x_clock::now(); x_clock::now() - began < hearing; x_pause(hearing)) x_host.listen();
        x_host.leave(error.what());
        throw;
      } catch (const RankError&) {
        throw;  // of which the others know
      } catch (const std::exception& error) {
        x_host.leave(error.what());
        throw;
      }
    }
    /// Whether a rank has, this one too: what its device was given may never end.
    bool x_somebody_left() const noexcept {
      try {
        x_host.listen();
        return false;
      } catch (const std::exception&) {
        return true;
      }
    }

    /// Until a call that need not block has done its part on the host.
    void x_settle(ncclResult_t result, const char* call, const std::string& what) {
      if (result != ncclInProgress) return x_check(result, call, what);
      x_wait(call, what, [&] { return x_state(call, what) == ncclSuccess; });
    }
    /// What has become of calls so far: all is well, or some are in progress. Throws what failed.
    ncclResult_t x_state(const char* call, const std::string& what) {
      ncclResult_t state = ncclSuccess;
      x_check(ncclCommGetAsyncError(x_comm, &state), "ncclCommGetAsyncError", what);
      if (state != ncclInProgress) x_check(state, call, what);
      return state;
    }

    template <class Done>
    void x_wait(const char* call, const std::string& what, const Done& done) {
      const auto began = x_clock::now();
      auto heard = began;
      while (!done()) {
        static_cast<void>(x_state(call, what));
        const auto now = x_clock::now();
        if (now - heard > std::chrono::milliseconds(100)) {
          x_host.listen();
          heard = now;
        }
        if (now - began > x_timeout) {
          const std::string words = join("rank ", x_host.rank(), " has waited ", static_cast<double>(x_timeout.count()) / 1000,
                                         " s in ", what, "; one of them hangs");
          x_host.leave(words);
          throw RankError(words);
        }
        x_pause(now - began);
      }
    }
    /// First in turn with others that need the processor, then now and then.
    static void x_pause(x_clock::duration waited) {
      if (waited < std::chrono::milliseconds(1)) {
        std::this_thread::yield();
      } else {
        std::this_thread::sleep_for(std::chrono::microseconds(50));
      }
    }

    static bool x_goes_on(ncclResult_t result) { return result == ncclSuccess || result == ncclInProgress; }
    void x_check(ncclResult_t result, const char* call, const std::string& what) const {
      if (result == ncclSuccess) return;
      const char* const last = ncclGetLastError(x_comm);
      const std::string words = join(call, " failed in ", what, ": ", ncclGetErrorString(result),
                                     last != nullptr && *last != '\0' ? join(" (", last, ")") : std::string());
      if (result == ncclRemoteError) throw x_Lost(words);
      throw CudaError(call, words);
    }

    void x_abort() noexcept {
      if (x_comm != nullptr) static_cast<void>(ncclCommAbort(x_comm));
      x_comm = nullptr;
    }
    /// Whether all that was begun has come to its end.
    bool x_ended() noexcept {
      const auto began = x_clock::now();
      ncclResult_t state = ncclCommFinalize(x_comm);
      while (state == ncclInProgress && x_clock::now() - began < farewell) {
        x_pause(x_clock::now() - began);
        if (ncclCommGetAsyncError(x_comm, &state) != ncclSuccess) return false;
      }
      return state == ncclSuccess;
    }

    Communicator x_host;
    int x_device;
    std::chrono::milliseconds x_timeout;
    ncclComm_t x_comm = nullptr;  // none: given up
    cudaEvent_t x_done = nullptr;
    std::string x_left = "the devices of the ranks exchange nothing more";
  };

  Communicator x_communicator;
};

}  // namespace dssl
