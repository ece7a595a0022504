// The table of calls of what losses on matrices of features are made of.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "backend/op_cases.hpp"

namespace dssl::test {

template <class Visit>
void term_cases(Visit&& visit) {
  struct Shape {
    Index m, n;
  };
  const auto columns_of = [](Index rows, Index first, Index width) {
    return stepped(static_cast<std::int32_t>(rows), static_cast<std::int32_t>(first), 1, static_cast<std::int32_t>(width));
  };
  for (const Shape& s : {Shape{2, 3}, Shape{5, 5}, Shape{67, 130}, Shape{3, 4099}, Shape{33, 1024}, Shape{700, 9}}) {
    const std::string shape = join(" ", s.m, " x ", s.n);
    // The first row may see all.
    auto hidden = columns_of(s.m, 1, s.n);
    hidden[0] = -1;
    const auto labels = columns_of(s.m, 0, s.n);
    visit("label_cross_entropy" + shape, [s, labels](const auto& b, auto& board) {
      const auto loss = board.output(s.m);
      const auto d_logits = board.output(s.m, s.n);
      b.label_cross_entropy(loss, d_logits, {}, {.columns = board.matrix(s.m, s.n), .labels = board.rows(labels)}, 0.2, 0.3);
    });
    visit("label_cross_entropy in place, a column left out" + shape, [s, labels, hidden](const auto& b, auto& board) {
      const auto loss = board.output(s.m);
      const auto d_logits = board.sum(s.m, s.n);
      b.label_cross_entropy(loss, d_logits, {},
                            {.columns = d_logits, .labels = board.rows(labels), .excluded = board.rows(hidden)}, 0.1, -2.0);
    });
    visit("label_cross_entropy, the label beside" + shape, [s, hidden](const auto& b, auto& board) {
      const auto loss = board.output(s.m);
      const auto d_logits = board.output(s.m, s.n);
      const auto d_positive = board.sum(s.m);
      b.label_cross_entropy(
          loss, d_logits, d_positive,
          {.columns = board.matrix(s.m, s.n), .positive = d_positive, .excluded = board.rows(hidden)}, 0.2, 1.5);
    });
    if (s.m <= s.n) {
      visit("label_cross_entropy of row m with column m" + shape, [s](const auto& b, auto& board) {
        const auto loss = board.output(s.m);
        const auto d_logits = board.output(s.m, s.n);
        b.label_cross_entropy(loss, d_logits, {}, {.columns = board.matrix(s.m, s.n)}, 1.0, 1.0);
      });
    }
    for (const auto& [name, comparison] :
         {std::pair{"squared", Comparison::squared}, {"smooth_l1", Comparison::smooth_l1},
          {"negative_dot", Comparison::negative_dot}, {"positive_squared", Comparison::positive_squared},
          {"squared_to_positive", Comparison::squared_to_positive}}) {
      visit(join("compare_rows ", name, shape), [s, comparison = comparison](const auto& b, auto& board) {
        const auto loss = board.output(s.m);
        const auto d_x = board.output(s.m, s.n);
        b.compare_rows(loss, d_x, board.matrix(s.m, s.n), board.matrix(s.m, s.n), comparison, 0.7);
      });
      visit(join("compare_rows in place ", name, shape), [s, comparison = comparison](const auto& b, auto& board) {
        const auto loss = board.output(s.m);
        const auto d_x = board.sum(s.m, s.n);
        b.compare_rows(loss, d_x, d_x, board.matrix(s.m, s.n), comparison, -0.7);
      });
    }
    visit("log_distance" + shape, [s](const auto& b, auto& board) {
      const auto loss = board.output(s.m);
      const auto d_x = board.output(s.m, s.n);
      b.log_distance(loss, d_x, board.matrix(s.m, s.n), board.matrix(s.m, s.n), 1e-2, 0.4);
    });
    visit("log_distance in place" + shape, [s](const auto& b, auto& board) {
      const auto loss = board.output(s.m);
      const auto d_x = board.sum(s.m, s.n);
      b.log_distance(loss, d_x, d_x, board.matrix(s.m, s.n), 1e-8, 0.4);
    });
    visit("largest_columns" + shape, [s](const auto& b, auto& board) {
      const std::vector<std::int32_t> none(static_cast<std::size_t>(3 * s.m), -7);
      const MatrixView<std::int32_t> out(board.whole_numbers(none).data(), 3, s.m);
      b.largest_columns(out, board.matrix(s.m, s.n), {});
    });
    visit("largest_columns of equals" + shape, [s, hidden](const auto& b, auto& board) {
      const std::vector<std::int32_t> none(static_cast<std::size_t>(2 * s.m), -7);
      const MatrixView<std::int32_t> out(board.whole_numbers(none).data(), 2, s.m);
      std::vector<double> x;
      for (Index i = 0; i < s.m * s.n; ++i) x.push_back(static_cast<double>((i * 7) % 5));
      for (std::size_t i = 3; i < x.size(); i += 11) x[i] = std::numeric_limits<double>::quiet_NaN();
      for (Index c = 0; c < s.n; ++c) x[static_cast<std::size_t>(s.n + c)] = std::numeric_limits<double>::quiet_NaN();
      b.largest_columns(out, board.given(x, s.m, s.n), board.rows(hidden));
    });
    for (const bool shifted : {true, false}) {
      const std::string name = shape + (shifted ? "" : ", no shift");
      visit("row_log_sum" + name, [s, shifted](const auto& b, auto& board) {
        using V = decltype(board.vector(1));
        const auto out = board.output(s.m);
        b.row_log_sum(out, board.matrix(s.m, s.n), shifted ? board.vector(s.n) : V{}, 0.05);
      });
      visit("column_log_sum" + name, [s, shifted](const auto& b, auto& board) {
        using V = decltype(board.vector(1));
        const auto out = board.output(s.n);
        b.column_log_sum(out, board.matrix(s.m, s.n), shifted ? board.vector(s.m) : V{}, 0.3);
      });
    }
  }
  // Far beyond what the exponential of a float can hold.
  visit("log sums of large numbers", [](const auto& b, auto& board) {
    const auto of_rows = board.output(5);
    const auto of_columns = board.output(37);
    const auto x = board.matrix(5, 37, 300.0);
    b.row_log_sum(of_rows, x, {}, 0.05);
    b.column_log_sum(of_columns, x, {}, 0.05);
  });
  for (const Index n : {Index{1}, Index{5}, Index{130}, Index{1030}}) {
    for (const Diagonal diagonal : {Diagonal::one, Diagonal::least_std_one}) {
      const CorrelationNumbers numbers{
          .diagonal = diagonal, .factor = 0.25, .epsilon = 1e-4, .diagonal_scale = 1.5, .rest_scale = 0.1};
      // A diagonal of both sides of 1, and above 0.
      const auto square = [n](auto& board) {
        std::vector<double> x;
        for (Index i = 0; i < n * n; ++i) {
          x.push_back(i % (n + 1) == 0 ? 0.5 + 0.25 * static_cast<double>(i % 31) : static_cast<double>(i % 17) - 8.0);
        }
        return board.given(x, n, n);
      };
      const std::string name = join(" ", n, diagonal == Diagonal::one ? ", diagonal of one" : ", diagonal of variances");
      visit("correlation_loss" + name, [n, numbers, square](const auto& b, auto& board) {
        const auto on = board.output(n);
        const auto rest = board.output(n);
        const auto d_x = board.output(n, n);
        b.correlation_loss(on, rest, d_x, square(board), numbers);
      });
      visit("correlation_loss in place" + name, [n, numbers, square](const auto& b, auto& board) {
        using V = decltype(board.sum(1));
        const auto on = board.output(n);
        const auto rest = board.output(n);
        const auto d_x = board.output(n, n);
        const auto x = square(board);
        b.copy(V(d_x.data(), d_x.size()), decltype(board.vector(1))(x.data(), x.size()));
        b.correlation_loss(on, rest, d_x, d_x, numbers);
      });
    }
  }
}

}  // namespace dssl::test
