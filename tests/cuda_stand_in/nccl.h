// Stand-in: the collectives of NCCL that dssl uses, between threads that have a device of the stand-in each.
//
// A collective is work of a stream that goes on once the streams of all ranks have come to it. Calls do not block, as dssl
// asks: nothing is given to the stream before ncclCommGetAsyncError has said that a call has settled. Ranks that call unlike
// things, on which NCCL hangs or writes nonsense, are a failure.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <cuda_runtime.h>

#define NCCL_VERSION(X, Y, Z) ((X) * 10000 + (Y) * 100 + (Z))
#define NCCL_VERSION_CODE NCCL_VERSION(2, 14, 0)

enum ncclResult_t {
  ncclSuccess = 0,
  ncclUnhandledCudaError = 1,
  ncclSystemError = 2,
  ncclInternalError = 3,
  ncclInvalidArgument = 4,
  ncclInvalidUsage = 5,
  ncclRemoteError = 6,
  ncclInProgress = 7
};
enum ncclDataType_t { ncclFloat = 7, ncclDouble = 8 };
enum ncclRedOp_t { ncclSum = 0 };
struct ncclUniqueId {
  char internal[128];
};
struct ncclConfig_t {
  int magic;
  int blocking;
};
#define NCCL_CONFIG_INITIALIZER {0xcafe, 1}

namespace cuda_stand_in {

/// One call as one rank makes it.
struct Collective {
  enum class Kind { all_reduce, reduce, broadcast } kind{};
  void* data = nullptr;
  std::size_t count = 0;
  ncclDataType_t type{};
  int root = 0;

  [[nodiscard]] bool like(const Collective& other) const {
    return kind == other.kind && count == other.count && type == other.type && root == other.root;
  }
};

/// The calls of all ranks between ncclGroupStart and ncclGroupEnd, or one call.
struct CollectiveGroup {
  std::map<int, std::vector<Collective>> of_rank;
  std::set<int> come;
  bool done = false;
};

/// The ranks of one unique id.
struct NcclRanksStandIn {
  int size = 0;
  std::map<int, int> device_of_rank;
  std::deque<CollectiveGroup> groups;
  bool lost = false;  ///< a rank has given up

  [[nodiscard]] bool all_there() const { return static_cast<int>(device_of_rank.size()) == size; }
  [[nodiscard]] bool device_shared() const {
    std::set<int> devices;
    for (const auto& [rank, device] : device_of_rank) devices.insert(device);
    return devices.size() != device_of_rank.size();
  }
};

/// All of them, under the device's lock.
struct Nccl {
  static Nccl& get() {
    static Nccl nccl;
    return nccl;
  }
  std::map<std::string, std::shared_ptr<NcclRanksStandIn>> ranks;
  int ids = 0;
  int communicators = 0;                       ///< that live
  int aborts = 0;
  std::size_t collectives = 0;                 ///< done, of all ranks together
  /// Calls of a rank that are to fail, by name, and how; "async": what is said later.
  std::map<std::pair<std::string, int>, ncclResult_t> fails;
  [[nodiscard]] ncclResult_t asked_to_fail(const char* call, int rank) const {
    const auto found = fails.find({call, rank});
    return found == fails.end() ? ncclSuccess : found->second;
  }
};

/// value[i] of every rank, summed in an order that is not the ranks', as in a ring: piece by piece from another rank on.
template <class T>
void do_collective(const std::vector<Collective>& calls) {
  const Collective& first = calls.front();
  const std::size_t ranks = calls.size();
  const auto at = [&](std::size_t r) { return static_cast<T*>(calls[r].data); };
  for (std::size_t i = 0; i < first.count; ++i) {
    T value{};
    if (first.kind == Collective::Kind::broadcast) {
      value = at(static_cast<std::size_t>(first.root))[i];
    } else {
      const std::size_t begin = i * ranks / first.count + 1;
      for (std::size_t r = 0; r < ranks; ++r) value += at((begin + r) % ranks)[i];
    }
    for (std::size_t r = 0; r < ranks; ++r) {
      if (first.kind != Collective::Kind::reduce || r == static_cast<std::size_t>(first.root)) at(r)[i] = value;
    }
  }
}

inline void do_group(NcclRanksStandIn& ranks, CollectiveGroup& group) {
  group.done = true;
  const std::vector<Collective>& first = group.of_rank.at(0);
  for (std::size_t c = 0; c < first.size(); ++c) {
    std::vector<Collective> calls;
    for (int r = 0; r < ranks.size; ++r) {
      const std::vector<Collective>& own = group.of_rank.at(r);
      if (own.size() != first.size() || !own[c].like(first[c])) {
        return Device::get().fail(cudaErrorLaunchFailure, "ranks call unlike collectives");
      }
      calls.push_back(own[c]);
    }
    ++Nccl::get().collectives;
    first[c].type == ncclFloat ? do_collective<float>(calls) : do_collective<double>(calls);
  }
}

}  // namespace cuda_stand_in

struct ncclCommStandIn {
  std::shared_ptr<cuda_stand_in::NcclRanksStandIn> ranks;
  int rank = 0;
  int device = 0;
  std::size_t groups = 0;                         ///< begun by this rank
  std::shared_ptr<bool> aborted = std::make_shared<bool>(false);
  std::vector<cuda_stand_in::Collective> open;    ///< since ncclGroupStart
  cudaStream_t stream = nullptr;
  bool settling = true;
};
using ncclComm_t = ncclCommStandIn*;

namespace cuda_stand_in {

/// Between ncclGroupStart and ncclGroupEnd of a thread: whose calls they are.
struct NcclGroup {
  int depth = 0;
  ncclComm_t comm = nullptr;
};
inline NcclGroup& nccl_group() {
  thread_local NcclGroup group;
  return group;
}

/// Gives the stream what a communicator was called since its last group.
inline ncclResult_t give_group(ncclComm_t comm) {
  NcclRanksStandIn& ranks = *comm->ranks;
  const std::size_t number = comm->groups++;
  if (ranks.groups.size() <= number) ranks.groups.resize(number + 1);
  CollectiveGroup& group = ranks.groups[number];
  group.of_rank[comm->rank] = std::exchange(comm->open, {});
  const auto ready = [kept = comm->ranks, &group, rank = comm->rank, aborted = comm->aborted] {
    group.come.insert(rank);
    return *aborted || static_cast<int>(group.come.size()) == kept->size;
  };
  const auto run = [kept = comm->ranks, &group, aborted = comm->aborted] {
    if (!*aborted && !group.done) do_group(*kept, group);
  };
  return Device::get().enqueue(comm->stream, run, ready) == cudaSuccess ? ncclSuccess : ncclUnhandledCudaError;
}

inline ncclResult_t begin_collective(const char* name, ncclComm_t comm, const void* send, const Collective& call, cudaStream_t stream) {
  const std::scoped_lock lock(Device::get().mutex);
  if (const ncclResult_t asked = Nccl::get().asked_to_fail(name, comm == nullptr ? 0 : comm->rank); asked != ncclSuccess) return asked;
  const std::size_t bytes = call.count * (call.type == ncclFloat ? sizeof(float) : sizeof(double));
  if (comm == nullptr || comm->settling || send != call.data || !Device::get().holds(call.data, bytes) || call.root < 0 ||
      call.root >= comm->ranks->size || stream == nullptr || stream->device != comm->device) {
    return ncclInvalidArgument;
  }
  comm->open.push_back(call);
  comm->stream = stream;
  if (nccl_group().depth > 0) {
    nccl_group().comm = comm;
    return ncclSuccess;
  }
  comm->settling = true;
  return ncclInProgress;
}

}  // namespace cuda_stand_in

inline const char* ncclGetErrorString(ncclResult_t result) {
  switch (result) {
    case ncclSuccess: return "no error";
    case ncclUnhandledCudaError: return "unhandled cuda error";
    case ncclSystemError: return "unhandled system error";
    case ncclInternalError: return "internal error";
    case ncclInvalidArgument: return "invalid argument";
    case ncclInvalidUsage: return "invalid usage";
    case ncclRemoteError: return "remote process exited or there was a network error";
    case ncclInProgress: return "NCCL operation in progress";
  }
  return "unknown result code";
}
inline const char* ncclGetLastError(ncclComm_t comm) {
  return comm != nullptr && comm->ranks->device_shared() ? "Duplicate GPU detected" : "";
}

inline ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  const std::scoped_lock lock(cuda_stand_in::Device::get().mutex);
  std::snprintf(id->internal, sizeof id->internal, "%d", ++cuda_stand_in::Nccl::get().ids);
  return cuda_stand_in::Nccl::get().asked_to_fail("ncclGetUniqueId", 0);
}
inline ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int size, ncclUniqueId id, int rank, ncclConfig_t* config) {
  const std::scoped_lock lock(cuda_stand_in::Device::get().mutex);
  cuda_stand_in::Nccl& nccl = cuda_stand_in::Nccl::get();
  if (const ncclResult_t asked = nccl.asked_to_fail("ncclCommInitRankConfig", rank); asked != ncclSuccess) return asked;
  auto& ranks = nccl.ranks[id.internal];
  if (!ranks) ranks = std::make_shared<cuda_stand_in::NcclRanksStandIn>();
  if (ranks->size == 0) ranks->size = size;
  const int device = cuda_stand_in::current_device();
  if (config->magic != 0xcafe || config->blocking != 0 || *id.internal == '\0' || ranks->size != size || rank < 0 || rank >= size ||
      !ranks->device_of_rank.emplace(rank, device).second) {
    return ncclInvalidArgument;
  }
  *comm = new ncclCommStandIn;
  (*comm)->ranks = ranks;
  (*comm)->rank = rank;
  (*comm)->device = device;
  ++nccl.communicators;
  return ncclInProgress;
}
/// What has become of the calls of a communicator: a call that was made is given to its stream when this has said so once.
inline ncclResult_t ncclCommGetAsyncError(ncclComm_t comm, ncclResult_t* state) {
  const std::scoped_lock lock(cuda_stand_in::Device::get().mutex);
  if (comm == nullptr) return ncclInvalidArgument;
  *state = ncclInProgress;
  if (const ncclResult_t asked = cuda_stand_in::Nccl::get().asked_to_fail("async", comm->rank); asked != ncclSuccess) {
    *state = asked;
  } else if (comm->ranks->device_shared()) {
    *state = ncclInvalidUsage;
  } else if (comm->ranks->lost) {
    *state = ncclRemoteError;
  } else if (comm->ranks->all_there()) {
    *state = std::exchange(comm->settling, false) ? ncclInProgress : ncclSuccess;
    if (!comm->open.empty() && *state == ncclInProgress) return cuda_stand_in::give_group(comm);
  }
  return ncclSuccess;
}
inline ncclResult_t ncclCommFinalize(ncclComm_t comm) {
  const std::scoped_lock lock(cuda_stand_in::Device::get().mutex);
  comm->settling = true;
  return ncclInProgress;
}
inline ncclResult_t ncclCommDestroy(ncclComm_t comm) {
  const std::scoped_lock lock(cuda_stand_in::Device::get().mutex);
  --cuda_stand_in::Nccl::get().communicators;
  delete comm;
  return ncclSuccess;
}
/// What streams still hold of its work is done with, and writes nothing.
inline ncclResult_t ncclCommAbort(ncclComm_t comm) {
  {
    const std::scoped_lock lock(cuda_stand_in::Device::get().mutex);
    *comm->aborted = true;
    comm->ranks->lost = true;
    ++cuda_stand_in::Nccl::get().aborts;
  }
  return ncclCommDestroy(comm);
}

inline ncclResult_t ncclGroupStart() {
  ++cuda_stand_in::nccl_group().depth;
  return ncclSuccess;
}
inline ncclResult_t ncclGroupEnd() {
  const std::scoped_lock lock(cuda_stand_in::Device::get().mutex);
  cuda_stand_in::NcclGroup& group = cuda_stand_in::nccl_group();
  if (group.depth == 0) return ncclInvalidUsage;
  if (--group.depth > 0) return ncclSuccess;
  const ncclComm_t comm = std::exchange(group.comm, nullptr);
  if (const ncclResult_t asked = cuda_stand_in::Nccl::get().asked_to_fail("ncclGroupEnd", comm == nullptr ? 0 : comm->rank); asked != ncclSuccess) return asked;
  if (comm == nullptr) return ncclSuccess;
  comm->settling = true;
  return ncclInProgress;
}
inline ncclResult_t ncclAllReduce(const void* send, void* data, std::size_t count, ncclDataType_t type, ncclRedOp_t,
                                  ncclComm_t comm, cudaStream_t stream) {
  return cuda_stand_in::begin_collective("ncclAllReduce", comm, send,
                                         {cuda_stand_in::Collective::Kind::all_reduce, data, count, type}, stream);
}
inline ncclResult_t ncclReduce(const void* send, void* data, std::size_t count, ncclDataType_t type, ncclRedOp_t, int root,
                               ncclComm_t comm, cudaStream_t stream) {
  return cuda_stand_in::begin_collective("ncclReduce", comm, send,
                                         {cuda_stand_in::Collective::Kind::reduce, data, count, type, root}, stream);
}
inline ncclResult_t ncclBroadcast(const void* send, void* data, std::size_t count, ncclDataType_t type, int root, ncclComm_t comm,
                                  cudaStream_t stream) {
  return cuda_stand_in::begin_collective("ncclBroadcast", comm, send,
                                         {cuda_stand_in::Collective::Kind::broadcast, data, count, type, root}, stream);
}
