// What every program does: read its arguments, report errors in one line, stop on Ctrl-C, write JSON.
#pragma once

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <initializer_list>
#include <new>
#include <string>
#include <string_view>
#include <system_error>
#include <thread>
#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <dssl/core/error.hpp>
#include <dssl/io/atomic_file.hpp>

#include <common/arguments.hpp>
#include <common/json_text.hpp>
#include <common/launched.hpp>
#include <common/options_page.hpp>

namespace dssl::programs {

/// `text` on one line: line breaks become spaces, and what is longer than any message of ours, as of a name out of a file, is cut.
[[nodiscard]] inline std::string one_line(std::string text) {
  constexpr std::size_t longest = 20000;
  if (text.size() > longest) text = join(text.substr(0, longest), "... (", text.size(), " characters)");
  for (char& c : text) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  while (!text.empty() && text.back() == ' ') text.pop_back();
  return text;
}

/// Writes "name: message" as one line to stderr, after what is on its way to stdout.
inline void print_error(std::string_view name, std::string message) {
  std::fflush(stdout);
  std::fprintf(stderr, "%s: %s\n", std::string(name).c_str(), one_line(std::move(message)).c_str());
}

/// A message of the library that names a field ("option 'batch'"), with the option that sets it in the field's place.
[[nodiscard]] inline std::string with_option(std::string message, std::string_view field, std::string_view option) {
  const std::string named = join("option '", field, "'");
  const std::size_t at = message.find(named);
  return at == std::string::npos ? message : message.replace(at, named.size(), option);
}

/// The same with the option of the field's name, where the program has it.
[[nodiscard]] inline std::string in_options_of(CLI::App& app, std::string message, std::string_view field) {
  std::string option = "--" + std::string(field.substr(field.rfind('.') + 1));
  std::ranges::replace(option, '_', '-');
  if (field == "height" || field == "width") option = "--size";
  if (field == "preset") option = "--views";
  if (field == "orient") option = "--no-orient";
  if (app.get_option_no_throw(option) == nullptr) return message;
  return with_option(std::move(message), field, option);
}

/// What a program says of an error, where `in_options(message, field)` has the option in the field's place.
template <class InOptions>
[[nodiscard]] std::string words_of(const std::exception& error, const InOptions& in_options) {
  if (const auto* const option = dynamic_cast<const OptionError*>(&error)) {
    return with_short_words(in_options(std::string(option->what()), option->field()));
  }
  if (dynamic_cast<const DataError*>(&error) != nullptr) {  // of masks whose labels tell nothing, or that do not fit: it names these fields
    std::string message = error.what();
    for (const char* const field : {"only", "void", "orient"}) message = in_options(std::move(message), field);
    return message;
  }
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) {
    return "out of memory; lower the batch, the image size or the model's size";
  }
  return error.what();
}

/// A function that has these words of an error, by the names of the program's options.
[[nodiscard]] inline auto words_of(CLI::App& app) {
  return [&app](const std::exception& error) {
    return words_of(error, [&app](std::string message, std::string_view field) { return in_options_of(app, std::move(message), field); });
  };
}

/// Parses the arguments, runs `body()`, and turns what it throws into one line on stderr: `words(error)`.
///
/// Exit statuses: 0 success (and --help), 1 the work failed, 2 the arguments make no sense. `body` gives the status
/// of success. A stdout that could not be written (a full disk) is a failure too. One of several processes that a launcher
/// started runs only where the program has --communicator: else the first says that it does not.
template <class Body, class Words>
[[nodiscard]] int run_program(CLI::App& app, int argc, char** argv, const Body& body, const Words& words) {
  const std::string name = app.get_name();
  try {
    if (argc == 2 && argv[1] == options_page_flag) {
      std::fputs(options_page(app).c_str(), stdout);
      return std::fflush(stdout) == 0 ? 0 : 1;
    }
    // What a shell makes of a variable that is not set: the parser would take it for 0, or for an option not given.
    for (int i = 1; i < argc; ++i) {
      if (*argv[i] != '\0') continue;
      print_error(name, join("argument ", i, i > 1 ? join(", after '", argv[i - 1], "',") : std::string(),
                             " is empty; expected a value (--help lists the options)"));
      return 2;
    }
    check_numbers(app);
    app.parse(argc, argv);
  } catch (const CLI::Success& success) {  // --help and --version
    return app.exit(success);
  } catch (const CLI::ParseError& error) {
    print_error(name, with_short_words(error.what()) + " (--help lists the options)");
    return 2;
  } catch (const Error& error) {
    print_error(name, error.what());
    return 1;
  }
  // Several that do not know of each other would do the same work, and write the same files over each other's.
  if (const int size = launched_size(); size > 1 && app.get_option_no_throw("--communicator") == nullptr) {
    if (launched_rank() > 0) {  // the first says so, before a failure here might end it
      std::this_thread::sleep_for(std::chrono::seconds(1));
      return 2;
    }
    print_error(name, join("was started as one of ", size, " processes; expected one, as this program does not share its work"));
    return 2;
  }
  try {
    const int status = body();
    errno = 0;
    // Who no longer listens (SIGPIPE was ignored, see `Interruption`) does not make the work fail.
    if (std::fflush(stdout) != 0 && errno != EPIPE) throw FileError("standard output", "cannot be written");
    return status;
  } catch (const OptionError& error) {
    print_error(name, words(error));
    return 2;
  } catch (const std::exception& error) {
    print_error(name, words(error));
  }
  return 1;
}

template <class Body>
[[nodiscard]] int run_program(CLI::App& app, int argc, char** argv, const Body& body) {
  return run_program(app, argc, argv, body, words_of(app));
}

/// Lets requests to end be noticed between steps instead of ending the process at once; a second one ends it.
///
/// Requests are Ctrl-C, a termination request, the end of a terminal (unless it was to be ignored, as by nohup), USR1,
/// by which batch systems announce an end, and a file that reached its limit. That nobody reads the output any more
/// is none: writing it fails quietly, and the work goes on. One object a program.
class Interruption {
 public:
  Interruption() {
    for (const int signal : requests) {
      if (std::signal(signal, &Interruption::note) == SIG_IGN && signal == SIGHUP) std::signal(signal, SIG_IGN);
    }
    std::signal(SIGPIPE, SIG_IGN);
  }
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;
  ~Interruption() {
    for (const int signal : requests) {
      if (std::signal(signal, SIG_DFL) == SIG_IGN && signal == SIGHUP) std::signal(signal, SIG_IGN);
    }
    // SIGPIPE stays ignored: the last lines may find nobody either.
  }

  /// True once the process was asked to stop.
  [[nodiscard]] bool requested() const { return flag() != 0; }

 private:
  static constexpr std::array<int, 5> requests{SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGXFSZ};

  static volatile std::sig_atomic_t& flag() {
    static volatile std::sig_atomic_t value = 0;
    return value;
  }
  static void note(int signal) {
    flag() = 1;
    // A full file is met again by the next write, which fails in words.
    std::signal(signal, signal == SIGXFSZ ? SIG_IGN : SIG_DFL);
  }
};

/// Makes the folder where it is missing and makes sure that files can be written there, before any work is done.
/// Throws `FileError`.
inline void prepare_output_folder(const std::string& path) {
  std::error_code problem;
  std::filesystem::create_directories(path, problem);
  if (problem) throw FileError(path, "cannot make the output folder: " + problem.message());
  if (!std::filesystem::is_directory(path)) throw FileError(path, "is a file; expected a folder for the output");
  const AtomicFile trial(path + "/writable");  // never committed: leaves nothing behind
}

/// The same, and claims the folder for this process: a second run into it is refused. What a killed run left half
/// written of `files` is removed; where a folder lies in the place of one of them, that is said now and not when the
/// work is done. Throws `FileError`.
[[nodiscard]] inline FolderClaim claim_output_folder(const std::string& path,
                                                     std::initializer_list<const char*> files = {"result.json"}) {
  prepare_output_folder(path);
  FolderClaim claim(path);
  remove_abandoned(path + "/writable");
  for (const char* const file : files) require_writable(path + "/" + file);
  return claim;
}

/// A name as part of a file name.
[[nodiscard]] inline std::string file_name(std::string name) {
  for (char& c : name) {
    if (c == '/' || c == '\\') c = '_';
  }
  return name;
}

/// A number for JSON, which knows no infinities: null for what is not finite.
[[nodiscard]] inline nlohmann::ordered_json number_or_null(double value) {
  return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
}

/// Writes a JSON value with a line break at its end, whole or not at all. Throws `FileError`.
inline void write_json(const std::string& path, const nlohmann::ordered_json& value) {
  AtomicFile file(path);
  file.write(json_text(value, 2));
  file.write("\n");
  file.commit();
}

}  // namespace dssl::programs
