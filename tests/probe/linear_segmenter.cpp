// The linear segmenter against the reference numbers, and the identity it rests on.
#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include <dssl/backend/reference.hpp>
#if __has_include(<dssl/backend/cpu.hpp>)
#include <dssl/backend/cpu.hpp>
#endif
#include <dssl/io/safetensors.hpp>
#include <dssl/metrics/confusion.hpp>
#include <dssl/probe/linear_segmenter.hpp>

#include "compare.hpp"
#include "fixtures.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// (n,D,h,w) -> (n,h*w,D).
template <class T>
std::vector<T> tokens_last(const std::vector<T>& x, Index n, Index width, Index cells) {
  std::vector<T> out(x.size());
  for (Index i = 0; i < n; ++i) {
    for (Index d = 0; d < width; ++d) {
      for (Index p = 0; p < cells; ++p) {
        out[static_cast<std::size_t>((i * cells + p) * width + d)] =
            x[static_cast<std::size_t>((i * width + d) * cells + p)];
      }
    }
  }
  return out;
}

struct ProbeCase {
  ProbeCase()
      : file(SafetensorsFile::open(fixture_path("evaluation.safetensors"))),
        config(FixtureConfig(file).section("probe")),
        images(file.shape("probe.features")[0]),
        width(file.shape("probe.features")[1]),
        grid{config.get<Index>("grid"), config.get<Index>("grid")},
        mask(config.get<Index>("mask")),
        eval(config.get<Index>("eval")),
        classes(config.get<Index>("classes")),
        rate(config.get<double>("lr")),
        labels(file.read<std::uint8_t>("probe.labels")) {}

  template <class T>
  [[nodiscard]] std::vector<T> features() const {
    return tokens_last(file.read<T>("probe.features"), images, width, grid.size());
  }
  [[nodiscard]] LinearSegmenterOptions options() const {
    return {.width = width,
            .classes = classes,
            .grid = grid,
            .label_height = mask,
            .label_width = mask,
            .momentum = config.get<double>("momentum"),
            .weight_decay = config.get<double>("weight_decay")};
  }
  [[nodiscard]] std::span<const std::uint8_t> labels_of(Index i) const {
    return std::span(labels).subspan(static_cast<std::size_t>(i * mask * mask),
                                     static_cast<std::size_t>(mask * mask));
  }

  SafetensorsFile file;
  FixtureConfig config;
  Index images, width;
  GridSize grid;
  Index mask, eval, classes;
  double rate;
  std::vector<std::uint8_t> labels;
};

/// Pixels whose two largest logits are closer than rounding: either class is right there.
std::vector<bool> near_ties(const ProbeCase& c, const std::vector<double>& weight,
                            const std::vector<double>& bias) {
  const auto features = c.features<double>();
  const auto taps = bilinear_taps<double>(c.eval, c.eval, c.grid);
  std::vector<bool> out;
  for (Index i = 0; i < c.images; ++i) {
    for (const auto& tap : taps) {
      std::vector<double> logits;
      for (Index k = 0; k < c.classes; ++k) {
        double logit = bias[static_cast<std::size_t>(k)];
        for (std::size_t t = 0; t < 4; ++t) {
          for (Index d = 0; d < c.width; ++d) {
            logit += tap.weight[t] * weight[static_cast<std::size_t>(k * c.width + d)] *
                     features[static_cast<std::size_t>((i * c.grid.size() + tap.row[t]) * c.width + d)];
          }
        }
        logits.push_back(logit);
      }
      std::nth_element(logits.begin(), logits.begin() + 1, logits.end(), std::greater<>());
      out.push_back(logits[0] - logits[1] < 1e-5);
    }
  }
  return out;
}

template <Backend B>
void check(const B& backend) {
  using T = typename B::Scalar;
  INFO(backend.describe());
  const ProbeCase c;
  const auto features = c.features<T>();
  const auto map = [&](Index i) {
    return MatrixView<const T>(features.data() + i * c.grid.size() * c.width, c.grid.size(), c.width);
  };
  LinearSegmenter<B> segmenter(backend, c.options());
  const auto weight = c.file.read<T>("probe.weight");
  const auto bias = c.file.read<T>("probe.bias");
  segmenter.set_weights(weight, bias);

  const auto expected_losses = c.file.read<double>("probe.losses");
  std::vector<double> losses;
  for (std::size_t step = 0; step < expected_losses.size(); ++step) {
    for (Index i = 0; i < c.images; ++i) segmenter.accumulate(map(i), c.labels_of(i));
    losses.push_back(segmenter.update(c.rate));
  }
  CHECK(relative_difference<double, double>(losses, expected_losses) < 1e-5);
  std::vector<T> weight_after(weight.size());
  std::vector<T> bias_after(bias.size());
  segmenter.get_weights(weight_after, bias_after);
  const auto expected_weight = c.file.read<double>("probe.weight_after");
  const auto expected_bias = c.file.read<double>("probe.bias_after");
  CHECK(relative_difference<T, double>(weight_after, expected_weight) < 1e-5);
  CHECK(relative_difference<T, double>(bias_after, expected_bias) < 1e-5);

  const auto expected = c.file.read<std::uint8_t>("probe.predictions");
  const auto ties = near_ties(c, expected_weight, expected_bias);
  const auto each = static_cast<std::size_t>(c.eval * c.eval);
  std::vector<std::uint8_t> predicted(expected.size());
  Index wrong = 0;
  for (Index i = 0; i < c.images; ++i) {
    segmenter.predict(std::span(predicted).subspan(static_cast<std::size_t>(i) * each, each), map(i), c.eval,
                      c.eval);
  }
  for (std::size_t i = 0; i < expected.size(); ++i) wrong += predicted[i] != expected[i] && !ties[i] ? 1 : 0;
  CHECK(wrong == 0);
}

}  // namespace

TEST_CASE("the linear segmenter gives the published losses, weights and predictions") {
  check(Reference<double>());
  check(Reference<float>());
#if __has_include(<dssl/backend/cpu.hpp>)
  check(Cpu({.threads = 1}));
  check(Cpu({.threads = 2}));
#endif
}

TEST_CASE("confusion and IoU of the published predictions") {
  const ProbeCase c;
  const auto predictions = c.file.read<std::uint8_t>("probe.predictions");
  // The masks at the size of the evaluation, nearest: output i reads floor(i * in / out).
  std::vector<std::uint8_t> truth;
  for (Index i = 0; i < c.images; ++i) {
    for (Index y = 0; y < c.eval; ++y) {
      for (Index x = 0; x < c.eval; ++x) {
        truth.push_back(
            c.labels_of(i)[static_cast<std::size_t>(y * c.mask / c.eval * c.mask + x * c.mask / c.eval)]);
      }
    }
  }
  ConfusionMatrix confusion(c.classes);
  confusion.add(std::span<const std::uint8_t>(truth), std::span<const std::uint8_t>(predictions));
  const auto expected = c.file.read<std::int64_t>("probe.confusion");
  CHECK(std::vector<std::int64_t>(confusion.counts().begin(), confusion.counts().end()) == expected);
  const auto iou = c.file.read<double>("probe.iou");
  CHECK(relative_difference<double, double>(confusion.scores().iou, iou) < 1e-6);
}

TEST_CASE("enlarging logits is enlarging features") {
  const ProbeCase c;
  const Reference<double> backend;
  const auto features = c.features<double>();
  LinearSegmenter<Reference<double>> on_logits(backend, c.options());
  auto options = c.options();
  options.grid = {c.mask, c.mask};
  LinearSegmenter<Reference<double>> on_features(backend, options);
  const auto weight = c.file.read<double>("probe.weight");
  const auto bias = c.file.read<double>("probe.bias");
  on_logits.set_weights(weight, bias);
  on_features.set_weights(weight, bias);
  const auto taps = bilinear_taps<double>(c.mask, c.mask, c.grid);
  std::vector<double> enlarged(static_cast<std::size_t>(c.mask * c.mask * c.width));
  for (int step = 0; step < 3; ++step) {
    for (Index i = 0; i < c.images; ++i) {
      const MatrixView<const double> map(features.data() + i * c.grid.size() * c.width, c.grid.size(),
                                         c.width);
      const MatrixView<double> large(enlarged.data(), c.mask * c.mask, c.width);
      backend.sample_rows_forward(large, map, VectorView<const Taps<double>>(taps.data(), large.rows()));
      on_logits.accumulate(map, c.labels_of(i));
      on_features.accumulate(large, c.labels_of(i));
    }
    CHECK(on_logits.update(c.rate) == Approx(on_features.update(c.rate)).epsilon(1e-12));
  }
  std::vector<double> w1(weight.size()), w2(weight.size()), b1(bias.size()), b2(bias.size());
  on_logits.get_weights(w1, b1);
  on_features.get_weights(w2, b2);
  CHECK(relative_difference<double, double>(w1, w2) < 1e-11);
  CHECK(relative_difference<double, double>(b1, b2) < 1e-11);
}

TEST_CASE("a batch without labelled pixels changes nothing") {
  const ProbeCase c;
  const auto features = c.features<double>();
  LinearSegmenter<Reference<double>> segmenter(Reference<double>(), c.options());
  std::vector<double> before(static_cast<std::size_t>(c.classes * c.width)),
      bias(static_cast<std::size_t>(c.classes));
  segmenter.get_weights(before, bias);
  const std::vector<std::uint8_t> ignored(static_cast<std::size_t>(c.mask * c.mask), ClassMap::ignored);
  segmenter.accumulate(MatrixView<const double>(features.data(), c.grid.size(), c.width), ignored);
  CHECK(segmenter.update(c.rate) == 0);
  auto after = before;
  segmenter.get_weights(after, bias);
  CHECK(after == before);
}

TEST_CASE("absent classes are left out of the mean, or count zero as published") {
  ConfusionMatrix confusion(3);
  const std::array<int, 6> truth{0, 0, 1, 1, 255, -1};
  const std::array<int, 6> predicted{0, 1, 1, 1, 2, 2};
  confusion.add(std::span<const int>(truth), std::span<const int>(predicted));
  const auto excluded = confusion.scores();
  CHECK(excluded.iou[0] == Approx(1.0 / 2));
  CHECK(excluded.iou[1] == Approx(2.0 / 3));
  CHECK(std::isnan(excluded.iou[2]));
  CHECK(excluded.absent == 1);
  CHECK(excluded.mean_iou == Approx((1.0 / 2 + 2.0 / 3) / 2));
  CHECK(excluded.pixel_accuracy == Approx(3.0 / 4));
  const auto published = confusion.scores(AbsentClasses::zero);
  CHECK(published.iou[2] == 0);
  CHECK(published.mean_iou == Approx((1.0 / 2 + 2.0 / 3) / 3));
  CHECK(std::isnan(ConfusionMatrix(2).scores().mean_iou));
  CHECK(thrown_by<ShapeError>([&] {
          confusion.add(std::span<const int>(truth), std::span<const int>(predicted).first(2));
        }).find("6 true and 2") != std::string::npos);
}

TEST_CASE("a segmenter's options are checked by name") {
  const auto refused = [](LinearSegmenterOptions options) {
    return thrown_by<OptionError>([&] { LinearSegmenter<Reference<double>>(Reference<double>(), options); });
  };
  const LinearSegmenterOptions good{
      .width = 4, .classes = 2, .grid = {2, 2}, .label_height = 3, .label_width = 3};
  auto bad = good;
  bad.classes = 256;
  CHECK(contains(refused(bad), "'classes' is 256"));
  bad = good;
  bad.grid.width = 0;
  CHECK(contains(refused(bad), "'grid' is 2 x 0"));
}
