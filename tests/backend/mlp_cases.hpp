// The table of what projectors, predictors and losses between rows need: batch norm without weight and bias too.
#pragma once

#include <string>

#include "backend/board.hpp"
#include "backend/op_cases.hpp"

namespace dssl::test {

/// Calls visit(name, call) for every case, as `dense_cases` does.
template <class Visit>
void mlp_cases(Visit&& visit) {
  struct Shape {
    Index m, d;
  };
  for (const Shape& s : {Shape{1, 1}, Shape{3, 5}, Shape{67, 192}, Shape{200, 390}, Shape{5, 65'537}}) {
    const std::string shape = join(" ", s.m, " x ", s.d);
    visit("relu_forward" + shape, [s](const auto& b, auto& board) {
      const auto y = board.output(s.m, s.d);
      b.relu_forward(y, board.matrix(s.m, s.d));
    });
    visit("relu_forward in place" + shape, [s](const auto& b, auto& board) {
      const auto y = board.sum(s.m, s.d);
      b.relu_forward(y, y);
    });
    visit("relu_backward" + shape, [s](const auto& b, auto& board) {
      const auto d_x = board.output(s.m, s.d);
      b.relu_backward(d_x, board.matrix(s.m, s.d), board.matrix(s.m, s.d));
    });
    visit("relu_backward in place, by what the forward pass gave" + shape, [s](const auto& b, auto& board) {
      const auto d_x = board.sum(s.m, s.d);
      const auto y = board.output(s.m, s.d);
      b.relu_forward(y, board.matrix(s.m, s.d));
      b.relu_backward(d_x, d_x, y);
    });
    visit("add_scaled" + shape, [s](const auto& b, auto& board) {
      const auto y = board.sum(s.m * s.d);
      b.add_scaled(y, board.vector(s.m * s.d), -0.7);
    });
    visit("row_dots" + shape, [s](const auto& b, auto& board) {
      const auto out = board.output(s.m);
      b.row_dots(out, board.matrix(s.m, s.d), board.matrix(s.m, s.d));
    });
    visit("row_dots of rows with themselves" + shape, [s](const auto& b, auto& board) {
      const auto out = board.output(s.m);
      const auto a = board.matrix(s.m, s.d);
      b.row_dots(out, a, a);
    });
    visit("add_weighted_rows" + shape, [s](const auto& b, auto& board) {
      const auto y = board.sum(s.m, s.d);
      b.add_weighted_rows(y, board.matrix(s.m, s.d), board.vector(s.m));
    });
    // Which of weight and bias a batch norm has.
    for (const int parts : {0, 1, 2, 3}) {
      const bool weighted = parts % 2 == 1;
      const bool biased = parts >= 2;
      const std::string name = join(shape, weighted ? "" : ", no weight", biased ? "" : ", no bias");
      const auto given = [s](auto& board, bool there) {
        return there ? board.vector(s.d) : decltype(board.vector(1)){};
      };
      const auto summed = [s](auto& board, bool there) { return there ? board.sum(s.d) : decltype(board.sum(1)){}; };
      visit("batch_norm_evaluate_forward" + name, [=](const auto& b, auto& board) {
        const auto y = board.output(s.m, s.d);
        b.batch_norm_evaluate_forward(y, board.matrix(s.m, s.d), board.vector(s.d), board.vector(s.d, 0.1, 1.0),
                                      given(board, weighted), given(board, biased), 1e-5);
      });
      visit("batch_norm_evaluate_backward" + name, [=](const auto& b, auto& board) {
        const auto d_x = board.output(s.m, s.d);
        const auto d_weight = summed(board, weighted);
        const auto d_bias = summed(board, biased);
        b.batch_norm_evaluate_backward(d_x, d_weight, d_bias, board.matrix(s.m, s.d), board.matrix(s.m, s.d),
                                       board.vector(s.d, 0.1), board.vector(s.d, 0.1, 1.0), given(board, weighted),
                                       0.3);
      });
      if (weighted && biased) continue;  // among the dense cases
      visit("batch_norm_forward" + name, [=](const auto& b, auto& board) {
        const auto y = board.output(s.m, s.d);
        const auto mean = board.output(s.d);
        const auto inverse_std = board.output(s.d);
        b.batch_norm_forward(y, mean, inverse_std, board.matrix(s.m, s.d), given(board, weighted),
                             given(board, biased), 1e-5);
      });
      visit("batch_norm_backward" + name, [=](const auto& b, auto& board) {
        const auto d_x = board.output(s.m, s.d);
        const auto d_weight = summed(board, weighted);
        const auto d_bias = summed(board, biased);
        b.batch_norm_backward(d_x, d_weight, d_bias, board.matrix(s.m, s.d), board.matrix(s.m, s.d),
                              board.vector(s.d, 0.1), board.vector(s.d, 0.1, 1.0), given(board, weighted));
      });
    }
    visit("batch_norm_evaluate_forward in place" + shape, [s](const auto& b, auto& board) {
      const auto y = board.sum(s.m, s.d);
      b.batch_norm_evaluate_forward(y, y, board.vector(s.d), board.vector(s.d, 0.1, 1.0), board.vector(s.d),
                                    board.vector(s.d), 1e-5);
    });
    visit("batch_norm_evaluate_backward in place" + shape, [s](const auto& b, auto& board) {
      const auto d_x = board.sum(s.m, s.d);
      const auto d_weight = board.sum(s.d);
      const auto d_bias = board.sum(s.d);
      b.batch_norm_evaluate_backward(d_x, d_weight, d_bias, d_x, board.matrix(s.m, s.d), board.vector(s.d, 0.1),
                                     board.vector(s.d, 0.1, 1.0), board.vector(s.d), 1e-5);
    });
    for (const double momentum : {0.0, 0.1, 1.0}) {
      visit(join("batch_norm_update", shape, ", momentum ", momentum), [s, momentum](const auto& b, auto& board) {
        const auto running_mean = board.sum(s.d);
        const auto running_variance = board.positive(s.d);
        b.batch_norm_update(running_mean, running_variance, board.vector(s.d), board.vector(s.d, 0.05, 0.8), s.m + 1,
                            momentum, 1e-3);
      });
    }
  }
}

}  // namespace dssl::test
