// The table of what blocks of some families have beside: SwiGLU and rotations of heads.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "backend/board.hpp"

namespace dssl::test {

/// Calls visit(name, call) for every case, as `dense_cases` does.
template <class Visit>
void block_cases(Visit&& visit) {
  struct Shape {
    Index m, d;
  };
  for (const Shape& s : {Shape{1, 1}, Shape{3, 5}, Shape{67, 96}, Shape{33, 515}}) {
    const std::string shape = join(" ", s.m, " x ", s.d);
    for (const double scale : {1.0, 30.0}) {
      const std::string name = join(shape, ", scale ", scale);
      visit("swiglu_forward" + name, [=](const auto& b, auto& board) {
        const auto y = board.output(s.m, s.d);
        b.swiglu_forward(y, board.matrix(s.m, 2 * s.d, scale));
      });
      visit("swiglu_again_backward" + name, [=](const auto& b, auto& board) {
        const auto y = board.output(s.m, s.d);
        const auto d_x = board.output(s.m, 2 * s.d);
        b.swiglu_again_backward(y, d_x, board.matrix(s.m, s.d), board.matrix(s.m, 2 * s.d, scale));
      });
    }
    visit("swiglu_again_backward in place" + shape, [=](const auto& b, auto& board) {
      const auto y = board.sum(s.m, s.d);
      const auto d_x = board.sum(s.m, 2 * s.d);
      b.swiglu_again_backward(y, d_x, y, d_x);
    });
  }
  for (const Index quarter : {1, 2, 5, 16}) {
    visit(join("rotation_rows, ", 4 * quarter, " wide"), [=](const auto& b, auto& board) {
      const auto out = board.output(70, 4 * quarter);
      b.rotation_rows(out, board.matrix(70, 2), board.vector(quarter, 0.2, 3.0));
    });
  }
  struct Turned {
    Index tokens, heads, half;
  };
  for (const Turned& s : {Turned{1, 1, 1}, Turned{7, 2, 3}, Turned{131, 3, 16}}) {
    for (const bool packed : {false, true}) {
      for (const double direction : {1.0, -1.0}) {
        visit(join("rotate_heads ", s.tokens, " tokens, ", s.heads, " heads of ", 2 * s.half, packed ? ", packed" : "",
                   ", direction ", direction),
              [=](const auto& b, auto& board) {
                std::vector<std::int32_t> places, rows;
                std::int32_t next = 0;
                for (Index n = 0; n < s.tokens; ++n) {
                  places.push_back(static_cast<std::int32_t>(n % 4 == 3 ? -1 : (5 * n) % 3));
                  rows.push_back(n % 3 == 1 ? -1 : next++);
                }
                std::vector<double> turns;
                for (Index p = 0; p < 3; ++p) {
                  for (const bool sine : {false, true}) {
                    for (Index j = 0; j < s.half; ++j) {
                      const double angle = static_cast<double>(p) - 0.3 * static_cast<double>(j);
                      turns.push_back(sine ? std::sin(angle) : std::cos(angle));
                    }
                  }
                }
                const auto x = board.sum(packed ? Index{next} : s.tokens, 6 * s.heads * s.half);
                const auto at = board.rows(places);
                const auto of = board.rows(rows);
                b.rotate_heads(x, board.given(turns, 3, 2 * s.half), at, packed ? of : RowIndex{}, s.heads, direction);
              });
      }
    }
  }
}

}  // namespace dssl::test
