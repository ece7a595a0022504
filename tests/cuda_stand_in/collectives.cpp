// The stand-ins for CUB's collectives: plain sums and orders, and mistakes of those who use them.
#include "../catch.hpp"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

#include <cub/block/block_radix_sort.cuh>
#include <cub/block/block_reduce.cuh>
#include <cub/thread/thread_search.cuh>
#include <cub/warp/warp_reduce.cuh>
#include <cub/warp/warp_scan.cuh>
#include <dssl/backend/cuda/runtime.cuh>

#include "../thrown.hpp"

namespace {

using cuda_stand_in::Order;
using dssl::Index;
using dssl::test::contains;
namespace cuda = dssl::cuda;

constexpr int threads = 96;

/// What a kernel of one block writes into `count` numbers, in each order of threads: the same bits.
template <class T, class Kernel>
std::vector<T> written(std::size_t count, Kernel* kernel) {
  const cuda::Stream stream(0);
  std::vector<T> first;
  for (const Order order : {Order::forward, Order::backward, Order::shuffled}) {
    cuda_stand_in::schedule() = order;
    cuda::Block room(cuda::Block::Where::device);
    T* const out = reinterpret_cast<T*>(room.at_least(count * sizeof(T), 0));
    cuda::launch(stream, kernel, dim3(1), dim3(threads), 0, out);
    std::vector<T> got(count);
    stream.download(got.data(), out, count * sizeof(T));
    if (first.empty()) first = got;
    CHECK(std::memcmp(got.data(), first.data(), count * sizeof(T)) == 0);
  }
  cuda_stand_in::schedule() = Order::forward;
  return first;
}

/// How a kernel of one block fails.
template <class Kernel>
std::string failure(Kernel* kernel) {
  const cuda::Stream stream(0);
  cuda::Block room(cuda::Block::Where::device);
  float* const out = reinterpret_cast<float*>(room.at_least(threads * sizeof(float), 0));
  const std::string text = dssl::test::thrown_by<dssl::CudaError>([&] {
    cuda::launch(stream, kernel, dim3(1), dim3(threads), 0, out);
    stream.synchronise();
  });
  cuda_stand_in::Device::get().recover();
  return text;
}

struct Larger {
  double operator()(double a, double b) const { return a < b ? b : a; }
};

/// A number of thread t that is no sum of others'.
double number(int t) { return std::sqrt(static_cast<double>(7 * t + 3)) - 4; }

/// out (2, threads): sums and largest values of warps.
__global__ void over_warps(double* out) {
  using Reduce = cub::WarpReduce<double>;
  __shared__ Reduce::TempStorage storage[threads / 32];
  const int t = cuda::thread_number();
  out[t] = Reduce(storage[t / 32]).Sum(number(t));
  __syncwarp();
  out[threads + t] = Reduce(storage[t / 32]).Reduce(-number(t), Larger());
}

struct Pair {
  float low, high;
};
struct AddPairs {
  Pair operator()(const Pair& a, const Pair& b) const { return {a.low + b.low, a.high + b.high}; }
};

/// out (4): sums of two numbers over a block in thread 0, and what thread 1 is given.
__global__ void over_block(float* out) {
  using Reduce = cub::BlockReduce<Pair, threads>;
  __shared__ Reduce::TempStorage storage;
  const int t = cuda::thread_number();
  const Pair all = Reduce(storage).Reduce({static_cast<float>(t), 1.0F}, AddPairs());
  if (t > 1) return;
  out[2 * t] = all.low;
  out[2 * t + 1] = all.high;
}

template <bool Meets>
__global__ void used_twice(float* out) {
  using Reduce = cub::BlockReduce<float, threads>;
  __shared__ Reduce::TempStorage storage;
  const float once = Reduce(storage).Sum(1.0F);
  if constexpr (Meets) __syncthreads();
  const float twice = Reduce(storage).Sum(1.0F);
  if (cuda::thread_number() == 0) out[0] = once + twice;
}

__global__ void of_another_size(float* out) {
  using Reduce = cub::BlockReduce<float, 64>;
  __shared__ Reduce::TempStorage storage;
  out[cuda::thread_number()] = Reduce(storage).Sum(1.0F);
}

}  // namespace

TEST_CASE("reductions over warps are in lane 0 alone", "[cuda_stand_in]") {
  const std::vector<double> got = written<double>(2 * threads, over_warps);
  for (int t = 0; t < threads; ++t) {
    const auto at = static_cast<std::size_t>(t);
    if (t % 32 != 0) {
      CHECK(std::isnan(got[at]));
      CHECK(std::isnan(got[threads + at]));
      continue;
    }
    double sum = 0;
    for (int i = t; i < t + 32; ++i) sum += number(i);
    CHECK(got[at] == Approx(sum).epsilon(1e-14));
    CHECK(got[threads + at] == -number(t));
  }
}

TEST_CASE("reductions over blocks take numbers of any kind, and are in thread 0 alone", "[cuda_stand_in]") {
  const std::vector<float> got = written<float>(4, over_block);
  CHECK(got[0] == threads * (threads - 1) / 2);
  CHECK(got[1] == threads);
  CHECK((std::isnan(got[2]) && std::isnan(got[3])));
}

TEST_CASE("storage of a collective that is used again before a barrier is a failure", "[cuda_stand_in]") {
  CHECK(failure(used_twice<true>) == "(nothing was thrown)");
  CHECK(written<float>(1, used_twice<true>)[0] == 2 * threads);
  const std::string text = failure(used_twice<false>);
  CHECK(contains(text, "temporary storage is used again before a barrier"));
  CHECK(contains(text, "collectives.cpp:"));
  CHECK(contains(failure(of_another_size), "a collective of 64 threads in a block of 96"));
}

namespace {

constexpr int items = 3;

/// Keys with many equals, zeros of both signs and infinities.
double key(int i) {
  const int kind = i * i * 7 % 23;
  if (kind == 0) return -0.0;
  return kind == 1 ? std::numeric_limits<double>::infinity() : static_cast<double>(kind % 6) - 2;
}

/// out (2, threads items): sorted keys, and where they stood.
__global__ void sorts(double* out) {
  using Sort = cub::BlockRadixSort<double, threads, items, int>;
  __shared__ Sort::TempStorage storage;
  double keys[items];
  int places[items];
  const int first = cuda::thread_number() * items;
  for (int i = 0; i < items; ++i) {
    keys[i] = key(first + i);
    places[i] = first + i;
  }
  Sort(storage).SortDescending(keys, places);
  for (int i = 0; i < items; ++i) {
    out[first + i] = keys[i];
    out[threads * items + first + i] = places[i];
  }
}

/// out (2, threads): sums of the lanes below, and of the warp.
__global__ void scans(Index* out) {
  using Scan = cub::WarpScan<Index>;
  __shared__ Scan::TempStorage storage[threads / 32];
  const int t = cuda::thread_number();
  Scan(storage[t / 32]).ExclusiveSum(Index{t} * t, out[t], out[threads + t]);
}

}  // namespace

TEST_CASE("numbers of a block are sorted, equal ones in their order", "[cuda_stand_in]") {
  constexpr std::size_t count = threads * items;
  const std::vector<double> got = written<double>(2 * count, sorts);
  for (std::size_t i = 0; i < count; ++i) {
    std::size_t before = 0;  // how many come before key i: its place
    for (std::size_t j = 0; j < count; ++j) {
      const double own = key(static_cast<int>(i));
      const double other = key(static_cast<int>(j));
      before += other > own || (other == own && j < i) ? 1 : 0;
    }
    CHECK(got[before] == key(static_cast<int>(i)));
    CHECK(got[count + before] == static_cast<double>(i));
  }
}

TEST_CASE("running sums of a warp leave the own number out", "[cuda_stand_in]") {
  const std::vector<Index> got = written<Index>(2 * threads, scans);
  for (int t = 0; t < threads; ++t) {
    Index below = 0;
    Index all = 0;
    for (int i = t / 32 * 32; i < t / 32 * 32 + 32; ++i) {
      if (i < t) below += Index{i} * i;
      all += Index{i} * i;
    }
    CHECK(got[static_cast<std::size_t>(t)] == below);
    CHECK(got[static_cast<std::size_t>(threads + t)] == all);
  }
}

TEST_CASE("a search tells how many numbers are not above a value", "[cuda_stand_in]") {
  const std::vector<Index> list{0, 2, 2, 5};
  const auto at = [&](Index value) { return cub::UpperBound(list.data(), static_cast<Index>(list.size()), value); };
  CHECK(at(-1) == 0);
  CHECK(at(0) == 1);
  CHECK(at(2) == 3);
  CHECK(at(4) == 3);
  CHECK(at(5) == 4);
}
