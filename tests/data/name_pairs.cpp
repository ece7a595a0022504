// Masks and the like find their images by name, and never the wrong one.
#include "catch.hpp"

#include <string>
#include <vector>

#include <dssl/data/name_pairs.hpp>

#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

using Names = std::vector<std::string>;

/// The files of each image, joined by blanks.
Names paired(const Names& images, const Names& files) {
  const NamePairs pairs = pair_by_name(images, files, "mask");
  Names out;
  for (const auto& each : pairs.files) {
    out.emplace_back();
    for (const std::size_t f : each) out.back() += (out.back().empty() ? "" : " ") + files[f];
  }
  return out;
}

std::string refused(const Names& images, const Names& files) {
  return thrown_by<DataError>([&] { static_cast<void>(pair_by_name(images, files, "mask")); });
}

}  // namespace

TEST_CASE("files are paired by name, not by order") {
  CHECK(paired({"img1", "img10", "img2"}, {"img10_mask", "img1_mask", "img2_mask"}) ==
        Names{"img1_mask", "img10_mask", "img2_mask"});
  CHECK(paired({"a", "b", "c", "d", "e"}, {"a", "b_GT", "c-mask", "d_label", "e.mask"}) ==
        Names{"a", "b_GT", "c-mask", "d_label", "e.mask"});
  CHECK(paired({"part_mask"}, {"part_mask"}) == Names{"part_mask"});
}

TEST_CASE("the layouts of MVTec, of a folder an image, and of lists from further up are found") {
  const Names images{"good/000", "scratch/000", "scratch/001"};
  CHECK(paired(images, {"scratch/000_mask", "scratch/001_mask"}) == Names{"", "scratch/000_mask", "scratch/001_mask"});
  CHECK(paired(images, {"scratch/000/000", "scratch/000/001", "scratch/001/000"}) ==
        Names{"", "scratch/000/000 scratch/000/001", "scratch/001/000"});
  CHECK(paired({"test/good/000", "test/scratch/000"}, {"scratch/000_mask"}) == Names{"", "scratch/000_mask"});
  CHECK(paired({"000", "001"}, {"scratch/000_mask", "hole/001_mask"}) == Names{"scratch/000_mask", "hole/001_mask"});
  CHECK(paired({"scratch/004", "good/001"}, {"004"}) == Names{"004", ""});
}

TEST_CASE("a whole path is never another image's, and what is nobody's is told") {
  CHECK(paired({"test/a/0", "a/0"}, {"a/0"}) == Names{"", "a/0"});
  const NamePairs pairs = pair_by_name({"a"}, {"b_mask", "a", "c"}, "mask");
  CHECK(pairs.unused == std::vector<std::size_t>{0, 2});
}

TEST_CASE("a choice between names is refused, naming both") {
  CHECK(contains(refused({"good/000", "scratch/000"}, {"000"}),
                 "000: is the mask of good/000 and of scratch/000 alike"));
  CHECK(contains(refused({"000"}, {"scratch/000_mask", "hole/000_mask"}),
                 "000: more than one mask fits its name: scratch/000_mask and hole/000_mask"));
  CHECK(contains(refused({"0", "0"}, {"0"}), "0: is the mask of 0 and of 0 alike"));
  CHECK(contains(refused({"a"}, {"a_mask", "a_gt"}), "a: more than one mask fits its name: a_mask and a_gt"));
}
