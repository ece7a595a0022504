// Stand-in for a GPU: the threads of one block as fibers of one host thread.
//
// Fibers run one after the other until each waits at a barrier or has ended. A barrier lets its threads on
// when all that are left have come to the same line; threads that would wait for ever are reported.
#pragma once

#include <algorithm>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include <sys/mman.h>

#if !defined(__x86_64__)
#include <ucontext.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

struct uint3 {
  unsigned x, y, z;
};
struct dim3 {
  unsigned x = 1, y = 1, z = 1;
  constexpr dim3(unsigned xx = 1, unsigned yy = 1, unsigned zz = 1) : x(xx), y(yy), z(zz) {}
};

// What a thread reads of itself; set before each time it runs.
inline constinit thread_local uint3 threadIdx{};
inline constinit thread_local uint3 blockIdx{};
inline constinit thread_local dim3 blockDim{};
inline constinit thread_local dim3 gridDim{};

namespace cuda_stand_in {

/// The order in which the threads of a block, and the blocks of a grid, take turns: results must not depend
/// on it.
enum class Order { forward, backward, shuffled };

inline Order& schedule() {
  static Order order = Order::forward;
  return order;
}

inline constexpr std::size_t stack_bytes = std::size_t{128} << 10;
inline constexpr unsigned lanes_of_warp = 32;

/// Where a stack of its own waits to go on.
struct Context {
#if defined(__x86_64__)
  void* stack_pointer = nullptr;
#else
  ucontext_t context{};
#endif
#if defined(__SANITIZE_ADDRESS__)
  void* fake_stack = nullptr;
  const void* bottom = nullptr;
  std::size_t size = 0;
#endif
};

#if defined(__x86_64__)
/// Keeps what the calling convention keeps, on the stack that is left.
__attribute__((naked, noinline)) inline void exchange_stacks(void**, void*) {
  asm volatile(
      "pushq %rbp\n\tpushq %rbx\n\tpushq %r12\n\tpushq %r13\n\tpushq %r14\n\tpushq %r15\n\t"
      "movq %rsp, (%rdi)\n\tmovq %rsi, %rsp\n\t"
      "popq %r15\n\tpopq %r14\n\tpopq %r13\n\tpopq %r12\n\tpopq %rbx\n\tpopq %rbp\n\tret\n\t");
}
#endif

inline void prepare(Context& to, std::byte* stack, void (*entry)()) {
#if defined(__x86_64__)
  auto* top = reinterpret_cast<void**>(stack + stack_bytes);
  *--top = nullptr;  // a return address that is never used: keeps the stack aligned as after a call
  *--top = reinterpret_cast<void*>(entry);
  for (int i = 0; i < 6; ++i) *--top = nullptr;
  to.stack_pointer = top;
#else
  getcontext(&to.context);
  to.context.uc_stack.ss_sp = stack;
  to.context.uc_stack.ss_size = stack_bytes;
  to.context.uc_link = nullptr;
  makecontext(&to.context, entry, 0);
#endif
#if defined(__SANITIZE_ADDRESS__)
  to.bottom = stack;
  to.size = stack_bytes;
#endif
}

/// Goes on at `to`; returns when somebody goes on at `from`. `for_good`: nobody ever will.
inline void go_on(Context& from, Context& to, [[maybe_unused]] bool for_good = false) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(for_good ? nullptr : &from.fake_stack, to.bottom, to.size);
#endif
#if defined(__x86_64__)
  exchange_stacks(&from.stack_pointer, to.stack_pointer);
#else
  swapcontext(&from.context, &to.context);
#endif
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(from.fake_stack, nullptr, nullptr);
#endif
}

/// A line of the source. (std::source_location, which not every clang++ has.)
struct Place {
  const char* file = "";
  int line = 0;
  static constexpr Place here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
  }
};

enum class State : std::uint8_t { ready, at_warp_barrier, at_block_barrier, ended };

/// One thread of a block.
struct Thread {
  Context context;
  uint3 index{};
  State state = State::ready;
  Place place;
  std::uint32_t exchanges = 0;             ///< how many values it has offered to its warp
  alignas(16) std::byte offered[2][16]{};  ///< the last two of them
};

/// Runs the blocks of one launch. What a thread does wrong is `failure()`.
class Grid {
 public:
  static Grid*& running() {
    static thread_local Grid* grid = nullptr;
    return grid;
  }

  Grid(dim3 grid, dim3 block, std::size_t shared_bytes, std::function<void()> kernel)
      : x_grid(grid), x_block(block), x_shared_bytes(shared_bytes), x_kernel(std::move(kernel)) {}

  void run() {
    Grid* const before = std::exchange(running(), this);
    const bool handled = install_handler(true);
    const std::uint64_t blocks = std::uint64_t{x_grid.x} * x_grid.y * x_grid.z;
    std::minstd_rand random(17);
    std::vector<std::uint64_t> order(static_cast<std::size_t>(blocks));
    for (std::uint64_t b = 0; b < blocks; ++b) order[b] = schedule() == Order::backward ? blocks - 1 - b : b;
    if (schedule() == Order::shuffled) std::shuffle(order.begin(), order.end(), random);
    blockDim = x_block;
    gridDim = x_grid;
    for (const std::uint64_t b : order) {
      if (!x_failure.empty()) break;
      blockIdx = {static_cast<unsigned>(b % x_grid.x), static_cast<unsigned>(b / x_grid.x % x_grid.y),
                  static_cast<unsigned>(b / x_grid.x / x_grid.y)};
      x_run_block(random);
    }
    if (handled) install_handler(false);
    running() = before;
  }

  [[nodiscard]] const std::string& failure() const { return x_failure; }
  [[nodiscard]] Thread& thread() { return x_threads()[x_current]; }
  [[nodiscard]] std::byte* shared() const { return x_shared(); }
  /// Number of the calling thread in its block.
  [[nodiscard]] std::size_t thread_number() const { return x_current; }
  [[nodiscard]] std::size_t threads() const { return x_count; }
  /// How many barriers of whole blocks this host thread has seen let its threads on, and blocks begin.
  [[nodiscard]] std::uint64_t block_barriers() const { return x_kept().block_barriers; }

  /// The calling thread waits until the others have come here too.
  void wait(State barrier, const Place& place) {
    Thread& own = thread();
    own.state = barrier;
    own.place = place;
    x_leave(false);
  }

  /// Offers a value to the warp and takes that of another lane, once all have offered theirs.
  template <class T>
  T exchange(T value, unsigned from_lane, const Place& place) {
    offer(value, place);
    return offered_by<T>(from_lane, place);
  }
  /// Offers a value to the warp; returns once all have offered theirs.
  template <class T>
  void offer(T value, const Place& place) {
    static_assert(sizeof(T) <= 16 && std::is_trivially_copyable_v<T>);
    Thread& own = thread();
    const std::uint32_t slot = own.exchanges++ % 2;
    std::memcpy(own.offered[slot], &value, sizeof(T));
    wait(State::at_warp_barrier, place);
  }
  /// What a lane offered last, until the calling thread offers again.
  template <class T>
  T offered_by(unsigned from_lane, const Place& place) {
    const Thread& own = thread();
    const std::uint32_t slot = (own.exchanges - 1) % 2;
    const std::size_t at = x_current / lanes_of_warp * lanes_of_warp + from_lane;
    if (at >= x_count || x_gone_at(at, own.exchanges)) {
      fail([&] {
        return describe(place) + ": lane " + std::to_string(from_lane) +
               " is read, which has left the kernel";
      }());
    }
    T taken;
    std::memcpy(&taken, x_threads()[at].offered[slot], sizeof(T));
    return taken;
  }

  /// Ends the launch with a report; does not return, so what the thread's stack still holds is never
  /// destroyed.
  void fail(std::string&& what) {
    if (x_failure.empty()) {
      x_failure = std::move(what);
      x_failure.append(", ").append(who(thread()));
    } else {
      what = std::string();
    }
    thread().state = State::ended;
    x_leave(true);
    std::abort();
  }

  static std::string describe(const Place& place) {
    const std::string file = place.file;
    return file.substr(file.find_last_of('/') + 1) + ":" + std::to_string(place.line);
  }

 private:
  static std::string who(const Thread& t) {
    const auto three = [](const uint3& i) {
      std::string text("(");
      text.append(std::to_string(i.x)).append(", ").append(std::to_string(i.y)).append(", ");
      return text.append(std::to_string(i.z)).append(")");
    };
    return std::string("thread ").append(three(t.index)).append(" of block ").append(three(blockIdx));
  }

  /// Whether a lane had left before it offered its value number `count`.
  [[nodiscard]] bool x_gone_at(std::size_t at, std::uint32_t count) const {
    return x_threads()[at].state == State::ended && x_threads()[at].exchanges < count;
  }

  // Stacks, threads and shared memory are kept from launch to launch, one set a host thread.
  struct Kept {
    std::byte* stacks = nullptr;
    std::vector<Thread> threads{1024};
    std::byte* shared = nullptr;
    std::size_t shared_bytes = 0;
    std::uint64_t block_barriers = 0;
    Context scheduler;
  };
  static constexpr std::size_t most_shared = std::size_t{256} << 10;
  static Kept& x_kept() {
    static thread_local Kept kept;
    if (kept.stacks == nullptr) {
      void* const stacks = ::mmap(nullptr, 1024 * stack_bytes, PROT_READ | PROT_WRITE,
                                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      void* const shared =
          ::mmap(nullptr, most_shared + 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      if (stacks == MAP_FAILED || shared == MAP_FAILED) throw std::bad_alloc();
      ::mprotect(static_cast<std::byte*>(shared) + most_shared, 4096, PROT_NONE);
      kept.stacks = static_cast<std::byte*>(stacks);
      kept.shared = static_cast<std::byte*>(shared);
    }
    return kept;
  }
  static std::vector<Thread>& x_threads() { return x_kept().threads; }
  /// Ends at a page that faults.
  [[nodiscard]] std::byte* x_shared() const {
    return x_kept().shared + most_shared - (x_shared_bytes + 15) / 16 * 16;
  }

  static void x_entry() {
    Grid& grid = *running();
#if defined(__SANITIZE_ADDRESS__)
    Context& scheduler = x_kept().scheduler;
    __sanitizer_finish_switch_fiber(nullptr, &scheduler.bottom, &scheduler.size);
#endif
    grid.x_kernel();
    grid.thread().state = State::ended;
    grid.x_leave(true);
    std::abort();
  }

  void x_leave(bool for_good) { go_on(thread().context, x_kept().scheduler, for_good); }

  void x_run_block(std::minstd_rand& random) {
    x_count = std::size_t{x_block.x} * x_block.y * x_block.z;
    Kept& kept = x_kept();
    ++kept.block_barriers;
    std::memset(x_shared(), 0xff, (x_shared_bytes + 15) / 16 * 16);  // not a number, whatever it is read as
    std::vector<std::size_t>& order = x_order;
    order.resize(x_count);
    for (std::size_t t = 0; t < x_count; ++t) {
      Thread& thread = kept.threads[t];
      thread.state = State::ready;
      thread.exchanges = 0;
      thread.index = {static_cast<unsigned>(t % x_block.x), static_cast<unsigned>(t / x_block.x % x_block.y),
                      static_cast<unsigned>(t / x_block.x / x_block.y)};
      prepare(thread.context, kept.stacks + t * stack_bytes, &Grid::x_entry);
      order[t] = schedule() == Order::backward ? x_count - 1 - t : t;
    }
    for (;;) {
      if (schedule() == Order::shuffled) std::shuffle(order.begin(), order.end(), random);
      for (const std::size_t t : order) {
        if (kept.threads[t].state != State::ready) continue;
        x_current = t;
        threadIdx = kept.threads[t].index;
        go_on(kept.scheduler, kept.threads[t].context);
        if (!x_failure.empty()) return;
      }
      if (!x_release()) return;
    }
  }

  /// Lets threads on whose barrier is complete. False when all have ended, or nobody can go on.
  bool x_release() {
    bool any_ready = false;
    for (std::size_t first = 0; first < x_count; first += lanes_of_warp) {
      any_ready |= x_release_group(first, std::min(x_count, first + lanes_of_warp), State::at_warp_barrier);
    }
    if (any_ready) return true;
    ++x_kept().block_barriers;
    return x_release_group(0, x_count, State::at_block_barrier) || x_report_stuck();
  }

  bool x_release_group(std::size_t begin, std::size_t end, State barrier) {
    Thread* first = nullptr;
    for (std::size_t t = begin; t < end; ++t) {
      Thread& thread = x_threads()[t];
      if (thread.state == State::ended) continue;
      if (thread.state != barrier) return false;
      if (first == nullptr) first = &thread;
      if (thread.place.line != first->place.line || std::strcmp(thread.place.file, first->place.file) != 0) {
        return false;
      }
    }
    for (std::size_t t = begin; first != nullptr && t < end; ++t) {
      if (x_threads()[t].state == barrier) x_threads()[t].state = State::ready;
    }
    return first != nullptr;
  }

  bool x_report_stuck() {
    const Thread* one = nullptr;
    for (std::size_t t = 0; t < x_count; ++t) {
      const Thread& thread = x_threads()[t];
      if (thread.state == State::ended) continue;
      if (one == nullptr) one = &thread;
      if (one->state == thread.state && one->place.line == thread.place.line) continue;
      x_failure = "divergent barrier: " + who(*one) + " waits at " + describe(one->place) + ", " +
                  who(thread) + " at " + describe(thread.place);
      return false;
    }
    if (one != nullptr)
      x_failure = "divergent barrier: " + who(*one) + " waits at " + describe(one->place) + " for ever";
    return false;
  }

  /// While kernels run, a bad address is a failure of the launch, as on a device.
  static bool install_handler(bool install) {
    static thread_local struct sigaction before {};
    if (!install) return ::sigaction(SIGSEGV, &before, nullptr) == 0;
    struct sigaction action {};
    action.sa_sigaction = [](int, siginfo_t* info, void*) {
      Grid* const grid = running();
      if (grid == nullptr) std::abort();
      const std::uintptr_t address = reinterpret_cast<std::uintptr_t>(info->si_addr);
      char text[32];
      std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(address));
      grid->fail([&] { return std::string("an illegal memory access at ").append(text); }());
    };
    action.sa_flags = SA_SIGINFO | SA_NODEFER;
    return ::sigaction(SIGSEGV, &action, &before) == 0;
  }

  dim3 x_grid, x_block;
  std::size_t x_shared_bytes;
  std::function<void()> x_kernel;
  std::size_t x_count = 0;
  std::size_t x_current = 0;
  std::vector<std::size_t> x_order;
  std::string x_failure;
};

}  // namespace cuda_stand_in
