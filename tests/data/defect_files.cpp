// The truth about defects: found whatever its layout, and its absence is never taken for truth.
#include "catch.hpp"

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include <dssl/data/defect_files.hpp>

#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

using Bytes8 = Image<std::uint8_t>;

/// An image (4,5,C) of one value in pixel `at`, 0 elsewhere.
Bytes8 spot(std::size_t at, std::uint8_t value = 255, Index channels = 1) {
  Bytes8 image(4, 5, channels);
  const auto each = static_cast<std::size_t>(channels);
  for (std::size_t c = 0; c < each; ++c) image.pixels()[at * each + c] = value;
  return image;
}

void put(const std::string& path, const Bytes8& image) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  write_png(path, image);
}

/// Two good images and two scratches below test/.
struct Set {
  TemporaryFolder folder;

  Set() {
    for (const char* const name : {"good/0", "good/1", "scratch/0", "scratch/1"})
      put(folder / ("test/" + std::string(name) + ".png"), spot(0, 9));
  }

  [[nodiscard]] DefectFiles open(DefectFilesOptions options = {}) const {
    if (options.boxes.empty()) options.masks = folder / "truth";
    return DefectFiles(ImageFiles(folder / "test"), options);
  }
  [[nodiscard]] std::string refused(const DefectFilesOptions& options = {}) const {
    return thrown_by<DataError>([&] { static_cast<void>(open(options)); });
  }
};

std::vector<std::size_t> marked(const LabelledImage& image) {
  std::vector<std::size_t> out;
  for (std::size_t i = 0; i < image.mask.pixels().size(); ++i) {
    if (image.mask.pixels()[i] != 0) out.push_back(i);
  }
  return out;
}

using Places = std::vector<std::size_t>;

}  // namespace

TEST_CASE("masks are found under every usual name and ending") {
  const Set set;
  put(set.folder / "truth/scratch/0_mask.PNG", spot(3));
  write_jpeg(set.folder / "truth/scratch/unused.jpg", Bytes8(4, 5, 1));
  Bytes8 square(4, 5, 1);
  square(0, 0, 0) = 255;
  put(set.folder / "truth/scratch/1_GT.png", spot(7));
  const DefectFiles files = set.open();
  CHECK(marked(files.load(0)).empty());
  CHECK(marked(files.load(2)) == Places{3});
  CHECK(marked(files.load(3)) == Places{7});
  CHECK(files.survey().found == 2);
  CHECK(files.survey().good_without == 2);
  CHECK(files.survey().unused == 1);
  CHECK(files.survey().text("mask") == "2 of 4 images have a mask, 2 have none and count as normal; 1 mask belongs to "
                                       "no image, the first " + (set.folder / "truth/scratch/unused.jpg"));
  CHECK(files.findings().texts().empty());
}

TEST_CASE("a folder of masks an image is their union, and a list from further up finds masks too") {
  const Set set;
  put(set.folder / "truth/scratch/0/000.png", spot(3, 254));
  put(set.folder / "truth/scratch/0/001.png", spot(9, 1));
  put(set.folder / "truth/scratch/1.png", spot(7));
  CHECK(marked(set.open().load(2)) == Places{3, 9});
  write_text(set.folder / "list.txt", std::string_view("test/good/0\ntest/scratch/0\ntest/scratch/1.png\n"));
  const DefectFiles listed(ImageFiles(set.folder / "list.txt"), {.masks = set.folder / "truth"});
  CHECK(listed.survey().found == 2);
  CHECK(marked(listed.load(2)) == Places{7});
}

TEST_CASE("a mask that is not there is an error where a label tells of a defect, or nobody has one") {
  const Set set;
  std::filesystem::create_directories(set.folder / "truth");
  CHECK(contains(set.refused(), "2 of 2 images whose label tells of a defect have no mask in " + (set.folder / "truth")));
  put(set.folder / "truth/scratch/1.png", spot(7));
  const std::string half = set.refused();
  CHECK(contains(half, "1 of 2 images whose label tells of a defect have no mask"));
  CHECK(contains(half, "the first " + (set.folder / "test/scratch/0.png")));
  const DefectFiles borne = set.open({.missing_is_normal = true});
  CHECK(borne.survey().defect_without == 1);
  for (Index i = 0; i < borne.size(); ++i) static_cast<void>(borne.load(i));
  CHECK(borne.findings().texts().empty());  // what is missing contradicts nothing
  // Labels that tell nothing: some without a mask are normal, all without one are none.
  CHECK(set.open({.good = {"fine"}}).survey().others_without == 3);
  std::filesystem::remove(set.folder / "truth/scratch/1.png");
  CHECK(contains(set.refused({.good = {"fine"}}), "none of 4 images has a mask in"));
  // Good images alone need none.
  CHECK(DefectFiles(ImageFiles(set.folder / "test/good"), {.masks = set.folder / "truth"}).survey().good_without == 2);
  // Boxes likewise.
  std::filesystem::create_directories(set.folder / "boxes");
  CHECK(contains(set.refused({.boxes = set.folder / "boxes"}), "have no box file in"));
}

TEST_CASE("a mask of a kind that cannot be read is the label's error, not the image's, and not absent") {
  const Set set;
  put(set.folder / "truth/scratch/0.png", spot(3));
  write_text(set.folder / "truth/scratch/1.gif", std::string_view("GIF8", 4));
  const DefectFiles files = set.open();
  CHECK(contains(thrown_by<LabelError>([&] { static_cast<void>(files.load(3)); }), "scratch/1.gif: is a GIF file, a kind that is not read"));
}

TEST_CASE("masks and labels that contradict each other are told, and masks of many values") {
  const Set set;
  put(set.folder / "truth/good/0.png", spot(3));
  put(set.folder / "truth/scratch/0.png", spot(3, 0));
  Bytes8 noisy(4, 5, 1);
  for (std::size_t i = 0; i < 20; ++i) noisy.pixels()[i] = static_cast<std::uint8_t>(13 * i);
  put(set.folder / "truth/scratch/1.png", noisy);
  const DefectFiles files = set.open();
  CHECK(files.findings().texts().empty());
  for (int twice = 0; twice < 2; ++twice) {
    for (Index i = 0; i < files.size(); ++i) static_cast<void>(files.load(i));
  }
  const TruthFindings found = files.findings();
  CHECK(found.marked_good == 1);
  CHECK(found.empty_defects == 1);
  CHECK(found.between == 1);
  CHECK(found.texts().size() == 3);
  CHECK(contains(found.texts().front(), set.folder / "test/good/0.png"));
  CHECK(marked(files.load(3)) == Places{10, 11, 12, 13, 14, 15, 16, 17, 18, 19});  // above 247 / 2
  CHECK(marked(set.open({.mask_threshold = 220}).load(3)) == Places{17, 18, 19});
  CHECK(contains(thrown_by<OptionError>([&] { static_cast<void>(set.open({.mask_threshold = 255})); }),
                 "'mask_threshold' is 255"));
}

TEST_CASE("masks beside the images are not taken for images' masks of themselves") {
  const Set set;
  put(set.folder / "test/scratch/0_mask.png", spot(3));
  put(set.folder / "test/scratch/1_mask.png", spot(4));
  write_text(set.folder / "test/list.txt", std::string_view("good/0 good\nscratch/0 bad\nscratch/1 bad\n"));
  const DefectFiles files(ImageFiles(set.folder / "test/list.txt"), {.masks = set.folder / "test"});
  CHECK(files.survey().found == 2);
  CHECK(marked(files.load(1)) == Places{3});
}

TEST_CASE("foregrounds are one mask for all, or one for each by name; an image without one is not all foreground") {
  const Set set;
  const auto open = [&](const std::string& foreground) { return DefectFiles(ImageFiles(set.folder / "test"), {.foreground = foreground}); };
  const auto shown = [](const LabelledImage& image) {
    Places out;
    for (std::size_t i = 0; i < image.foreground.pixels().size(); ++i) {
      if (image.foreground.pixels()[i] != 0) out.push_back(i);
    }
    return out;
  };
  put(set.folder / "one.png", spot(3));
  const DefectFiles all = open(set.folder / "one.png");
  for (Index i = 0; i < 4; ++i) CHECK(shown(all.load(i)) == Places{3});
  CHECK(all.foreground_names(2) == std::vector<std::string>{set.folder / "one.png"});
  CHECK(all.without_foreground().empty());
  CHECK_FALSE(all.has_truth());

  put(set.folder / "parts/good/0.png", spot(1));
  put(set.folder / "parts/good/1_mask.png", spot(2));
  put(set.folder / "parts/scratch/1/a.png", spot(4));
  put(set.folder / "parts/scratch/1/b.png", spot(6));
  const DefectFiles some = open(set.folder / "parts");
  CHECK(shown(some.load(0)) == Places{1});
  CHECK(shown(some.load(1)) == Places{2});
  CHECK(shown(some.load(3)) == Places{4, 6});
  CHECK(contains(thrown_by<LabelError>([&] { static_cast<void>(some.load(2)); }), "scratch/0.png: has no foreground mask in "));
  CHECK(contains(some.without_foreground(), "1 of 4 images have no foreground mask in "));
  CHECK(contains(some.without_foreground(), "scratch/0.png, and are left out"));
  CHECK(open("").load(0).foreground.pixels().empty());

  put(set.folder / "others/x.png", spot(1));
  CHECK(contains(thrown_by<DataError>([&] { open(set.folder / "others"); }), "none of 4 images has a foreground mask in "));
  CHECK(contains(thrown_by<LabelError>([&] { open(set.folder / "nowhere.png"); }), "nowhere.png: "));
  put(set.folder / "small.png", Bytes8(3, 5, 1));
  CHECK(contains(thrown_by<DataError>([&] { static_cast<void>(open(set.folder / "small.png").load(0)); }), "the mask has 3 x 5 pixels, its image "));
}
