#include "compare/measure.hpp"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>
#include <utility>

#include <dssl/backend/cpu.hpp>
#include <dssl/core/error.hpp>

#include "common/machine.hpp"
#include "common/progress.hpp"
#include "compare/contestant.hpp"
#include "compare/serve_step.hpp"

namespace dssl::programs {
namespace {

/// Why a combination cannot run, as far as it shows before it is tried; else nothing.
std::string impossible(const CompareSettings& s, const Combination& c) {
  if (c.backend == "reference") {
    if (c.products != "own") return "Reference multiplies by plain loops of its own";
    if (c.precision != "f64") return "Reference computes in f64 here";
    if (c.threads > 1) return "Reference has one thread";
    return {};
  }
  if (c.precision == "f64") return "steps in f64 are Reference's alone here";
  if (c.backend == "cuda") {
    if (c.products != "own") return "the products are those of the CPU";
    if (c.threads != s.threads.front()) return "the threads are those of the CPU";
    return {};
  }
  if (c.precision == "tf32") return "tf32 is a precision of GPUs";
  if (c.precision != "bf16") return {};
  if (c.products == "cblas") return "a CBLAS has no products in bf16";
  if (!s.emulate_bf16 && !Cpu::multiplies_bf16()) {
    return "this processor (or the flags this program was compiled with) has no instructions for bf16 "
           "(--emulate-bf16: its numbers, slowly)";
  }
  return {};
}

/// The work of a combination, for a process of its own.
void serve_combination(const CompareSettings& s, const Combination& c) {
  if (c.backend == "reference") return serve_reference(s);
  if (c.backend == "cuda") return serve_cuda(s, c);
  if (c.products == "own") return serve_own(s, c);
  serve_library(s, c);
}

/// A row, and who works on it.
struct Place {
  Row* row = nullptr;
  std::unique_ptr<Contestant> contestant;
};

class Turns {
 public:
  Turns(const CompareSettings& s, Comparison& out, Index runnable)
      : x_settings(s),
        x_out(out),
        x_each(1 + s.warm_up + s.turns),
        x_progress("compare", runnable * x_each + (s.no_check ? 0 : 1), "steps", stderr) {}

  /// The oracle's step.
  void check() {
    if (x_settings.no_check) return;
    x_progress.warn("a step on Reference, in double, comes first (--no-check leaves it out)");
    Contestant reference([this] { serve_reference(x_settings); });
    const std::vector<double> found = reference.ask("check");
    x_out.oracle = Oracle{.loss = found.at(0), .gradient_norm = found.at(3)};
    x_progress.at(++x_done);
  }

  /// Lays out the row's step and makes the one whose loss is compared, unless that fails.
  void begin(Row& row) {
    Place place{.row = &row, .contestant = nullptr};
    try {
      place.contestant = std::make_unique<Contestant>([this, &row] { serve_combination(x_settings, row.combination); });
      const nlohmann::json& says = place.contestant->description();
      row.describe = says.at("describe").get<std::string>();
      row.plan = says.at("plan").get<std::size_t>();
      x_out.parameters = says.at("parameters").get<double>();
      const std::vector<double> found = place.contestant->ask("check");
      row.loss = found.at(0);
      row.gradient_norm = found.at(3);
      x_progress.at(++x_done);
      x_places.push_back(std::move(place));
    } catch (const std::exception& error) {
      row.reason = error.what();
      x_progress.at(x_done += x_each);
    }
  }

  void run() {
    for (int i = 0; i < x_settings.warm_up; ++i) x_turn(i, [](Row&, double) {});
    std::vector<pid_t> processes;
    for (const Place& place : x_places) processes.push_back(place.contestant->process());
    const LoadWatch watch(processes);
    for (int i = 0; i < x_settings.turns; ++i) x_turn(i, [](Row& row, double seconds) { row.seconds.push_back(seconds); });
    x_out.others_load = watch.others();
    for (std::size_t i = 0; i < x_places.size();) {
      x_try(i, [](Place& place) {
        const std::vector<double> bytes = place.contestant->ask("peak");
        place.row->peak = static_cast<std::size_t>(bytes.at(0));
        place.row->at_start = static_cast<std::size_t>(bytes.at(1));
      });
    }
  }

 private:
  /// A step of each, from another one on each turn.
  template <class Note>
  void x_turn(int turn, const Note& note) {
    if (x_places.empty()) return;
    std::rotate(x_places.begin(), x_places.begin() + (turn == 0 ? 0 : 1), x_places.end());
    for (std::size_t i = 0; i < x_places.size();) {
      x_try(i, [&](Place& place) { note(*place.row, place.contestant->ask("step").at(0)); });
      x_progress.at(++x_done);
    }
  }

  /// Does something with place i and goes on to the next, or takes it out where that fails.
  template <class Action>
  void x_try(std::size_t& i, const Action& action) {
    try {
      action(x_places[i]);
      ++i;
    } catch (const std::exception& error) {
      x_places[i].row->reason = error.what();
      x_places.erase(x_places.begin() + static_cast<std::ptrdiff_t>(i));
    }
  }

  const CompareSettings& x_settings;
  Comparison& x_out;
  Index x_each;
  Index x_done = 0;
  Progress x_progress;
  std::vector<Place> x_places;  // of rows that still run
};

}  // namespace

bool Comparison::any() const {
  return std::any_of(rows.begin(), rows.end(), [](const Row& row) { return row.ran(); });
}

Comparison compare(const CompareSettings& s) {
  Comparison out;
  Index runnable = 0;
  for (const Combination& combination : s.combinations()) {
    out.rows.push_back({.combination = combination, .reason = impossible(s, combination)});
    if (out.rows.back().ran()) ++runnable;
  }
  if (runnable == 0) return out;
  Turns turns(s, out, runnable);
  turns.check();
  for (Row& row : out.rows) {
    if (row.ran()) turns.begin(row);
  }
  turns.run();
  return out;
}

}  // namespace dssl::programs
