// What programs that measure share: the backend by its number format, the machine as JSON, errors in one line.
#pragma once

#include <cstdio>
#include <exception>
#include <string_view>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <common/cpu.hpp>
#include <common/serve.hpp>
#include <dssl/core/error.hpp>

#include "ceilings.hpp"
#include "machine.hpp"

namespace dssl::benchmarks {

using programs::seconds_json;
using programs::serve;

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

/// Machine and build as JSON.
[[nodiscard]] inline nlohmann::json machine_json() {
  nlohmann::json out;
  for (const auto& [name, value] : machine_description()) out[name] = value;
  return out;
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
