// Images with ids and labels, their masks, boxes and templates.
#include "catch.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <dssl/data/defect_files.hpp>
#include <dssl/data/image_files.hpp>
#include <dssl/io/png.hpp>

#include "io/exif_samples.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// An image (4,5,1) of one value, with some pixels of another.
void put_image(const std::string& path, std::uint8_t value, const std::vector<int>& others = {},
               std::uint8_t other = 0, Index height = 4) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  Image<std::uint8_t> image(height, 5, 1);
  for (std::uint8_t& p : image.pixels()) p = value;
  for (const int i : others) image.pixels()[static_cast<std::size_t>(i)] = other;
  write_png(path, image);
}

int first_value(const AnyImage& image) { return std::get<Image<std::uint8_t>>(image)(0, 0, 0); }

std::vector<int> marked(const LabelledImage& image) {
  std::vector<int> out;
  for (std::size_t i = 0; i < image.mask.pixels().size(); ++i) {
    if (image.mask.pixels()[i] != 0) {
      CHECK(image.mask.pixels()[i] == 1);
      out.push_back(static_cast<int>(i));
    }
  }
  return out;
}

}  // namespace

TEST_CASE("folders and lists give ids and labels") {
  const TemporaryFolder folder;
  put_image(folder / "set/good/b.png", 1);
  put_image(folder / "set/good/a.v2.png", 2);
  put_image(folder / "set/hole/deep/c.png", 3);
  put_image(folder / "set/d.png", 4);
  const ImageFiles files(folder / "set");
  REQUIRE(files.size() == 4);
  std::vector<std::string> ids, labels;
  for (Index i = 0; i < 4; ++i) {
    ids.push_back(files.id(i));
    labels.push_back(files.label(i));
  }
  CHECK(ids == std::vector<std::string>{"d", "good/a.v2", "good/b", "hole/deep/c"});
  CHECK(labels == std::vector<std::string>{"set", "good", "good", "hole"});
  CHECK(first_value(files.load(1)) == 2);

  write_text(folder / "lists/some.txt", "# two images\nhole/deep/c\n\nd.png  odd one\n");
  const ImageFiles listed(folder / "lists/some.txt", {.folder = folder / "set"});
  REQUIRE(listed.size() == 2);
  CHECK(listed.id(0) == "hole/deep/c");
  CHECK(listed.label(0) == "some");
  CHECK(listed.id(1) == "d");
  CHECK(listed.label(1) == "odd one");
  CHECK(listed.name(0) == folder / "set/hole/deep/c.png");
  CHECK(first_value(listed.load(1)) == 4);

  // Names that stand for files of another name; beside the list; several in order; a part.
  put_image(folder / "lists/7_test.png", 7);
  write_text(folder / "lists/pairs.txt", "7\n");
  const ImageFiles both({folder / "set", folder / "lists/pairs.txt"}, {.file = "{}_test"});
  REQUIRE(both.size() == 5);
  CHECK(both.id(4) == "7");
  CHECK(first_value(both.load(4)) == 7);
  CHECK(both.part(3, 2).id(1) == "7");
  CHECK(both.part(3, 2).size() == 2);
  const std::vector<Index> chosen{4, 0, 3};
  CHECK(both.some(chosen).size() == 3);
  for (std::size_t i = 0; i < chosen.size(); ++i) CHECK(both.some(chosen).id(static_cast<Index>(i)) == both.id(chosen[i]));
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(both.some({})); }), "none of 5 images"));

  CHECK(contains(thrown_by<DataError>([&] { ImageFiles(folder / "nowhere"); }), "nowhere"));
  write_text(folder / "lists/empty.txt", "# nothing\n");
  CHECK(contains(thrown_by<DataError>([&] { ImageFiles(folder / "lists/empty.txt"); }), "names no images"));
  CHECK(contains(thrown_by<DataError>([&] { ImageFiles(std::vector<std::string>{}); }), "no folder"));
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(both.part(4, 2)); }), "4 to 5 of 5"));
  write_text(folder / "lists/lost.txt", "7_test\nlost\n");
  const ImageFiles lost(folder / "lists/lost.txt");
  CHECK(contains(thrown_by<ImageError>([&] { static_cast<void>(lost.load(1)); }), "lists/lost: cannot open"));
}

TEST_CASE("masks are found by id, and say 1 for every defect's pixel") {
  const TemporaryFolder folder;
  put_image(folder / "test/good/1.png", 9);
  put_image(folder / "test/hole/1.png", 9);
  put_image(folder / "test/hole/2.png", 9);
  put_image(folder / "truth/hole/1_mask.png", 0, {3, 7}, 255);
  put_image(folder / "truth/2.png", 0, {0}, 1);
  const DefectFiles files(ImageFiles(folder / "test"), {.masks = folder / "truth"});
  CHECK(files.has_truth());
  CHECK(files.truth_names(0).empty());
  CHECK(marked(files.load(0)).empty());
  CHECK(marked(files.load(1)) == std::vector<int>{3, 7});
  CHECK(marked(files.load(2)) == std::vector<int>{0});

  put_image(folder / "truth/good/1.png", 0, {}, 0, 3);
  const DefectFiles again(ImageFiles(folder / "test"), {.masks = folder / "truth"});
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(again.load(0)); }), "3 x 5 pixels"));
  std::filesystem::remove(folder / "test/good/1.png");
  write_text(folder / "test/good/1.jpg", std::string_view(test::with_exif(Image<std::uint8_t>(3, 5, 1), 6)));
  const DefectFiles turned(ImageFiles(folder / "test"), {.masks = folder / "truth"});
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(turned.load(0)); }), "has 5 x 3, turned by its EXIF orientation"));
  CHECK_FALSE(DefectFiles(ImageFiles(folder / "test"), {}).has_truth());
  CHECK(
      contains(thrown_by<DataError>([&] { DefectFiles(ImageFiles(folder / "test"), {.masks = "no/where"}); }),
               "no/where"));
  CHECK(contains(thrown_by<OptionError>([&] {
                   DefectFiles(ImageFiles(folder / "test"),
                               {.masks = folder / "truth", .boxes = folder / "truth"});
                 }),
                 "'boxes'"));
}

TEST_CASE("boxes mark what differs from the template, or all they hold") {
  const TemporaryFolder folder;
  put_image(folder / "images/7_test.png", 200, {6, 8, 19}, 0);
  put_image(folder / "images/7_temp.png", 200, {8}, 0);
  write_text(folder / "list.txt", "7\n");
  write_text(folder / "boxes/7.txt", "1 1 4 2 3\n-3,0,1,1\n");
  const auto listed = [&] {
    return ImageFiles(folder / "list.txt", {.folder = folder / "images", .file = "{}_test"});
  };
  const DefectFiles boxes(listed(), {.boxes = folder / "boxes"});
  CHECK(marked(boxes.load(0)) == std::vector<int>{0, 6, 7, 8});
  const DefectFiles pairs(
      listed(), {.boxes = folder / "boxes", .templates = folder / "images", .template_file = "{}_temp"});
  CHECK(pairs.has_templates());
  CHECK(marked(pairs.load(0)) == std::vector<int>{6});  // 8 is the template's too, 19 outside the boxes
  CHECK(first_value(pairs.load_template(0)) == 200);

  CHECK(boxes.findings().clipped == 1);
  CHECK(contains(boxes.findings().texts().front(), "1 image has a box that reaches outside it; what lies inside counts: "));
  const auto refused = [&](const std::string& text) {
    write_text(folder / "boxes/7.txt", text);
    return thrown_by<DataError>([&] { static_cast<void>(boxes.load(0)); });
  };
  CHECK(contains(refused("\n0 0 1 1\n1 1 four 2\n"),
                 "boxes/7.txt: line 3: the box '1 1 four 2' is no box; expected \"x1 y1 x2 y2\" in whole pixels"));
  for (const std::string junk : {"1 1 4", "1.5 1 4 2", "1 1 4 2pixels", "1 1 99999999999999999999 2", "person 1 1 4 2"})
    CHECK(contains(refused(junk), "line 1: the box '" + junk + "' is no box"));
  CHECK(refused(std::string(5000, 'x')).size() < 300);
  for (const std::string empty : {"4 1 1 2", "1 2 4 1", "1 1 1 2", "0 3 5 3"})
    CHECK(contains(refused(empty), "line 1: the box '" + empty + "' has no area; expected \"x1 y1 x2 y2\" with x1 < x2"));
  for (const std::string outside : {"5 0 9 2", "0 4 5 9", "-4 0 0 2", "0 -4 2 0"}) {
    const std::string message = refused(outside);
    CHECK(contains(message, "line 1: the box '" + outside + "' lies outside the image "));
    CHECK(contains(message, "7_test.png of 5 x 4 pixels"));
  }
  write_text(folder / "boxes/7.txt", std::string_view("1 1 4 2\n\0", 9));
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(boxes.load(0)); }), "line 2 holds a byte 0"));
  write_text(folder / "boxes/7.txt", "1 1 4 2\n");
  put_image(folder / "images/7_temp.png", 200, {}, 0, 3);
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(pairs.load(0)); }),
                 "7_temp.png: the template is 3 x 5"));
}
