// A combination at work in a process of its own, so that its memory is its own and what ends it ends nothing else.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

#include <nlohmann/json.hpp>

namespace dssl::programs {

/// A child process that answers commands as `serve` does. No thread may have been started before.
class Contestant {
 public:
  /// `work` runs in the child, and is to `serve` on its stdin and stdout. Waits until it is ready. Throws `Error` with
  /// what `work` threw, or what ended it.
  explicit Contestant(const std::function<void()>& work);
  Contestant(const Contestant&) = delete;
  Contestant& operator=(const Contestant&) = delete;
  /// Ends the child.
  ~Contestant();

  [[nodiscard]] const nlohmann::json& description() const { return x_description; }
  [[nodiscard]] pid_t process() const { return x_process; }

  /// The numbers that the child answers. Throws `Error` as the constructor does.
  [[nodiscard]] std::vector<double> ask(std::string_view command);

 private:
  [[nodiscard]] std::string x_line();
  [[nodiscard]] std::string x_how_it_ended();
  void x_end();

  int x_channel = -1;
  pid_t x_process = -1;
  std::string x_unread;
  nlohmann::json x_description;
};

}  // namespace dssl::programs
