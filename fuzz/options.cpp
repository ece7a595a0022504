// What a run left behind: options.json and metrics.jsonl, as the report reads them.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <report/runs.hpp>

#include "fuzz.hpp"

using namespace dssl;

/// The input is options.json, a line that holds a single dot, then metrics.jsonl; the same as result.json.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::bytes_of(data, size);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t dot = std::min(text.find("\n.\n"), size);
  static_cast<void>(fuzz::file_of("options.json", bytes.first(dot)));
  static_cast<void>(fuzz::file_of("result.json", bytes.first(dot)));
  static_cast<void>(fuzz::file_of("metrics.jsonl", bytes.subspan(std::min(dot + 3, size))));
  const programs::NamedFolder folder{"run", fuzz::scratch().path()};
  fuzz::parses<FileError>([&] {
    const auto run = programs::PretrainRun::read(folder);
    fuzz::require(!run.metrics.empty(), "a run has steps");
    static_cast<void>(run.has_points());
    fuzz::parses<FileError>([&] { static_cast<void>(run.number("batch")); });
  });
  fuzz::parses<FileError>([&] { static_cast<void>(programs::ProbeRun::read(folder)); });
  return 0;
}
