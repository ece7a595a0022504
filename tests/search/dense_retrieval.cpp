// Labels by retrieval against the formula written out, and the labels and samples of patches by hand.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <random>
#include <span>
#include <vector>

#include <dssl/backend/reference.hpp>
#if __has_include(<dssl/backend/cpu.hpp>)
#include <dssl/backend/cpu.hpp>
#endif
#include <dssl/features/bilinear.hpp>
#include <dssl/search/dense_retrieval.hpp>
#include <dssl/search/patch_labels.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

template <Backend B>
void check(const B& backend) {
  using T = typename B::Scalar;
  INFO(backend.describe());
  constexpr Index width = 5;
  constexpr Index classes = 3;
  constexpr Index bank = 40;
  constexpr Index count = 9;
  std::mt19937 random(3);
  std::normal_distribution<double> normal;
  std::vector<T> keys(bank * width);
  std::vector<T> queries(count * width);
  std::vector<float> values(bank * classes);
  for (T& v : keys) v = static_cast<T>(normal(random));
  for (T& v : queries) v = static_cast<T>(normal(random));
  for (float& v : values) v = static_cast<float>(random() % 5) / 4.0F;
  for (const Index neighbours : {1, 7, 60}) {
    DenseRetrieval<B> retrieval(backend, {.width = width,
                                          .classes = classes,
                                          .memory = 64,
                                          .neighbours = neighbours,
                                          .temperature = 0.1,
                                          .queries = 4,
                                          .block = 16});
    retrieval.add(MatrixView<const T>(keys.data(), 11, width),
                  MatrixView<const float>(values.data(), 11, classes));
    retrieval.add(MatrixView<const T>(keys.data() + 11 * width, bank - 11, width),
                  MatrixView<const float>(values.data() + 11 * classes, bank - 11, classes));
    std::vector<float> out(count * classes);
    retrieval.predict(MatrixView<float>(out.data(), count, classes),
                      MatrixView<const T>(queries.data(), count, width));
    for (Index q = 0; q < count; ++q) {
      std::vector<double> cosine;
      for (Index i = 0; i < bank; ++i) {
        double dot = 0;
        double x2 = 0;
        double y2 = 0;
        for (Index d = 0; d < width; ++d) {
          const auto x = static_cast<double>(queries[static_cast<std::size_t>(q * width + d)]);
          const auto y = static_cast<double>(keys[static_cast<std::size_t>(i * width + d)]);
          dot += x * y;
          x2 += x * x;
          y2 += y * y;
        }
        cosine.push_back(dot / std::sqrt(x2 * y2));
      }
      std::vector<std::size_t> order(bank);
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::sort(order.begin(), order.end(),
                [&](std::size_t a, std::size_t b) { return cosine[a] > cosine[b]; });
      order.resize(static_cast<std::size_t>(std::min<Index>(neighbours, bank)));
      double total = 0;
      std::vector<double> expected(classes, 0.0);
      for (const std::size_t i : order) {
        total += std::exp(cosine[i] / 0.1);
        for (std::size_t c = 0; c < classes; ++c)
          expected[c] += std::exp(cosine[i] / 0.1) * static_cast<double>(values[i * classes + c]);
      }
      for (std::size_t c = 0; c < classes; ++c)
        CHECK(out[static_cast<std::size_t>(q) * classes + c] == Approx(expected[c] / total).margin(2e-6));
    }
  }
}

}  // namespace

TEST_CASE("retrieval gives the softmax of the nearest cosines over their labels") {
  check(Reference<double>());
  check(Reference<float>());
#if __has_include(<dssl/backend/cpu.hpp>)
  check(Cpu({.threads = 2}));
#endif
}

TEST_CASE("retrieval without a bank, or with labels that do not fit, says so") {
  DenseRetrieval<Reference<double>> retrieval(Reference<double>(), {.width = 2, .classes = 2, .memory = 4});
  std::vector<double> keys{1, 2};
  std::vector<float> values{1, 0, 0};
  CHECK(contains(thrown_by<DataError>([&] {
                   retrieval.predict(MatrixView<float>(values.data(), 1, 2),
                                     MatrixView<const double>(keys.data(), 1, 2));
                 }),
                 "holds no labelled patch"));
  CHECK(contains(thrown_by<ShapeError>([&] {
                   retrieval.add(MatrixView<const double>(keys.data(), 1, 2),
                                 MatrixView<const float>(values.data(), 1, 3));
                 }),
                 "expected 2 classes"));
  CHECK(contains(thrown_by<OptionError>([] {
                   DenseRetrieval<Reference<double>>(
                       Reference<double>(), {.width = 2, .classes = 2, .memory = 4, .temperature = 0});
                 }),
                 "'temperature' is 0"));
}

TEST_CASE("the labels of a patch are the shares of its labelled pixels") {
  constexpr std::uint8_t none = 255;
  const std::vector<std::uint8_t> labels{0,    0,    1, 1,     //
                                         0,    2,    1, none,  //
                                         none, none, 2, 2,     //
                                         none, 9,    2, 0};
  std::vector<float> shares(4 * 3, 7.0F);
  CHECK(patch_label_shares(MatrixView<float>(shares.data(), 4, 3), labels, 4, 4, {2, 2}) == 3);
  CHECK(shares == std::vector<float>{0.75F, 0, 0.25F, 0, 1, 0, 0, 0, 0, 0.25F, 0, 0.75F});
  // Labels that the grid does not divide: rows 0 | 1-2 of three.
  std::vector<float> two(2 * 3);
  CHECK(patch_label_shares(MatrixView<float>(two.data(), 2, 3), std::vector<std::uint8_t>{1, 2, 2}, 3, 1,
                           {2, 1}) == 2);
  CHECK(two == std::vector<float>{0, 1, 0, 0, 0, 1});
  CHECK(contains(thrown_by<ShapeError>([&] {
                   patch_label_shares(MatrixView<float>(two.data(), 2, 3), labels, 4, 4, {2, 2});
                 }),
                 "16 labels"));
}

TEST_CASE("patches are sampled without repeats, rare classes first, never without a label") {
  // 90 patches of class 0, 5 of class 1, 5 without a label.
  std::vector<float> shares(100 * 2, 0.0F);
  for (std::size_t i = 0; i < 95; ++i) shares[2 * i + (i < 90 ? 0 : 1)] = 1.0F;
  const MatrixView<const float> view(shares.data(), 100, 2);
  double rare_balanced = 0;
  double rare_uniform = 0;
  std::vector<Index> taken(100, 0);
  for (std::uint64_t image = 0; image < 400; ++image) {
    const RandomKey key{.seed = 1, .sample = image};
    const auto balanced = sample_patches(view, 10, PatchSampling::balanced, key);
    const auto uniform = sample_patches(view, 10, PatchSampling::uniform, key);
    CHECK(balanced.size() == 10);
    CHECK(std::adjacent_find(uniform.begin(), uniform.end(), std::greater_equal<>()) == uniform.end());
    for (const auto p : balanced) rare_balanced += p >= 90 ? 1 : 0;
    for (const auto p : uniform) {
      rare_uniform += p >= 90 ? 1 : 0;
      ++taken[static_cast<std::size_t>(p)];
    }
    CHECK(sample_patches(view, 10, PatchSampling::uniform, key) == uniform);
  }
  CHECK(rare_balanced > 400 * 4.5);
  CHECK(rare_uniform == Approx(400 * 10 * 5.0 / 95).epsilon(0.15));
  CHECK(*std::max_element(taken.begin() + 95, taken.end()) == 0);
  CHECK(*std::min_element(taken.begin(), taken.begin() + 95) > 20);  // expected 42
  // More than there are: all that have a label.
  CHECK(sample_patches(view, 1000, PatchSampling::balanced, {}).size() == 95);
  CHECK(sample_patches(view, 0, PatchSampling::balanced, {}).empty());
}

TEST_CASE("enlarged numbers and classes agree with each other") {
  std::mt19937 random(8);
  const GridSize grid{3, 4};
  std::vector<float> scores(12 * 5);
  for (float& v : scores) v = static_cast<float>(random() % 1000) / 1000.0F;
  std::vector<std::uint8_t> classes(7 * 13);
  enlarged_classes<float>(classes, MatrixView<const float>(scores.data(), 12, 5), grid, 7, 13);
  std::vector<std::vector<float>> planes;
  for (std::size_t c = 0; c < 5; ++c) {
    std::vector<float> cells(12);
    for (std::size_t i = 0; i < 12; ++i) cells[i] = scores[i * 5 + c];
    planes.emplace_back(7 * 13);
    enlarge<float>(planes.back(), cells, grid, 7, 13);
  }
  for (std::size_t i = 0; i < classes.size(); ++i) {
    float most = planes[0][i];
    for (std::size_t c = 1; c < 5; ++c) most = std::max(most, planes[c][i]);
    CHECK(planes[classes[i]][i] == Approx(most));
  }
  // Corners keep their cells' numbers, and the middle of two cells is their mean.
  std::vector<float> line(4);
  enlarge<float>(line, std::vector<float>{1, 3}, {1, 2}, 1, 4);
  CHECK(line == std::vector<float>{1, 1.5, 2.5, 3});
}
