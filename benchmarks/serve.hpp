// How a measured program is run in turn with another one: a command a line, an answer a line.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdio>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <common/cpu.hpp>
#include <dssl/core/error.hpp>

#include "ceilings.hpp"
#include "machine.hpp"

namespace dssl::benchmarks {

/// Calls `visit(backend)` with the backend of a number format. One line a backend.
template <class Visit>
void with_backend(std::string_view precision, int threads, const Visit& visit,
                  cpu::LoopObserver* observer = nullptr) {
  CpuOptions options{.threads = threads, .observer = observer};
  if (precision == "f32") return visit(programs::Cpu(options));
  options.split_products = false;
  if (precision == "f32-plain") return visit(programs::Cpu(options));
  options.precision = Precision::bf16;
  if (precision == "bf16") return visit(programs::Cpu(options));
  throw OptionError("precision", precision, "f32, f32-plain or bf16");
}

/// Seconds that a call takes.
template <class Call>
[[nodiscard]] double seconds_of(const Call& call) {
  const auto begin = std::chrono::steady_clock::now();
  call();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

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

/// Machine and build as JSON.
[[nodiscard]] inline nlohmann::json machine_json() {
  nlohmann::json out;
  for (const auto& [name, value] : machine_description()) out[name] = value;
  return out;
}

/// Times of repeated calls as JSON.
[[nodiscard]] inline nlohmann::json seconds_json(const std::vector<double>& seconds) {
  return {{"median", median(seconds)},
          {"min", *std::min_element(seconds.begin(), seconds.end())},
          {"max", *std::max_element(seconds.begin(), seconds.end())},
          {"all", seconds}};
}

/// Parses the arguments and runs `body()`; what it throws becomes one line on stderr.
template <class Body>
[[nodiscard]] int run_measurement(CLI::App& app, int argc, char** argv, const Body& body) {
  CLI11_PARSE(app, argc, argv);
  try {
    require_release_build();
    body();
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", app.get_name().c_str(), error.what());
    return 1;
  }
}

}  // namespace dssl::benchmarks
