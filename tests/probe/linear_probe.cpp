// The linear probe for classification against a slow loop, one classifier alone, and classes that can be told
// apart.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numbers>
#include <random>
#include <span>
#include <stop_token>
#include <vector>

#include <dssl/backend/reference.hpp>
#if __has_include(<dssl/backend/cpu.hpp>)
#include <dssl/backend/cpu.hpp>
#endif
#include <dssl/probe/linear_probe.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

constexpr Index width = 5, classes = 3, samples = 23;

template <class T>
struct Samples {
  std::vector<T> features;
  std::vector<std::int64_t> labels;
  [[nodiscard]] MatrixView<const T> rows() const {
    return MatrixView<const T>(features.data(), static_cast<Index>(labels.size()), width);
  }
};

/// Points around a centre for each class, with a common part as of an untrained backbone.
template <class T>
Samples<T> make(Index count, unsigned seed, double spread) {
  std::mt19937 random(seed);
  std::normal_distribution<double> normal;
  Samples<T> out;
  for (Index i = 0; i < count; ++i) {
    out.labels.push_back(i % classes);
    for (Index d = 0; d < width; ++d) {
      const double centre = d == i % classes ? 1.0 : 0.0;
      out.features.push_back(static_cast<T>(3 + centre + spread * normal(random)));
    }
  }
  return out;
}

/// Weights (C,D) and biases (C) of SGD written out, in double, in the order of batches that the probe draws.
std::vector<double> slow(const Samples<double>& data, const LinearProbeOptions& o, double rate) {
  std::vector<double> w(classes * width), b(classes), wm(w.size()), bm(b.size());
  RandomStream random({.seed = o.seed, .purpose = Purpose::probe});
  for (double& v : w) v = 0.01 * random.normal();
  const auto n = static_cast<Index>(data.labels.size());
  const Index steps = o.epochs * ((n + o.batch - 1) / o.batch);
  Index step = 0;
  for (Index epoch = 0; epoch < o.epochs; ++epoch) {
    const auto order = shuffled(
        n,
        {.seed = o.seed, .epoch = static_cast<std::uint32_t>(epoch), .view = 8, .purpose = Purpose::probe});
    for (Index first = 0; first < n; first += o.batch) {
      const Index last = std::min(n, first + o.batch);
      std::vector<double> dw(w.size()), db(b.size());
      for (Index s = first; s < last; ++s) {
        const auto i = static_cast<std::size_t>(order[static_cast<std::size_t>(s)]);
        double logits[classes], sum = 0;
        for (std::size_t c = 0; c < classes; ++c) {
          logits[c] = b[c];
          for (std::size_t d = 0; d < width; ++d)
            logits[c] += w[c * width + d] * data.features[i * width + d];
        }
        for (const double l : logits) sum += std::exp(l);
        for (std::size_t c = 0; c < classes; ++c) {
          const double own = data.labels[i] == static_cast<std::int64_t>(c) ? 1.0 : 0.0;
          const double d_logit = (std::exp(logits[c]) / sum - own) / static_cast<double>(last - first);
          db[c] += d_logit;
          for (std::size_t d = 0; d < width; ++d) dw[c * width + d] += d_logit * data.features[i * width + d];
        }
      }
      const double now =
          rate * static_cast<double>(o.batch) / 256 * 0.5 *
          (1 + std::cos(std::numbers::pi * static_cast<double>(step++) / static_cast<double>(steps)));
      const auto update = [&](std::vector<double>& x, std::vector<double>& m, const std::vector<double>& g) {
        for (std::size_t i = 0; i < x.size(); ++i) {
          m[i] = o.momentum * m[i] + g[i] + o.weight_decay * x[i];
          x[i] -= now * m[i];
        }
      };
      update(w, wm, dw);
      update(b, bm, db);
    }
  }
  w.insert(w.end(), b.begin(), b.end());
  return w;
}

template <class T, Backend B>
std::vector<double> weights_of(const LinearProbe<B>& probe, Index g) {
  std::vector<T> weight(classes * width), bias(classes);
  probe.get_weights(weight, bias, g);
  std::vector<double> out(weight.begin(), weight.end());
  out.insert(out.end(), bias.begin(), bias.end());
  return out;
}

const LinearProbeOptions options{.width = width,
                                 .classes = classes,
                                 .learning_rates = {0.05, 3.0},
                                 .epochs = 7,
                                 .batch = 10,
                                 .weight_decay = 0.01,
                                 .seed = 5};

}  // namespace

TEST_CASE("the linear probe takes the steps of plain SGD, for every rate of the grid") {
  const auto data = make<double>(samples, 1, 0.3);
  LinearProbe<Reference<double>> probe(Reference<double>(), options);
  std::vector<double> first, last;
  probe.on_epoch = [&](Index epoch, std::span<const double> losses) {
    (epoch == 0 ? first : last).assign(losses.begin(), losses.end());
  };
  probe.train(data.rows(), data.labels);
  for (const Index g : {0, 1}) {
    const auto expected = slow(data, options, options.learning_rates[static_cast<std::size_t>(g)]);
    const auto found = weights_of<double>(probe, g);
    for (std::size_t i = 0; i < expected.size(); ++i)
      CHECK(found[i] == Approx(expected[i]).epsilon(1e-9).margin(1e-12));
    CHECK(last[static_cast<std::size_t>(g)] < first[static_cast<std::size_t>(g)]);

    // Alone it is the same.
    auto alone = options;
    alone.learning_rates = {options.learning_rates[static_cast<std::size_t>(g)]};
    LinearProbe<Reference<double>> single(Reference<double>(), alone);
    single.train(data.rows(), data.labels);
    CHECK(weights_of<double>(single, 0) == found);
  }
  // Training again begins anew.
  const auto once = weights_of<double>(probe, 1);
  probe.train(data.rows(), data.labels);
  CHECK(weights_of<double>(probe, 1) == once);
#if __has_include(<dssl/backend/cpu.hpp>)
  const auto singles = make<float>(samples, 1, 0.3);
  std::vector<std::vector<double>> found;
  for (const int threads : {1, 2}) {
    LinearProbe<Cpu> fast(Cpu({.threads = threads}), options);
    fast.train(singles.rows(), singles.labels);
    found.push_back(weights_of<float>(fast, 1));
    for (std::size_t i = 0; i < once.size(); ++i)
      CHECK(found.back()[i] == Approx(once[i]).epsilon(1e-3).margin(1e-4));
  }
  CHECK(found[0] == found[1]);
#endif
}

TEST_CASE("the linear probe tells classes apart; standardised, it stays linear in the features") {
  const auto train = make<double>(300, 2, 0.25);
  const auto test = make<double>(150, 3, 0.25);
  for (const bool standardise : {false, true}) {
    LinearProbe<Reference<double>> probe(Reference<double>(), {.width = width,
                                                               .classes = classes,
                                                               .learning_rates = {1e-4, 0.5},
                                                               .epochs = 30,
                                                               .batch = 64,
                                                               .standardise = standardise});
    probe.train(train.rows(), train.labels);
    const auto accuracies = probe.accuracies(test.rows(), test.labels);
    CHECK(accuracies[1] > 0.95);
    CHECK(accuracies[0] < accuracies[1]);
    const auto predicted = probe.predict(test.rows(), 1);
    double right = 0;
    for (std::size_t i = 0; i < predicted.size(); ++i) right += predicted[i] == test.labels[i] ? 1 : 0;
    CHECK(right / 150 == Approx(accuracies[1]));
    const auto weights = weights_of<double>(probe, 1);
    for (std::size_t i = 0; i < 150; ++i) {
      double best = -1e300;
      std::int64_t at = -1;
      for (std::size_t c = 0; c < classes; ++c) {
        double logit = weights[classes * width + c];
        for (std::size_t d = 0; d < width; ++d)
          logit += weights[c * width + d] * test.features[i * width + d];
        if (logit > best) {
          best = logit;
          at = static_cast<std::int64_t>(c);
        }
      }
      CHECK(at == predicted[i]);
    }
  }
}

TEST_CASE("a rate that diverges spoils no other; a probe says what is wrong with its use") {
  const auto data = make<double>(samples, 1, 0.3);
  auto wild = options;
  wild.learning_rates = {0.05, 1e200, 3.0};
  LinearProbe<Reference<double>> probe(Reference<double>(), wild);
  probe.train(data.rows(), data.labels);
  const auto accuracies = probe.accuracies(data.rows(), data.labels);
  CHECK(std::isnan(accuracies[1]));
  LinearProbe<Reference<double>> calm(Reference<double>(), options);
  calm.train(data.rows(), data.labels);
  CHECK(weights_of<double>(probe, 0) == weights_of<double>(calm, 0));
  CHECK(weights_of<double>(probe, 2) == weights_of<double>(calm, 1));

  std::stop_source stop;
  stop.request_stop();
  Index epochs = 0;
  calm.on_epoch = [&](Index, std::span<const double>) { ++epochs; };
  calm.train(data.rows(), data.labels, stop.get_token());
  CHECK(epochs == 0);

  auto labels = data.labels;
  labels[3] = classes;
  CHECK(contains(thrown_by<OptionError>([&] { calm.train(data.rows(), labels); }),
                 "'label' is 3; expected 0 to 2"));
  labels.pop_back();
  CHECK(contains(thrown_by<ShapeError>([&] { calm.train(data.rows(), labels); }), "22 labels"));
  const auto made = [](auto change) {
    auto wrong = options;
    change(wrong);
    return thrown_by<OptionError>([&] { LinearProbe<Reference<double>>(Reference<double>(), wrong); });
  };
  CHECK(contains(made([](auto& o) { o.classes = 1; }), "'classes' is 1"));
  CHECK(contains(made([](auto& o) { o.learning_rates = {0.1, 0}; }), "'learning_rates' is 0"));
  CHECK(contains(made([](auto& o) { o.learning_rates.clear(); }), "'learning_rates' is empty"));
  CHECK(contains(made([](auto& o) { o.epochs = 0; }), "'epochs' is 0"));
}
