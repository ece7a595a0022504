// A classifier of rows by many small trees, each learned on what those before it leave: for few rows of many numbers.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/loader.hpp>
#include <dssl/search/row_sample.hpp>

namespace dssl {

/// Numbers of the training.
struct BoostedTreesOptions {
  Index trees = 100;
  Index depth = 3;         ///< questions from a tree's root to a leaf
  Index bins = 64;         ///< parts of a column that questions lie between, of about as many rows each
  double shrinkage = 0.1;  ///< share of a tree's step that is taken
  double ridge = 1;        ///< added to a leaf's second derivative, of which a row at even odds has 1/4
  double least = 1;        ///< second derivative on either side of a question, at least
  double columns = 1;      ///< share of the columns that a tree may ask for, drawn for each
  std::uint64_t seed = 0;  ///< of that draw
  int threads = 0;         ///< 0: all

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (trees < 1 || trees > 100'000) throw OptionError("trees", trees, "1 to 100000");
    if (depth < 1 || depth > 12) throw OptionError("depth", depth, "1 to 12");
    if (bins < 2 || bins > 256) throw OptionError("bins", bins, "2 to 256");
    if (!(shrinkage > 0 && shrinkage <= 1)) throw OptionError("shrinkage", shrinkage, "above 0, up to 1");
    if (!(ridge > 0 && std::isfinite(ridge))) throw OptionError("ridge", ridge, "above 0");
    if (!(least >= 0 && std::isfinite(least))) throw OptionError("least", least, "0 or more");
    if (!(columns > 0 && columns <= 1)) throw OptionError("columns", columns, "above 0, up to 1");
    if (threads < 0) throw OptionError("threads", threads, "0 (all) or more");
  }
};

/// The numbers of trained trees, as a file holds them: T trees of depth D over rows of width W.
///
/// Node k of a tree (k = 0 its root) asks whether row[column(k)] <= threshold(k): yes goes on to node 2 k + 1, no to 2 k + 2; a
/// column of -1 asks nothing and says yes. Behind the last question the nodes 2^D - 1 .. 2^(D+1) - 2 are the leaves.
struct TreeNumbers {
  Index width = 0, depth = 0;
  double start = 0;                   ///< logit before any tree
  std::vector<std::int32_t> columns;  ///< (T, 2^D - 1)
  std::vector<float> thresholds;      ///< (T, 2^D - 1)
  std::vector<float> values;          ///< (T, 2^D): what a leaf adds to the logit

  [[nodiscard]] bool operator==(const TreeNumbers&) const = default;
};

/// Gradient-boosted trees with the logistic loss:
///
///   logit(x) = start + sum over trees of the value of the leaf that x falls in,   start = log(weight of ones / of zeros)
///   value = -shrinkage G / (H + ridge),   G = sum of w (p - y),  H = sum of w p (1 - p) over the leaf's rows
///
/// p: the chance by the trees before, w: weights, scaled to a mean of 1. A question is the one of largest
/// G_yes^2 / (H_yes + ridge) + G_no^2 / (H_no + ridge) - G^2 / (H + ridge), if that is above 0; of equal ones that of the lowest
/// column, then of the lowest threshold. Thresholds lie halfway between neighbouring values, at most `bins` - 1 a column (at
/// quantiles of its values where there are more of these). Every tree has `depth` levels.
///
/// Training: O(trees depth N W), N W bytes beside the rows. The same bits for any number of threads: each column is summed by
/// one, in order of rows. Source: Friedman, Annals of Statistics 2001; second order and ridge as Chen and Guestrin (XGBoost), KDD
/// 2016. Test: tests/defects/boosted_trees.cpp.
class BoostedTrees {
 public:
  /// The tree that was made, from 1 on, and the mean weighted loss with it; false makes it the last.
  using OnTree = std::function<bool(Index, double)>;

  /// Trains on rows (N,W) with labels (N) of 0 and 1 and weights (N) above 0, none: all alike. Throws `OptionError`,
  /// `ShapeError`, `NonFiniteError` naming the row; `DataError` where all labels are the same.
  [[nodiscard]] static BoostedTrees train(std::span<const float> rows, Index width, std::span<const std::uint8_t> labels,
                                          std::span<const double> weights, const BoostedTreesOptions& options,
                                          const OnTree& on_tree = {}) {
    options.validate();
    return BoostedTrees(x_Training(rows, width, labels, weights, options).run(on_tree));
  }

  /// Trees from a file. Throws `ShapeError` where the numbers do not fit together, `DataError` for a column that is none or a
  /// number that is not finite.
  explicit BoostedTrees(TreeNumbers numbers) : x_numbers(std::move(numbers)) {
    const TreeNumbers& n = x_numbers;
    require_shape(n.width >= 1 && n.depth >= 1 && n.depth <= 12, "trees of depth ", n.depth, " over rows of width ", n.width);
    const auto leaves = static_cast<std::size_t>(x_leaves());
    const std::size_t trees = n.values.size() / leaves;
    require_shape(n.values.size() == trees * leaves && n.columns.size() == trees * (leaves - 1) && n.thresholds.size() == n.columns.size(),
                  "trees of depth ", n.depth, " with ", n.values.size(), " leaves, ", n.columns.size(), " columns and ",
                  n.thresholds.size(), " thresholds");
    for (const std::int32_t column : n.columns) {
      if (column < -1 || column >= n.width) throw DataError(join("a tree asks for column ", column, "; expected -1 to ", n.width - 1));
    }
    const auto finite = [](const std::vector<float>& values) { return std::ranges::all_of(values, [](float v) { return std::isfinite(v); }); };
    if (!finite(n.thresholds) || !finite(n.values) || !std::isfinite(n.start)) throw DataError("a tree has a number that is not finite");
  }

  [[nodiscard]] const TreeNumbers& numbers() const { return x_numbers; }
  [[nodiscard]] Index width() const { return x_numbers.width; }
  [[nodiscard]] Index size() const { return static_cast<Index>(x_numbers.values.size()) / x_leaves(); }

  /// log(p / (1 - p)) of a row (W) being of the ones, by the first `trees` trees, or all. Throws `ShapeError`.
  [[nodiscard]] double logit(std::span<const float> row, Index trees = std::numeric_limits<Index>::max()) const {
    require_shape(static_cast<Index>(row.size()) == width(), "a row of ", row.size(), " values for trees over ", width());
    double sum = x_numbers.start;
    for (Index t = 0; t < std::min(trees, size()); ++t) sum += x_value(t, row);
    return sum;
  }

  /// out(t) = `logit(row, t)` for t = 0 .. out.size() - 1, which must not be more than `size()`. O(out.size()).
  void logits(std::span<double> out, std::span<const float> row) const {
    require_shape(static_cast<Index>(row.size()) == width() && static_cast<Index>(out.size()) <= size() + 1, out.size(),
                  " logits of a row of ", row.size(), " values by ", size(), " trees over ", width());
    double sum = x_numbers.start;
    for (std::size_t t = 0; t < out.size(); ++t) {
      out[t] = sum;
      if (t + 1 < out.size()) sum += x_value(static_cast<Index>(t), row);
    }
  }

  /// Leaves all but the first `trees`.
  void keep(Index trees) {
    const auto kept = static_cast<std::size_t>(std::clamp<Index>(trees, 0, size()));
    const auto leaves = static_cast<std::size_t>(x_leaves());
    x_numbers.columns.resize(kept * (leaves - 1));
    x_numbers.thresholds.resize(kept * (leaves - 1));
    x_numbers.values.resize(kept * leaves);
  }

 private:
  [[nodiscard]] Index x_leaves() const { return Index{1} << x_numbers.depth; }

  [[nodiscard]] double x_value(Index tree, std::span<const float> row) const {
    const auto inner = static_cast<std::size_t>(x_leaves() - 1);
    const std::size_t first = static_cast<std::size_t>(tree) * inner;
    std::size_t node = 0;
    while (node < inner) {
      const std::int32_t column = x_numbers.columns[first + node];
      const bool yes = column < 0 || row[static_cast<std::size_t>(column)] <= x_numbers.thresholds[first + node];
      node = 2 * node + (yes ? 1 : 2);
    }
    return static_cast<double>(x_numbers.values[static_cast<std::size_t>(tree) * (inner + 1) + node - inner]);
  }

  /// What training sums of the rows on one side.
  struct x_Sums {
    double g = 0, h = 0;
    x_Sums& operator+=(const x_Sums& o) {
      g += o.g;
      h += o.h;
      return *this;
    }
    [[nodiscard]] double worth(double ridge) const { return g * g / (h + ridge); }
  };

  /// The best question of a node so far.
  struct x_Question {
    double gain = 0;
    std::int32_t column = -1;
    std::size_t bin = 0;  ///< its rows up to this one say yes
  };

  class x_Training {
   public:
    x_Training(std::span<const float> rows, Index width, std::span<const std::uint8_t> labels, std::span<const double> weights,
               const BoostedTreesOptions& options)
        : x_options(options), x_width(static_cast<std::size_t>(width)), x_labels(labels) {
      require_shape(width >= 1 && rows.size() == labels.size() * x_width && (weights.empty() || weights.size() == labels.size()),
                    "training trees on ", rows.size(), " values of width ", width, " with ", labels.size(), " labels and ",
                    weights.size(), " weights");
      x_weigh(weights);
      x_bins.resize(x_width * x_count());
      x_cuts.resize(x_width);
      x_for_columns(x_all_columns(), [&](std::size_t d) {
        x_cut(d, rows);
        return 0;
      }, [](int) {});
    }

    [[nodiscard]] TreeNumbers run(const OnTree& on_tree) {
      TreeNumbers out{.width = static_cast<Index>(x_width), .depth = x_options.depth, .start = x_start, .columns = {}, .thresholds = {}, .values = {}};
      std::vector<double> logits(x_count(), x_start);
      x_derivatives.resize(x_count());
      for (Index t = 0; t < x_options.trees; ++t) {
        for (std::size_t i = 0; i < x_count(); ++i) {
          const double p = 1 / (1 + std::exp(-logits[i]));
          x_derivatives[i] = {x_weights[i] * (p - x_labels[i]), x_weights[i] * p * (1 - p)};
        }
        x_grow(out, t);
        const std::size_t leaves = x_leaves();
        double loss = 0;
        for (std::size_t i = 0; i < x_count(); ++i) {
          logits[i] += static_cast<double>(out.values[static_cast<std::size_t>(t) * leaves + x_nodes[i]]);
          // log(1 + exp(-z)) of z = logit of what the label says, without overflow.
          const double z = x_labels[i] != 0 ? logits[i] : -logits[i];
          loss += x_weights[i] * (std::max(-z, 0.0) + std::log1p(std::exp(-std::abs(z))));
        }
        if (on_tree && !on_tree(t + 1, loss / static_cast<double>(x_count()))) break;
      }
      return out;
    }

   private:
    [[nodiscard]] std::size_t x_count() const { return x_labels.size(); }
    [[nodiscard]] std::size_t x_leaves() const { return std::size_t{1} << x_options.depth; }

    void x_weigh(std::span<const double> weights) {
      double all = 0, ones = 0;
      for (std::size_t i = 0; i < x_count(); ++i) {
        const double own = weights.empty() ? 1.0 : weights[i];
        if (!(own > 0 && std::isfinite(own))) throw DataError(join("row ", i, " has the weight ", own, "; expected one above 0"));
        if (x_labels[i] > 1) throw DataError(join("row ", i, " has the label ", static_cast<int>(x_labels[i]), "; expected 0 or 1"));
        x_weights.push_back(own);
        all += own;
        ones += x_labels[i] != 0 ? own : 0.0;
      }
      if (!(ones > 0 && ones < all)) throw DataError(join("all ", x_count(), " labels to train trees on are the same; expected zeros and ones"));
      x_start = std::log(ones / (all - ones));
      for (double& own : x_weights) own *= static_cast<double>(x_count()) / all;
    }

    /// Thresholds of a column, and the part of it that each row lies in.
    void x_cut(std::size_t d, std::span<const float> rows) {
      std::vector<float> sorted(x_count());
      for (std::size_t i = 0; i < x_count(); ++i) {
        sorted[i] = rows[i * x_width + d];
        if (!std::isfinite(sorted[i])) throw NonFiniteError(join("row ", i, " to train trees on has ", sorted[i], " in column ", d, "; expected finite numbers"));
      }
      std::ranges::sort(sorted);
      std::vector<float>& cuts = x_cuts[d];
      const auto cut_below = [&](std::size_t at) {  // between sorted[at] and what is less
        if (at == 0) return;
        const float low = sorted[at - 1], middle = low + (sorted[at] - low) / 2;
        cuts.push_back(middle < sorted[at] ? middle : low);
      };
      std::size_t distinct = 1;
      for (std::size_t i = 1; i < x_count(); ++i) distinct += sorted[i] > sorted[i - 1] ? 1 : 0;
      const auto bins = static_cast<std::size_t>(x_options.bins);
      if (distinct <= bins) {
        for (std::size_t i = 1; i < x_count(); ++i) {
          if (sorted[i] > sorted[i - 1]) cut_below(i);
        }
      } else {
        for (std::size_t b = 1; b < bins; ++b) {
          const auto at = static_cast<std::size_t>(std::ranges::lower_bound(sorted, sorted[b * x_count() / bins]) - sorted.begin());
          if (at > 0 && (cuts.empty() || sorted[at - 1] > cuts.back())) cut_below(at);
        }
      }
      for (std::size_t i = 0; i < x_count(); ++i) {
        x_bins[d * x_count() + i] =
            static_cast<std::uint8_t>(std::ranges::lower_bound(cuts, rows[i * x_width + d]) - cuts.begin());
      }
    }

    /// `each(column)` on the workers, `then(its result)` here in the columns' order.
    template <class Each, class Then>
    void x_for_columns(const std::vector<std::int32_t>& columns, const Each& each, const Then& then) const {
      using Result = decltype(each(std::size_t{0}));
      constexpr Index together = 4;  // columns a task: shorter ones cost more to hand out than they take
      const auto count = static_cast<Index>(columns.size());
      OrderedLoader<std::vector<Result>> loader(
          (count + together - 1) / together,
          [&](Index task) {
            std::vector<Result> out;
            for (Index c = task * together; c < std::min(count, (task + 1) * together); ++c)
              out.push_back(each(static_cast<std::size_t>(columns[static_cast<std::size_t>(c)])));
            return std::optional(std::move(out));
          },
          {.prefetch = std::max<Index>(1, count), .threads = x_options.threads});
      while (auto results = loader.next()) {
        for (Result& result : *results) then(std::move(result));
      }
    }

    [[nodiscard]] std::vector<std::int32_t> x_all_columns() const {
      return sample_rows(static_cast<Index>(x_width), static_cast<Index>(x_width), {});
    }

    /// Adds a tree by the derivatives; `x_nodes` are then the leaves that rows fall in.
    void x_grow(TreeNumbers& out, Index tree) {
      const auto some = static_cast<Index>(std::ceil(x_options.columns * static_cast<double>(x_width)));
      const std::vector<std::int32_t> columns =
          sample_rows(static_cast<Index>(x_width), some,
                      {.seed = x_options.seed, .sample = static_cast<std::uint64_t>(tree), .view = 14, .purpose = Purpose::probe});
      x_nodes.assign(x_count(), 0);
      for (Index level = 0; level < x_options.depth; ++level) {
        const std::size_t nodes = std::size_t{1} << level;
        std::vector<x_Sums> whole(nodes);
        for (std::size_t i = 0; i < x_count(); ++i) whole[x_nodes[i]] += x_derivatives[i];
        std::vector<x_Question> best(nodes);
        x_for_columns(columns, [&](std::size_t d) { return x_questions(d, whole); },
                      [&](std::vector<x_Question>&& own) {
                        for (std::size_t n = 0; n < nodes; ++n) {
                          if (own[n].gain > best[n].gain) best[n] = own[n];
                        }
                      });
        for (const x_Question& asked : best) {
          out.columns.push_back(asked.column);
          out.thresholds.push_back(asked.column < 0 ? 0.0F : x_cuts[static_cast<std::size_t>(asked.column)][asked.bin]);
        }
        for (std::size_t i = 0; i < x_count(); ++i) {
          const x_Question& asked = best[x_nodes[i]];
          const bool yes = asked.column < 0 || x_bins[static_cast<std::size_t>(asked.column) * x_count() + i] <= asked.bin;
          x_nodes[i] = static_cast<std::uint16_t>(2 * x_nodes[i] + (yes ? 0 : 1));
        }
      }
      std::vector<x_Sums> leaves(x_leaves());
      for (std::size_t i = 0; i < x_count(); ++i) leaves[x_nodes[i]] += x_derivatives[i];
      for (const x_Sums& leaf : leaves) out.values.push_back(static_cast<float>(-x_options.shrinkage * leaf.g / (leaf.h + x_options.ridge)));
    }

    /// Of a column: the best question of each node.
    [[nodiscard]] std::vector<x_Question> x_questions(std::size_t d, const std::vector<x_Sums>& whole) const {
      const std::size_t parts = x_cuts[d].size() + 1;
      std::vector<x_Sums> sums(whole.size() * parts);
      const std::uint8_t* const bins = x_bins.data() + d * x_count();
      for (std::size_t i = 0; i < x_count(); ++i) sums[x_nodes[i] * parts + bins[i]] += x_derivatives[i];
      std::vector<x_Question> out(whole.size());
      for (std::size_t n = 0; n < whole.size(); ++n) {
        x_Sums yes;
        for (std::size_t b = 0; b + 1 < parts; ++b) {
          yes += sums[n * parts + b];
          const x_Sums no{whole[n].g - yes.g, whole[n].h - yes.h};
          if (yes.h < x_options.least || no.h < x_options.least) continue;
          const double gain = yes.worth(x_options.ridge) + no.worth(x_options.ridge) - whole[n].worth(x_options.ridge);
          if (gain > out[n].gain) out[n] = {gain, static_cast<std::int32_t>(d), b};
        }
      }
      return out;
    }

    const BoostedTreesOptions& x_options;
    std::size_t x_width;
    std::span<const std::uint8_t> x_labels;
    std::vector<double> x_weights;
    double x_start = 0;
    std::vector<std::uint8_t> x_bins;         // (W,N)
    std::vector<std::vector<float>> x_cuts;   // (W), ascending
    std::vector<x_Sums> x_derivatives;        // (N)
    std::vector<std::uint16_t> x_nodes;       // (N): in its level
  };

  TreeNumbers x_numbers;
};

}  // namespace dssl
