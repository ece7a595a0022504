// The runs of an objective's terms, in their order.
// Tests: tests/train/two_view_terms.cpp, gate.cpp.
#pragma once

#include <array>
#include <cstddef>
#include <tuple>
#include <type_traits>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/loss/objective.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/train/report.hpp>

namespace dssl {

/// Every term's run; `each` calls a function with the term's type, its run and its number.
template <class Loss, Backend B, class List = typename Loss::Terms>
class TermRuns;

template <class Loss, Backend B, class... Terms>
class TermRuns<Loss, B, TypeList<Terms...>> {
 public:
  static_assert(sizeof...(Terms) <= most_terms, "an objective has at most dssl::most_terms terms");
  static constexpr bool teacher_reads_numbers = (Terms::template Run<B>::teacher_reads_numbers || ...);

  TermRuns(const TermSetting& setting, const typename Loss::Options& options)
      : x_runs(typename Terms::template Run<B>(setting, Loss::template options_of<Terms>(options))...),
        x_weights{Loss::template weight<Terms>(options)...} {}

  /// f(std::type_identity<Term>, run, number).
  template <class F>
  void each(F&& f) {
    x_each(f, x_runs, std::index_sequence_for<Terms...>{});
  }
  template <class F>
  void each(F&& f) const {
    x_each(f, x_runs, std::index_sequence_for<Terms...>{});
  }

  [[nodiscard]] double weight(std::size_t term) const { return x_weights[term]; }

  /// Whether a part of the student's pass has features that a term reads. One that has none changes no loss and no
  /// gradient.
  [[nodiscard]] bool read_part(std::size_t part) const {
    bool out = false;
    each([&](auto, const auto& run, std::size_t) { out = out || run.reads_part(part); });
    return out;
  }

  /// Whether the student's passes of an update may be played back as they were recorded.
  [[nodiscard]] bool repeat() const {
    bool out = true;
    each([&](auto, const auto& run, std::size_t) { out = out && run.repeats(); });
    return out;
  }

  /// A report's terms: names and weights, and figures at 0 that passes add to.
  void start(StepReport& report) const {
    report.term_count = sizeof...(Terms);
    each([&]<class Term>(std::type_identity<Term>, const auto& run, std::size_t i) {
      report.terms[i] = {.name = Term::name, .weight = x_weights[i]};
      run.start(report.terms[i]);
    });
  }

 private:
  template <class F, class Runs, std::size_t... I>
  static void x_each(F& f, Runs& runs, std::index_sequence<I...> /*numbers*/) {
    (f(std::type_identity<Terms>{}, std::get<I>(runs), I), ...);
  }

  std::tuple<typename Terms::template Run<B>...> x_runs;
  std::array<double, sizeof...(Terms)> x_weights;
};

}  // namespace dssl
