// How far a piece of work is: a bar on a terminal, plain lines otherwise.
#pragma once

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include <unistd.h>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::programs {

/// Seconds as "4 s", "3 min 20 s" or "2 h 05 min".
[[nodiscard]] inline std::string duration_text(double seconds) {
  const auto whole = static_cast<long long>(std::llround(std::clamp(seconds, 0.0, 1e9)));
  if (whole < 60) return join(whole, " s");
  if (whole < 3600) return join(whole / 60, " min ", whole % 60, " s");
  return join(whole / 3600, " h ", whole % 3600 / 60 < 10 ? "0" : "", whole % 3600 / 60, " min");
}

/// Prints the progress of one piece of work to stdout, or where results go there to stderr, with rate and time left.
///
/// On a terminal one line is drawn over itself, ten times a second at most. Elsewhere a line is printed at each tenth
/// of the work, and once a minute at least.
class Progress {
 public:
  /// `unit`: what is counted, in the plural ("images", "steps").
  Progress(std::string label, Index total, std::string unit, std::FILE* to = stdout)
      : x_label(std::move(label)),
        x_unit(std::move(unit)),
        x_total(std::max<Index>(total, 1)),
        x_to(to),
        x_terminal(::isatty(::fileno(to)) == 1),
        x_start(Clock::now()),
        x_shown(x_start) {}

  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() { x_clear(); }

  /// Starts the count at `done`, for work that is taken up again: the rate counts only what is done from here.
  void begin_at(Index done) {
    x_first = x_done = done;
    x_tenth = 10 * done / x_total;
  }

  /// Says that `done` units are done; `note` goes to the end of the line.
  void at(Index done, std::string_view note = {}) {
    x_done = done;
    const auto now = Clock::now();
    const double since = std::chrono::duration<double>(now - x_shown).count();
    const Index tenth = 10 * done / x_total;
    const bool last = done >= x_total;
    if (x_terminal ? since < 0.1 && !last : tenth == x_tenth && since < 60.0) return;
    x_shown = now;
    x_tenth = tenth;
    const std::string text = x_text(note);
    if (x_terminal) {
      std::fprintf(x_to, "\r\033[K%s", text.c_str());
      std::fflush(x_to);
      x_drawn = true;
    } else {
      std::fprintf(x_to, "%s\n", text.c_str());
      std::fflush(x_to);
    }
  }

  /// Takes the bar off the terminal until the next `at`, so that something else can be printed there.
  void clear() { x_clear(); }

  /// Prints a line to stderr; a bar is drawn again below it.
  void warn(std::string_view text) {
    x_clear();
    std::fflush(stdout);
    std::fprintf(stderr, "%.*s\n", static_cast<int>(text.size()), text.data());
  }

  /// Seconds since the work began.
  [[nodiscard]] double seconds() const { return std::chrono::duration<double>(Clock::now() - x_start).count(); }

 private:
  using Clock = std::chrono::steady_clock;

  [[nodiscard]] std::string x_text(std::string_view note) const {
    const double spent = seconds();
    const double rate = spent > 0 ? static_cast<double>(x_done - x_first) / spent : 0;
    std::string text = x_label + " ";
    if (x_terminal) {
      constexpr Index cells = 24;
      const Index full = std::min(cells, cells * x_done / x_total);
      text += "[" + std::string(static_cast<std::size_t>(full), '#') +
              std::string(static_cast<std::size_t>(cells - full), '.') + "] ";
    }
    text += join(x_done, "/", x_total, " ", x_unit);
    if (rate > 0) {
      char number[32];
      std::snprintf(number, sizeof number, rate < 10 ? "%.2f" : "%.0f", rate);
      text += join(", ", number, " ", x_unit, "/s");
      text += x_done < x_total ? ", " + duration_text(static_cast<double>(x_total - x_done) / rate) + " left"
                               : ", " + duration_text(spent);
    }
    if (!note.empty()) text += join(", ", note);
    return text;
  }

  void x_clear() {
    if (!x_drawn) return;
    // What stands there stays when the work is done, and makes room for other lines before.
    std::fputs(x_done >= x_total ? "\n" : "\r\033[K", x_to);
    std::fflush(x_to);
    x_drawn = false;
  }

  std::string x_label, x_unit;
  Index x_total;
  std::FILE* x_to;
  bool x_terminal;
  Clock::time_point x_start, x_shown;
  Index x_first = 0;
  Index x_done = 0;
  Index x_tenth = 0;
  bool x_drawn = false;
};

}  // namespace dssl::programs
