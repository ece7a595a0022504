// Ranks in processes of their own, on one machine or several, that an MPI library carries bytes between.
// Tests: tests/programs/ranks.sh. Needs MPI (dssl::mpi).
#pragma once

#include <algorithm>
#include <array>
#include <chrono>
#include <climits>
#include <cstddef>
#include <exception>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <mpi.h>

#include <dssl/core/communicator.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// This process's part in an MPI program, from `MPI_Init` to `MPI_Finalize`: one object a process, which outlives what
/// talks through it, and is used on one thread at a time, or where the library asks for that on the one that made it.
///
///   dssl::MpiRanks mpi;                                       // mpirun -n 4 program
///   dssl::Trainer<Recipe, dssl::Cpu> trainer{{.batch = 256, .ranks = mpi.communicator()}};
///
/// Exchanges are MPI's non-blocking collectives; sums are taken by dssl, in the order of ranks. While one waits, it listens
/// for ranks that leave, and throws `RankError` in their words; or where nothing is heard for `timeout`, which is longer
/// than rank 0 may take between two steps to write checkpoints and to look at held-out images.
///
/// The destructor waits for the others, however long they take, but where a rank has left no longer than `farewell`. It ends
/// the program on all ranks by MPI_Abort, with status 1, where an exchange was begun that cannot end, or others are not heard
/// of, as where rank 0 hangs; `tell` is then given what this rank left with, as nobody else may say it. So errors are to
/// be told while the object lives. Failures of MPI itself are `RankError`s in its words, but where it does not start at all: its
/// library then ends the process.
class MpiRanks {
 public:
  static constexpr std::chrono::seconds farewell{20};

  /// Throws `RankError` where MPI was started before, or knows no threads.
  explicit MpiRanks(std::chrono::milliseconds timeout = std::chrono::minutes(30), std::function<void(const std::string&)> tell = {}) {
    int before = 0;
    MPI_Initialized(&before);
    if (before != 0) throw RankError("MPI was started before; expected one dssl::MpiRanks in a process");
    int given = 0;
    if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &given) != MPI_SUCCESS || given < MPI_THREAD_FUNNELED) {
      throw RankError("MPI does not start in a program with threads");
    }
    x_exchange = std::make_shared<x_Exchange>(timeout, std::move(tell), given >= MPI_THREAD_SERIALIZED);
    MPI_Comm machine = MPI_COMM_NULL;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine);
    MPI_Comm_size(machine, &x_here);
    MPI_Comm_rank(machine, &x_rank_here);
    MPI_Comm_free(&machine);
  }
  MpiRanks(const MpiRanks&) = delete;
  MpiRanks& operator=(const MpiRanks&) = delete;
  ~MpiRanks() {
    if (std::uncaught_exceptions() > 0) x_exchange->leave("by an error");
    x_exchange->end();
  }

  [[nodiscard]] Communicator communicator() const { return Communicator(x_exchange); }
  /// Ranks on this machine, which share its processors.
  [[nodiscard]] Index ranks_here() const { return x_here; }
  /// This one's number among them.
  [[nodiscard]] Index rank_here() const { return x_rank_here; }

 private:
  class x_Exchange final : public RankExchange {
   public:
    x_Exchange(std::chrono::milliseconds timeout, std::function<void(const std::string&)> tell, bool any_thread)
        : x_timeout(timeout), x_tell(std::move(tell)), x_any_thread(any_thread) {
      MPI_Comm_dup(MPI_COMM_WORLD, &x_numbers);
      MPI_Comm_dup(MPI_COMM_WORLD, &x_words);
      for (MPI_Comm line : {x_numbers, x_words}) MPI_Comm_set_errhandler(line, MPI_ERRORS_RETURN);
      MPI_Comm_rank(x_numbers, &x_rank);
      MPI_Comm_size(x_numbers, &x_size);
    }

    [[nodiscard]] Index rank() const override { return x_rank; }
    [[nodiscard]] Index size() const override { return x_size; }
    [[nodiscard]] bool on_any_thread() const override { return x_any_thread; }
    [[nodiscard]] bool copies() const override { return true; }
    void all_to_all(std::span<std::byte> out, std::span<const std::byte> in) override {
      x_exchange(out, in, [&](int each, MPI_Request* request) {
        return MPI_Ialltoall(x_in.data(), each, MPI_BYTE, x_out.data(), each, MPI_BYTE, x_numbers, request);
      });
    }
    void all_gather(std::span<std::byte> out, std::span<const std::byte> in) override {
      x_exchange(out, in, [&](int each, MPI_Request* request) {
        return MPI_Iallgather(x_in.data(), each, MPI_BYTE, x_out.data(), each, MPI_BYTE, x_numbers, request);
      });
    }

    void leave(std::string_view why) noexcept override {
      if (!x_sent.empty()) return;
      x_left = why;
      std::copy_n(why.begin(), std::min(why.size(), x_message.size() - 1), x_message.begin());
      for (int other = 0; other < x_size; ++other) {
        if (other == x_rank) continue;
        x_sent.push_back(MPI_REQUEST_NULL);
        MPI_Isend(x_message.data(), static_cast<int>(x_message.size()), MPI_CHAR, other, 0, x_words, &x_sent.back());
      }
    }

    void listen() override {
      if (!x_left.empty() || x_hear(x_left)) throw RankError(x_left);
    }

    /// Ends MPI in this process.
    void end() noexcept {
      try {
        int open = x_open ? 1 : 0, any_open = 1;
        MPI_Request request = MPI_REQUEST_NULL;
        x_require(MPI_Iallreduce(&open, &any_open, 1, MPI_INT, MPI_MAX, x_words, &request));
        const bool together = x_left.empty() && !x_open;
        const bool heard = x_done_within(together ? std::chrono::seconds(std::chrono::years(1)) : farewell, request);
        if (!heard) x_tell_end(x_left);
        if (!heard || any_open != 0) {
          MPI_Abort(MPI_COMM_WORLD, 1);
          return;
        }
        // All have told what they had to: what was not heard is taken off the lines.
        for (MPI_Request& sent : x_sent) static_cast<void>(x_done_within(std::chrono::seconds(1), sent));
        x_require(MPI_Ibarrier(x_words, &request));
        static_cast<void>(x_done_within(farewell, request));
        std::string ignored;
        while (x_hear(ignored)) {
        }
        MPI_Finalize();
      } catch (const std::exception& error) {  // of MPI itself
        x_tell_end(error.what());
        MPI_Abort(MPI_COMM_WORLD, 1);
      }
    }

   private:
    using x_clock = std::chrono::steady_clock;

    template <class Begin>
    void x_exchange(std::span<std::byte> out, std::span<const std::byte> in, const Begin& begin) {
      if (!x_left.empty()) throw RankError(x_left);
      const std::size_t each = out.size() / static_cast<std::size_t>(x_size);
      require_shape(each <= INT_MAX, "ranks exchange at most ", INT_MAX, " bytes at a time, not ", each);
      // Buffers of its own: an exchange that is given up may still be written into.
      x_in.assign(in.begin(), in.end());
      x_out.resize(out.size());
      MPI_Request request = MPI_REQUEST_NULL;
      x_open = true;
      try {
        x_require(begin(static_cast<int>(each), &request));
        x_wait(request);
      } catch (const RankError& error) {
        if (x_left.empty()) leave(error.what());  // who heard another leave is not the first to say so
        throw;
      }
      x_open = false;
      std::ranges::copy(x_out, out.begin());
    }

    void x_wait(MPI_Request& request) {
      const auto began = x_clock::now();
      for (;;) {
        if (x_done_within(std::chrono::milliseconds(100), request)) return;
        if (x_hear(x_left)) throw RankError(x_left);
        if (x_clock::now() - began < x_timeout) continue;
        throw RankError(join("rank ", x_rank, " has waited ", static_cast<double>(x_timeout.count()) / 1000,
                             " s for the others; one of them hangs"));
      }
    }

    void x_tell_end(std::string_view why) const {
      if (x_tell) x_tell(join("rank ", x_rank, " ends the program: ", why));
    }

    /// Throws `RankError` in MPI's words unless a call of it went well.
    static void x_require(int result) {
      if (result == MPI_SUCCESS) return;
      std::array<char, MPI_MAX_ERROR_STRING> text{};
      int size = 0;
      MPI_Error_string(result, text.data(), &size);
      throw RankError(join("MPI cannot exchange: ", std::string_view(text.data(), static_cast<std::size_t>(size))));
    }

    /// Whether a request comes to its end in that time.
    template <class Time>
    static bool x_done_within(Time time, MPI_Request& request) {
      const auto began = x_clock::now();
      for (int tries = 0;; ++tries) {
        int done = 0;
        x_require(MPI_Test(&request, &done, MPI_STATUS_IGNORE));
        if (done != 0) return true;
        const auto waited = x_clock::now() - began;
        if (waited > time) return false;
        // Others may need the processor: first in turn with them, then now and then.
        if (waited < std::chrono::milliseconds(1)) {
          std::this_thread::yield();
        } else {
          std::this_thread::sleep_for(std::chrono::microseconds(50));
        }
      }
    }

    /// Whether a rank has left; what it said.
    bool x_hear(std::string& words) {
      int there = 0;
      MPI_Status status{};
      x_require(MPI_Iprobe(MPI_ANY_SOURCE, 0, x_words, &there, &status));
      if (there == 0) return false;
      std::array<char, 512> message{};
      x_require(MPI_Recv(message.data(), static_cast<int>(message.size()), MPI_CHAR, status.MPI_SOURCE, 0, x_words, MPI_STATUS_IGNORE));
      message.back() = 0;
      words = left_words(status.MPI_SOURCE, message.data());
      return true;
    }

    std::chrono::milliseconds x_timeout;
    std::function<void(const std::string&)> x_tell;
    bool x_any_thread;
    MPI_Comm x_numbers = MPI_COMM_NULL, x_words = MPI_COMM_NULL;
    int x_rank = 0, x_size = 1;
    std::vector<std::byte> x_in, x_out;
    bool x_open = false;          // an exchange has begun and not ended
    std::string x_left;           // why this rank takes part no more
    std::array<char, 512> x_message{};
    std::vector<MPI_Request> x_sent;
  };

  std::shared_ptr<x_Exchange> x_exchange;
  int x_here = 1, x_rank_here = 0;
};

}  // namespace dssl
