#include "compare/contestant.hpp"

#include <cerrno>
#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <sstream>

#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <dssl/core/error.hpp>

#include "common/program.hpp"

namespace dssl::programs {
namespace {

/// The child's part: works, tells what went wrong, and ends.
[[noreturn]] void work_on(int channel, const std::function<void()>& work) {
  // Whatever ends the program that asks ends the work, too.
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  int status = 1;
  if (::dup2(channel, STDIN_FILENO) >= 0 && ::dup2(channel, STDOUT_FILENO) >= 0) {
    std::string problem;
    try {
      work();
      status = 0;
    } catch (const std::bad_alloc&) {
      problem = "out of memory";
    } catch (const std::exception& error) {
      problem = one_line(error.what());
    }
    if (status != 0) std::printf("failed %s\n", problem.c_str());
    std::fflush(stdout);
  }
  ::_exit(status);
}

}  // namespace

Contestant::Contestant(const std::function<void()>& work) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    throw Error(join("cannot start a process: ", std::strerror(errno)));
  }
  std::fflush(stdout);
  x_process = ::fork();
  if (x_process == 0) {
    ::close(ends[0]);
    work_on(ends[1], work);
  }
  const int problem = errno;
  ::close(ends[1]);
  x_channel = ends[0];
  if (x_process < 0) {
    ::close(x_channel);
    throw Error(join("cannot start a process: ", std::strerror(problem)));
  }
  try {
    const std::string line = x_line();
    if (!line.starts_with("ready ")) throw Error(join("answered '", line, "'; expected 'ready'"));
    x_description = nlohmann::json::parse(line.substr(6));
  } catch (...) {
    x_end();
    throw;
  }
}

Contestant::~Contestant() { x_end(); }

void Contestant::x_end() {
  if (x_channel >= 0) ::close(x_channel);
  x_channel = -1;
  if (x_process <= 0) return;
  ::kill(x_process, SIGKILL);  // it waits for commands, or for nothing
  while (::waitpid(x_process, nullptr, 0) < 0 && errno == EINTR) {
  }
  x_process = -1;
}

std::vector<double> Contestant::ask(std::string_view command) {
  const std::string line = std::string(command) + "\n";
  // Whether anybody took it shows in the answer.
  static_cast<void>(::send(x_channel, line.data(), line.size(), MSG_NOSIGNAL));
  std::istringstream answer(x_line());
  std::vector<double> out;
  for (std::string number; answer >> number;) out.push_back(std::strtod(number.c_str(), nullptr));
  return out;
}

std::string Contestant::x_line() {
  std::size_t end = std::string::npos;
  while ((end = x_unread.find('\n')) == std::string::npos) {
    char piece[4096];
    const ssize_t size = ::recv(x_channel, piece, sizeof piece, 0);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) throw Error(x_how_it_ended());
    x_unread.append(piece, static_cast<std::size_t>(size));
  }
  const std::string line = x_unread.substr(0, end);
  x_unread.erase(0, end + 1);
  if (line.starts_with("failed ")) throw Error(line.substr(7));
  return line;
}

std::string Contestant::x_how_it_ended() {
  int status = 0;
  while (::waitpid(x_process, &status, 0) < 0) {
    if (errno != EINTR) return "ended";
  }
  x_process = -1;
  if (WIFSIGNALED(status)) return join("ended by signal ", WTERMSIG(status), " (", ::strsignal(WTERMSIG(status)), ")");
  return join("ended with status ", WEXITSTATUS(status));
}

}  // namespace dssl::programs
