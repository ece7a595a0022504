// Several ranks on threads, for tests of what they do together.
#pragma once

#include <chrono>
#include <exception>
#include <string>
#include <thread>
#include <vector>

#include <dssl/core/thread_ranks.hpp>

namespace dssl::test {

/// work(communicator) on a thread for each rank. Gives the words of what each threw; empty for nothing.
template <class Work>
std::vector<std::string> on_ranks(Index size, const Work& work, std::chrono::milliseconds timeout = std::chrono::seconds(60)) {
  const ThreadRanks ranks(size, timeout);
  std::vector<std::string> words(static_cast<std::size_t>(size));
  std::vector<std::thread> threads;
  for (Index r = 0; r < size; ++r) {
    threads.emplace_back([&, r] {
      const Communicator own = ranks.communicator(r);
      try {
        work(own);
      } catch (const std::exception& error) {
        words[static_cast<std::size_t>(r)] = error.what();
        own.leave(error.what());
      } catch (...) {
        words[static_cast<std::size_t>(r)] = "no words";
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  return words;
}

/// Of ranks that all came to their end.
inline std::vector<std::string> no_words(Index size) { return std::vector<std::string>(static_cast<std::size_t>(size)); }

}  // namespace dssl::test
