// The best weights of a run: kept, never lost, and taken up again.
#include "catch.hpp"

#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/monitor/best_weights.hpp>

#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

constexpr ViTConfig small{.image = 8, .patch = 4, .width = 4, .depth = 1, .heads = 1};

struct Weights {
  ParameterLayout layout = vit_layout(small);
  std::vector<float> values;
};

Weights weights_of(float value) {
  Weights out;
  out.values.assign(static_cast<std::size_t>(out.layout.total()), value);
  return out;
}

float kept_in(const std::string& path) { return SafetensorsFile::open(path).read<float>("norm.weight").front(); }

}  // namespace

TEST_CASE("the best weights are those of the largest value, the first of equals") {
  const TemporaryFolder folder;
  const std::string path = folder / "best.safetensors";
  BestWeights best(path, "knn");
  const double not_a_number = std::numeric_limits<double>::quiet_NaN();
  CHECK_FALSE(best.offer(not_a_number, 0, weights_of(1)));
  CHECK_FALSE(std::filesystem::exists(path));
  const std::vector<double> values{0.1, 0.3, 0.2, 0.3, not_a_number, 0.30000000000000004, 0.25};
  const std::vector<float> kept{0, 1, 1, 1, 1, 5, 5};
  for (std::size_t i = 0; i < values.size(); ++i) {
    const bool taken = best.offer(values[i], static_cast<Index>(10 * i), weights_of(static_cast<float>(i)));
    CHECK(taken == (kept[i] == static_cast<float>(i)));
    CHECK(kept_in(path) == kept[i]);
    CHECK(folder.entries() == 1);
    REQUIRE(best.record());
    CHECK(best.record()->step == 10 * static_cast<Index>(kept[i]));
  }

  // A resumed run has the record to the last bit.
  BestWeights again(path, "knn");
  again.resume();
  REQUIRE(again.record());
  CHECK(again.record()->value == 0.30000000000000004);
  CHECK(again.record()->step == 50);
  CHECK_FALSE(again.offer(0.3, 90, weights_of(9)));
  CHECK(kept_in(path) == 5);
  CHECK(again.offer(0.4, 100, weights_of(10), {{"arch", "small"}}));
  CHECK(SafetensorsFile::open(path).metadata().at("arch") == "small");

  // A new run has none.
  BestWeights anew(path, "knn");
  CHECK(anew.offer(-3, 5, weights_of(7)));
  CHECK(kept_in(path) == 7);
}

TEST_CASE("best weights: other figures, other files, and a folder that is gone") {
  const TemporaryFolder folder;
  const std::string path = folder / "best.safetensors";
  BestWeights best(path, "knn");
  best.resume();  // nothing there yet
  CHECK_FALSE(best.record());
  best.offer(0.5, 3, weights_of(1));
  BestWeights other(path, "spread");
  CHECK(contains(thrown_by<CheckpointError>([&] { other.resume(); }),
                 "holds the best weights by 'knn'; this run keeps them by 'spread'"));
  const std::string plain = folder / "plain.safetensors";
  save_backbone(plain, weights_of(2));
  BestWeights none(plain, "knn");
  CHECK(contains(thrown_by<CheckpointError>([&] { none.resume(); }), "has no 'best.figure'"));
  save_backbone(plain, weights_of(2), {{"best.figure", "knn"}, {"best.value", "high"}, {"best.step", "3"}});
  CHECK(contains(thrown_by<CheckpointError>([&] { none.resume(); }), "'best.value' is 'high'"));
  save_backbone(plain, weights_of(2), {{"best.figure", "knn"}, {"best.value", "nan"}, {"best.step", "3"}});
  CHECK(contains(thrown_by<CheckpointError>([&] { none.resume(); }), "'best.value' is 'nan'"));
  save_backbone(plain, weights_of(2), {{"best.figure", "knn"}, {"best.value", "1"}, {"best.step", "-3"}});
  CHECK(contains(thrown_by<CheckpointError>([&] { none.resume(); }), "'best.step' is '-3'"));
  CHECK_FALSE(none.record());

  BestWeights lost(folder / "gone/best.safetensors", "knn");
  CHECK(contains(thrown_by<FileError>([&] { lost.offer(0.1, 1, weights_of(1)); }), "gone/best.safetensors"));
  CHECK_FALSE(lost.record());
}
