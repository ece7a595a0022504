// What a run left behind: options.json and metrics.jsonl, as the report reads them, and the list of pictures that the next run
// takes away.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include <common/earlier_outputs.hpp>
#include <dssl/views/photometric_parts.hpp>
#include <report/runs.hpp>

#include "fuzz.hpp"

using namespace dssl;

namespace {

/// A list of pictures, whatever it says, reaches files in its own folder alone.
void hold_list(std::span<const std::byte> list) {
  const std::string folder = fuzz::scratch() / "listed";
  std::filesystem::create_directories(folder + "/overlays/inner");
  const auto touch = [&](const std::string& name) { return fuzz::file_of("listed/" + name, {}); };
  const std::string outside[] = {touch("kept.png"), touch("overlays/inner/kept.png")};
  const std::string own = touch("overlays/a.png");
  static_cast<void>(fuzz::file_of("listed/overlays/.written", list));
  const auto names = programs::earlier_pictures(folder, "overlays");
  for (const std::string& name : names) fuzz::require(name.find('/') == std::string::npos, "a name reaches another folder");
  const bool listed = std::find(names.begin(), names.end(), "a.png") != names.end();
  fuzz::parses<FileError>([&] { programs::remove_earlier_outputs(folder, {}, "overlays", {}); });
  for (const std::string& path : outside) fuzz::require(std::filesystem::exists(path), "a file of another folder is gone");
  fuzz::require(std::filesystem::exists(own) != listed, "what is listed goes, and what is not stays");
}

}  // namespace

/// The input is options.json, a line that holds a single dot, then metrics.jsonl; the same as result.json, and all of it as a
/// list of pictures, and as a list of what a camera does to views.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = fuzz::bytes_of(data, size);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const std::size_t dot = std::min(text.find("\n.\n"), size);
  hold_list(bytes);
  fuzz::parses<OptionError>([&] {
    const std::string once = text_of(photometric_parts_of(text));  // without those that no view has, in an order of their own
    fuzz::require(text_of(photometric_parts_of(once)) == once, "a list of parts has one text");
  });
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
