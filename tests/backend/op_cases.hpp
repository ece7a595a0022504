// The table of primitive calls that every backend is held to.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/backend/operands.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/nn/prototype_loss.hpp>

#include "backend/board.hpp"

namespace dssl::test {

/// Row numbers first, first + step, ... modulo `modulus`: with repeats when `count` exceeds it.
inline std::vector<std::int32_t> stepped(std::int32_t count, std::int32_t first, std::int32_t step,
                                         std::int32_t modulus) {
  std::vector<std::int32_t> rows;
  for (std::int32_t i = 0; i < count; ++i) rows.push_back((first + i * step) % modulus);
  return rows;
}

/// Calls visit(name, call) for every case; `call` takes a backend and its board and makes one primitive call.
template <class Visit>
void linear_cases(Visit&& visit) {
  struct Shape {
    Index m, i, o;
  };
  for (const Shape& s : {Shape{0, 4, 3}, Shape{1, 1, 1}, Shape{3, 7, 5}, Shape{1, 384, 13}, Shape{37, 65, 130}, Shape{201, 192, 576},
                         Shape{64, 256, 1000}, Shape{5, 1537, 9}, Shape{130, 17, 801}, Shape{7, 4100, 70}}) {
    const std::string shape = join(s.m, " x ", s.i, " to ", s.o);
    for (const bool with_bias : {true, false}) {
      const std::string name = shape + (with_bias ? "" : ", no bias");
      visit("linear_forward " + name, [s, with_bias](const auto& b, auto& board) {
        using V = decltype(board.vector(1));
        const auto y = board.output(s.m, s.o);
        b.linear_forward(y, board.matrix(s.m, s.i), board.matrix(s.o, s.i, 0.1),
                         with_bias ? board.vector(s.o) : V{});
      });
      visit("linear_backward_weight " + name, [s, with_bias](const auto& b, auto& board) {
        using V = decltype(board.sum(1));
        const auto d_weight = board.sum(s.o, s.i);
        const auto d_bias = with_bias ? board.sum(s.o) : V{};
        b.linear_backward_weight(d_weight, d_bias, board.matrix(s.m, s.o), board.matrix(s.m, s.i));
      });
    }
    visit("linear_backward_input " + shape, [s](const auto& b, auto& board) {
      const auto d_x = board.output(s.m, s.i);
      b.linear_backward_input(d_x, board.matrix(s.m, s.o), board.matrix(s.o, s.i, 0.1));
    });
  }
}

template <class Visit>
void dense_cases(Visit&& visit) {
  struct Shape {
    Index m, d;
  };
  for (const Shape& s : {Shape{1, 1}, Shape{1, 384}, Shape{3, 5}, Shape{67, 192}, Shape{200, 390}, Shape{2, 65'537}}) {
    const std::string shape = join(" ", s.m, " x ", s.d);
    visit("layer_norm_forward" + shape, [s](const auto& b, auto& board) {
      const auto y = board.output(s.m, s.d);
      const auto mean = board.output(s.m);
      const auto inverse_std = board.output(s.m);
      b.layer_norm_forward(y, mean, inverse_std, board.matrix(s.m, s.d, 3.0), board.vector(s.d),
                           board.vector(s.d), 1e-6);
    });
    visit("layer_norm_backward" + shape, [s](const auto& b, auto& board) {
      const auto d_x = board.sum(s.m, s.d);
      const auto d_weight = board.sum(s.d);
      const auto d_bias = board.sum(s.d);
      b.layer_norm_backward(d_x, d_weight, d_bias, board.matrix(s.m, s.d), board.matrix(s.m, s.d),
                            board.vector(s.m, 0.1), board.vector(s.m, 0.1, 1.0), board.vector(s.d));
    });
    visit("batch_norm_forward" + shape, [s](const auto& b, auto& board) {
      const auto y = board.output(s.m, s.d);
      const auto mean = board.output(s.d);
      const auto inverse_std = board.output(s.d);
      b.batch_norm_forward(y, mean, inverse_std, board.matrix(s.m, s.d), board.vector(s.d), board.vector(s.d), 1e-5);
    });
    visit("batch_norm_backward" + shape, [s](const auto& b, auto& board) {
      const auto d_x = board.output(s.m, s.d);
      const auto d_weight = board.sum(s.d);
      const auto d_bias = board.sum(s.d);
      b.batch_norm_backward(d_x, d_weight, d_bias, board.matrix(s.m, s.d), board.matrix(s.m, s.d),
                            board.vector(s.d, 0.1), board.vector(s.d, 0.1, 1.0), board.vector(s.d));
    });
    visit("batch_norm_backward in place" + shape, [s](const auto& b, auto& board) {
      const auto d_x = board.sum(s.m, s.d);
      const auto d_weight = board.sum(s.d);
      const auto d_bias = board.sum(s.d);
      b.batch_norm_backward(d_x, d_weight, d_bias, d_x, board.matrix(s.m, s.d), board.vector(s.d, 0.1),
                            board.vector(s.d, 0.1, 1.0), board.vector(s.d));
    });
    visit("gelu_forward" + shape, [s](const auto& b, auto& board) {
      const auto y = board.output(s.m, s.d);
      b.gelu_forward(y, board.matrix(s.m, s.d, 3.0));
    });
    visit("gelu_forward in place" + shape, [s](const auto& b, auto& board) {
      const auto y = board.sum(s.m, s.d, 3.0);
      b.gelu_forward(y, y);
    });
    visit("gelu_backward" + shape, [s](const auto& b, auto& board) {
      const auto d_x = board.output(s.m, s.d);
      b.gelu_backward(d_x, board.matrix(s.m, s.d), board.matrix(s.m, s.d, 3.0));
    });
    visit("gelu_backward in place" + shape, [s](const auto& b, auto& board) {
      const auto d_x = board.sum(s.m, s.d);
      b.gelu_backward(d_x, d_x, board.matrix(s.m, s.d, 3.0));
    });
    for (const bool kept : {true, false}) {
      const std::string name = shape + (kept ? "" : ", no keep");
      const auto keep_of = [kept, s](auto& board) {
        return std::pair{kept ? board.given({1.25, 0.0, 2.0}, 1, 3) : decltype(board.matrix(1, 1)){},
                         kept ? board.rows(stepped(static_cast<std::int32_t>(s.m), 0, 1, 3)) : RowIndex{}};
      };
      visit("residual_forward" + name, [s, keep_of](const auto& b, auto& board) {
        using V = decltype(board.vector(1));
        const auto out = board.output(s.m, s.d);
        const auto [keep, rows] = keep_of(board);
        b.residual_forward(out, board.matrix(s.m, s.d), board.matrix(s.m, s.d), V(keep.data(), keep.size()), rows);
      });
      visit("residual_forward into x" + name, [s, keep_of](const auto& b, auto& board) {
        using V = decltype(board.vector(1));
        const auto out = board.sum(s.m, s.d);
        const auto [keep, rows] = keep_of(board);
        b.residual_forward(out, out, board.matrix(s.m, s.d), V(keep.data(), keep.size()), rows);
      });
      visit("residual_forward into branch" + name, [s, keep_of](const auto& b, auto& board) {
        using V = decltype(board.vector(1));
        const auto out = board.sum(s.m, s.d);
        const auto [keep, rows] = keep_of(board);
        b.residual_forward(out, board.matrix(s.m, s.d), out, V(keep.data(), keep.size()), rows);
      });
      visit("residual_backward" + name, [s, keep_of](const auto& b, auto& board) {
        using V = decltype(board.vector(1));
        const auto d_branch = board.output(s.m, s.d);
        const auto [keep, rows] = keep_of(board);
        b.residual_backward(d_branch, board.matrix(s.m, s.d), V(keep.data(), keep.size()), rows);
      });
    }
  }
  // Columns of one value have no variance; neighbours far from 0 are normed around their own means. Rows enough for
  // several parts of every sum.
  visit("batch_norm_forward of constant columns, then backward", [](const auto& b, auto& board) {
    constexpr Index rows = 700;
    constexpr Index columns = 5;
    const double values[columns] = {0.0, 0.1, -1000.1, 3e6, 7.0};
    std::vector<double> numbers;
    for (Index m = 0; m < rows; ++m) {
      for (Index d = 0; d < columns; ++d) {
        const double off = d < 4 ? 0.0 : static_cast<double>((m * 37) % 101) / 16.0;
        numbers.push_back(static_cast<float>(values[d] + off));
      }
    }
    const auto x = board.given(numbers, rows, columns);
    const auto y = board.output(rows, columns);
    const auto mean = board.output(columns);
    const auto inverse_std = board.output(columns);
    const auto weight = board.vector(columns);
    b.batch_norm_forward(y, mean, inverse_std, x, weight, board.vector(columns), 1e-5);
    const auto d_x = board.output(rows, columns);
    const auto d_weight = board.sum(columns);
    const auto d_bias = board.sum(columns);
    b.batch_norm_backward(d_x, d_weight, d_bias, board.matrix(rows, columns), x, mean, inverse_std, weight);
  });
  for (const Index n : {Index{1}, Index{15}, Index{1000}, Index{100'003}}) {
    visit(join("fill ", n), [n](const auto& b, auto& board) {
      using T = typename std::decay_t<decltype(b)>::Scalar;
      b.fill(board.output(n), T{2.5});
    });
    visit(join("copy ", n), [n](const auto& b, auto& board) {
      const auto y = board.output(n);
      b.copy(y, board.vector(n));
    });
    visit(join("accumulate ", n), [n](const auto& b, auto& board) {
      const auto y = board.sum(n);
      b.accumulate(y, board.vector(n));
    });
    for (const double m : {0.0, 0.3, 0.996, 0.99999, 1.0}) {
      visit(join("lerp ", n, " m ", m), [n, m](const auto& b, auto& board) {
        const auto y = board.sum(n);
        b.lerp(y, board.vector(n), m);
      });
    }
  }
}

template <AttentionRelation R, class Visit>
void attention_cases_of(const std::string& relation, Visit&& visit) {
  struct Shape {
    std::vector<Sequence> sequences;
    Index heads, d;
  };
  const std::vector<Shape> shapes{
      {{{.patches = 1}}, 1, 1},
      {{{.patches = 4, .references = 3}}, 2, 5},
      {{{.patches = 36, .references = 9}, {.patches = 9}, {.patches = 16, .references = 1}}, 3, 16},
      {{{.patches = 110, .references = 18}}, 1, 64},
      {{{.patches = 2, .references = 70}}, 2, 33},
      {{{.patches = 700, .references = 4}}, 1, 8},
  };
  const std::vector<std::pair<std::string, GroupSet>> queries{
      {"all", all_groups},
      {"class", {.class_token = true}},
      {"class and references", {.class_token = true, .reference = true}},
      {"patches", {.patch = true}},
  };
  for (std::size_t n = 0; n < shapes.size(); ++n) {
    const Shape& shape = shapes[n];
    for (const auto& query : queries) {
      const std::string& set = query.first;
      const GroupSet groups = query.second;
      if (shape.sequences[0].patches > 500 && set != "all") continue;  // slow on the oracle
      const std::string name = join(relation, ", shape ", n, ", queries ", set);
      const Index width = shape.heads * shape.d;
      visit("attention_forward " + name, [shape, groups, width](const auto& b, auto& board) {
        const SequenceBatch batch = board.sequences(shape.sequences);
        // Rows outside the queries must stay as they are: ordinary numbers, so that they can be compared.
        const auto out = board.sum(batch.rows, width);
        const auto log_sum = board.sum(batch.rows, shape.heads);
        b.template attention_forward<R>(out, log_sum, board.matrix(batch.rows, 3 * width, 1.5), batch, shape.heads,
                                        groups);
      });
      visit("attention_backward " + name, [shape, groups, width](const auto& b, auto& board) {
        const SequenceBatch batch = board.sequences(shape.sequences);
        const auto d_qkv = board.output(batch.rows, 3 * width);
        const auto out = board.sum(batch.rows, width);
        const auto log_sum = board.sum(batch.rows, shape.heads);
        const auto qkv = board.matrix(batch.rows, 3 * width, 1.5);
        b.template attention_forward<R>(out, log_sum, qkv, batch, shape.heads, groups);
        b.template attention_backward<R>(d_qkv, board.matrix(batch.rows, width), out, log_sum, qkv, batch,
                                         shape.heads, groups);
      });
    }
  }
}

template <class Visit>
void attention_cases(Visit&& visit) {
  attention_cases_of<open_relation>("open", visit);
  attention_cases_of<hidden_relation>("hidden", visit);
  attention_cases_of<hidden_no_class_relation>("hidden-no-class", visit);
  attention_cases_of<private_relation>("private", visit);
  attention_cases_of<all_query_relation>("all-query", visit);
}

template <class Visit>
void row_cases(Visit&& visit) {
  visit("unfold_patches 3 x 3 x 32 x 48 by 16", [](const auto& b, auto& board) {
    const auto patches = board.output(3 * 2 * 3, 3 * 256);
    b.unfold_patches(patches, board.images(3, 3, 32, 48), Index{16});
  });
  visit("unfold_patches 2 x 1 x 6 x 9 by 3", [](const auto& b, auto& board) {
    const auto patches = board.output(2 * 2 * 3, 9);
    b.unfold_patches(patches, board.images(2, 1, 6, 9), Index{3});
  });
  for (const Index d : {Index{1}, Index{7}, Index{384}, Index{1000}}) {
    const std::string width = join(" width ", d);
    visit("copy_rows both" + width, [d](const auto& b, auto& board) {
      const auto dst = board.sum(40, d);
      b.copy_rows(dst, board.rows(stepped(20, 3, 7, 40)), board.matrix(30, d), board.rows(stepped(20, 1, 1, 4)));
    });
    visit("copy_rows to" + width, [d](const auto& b, auto& board) {
      const auto dst = board.sum(40, d);
      b.copy_rows(dst, board.rows(stepped(30, 3, 7, 40)), board.matrix(30, d), RowIndex{});
    });
    visit("copy_rows from" + width, [d](const auto& b, auto& board) {
      const auto dst = board.output(20, d);
      b.copy_rows(dst, RowIndex{}, board.matrix(30, d), board.rows(stepped(20, 1, 1, 4)));
    });
    visit("copy_rows all" + width, [d](const auto& b, auto& board) {
      const auto dst = board.output(300, d);
      b.copy_rows(dst, RowIndex{}, board.matrix(300, d), RowIndex{});
    });
    visit("add_rows repeated" + width, [d](const auto& b, auto& board) {
      const auto dst = board.sum(40, d);
      b.add_rows(dst, board.rows(stepped(500, 3, 1, 5)), board.matrix(30, d), board.rows(stepped(500, 1, 1, 30)));
    });
    visit("add_rows to" + width, [d](const auto& b, auto& board) {
      const auto dst = board.sum(40, d);
      b.add_rows(dst, board.rows(stepped(30, 3, 1, 3)), board.matrix(30, d), RowIndex{});
    });
    visit("add_rows from" + width, [d](const auto& b, auto& board) {
      const auto dst = board.sum(400, d);
      b.add_rows(dst, RowIndex{}, board.matrix(30, d), board.rows(stepped(400, 1, 1, 4)));
    });
    visit("add_rows all" + width, [d](const auto& b, auto& board) {
      const auto dst = board.sum(30, d);
      b.add_rows(dst, RowIndex{}, board.matrix(30, d), RowIndex{});
    });
    visit("sample_rows_forward" + width, [d](const auto& b, auto& board) {
      const auto out = board.output(50, d);
      b.sample_rows_forward(out, board.matrix(23, d), board.taps(50, 23));
    });
    visit("sample_rows_backward" + width, [d](const auto& b, auto& board) {
      const auto d_table = board.sum(23, d);
      b.sample_rows_backward(d_table, board.matrix(50, d), board.taps(50, 23));
    });
  }
}

template <class Visit>
void loss_cases(Visit&& visit) {
  struct Shape {
    Index m, d;
  };
  for (const Shape& s : {Shape{1, 1}, Shape{3, 5}, Shape{130, 256}, Shape{2, 65'536}, Shape{5, 4099}}) {
    const std::string shape = join(" ", s.m, " x ", s.d);
    visit("l2_normalise_forward" + shape, [s](const auto& b, auto& board) {
      const auto y = board.output(s.m, s.d);
      const auto norm = board.output(s.m);
      b.l2_normalise_forward(y, norm, board.matrix(s.m, s.d), 1e-12);
    });
    visit("l2_normalise_forward short" + shape, [s](const auto& b, auto& board) {
      const auto y = board.output(s.m, s.d);
      const auto norm = board.output(s.m);
      b.l2_normalise_forward(y, norm, board.matrix(s.m, s.d, 1e-6), 0.5);
    });
    visit("l2_normalise_backward" + shape, [s](const auto& b, auto& board) {
      const auto d_x = board.output(s.m, s.d);
      b.l2_normalise_backward(d_x, board.matrix(s.m, s.d), board.matrix(s.m, s.d, 0.1), board.vector(s.m, 0.1, 2.0),
                              1e-12);
    });
    visit("l2_normalise_backward short" + shape, [s](const auto& b, auto& board) {
      const auto d_x = board.output(s.m, s.d);
      b.l2_normalise_backward(d_x, board.matrix(s.m, s.d), board.matrix(s.m, s.d, 0.1), board.vector(s.m, 0.0, 2.0),
                              2.0);
    });
    for (const bool with_g : {true, false}) {
      const std::string name = shape + (with_g ? "" : ", no g");
      visit("weight_norm_forward" + name, [s, with_g](const auto& b, auto& board) {
        using V = decltype(board.vector(1));
        const auto w = board.output(s.m, s.d);
        const auto norm = board.output(s.m);
        b.weight_norm_forward(w, norm, board.matrix(s.m, s.d), with_g ? board.vector(s.m) : V{});
      });
      visit("weight_norm_backward" + name, [s, with_g](const auto& b, auto& board) {
        using V = decltype(board.vector(1));
        using W = decltype(board.sum(1));
        const auto d_v = board.sum(s.m, s.d);
        const auto d_g = with_g ? board.sum(s.m) : W{};
        b.weight_norm_backward(d_v, d_g, board.matrix(s.m, s.d), board.matrix(s.m, s.d),
                               with_g ? board.vector(s.m) : V{}, board.vector(s.m, 0.1, 2.0));
      });
    }
    visit("centred_softmax" + shape, [s](const auto& b, auto& board) {
      const auto p = board.output(s.m, s.d);
      b.centred_softmax(p, board.matrix(s.m, s.d, 0.2), board.vector(s.d, 0.1), 0.04);
    });
    visit("centred_softmax in place, wide range" + shape, [s](const auto& b, auto& board) {
      const auto p = board.sum(s.m, s.d, 30.0);
      b.centred_softmax(p, p, board.vector(s.d, 0.1), 1.0);
    });
    for (const int seen : {0, 1, 2}) {
      std::vector<TargetRows> rows;
      for (std::int32_t i = 0; i < s.m; ++i) {
        rows.push_back(seen == 0 ? TargetRows{-1, -1} : seen == 1 ? TargetRows{-1, i % 3} : TargetRows{i % 3, (i + 1) % 3});
      }
      visit(join("cross_entropy of ", seen, shape), [s, rows](const auto& b, auto& board) {
        const auto loss = board.output(s.m);
        const auto d_logits = board.output(s.m, s.d);
        b.cross_entropy(loss, d_logits, board.matrix(s.m, s.d, 0.2), board.distributions(3, s.d), board.list(rows),
                        0.1, 0.25);
      });
      visit(join("cross_entropy in place of ", seen, shape), [s, rows](const auto& b, auto& board) {
        const auto loss = board.output(s.m);
        const auto d_logits = board.sum(s.m, s.d, 0.2);
        b.cross_entropy(loss, d_logits, d_logits, board.distributions(3, s.d), board.list(rows), 0.1, 0.25);
      });
      visit(join("cross_entropy, rows weighted, of ", seen, shape), [s, rows](const auto& b, auto& board) {
        const auto loss = board.output(s.m);
        const auto d_logits = board.output(s.m, s.d);
        b.cross_entropy(loss, d_logits, board.matrix(s.m, s.d, 0.2), board.distributions(3, s.d), board.list(rows),
                        0.1, 0.25, board.vector(s.m, 0.4, 1.0));
      });
    }
    visit("row_entropy" + shape, [s](const auto& b, auto& board) {
      const auto out = board.output(s.m);
      b.row_entropy(out, board.distributions(s.m, s.d));
    });
    visit("add_column_sum" + shape, [s](const auto& b, auto& board) {
      const auto sum = board.sum(s.d);
      b.add_column_sum(sum, board.matrix(s.m, s.d), RowIndex{}, 0.3);
    });
    visit("add_column_sum of rows" + shape, [s](const auto& b, auto& board) {
      const auto sum = board.sum(s.d);
      b.add_column_sum(sum, board.matrix(s.m, s.d),
                       board.rows(stepped(100, 0, 7, static_cast<std::int32_t>(s.m))), -2.0);
    });
  }
}

/// The end of a head: fused on backends that can, the primitives one after the other on the others.
template <class Visit>
void prototype_loss_cases(Visit&& visit) {
  enum class Targets { one_each, shared, two, mixed };
  struct Shape {
    Index m, n, p, d;
    Targets targets;
  };
  // Several groups of rows, several tasks, blocks and registers that are not full, widths that are not whole registers.
  for (const Shape& s : {Shape{1, 1, 20, 3, Targets::one_each}, Shape{3, 2, 9, 6, Targets::mixed},
                         Shape{40, 48, 1000, 256, Targets::one_each}, Shape{12, 4, 700, 64, Targets::two},
                         Shape{7, 5, 9001, 33, Targets::mixed}, Shape{210, 130, 300, 20, Targets::shared},
                         Shape{100, 230, 131, 17, Targets::mixed}, Shape{197, 70, 97, 9, Targets::two}}) {
    std::vector<TargetRows> rows;
    const auto n = static_cast<std::int32_t>(s.n);
    for (std::int32_t i = 0; i < s.m; ++i) {
      const TargetRows two{(7 * i) % n, (7 * i + 3) % n};
      if (s.targets == Targets::one_each) rows.push_back({n - 1 - i, -1});
      if (s.targets == Targets::shared) rows.push_back({-1, (3 * i) % n});
      if (s.targets == Targets::two) rows.push_back(two);
      if (s.targets == Targets::mixed) {
        rows.push_back(i % 4 == 0 ? two : i % 4 == 1 ? TargetRows{-1, two[1]} : i % 4 == 2 ? TargetRows{two[0], -1} : TargetRows{-1, -1});
      }
    }
    for (const bool learned : {true, false}) {
      const bool weighted = learned == (s.m % 2 == 0);
      const std::string name = join("prototype_loss ", s.m, " and ", s.n, " rows on ", s.p, " x ", s.d,
                                    learned ? ", learned norm" : "", weighted ? ", rows weighted" : "");
      visit(name, [s, rows, learned, weighted](const auto& b, auto& board) {
        using T = typename std::decay_t<decltype(b)>::Scalar;
        PrototypeLossResult<T> out;
        out.loss = board.output(s.m);
        out.entropy = board.output(s.n);
        out.d_unit = board.output(s.m, s.d);
        out.d_v = board.sum(s.p, s.d, 1e-3);
        if (learned) out.d_g = board.sum(s.p, 1e-3);
        out.centre_sum = board.sum(s.p, 0.1);
        const double length = 1.0 / std::sqrt(static_cast<double>(s.d));
        const auto side = [&](Index count) {
          return PrototypeRows<T>{board.matrix(count, s.d, length), board.matrix(s.p, s.d, 0.06),
                                  learned ? board.vector(s.p, 0.3, 1.0) : VectorView<const T>{}};
        };
        const PrototypeRows<T> student = side(s.m);
        const PrototypeRows<T> teacher = side(s.n);
        const PrototypeTargets<T> targets{
            board.vector(s.p, 0.1), board.list(rows),
            learned ? board.rows(stepped(20, 0, 7, static_cast<std::int32_t>(s.n))) : RowIndex{},
            weighted ? board.vector(s.m, 0.4, 1.0) : VectorView<const T>{}};
        const std::size_t bytes =
            prototype_loss_workspace(b, std::span<const TargetRows>(rows), s.n, s.p, s.d);
        const Buffer workspace = b.allocate(bytes);
        const PrototypeLossNumbers numbers{
            .teacher_temperature = 0.07, .student_temperature = 0.1, .scale = 0.3, .centre_share = 0.05};
        prototype_loss(b, out, student, teacher, targets, numbers,
                       VectorView<std::byte>(workspace.data(), static_cast<Index>(bytes)));
        // Nobody reads the entropies of rows that are no targets.
        for (std::int32_t row = 0; row < s.n; ++row) {
          const bool seen = std::any_of(rows.begin(), rows.end(), [row](const TargetRows& of) { return of[0] == row || of[1] == row; });
          const T zero{0};
          if (!seen) b.upload(out.entropy.data() + row, std::span<const T>(&zero, 1));
        }
      });
    }
  }
}

/// Segments with a gap before the last one, of odd sizes, in all combinations of flags.
inline std::vector<Segment> uneven_segments() {
  std::vector<Segment> segments;
  Index offset = 0;
  const std::vector<Index> sizes{1, 16, 33'000, 7, 70'001, 15, 200};
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    if (i + 1 == sizes.size()) offset += 5;
    segments.push_back({.offset = offset,
                        .size = sizes[i],
                        .decayed = i % 2 == 0,
                        .adapted = i % 3 != 2,
                        .updated = i != 3,
                        .prototype = i == 4,
                        .rate = i % 2 == 0 ? 1.0 : 0.3});
    offset += sizes[i];
  }
  return segments;
}

template <class Visit>
void optimiser_cases(Visit&& visit) {
  const std::vector<Segment> segments = uneven_segments();
  const Index n = segments.back().offset + segments.back().size + 3;
  const auto count = static_cast<Index>(segments.size());
  visit("squared_norms", [segments, n, count](const auto& b, auto& board) {
    const auto norms = board.doubles(count);
    b.squared_norms(norms, board.vector(n), board.list(segments));
  });
  // Norms of which some ask for clipping and some do not.
  const std::vector<double> norms{0.01, 4.0, 9e4, 1.0, 100.0, 0.0, 2.0};
  for (const double clip : {0.0, 1.5}) {
    for (const Index step : {Index{1}, Index{1000}}) {
      visit(join("adamw_step ", step, " clip ", clip), [=](const auto& b, auto& board) {
        const auto w = board.sum(n);
        const auto m = board.sum(n, 0.1);
        const auto v = board.positive(n, 0.01);
        b.adamw_step(w, m, v, board.vector(n), board.list(norms), board.list(segments),
                     AdamWStep{.learning_rate = 1e-2,
                               .weight_decay = 0.1,
                               .step = step,
                               .prototype_step = (step + 1) / 2,
                               .clip = clip});
      });
    }
    const MomentumStep step{.learning_rate = 0.1, .weight_decay = 0.05, .momentum = 0.9, .trust = 0.01, .clip = clip};
    visit(join("sgd_step clip ", clip), [=](const auto& b, auto& board) {
      const auto w = board.sum(n);
      const auto m = board.sum(n, 0.1);
      b.sgd_step(w, m, board.vector(n), board.list(norms), board.list(segments), step);
    });
    visit(join("lars_step clip ", clip), [=](const auto& b, auto& board) {
      const auto w = board.sum(n);
      const auto m = board.sum(n, 0.1);
      b.lars_step(w, m, board.vector(n), board.list(norms), board.list(segments), step);
    });
  }
  // With the teacher in the same pass, where the backend can; momentums on both sides of 1/2.
  for (const double momentum : {0.996, 0.25}) {
    const auto followed = [=](const auto& b, auto w, auto teacher, const auto& step) {
      if constexpr (requires { step(b, w, teacher, momentum); }) {
        step(b, w, teacher, momentum);
      } else {
        step(b, w);
        for (const Segment& s : segments) {
          const auto part = [&](auto flat) { return decltype(flat)(flat.data() + s.offset, s.size); };
          b.lerp(part(teacher), part(w), momentum);
        }
      }
    };
    const MomentumStep step{.learning_rate = 0.1, .weight_decay = 0.05, .momentum = 0.9, .trust = 0.01, .clip = 1.5};
    const auto name = [&](const char* what) { return join(what, " and a teacher of momentum ", momentum); };
    visit(name("adamw_step"), [=](const auto& b, auto& board) {
      const auto w = board.sum(n);
      const auto teacher = board.sum(n);
      const auto m = board.sum(n, 0.1);
      const auto v = board.positive(n, 0.01);
      const auto g = board.vector(n);
      const auto of = board.list(norms);
      const auto parts = board.list(segments);
      const AdamWStep adamw{.learning_rate = 1e-2, .weight_decay = 0.1, .step = 10, .prototype_step = 5, .clip = 1.5};
      followed(b, w, teacher, [&](const auto& backend, auto weights, auto... rest)
                                  -> decltype(backend.adamw_step(weights, m, v, g, of, parts, adamw, rest...)) {
        backend.adamw_step(weights, m, v, g, of, parts, adamw, rest...);
      });
    });
    visit(name("sgd_step"), [=](const auto& b, auto& board) {
      const auto w = board.sum(n);
      const auto teacher = board.sum(n);
      const auto m = board.sum(n, 0.1);
      const auto g = board.vector(n);
      const auto of = board.list(norms);
      const auto parts = board.list(segments);
      followed(b, w, teacher, [&](const auto& backend, auto weights, auto... rest)
                                  -> decltype(backend.sgd_step(weights, m, g, of, parts, step, rest...)) {
        backend.sgd_step(weights, m, g, of, parts, step, rest...);
      });
    });
    visit(name("lars_step"), [=](const auto& b, auto& board) {
      const auto w = board.sum(n);
      const auto teacher = board.sum(n);
      const auto m = board.sum(n, 0.1);
      const auto g = board.vector(n);
      const auto of = board.list(norms);
      const auto parts = board.list(segments);
      followed(b, w, teacher, [&](const auto& backend, auto weights, auto... rest)
                                  -> decltype(backend.lars_step(weights, m, g, of, parts, step, rest...)) {
        backend.lars_step(weights, m, g, of, parts, step, rest...);
      });
    });
  }
  visit("lars_step of zero weights", [=](const auto& b, auto& board) {
    const auto w = board.sum(n, 0.0);
    const auto m = board.sum(n, 0.1);
    b.lars_step(w, m, board.vector(n), board.list(norms), board.list(segments), MomentumStep{.learning_rate = 0.1});
  });
}

}  // namespace dssl::test
