// Weighted k-NN against the reference numbers.
#include "catch.hpp"

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <dssl/backend/reference.hpp>
#if __has_include(<dssl/backend/cpu.hpp>)
#include <dssl/backend/cpu.hpp>
#endif
#include <dssl/io/safetensors.hpp>
#include <dssl/search/knn.hpp>

#include "compare.hpp"
#include "fixtures.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

template <class T>
MatrixView<const T> matrix(const std::vector<T>& values, const std::vector<Index>& shape) {
  return MatrixView<const T>(values.data(), shape[0], shape[1]);
}

template <Backend B>
void check(const B& backend) {
  using T = typename B::Scalar;
  INFO(backend.describe());
  const auto file = SafetensorsFile::open(fixture_path("evaluation.safetensors"));
  const auto classes = FixtureConfig(file).get<Index>("classes");
  const auto train = file.read<T>("train");
  const auto test = file.read<T>("test");
  const auto labels = file.read<std::int64_t>("labels");
  const MatrixView<const T> queries = matrix(test, file.shape("test"));
  // Seven at a time: neither the queries nor the training features divide by it.
  KnnClassifier<B> knn(backend, matrix(train, file.shape("train")), labels,
                       {.classes = classes, .queries = 7});
  Index found = 0;
  for (const auto& tensor : file.tensors()) {
    if (!tensor.name.starts_with("votes_k")) continue;
    ++found;
    const std::string k = tensor.name.substr(std::string("votes_k").size());
    INFO("k = " << k);
    const auto expected = file.read<double>(tensor.name);
    std::vector<double> votes(expected.size());
    knn.votes(MatrixView<double>(votes.data(), queries.rows(), classes), queries, std::stoll(k));
    CHECK(relative_difference<double, double>(votes, expected) < 1e-5);
    CHECK(knn.predict(queries, std::stoll(k)) == file.read<std::int64_t>("predictions_k" + k));
  }
  CHECK(found > 0);
}

}  // namespace

TEST_CASE("weighted k-NN gives the published votes and predictions") {
  check(Reference<double>());
  check(Reference<float>());
#if __has_include(<dssl/backend/cpu.hpp>)
  check(Cpu({.threads = 1}));
  check(Cpu({.threads = 2}));
#endif
}

TEST_CASE("k-NN: among equal cosines the lower index is nearer, among equal votes the lower class wins") {
  const std::vector<double> train{1, 0, 1, 0, 2, 0, 0, 1};  // the third lies in the same direction
  const std::vector<std::int64_t> labels{2, 1, 0, 0};
  KnnClassifier<Reference<double>> knn(Reference<double>(), matrix(train, {4, 2}), labels, {.classes = 3});
  const std::vector<double> query{3, 0};
  CHECK(knn.predict(matrix(query, {1, 2}), 1).front() == 2);
  CHECK(knn.predict(matrix(query, {1, 2}), 2).front() == 1);
  CHECK(knn.predict(matrix(query, {1, 2}), 3).front() == 0);
}

TEST_CASE("k-NN names what is wrong with its input") {
  const std::vector<double> train{1, 0, 0, 1};
  const std::vector<std::int64_t> labels{0, 5};
  const auto make = [&](std::span<const std::int64_t> l, const KnnOptions& options) {
    KnnClassifier<Reference<double>> knn(Reference<double>(), matrix(train, {2, 2}), l, options);
    static_cast<void>(knn.predict(matrix(train, {2, 2}), 3));
  };
  CHECK(contains(thrown_by<OptionError>([&] { make(labels, {.classes = 2}); }), "'label' is 5"));
  CHECK(contains(thrown_by<OptionError>([&] { make(labels, {.classes = 6}); }), "'k' is 3"));
  CHECK(contains(thrown_by<OptionError>([&] { make(labels, {.classes = 6, .temperature = 0.0019}); }), "'temperature' is 0.0019; expected 0.002 or more"));
  CHECK(
      contains(thrown_by<ShapeError>([&] { make(std::span(labels).first(1), {.classes = 6}); }), "1 labels"));
}
