// The VOC layout: pairs, indices kept, mistakes named.
#include "catch.hpp"

#include <filesystem>
#include <string>

#include <dssl/data/voc.hpp>

#include "io/exif_samples.hpp"
#include "temporary_folder.hpp"
#include "thrown.hpp"

namespace {

using dssl::DataError;
using dssl::Image;
using dssl::Index;
using dssl::VocFolder;
using dssl::test::contains;
using dssl::test::TemporaryFolder;
using dssl::test::thrown_by;
using dssl::test::write_text;
using Bytes8 = Image<std::uint8_t>;

/// A small data set: "one" a JPEG, "two" a grey PNG, masks with ids 0, 7 and 255.
struct SmallVoc {
  TemporaryFolder root;

  SmallVoc() {
    for (const char* const inner : {"JPEGImages", "SegmentationClass", "ImageSets/Segmentation"}) {
      std::filesystem::create_directories(root / inner);
    }
    dssl::write_jpeg(root / "JPEGImages/one.jpg", Bytes8(4, 6, 3));
    dssl::write_png(root / "JPEGImages/two.png", Bytes8(5, 5, 1));
    Bytes8 mask(4, 6, 1);
    mask(1, 2, 0) = 7;
    mask(3, 5, 0) = 255;
    dssl::write_png_indices(root / "SegmentationClass/one.png", mask);
    dssl::write_png(root / "SegmentationClass/two.png", Bytes8(5, 5, 1));
    write_text(root / "ImageSets/Segmentation/train.txt", std::string_view("one\r\ntwo -1\n\n"));
    write_text(root / "ImageSets/Segmentation/val.txt", std::string_view("two\n"));
  }
};

}  // namespace

TEST_CASE("images come with the indices of their masks") {
  const SmallVoc voc;
  const VocFolder train(voc.root.path(), "train");
  REQUIRE(train.size() == 2);
  REQUIRE(train.id(1) == "two");
  REQUIRE(train.name(0) == (voc.root / "JPEGImages/one.jpg"));
  REQUIRE(train.name(1) == (voc.root / "JPEGImages/two.png"));
  const dssl::LabelledImage pair = train.load(0);
  REQUIRE(dssl::channels(pair.image) == 3);
  REQUIRE(pair.mask.channels() == 1);
  REQUIRE(pair.mask(1, 2, 0) == 7);
  REQUIRE(pair.mask(3, 5, 0) == 255);
  REQUIRE(pair.mask(0, 0, 0) == 0);

  const VocFolder colour(voc.root.path(), "val", {.read = {.channels = 3}});
  const dssl::LabelledImage grey = colour.load(0);
  REQUIRE(dssl::channels(grey.image) == 3);
  REQUIRE(grey.mask.channels() == 1);

  const dssl::ImagesOf<VocFolder> images(train);
  REQUIRE(images.size() == 2);
  REQUIRE(dssl::height(images.load(1)) == 5);
}

TEST_CASE("a missing split names the splits there are") {
  const SmallVoc voc;
  const std::string error = thrown_by<DataError>([&] { VocFolder{voc.root.path(), "trian"}; });
  REQUIRE(contains(error, "trian.txt: cannot read the split 'trian'"));
  REQUIRE(contains(error, "available: train, val"));
  REQUIRE(contains(thrown_by<DataError>([&] {
                     VocFolder{voc.root / "none", "train"};
                   }),
                   "the folder of splits is missing"));
  write_text(voc.root / "ImageSets/Segmentation/empty.txt", std::string_view("\n"));
  REQUIRE(contains(thrown_by<DataError>([&] { VocFolder{voc.root.path(), "empty"}; }), "names no images"));
}

TEST_CASE("a mask of another size names both files and both sizes") {
  const SmallVoc voc;
  dssl::write_png_indices(voc.root / "SegmentationClass/one.png", Bytes8(6, 4, 1));
  const VocFolder train(voc.root.path(), "train");
  const std::string error = thrown_by<DataError>([&] { (void)train.load(0); });
  REQUIRE(contains(error, voc.root / "SegmentationClass/one.png"));
  REQUIRE(contains(error, voc.root / "JPEGImages/one.jpg"));
  REQUIRE(contains(error, "6 x 4"));
  REQUIRE(contains(error, "4 x 6"));
}

TEST_CASE("a mask drawn on the picture as it is stored, or as it is shown, names the option that reads it so") {
  const SmallVoc voc;  // pictures of 4 x 6 pixels as they are stored, whose EXIF data turns them or does not
  const auto message = [&](int orientation, Index height, Index width, bool orient) {
    write_text(voc.root / "JPEGImages/one.jpg", std::string_view(dssl::test::with_exif(Bytes8(4, 6, 3), orientation)));
    dssl::write_png_indices(voc.root / "SegmentationClass/one.png", Bytes8(height, width, 1));
    return thrown_by<DataError>([&] { (void)VocFolder(voc.root.path(), "train", {.read = {.orient = orient}}).load(0); });
  };
  CHECK(contains(message(6, 4, 6, true), "the mask has 4 x 6 pixels, its image " + (voc.root / "JPEGImages/one.jpg") +
                                             " has 6 x 4, turned by its EXIF orientation; as the file stores it they fit (option 'orient')"));
  CHECK(contains(message(8, 6, 4, false), "has 4 x 6; turned by its EXIF orientation, which option 'orient' leaves out, they fit"));
  CHECK(message(6, 6, 4, true) == "(nothing was thrown)");
  // Of another size either way, or of a picture that is not turned, it is not why.
  for (const std::string& other : {message(6, 4, 5, true), message(3, 6, 4, true), message(1, 6, 4, true)}) {
    CHECK(contains(other, "the mask has"));
    CHECK_FALSE(contains(other, "orient"));
  }
}

TEST_CASE("ids hold blanks where an image does, and masks of like channels are ids") {
  const SmallVoc voc;
  dssl::write_png(voc.root / "JPEGImages/img 1.png", Bytes8(2, 2, 3));
  Bytes8 mask(2, 2, 3);
  for (Index c = 0; c < 3; ++c) mask(1, 0, c) = 3;
  dssl::write_png(voc.root / "SegmentationClass/img 1.png", mask);
  write_text(voc.root / "ImageSets/Segmentation/odd.txt", std::string_view("\xef\xbb\xbfimg 1\r\none.jpg\r\n"));
  const VocFolder odd(voc.root.path(), "odd");
  REQUIRE(odd.id(0) == "img 1");
  REQUIRE(odd.id(1) == "one");
  REQUIRE(odd.load(0).mask(1, 0, 0) == 3);
  write_text(voc.root / "ImageSets/Segmentation/lost.txt", std::string_view("img 2\n"));
  REQUIRE(contains(thrown_by<DataError>([&] { VocFolder{voc.root.path(), "lost"}; }), "none of its 1 line names a file"));
}

TEST_CASE("a missing image is unreadable; a missing mask, or one of colours, is the label's error") {
  const SmallVoc voc;
  const VocFolder train(voc.root.path(), "train");
  Bytes8 colours(4, 6, 3);
  colours(0, 0, 0) = 255;
  dssl::write_png(voc.root / "SegmentationClass/one.png", colours);
  REQUIRE(contains(thrown_by<dssl::LabelError>([&] { (void)train.load(0); }), "is a mask of colours"));
  std::filesystem::remove(voc.root / "SegmentationClass/one.png");
  REQUIRE(contains(thrown_by<dssl::LabelError>([&] { (void)train.load(0); }), "SegmentationClass/one.png"));
  std::filesystem::remove(voc.root / "JPEGImages/one.jpg");
  REQUIRE(contains(thrown_by<dssl::ImageError>([&] { (void)train.load(0); }), "JPEGImages/one.jpg"));
}
