// Labels that no class claims are counted, and a set that they leave without classes is refused.
#include "catch.hpp"

#include <cstdint>
#include <string>
#include <vector>

#include <dssl/features/feature_pass.hpp>
#include <dssl/features/label_census.hpp>
#include <dssl/features/labelled_input.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// Images of 2 x 4 pixels with these ids, the same in each.
struct Labelled {
  std::vector<std::uint8_t> ids;
  Index count = 3;
  Index unreadable = -1;
  bool label = false;

  [[nodiscard]] Index size() const { return count; }
  [[nodiscard]] std::string name(Index i) const { return join("image", i); }
  [[nodiscard]] LabelledImage load(Index i) const {
    if (i == unreadable && label) throw LabelError(name(i), "a mask of colours");
    if (i == unreadable) throw ImageError(name(i), "damaged");
    Image<std::uint8_t> mask(2, 4, 1);
    std::copy(ids.begin(), ids.end(), mask.pixels().begin());
    return {Image<std::uint8_t>(2, 4, 1), std::move(mask)};
  }
};

FeaturePassCount passed(const Labelled& source, const ClassOptions& classes) {
  const InputRenderer renderer({.height = 2, .width = 4, .channels = 1}, ClassMap(classes));
  return pass_inputs(renderer, source, 2, {.loader = {.threads = 1}}, {}, {}, [](std::vector<LoadedInput>&) {});
}

LabelShares shares(const Labelled& source, const ClassOptions& classes) {
  return LabelShares::of(passed(source, classes).census, ClassMap(classes));
}

std::string refused(const Labelled& source, const ClassOptions& classes) {
  return thrown_by<DataError>(
      [&] { require_classes_seen(passed(source, classes).census, ClassMap(classes), "the training images"); });
}

const std::string nothing = "(nothing was thrown)";

}  // namespace

TEST_CASE("a pass counts void pixels and those of ids that no class claims") {
  const Labelled one_based{{1, 1, 2, 2, 2, 3, 3, 255}};
  const LabelShares three = shares(one_based, {.classes = 3});
  CHECK(three.all == 24);
  CHECK(three.seen_classes == 2);
  CHECK(three.unclaimed_share == 0.25);
  CHECK(three.void_share == 0.125);
  CHECK(three.text() == "12.5 % of pixels void (255), 25.0 % of ids that no class claims (3)");
  CHECK(shares(one_based, {.classes = 4}).text() == "12.5 % of pixels void (255)");
  CHECK(shares(one_based, {.classes = 3, .void_ids = {3}}).text() ==
        "25.0 % of pixels void (3), 12.5 % of ids that no class claims (255)");
  // Who names the ids that count leaves the others out knowingly.
  CHECK(shares(one_based, {.classes = 4, .only = {1, 2}}).text() == "37.5 % of pixels void (3, 255)");
  CHECK(shares({{0, 0, 0, 0, 1, 1, 1, 1}}, {.classes = 2}).text().empty());
  // Of many ids the first are told, and what they probably are.
  CHECK(shares({{0, 1, 9, 10, 11, 12, 13, 14}}, {.classes = 2}).unclaimed_ids == "9, 10, 11, 12, 13, 14");
  LabelCensus ringing;
  for (std::size_t id = 0; id < 40; ++id) ringing.pixels[id] = 1;
  CHECK(LabelShares::of(ringing, ClassMap({.classes = 2})).text() ==
        "95.0 % of pixels of ids that no class claims (2, 3, 4, 5, 6, 7, 8, 9 and 30 more: as in masks that were JPEG or resized)");
  CHECK(LabelShares::of(ringing, ClassMap({.classes = 20})).text() ==
        "50.0 % of pixels of ids that no class claims (20, 21, 22, 23, 24, 25, 26, 27 and 12 more)");
  CHECK(sampled_census(one_based, 2).pixels[2] == 6);
  CHECK(passed(one_based, {.classes = 4}).census == sampled_census(one_based, 3));
}

TEST_CASE("masks of 0 and 255 with two classes are refused in words that say what is right, and then understood") {
  const Labelled black_and_white{{0, 0, 0, 0, 0, 255, 255, 255}};
  CHECK(refused(black_and_white, {.classes = 2}) ==
        "in the training images only the class of id 0 has a labelled pixel, and 37.5 % of pixels void (255); if these "
        "are classes, name their ids, and none of them as void (option 'only' 0,255; option 'void' without these)");
  CHECK(refused({{255, 255, 255, 255, 255, 255, 255, 255}}, {.classes = 2}).find("no class has a labelled pixel") !=
        std::string::npos);
  const ClassOptions both{.classes = 2, .void_ids = {}, .only = {0, 255}};
  CHECK(refused(black_and_white, both) == nothing);
  CHECK(shares(black_and_white, both).seen_classes == 2);
  CHECK(ClassMap(both).class_of(255) == 1);
  // Two classes of three, one class alone, and a set that is all of one class are somebody's choice.
  CHECK(refused({{0, 0, 1, 1, 1, 255, 255, 255}}, {.classes = 3}) == nothing);
  CHECK(refused(black_and_white, {.classes = 1}) == nothing);
  CHECK(refused({{0, 0, 0, 0, 0, 0, 0, 0}}, {.classes = 2}) == nothing);
  CHECK(contains(refused({{1, 1, 1, 1, 7, 7, 7, 7}}, {.classes = 2}), "50.0 % of pixels of ids that no class claims (7)"));
}

TEST_CASE("a pass counts masks that cannot be read apart from images that cannot") {
  Labelled source{{0, 1, 0, 1, 0, 1, 0, 1}};
  source.unreadable = 1;
  CHECK(passed(source, {.classes = 2}).unreadable == 1);
  CHECK(passed(source, {.classes = 2}).unreadable_labels == 0);
  source.label = true;
  CHECK(passed(source, {.classes = 2}).unreadable == 1);
  CHECK(passed(source, {.classes = 2}).unreadable_labels == 1);
  CHECK(sampled_census(source, 3).pixels[1] == 8);
}
