// How a measured program is run in turn with others: a command a line, an answer a line.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <common/machine.hpp>
#include <dssl/core/error.hpp>

namespace dssl::programs {

/// Reads commands from stdin until it ends: `step` -> seconds of one call of `step`; `check` -> the numbers
/// that `check` gives; `peak` -> the bytes that `peak` gives, and `at_start`.
template <class Step, class Check, class Peak>
void serve(const nlohmann::json& description, std::size_t at_start, const Step& step, const Check& check,
           const Peak& peak) {
  std::printf("ready %s\n", description.dump().c_str());
  std::fflush(stdout);
  bool measured = false;
  for (std::string line; std::getline(std::cin, line);) {
    if (line == "step") {
      if (!std::exchange(measured, true)) reset_peak_memory();
      std::printf("%.6f\n", seconds_of(step));
    } else if (line == "check") {
      std::string text;
      for (const double value : check()) {
        char number[32];
        std::snprintf(number, sizeof number, "%s%.9g", text.empty() ? "" : " ", value);
        text += number;
      }
      std::printf("%s\n", text.c_str());
    } else if (line == "peak") {
      std::printf("%zu %zu\n", peak(), at_start);
    } else {
      throw OptionError("command", line, "step, check or peak");
    }
    std::fflush(stdout);
  }
}

/// The same where memory is the process's: `peak` -> largest resident memory since the first `step`.
template <class Step, class Check>
void serve(const nlohmann::json& description, std::size_t at_start, const Step& step, const Check& check) {
  serve(description, at_start, step, check, [] { return resident_bytes("VmHWM"); });
}

/// Times of repeated calls as JSON.
[[nodiscard]] inline nlohmann::json seconds_json(const std::vector<double>& seconds) {
  return {{"median", median(seconds)},
          {"min", *std::min_element(seconds.begin(), seconds.end())},
          {"max", *std::max_element(seconds.begin(), seconds.end())},
          {"all", seconds}};
}

}  // namespace dssl::programs
