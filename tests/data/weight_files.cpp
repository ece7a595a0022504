// Maps of weights find their images by name, have their size, and are never made up.
#include "catch.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <dssl/data/image_folder.hpp>
#include <dssl/data/source.hpp>
#include <dssl/data/weight_files.hpp>
#include <dssl/io/png.hpp>

#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

void write_map(const std::string& path, Index height, Index width, std::uint8_t value, Index channels = 1) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  Image<std::uint8_t> image(height, width, channels);
  for (std::uint8_t& pixel : image.pixels()) pixel = value;
  write_png(path, image);
}

void write_floats(const std::string& path, float value) {
  std::ofstream out(path, std::ios::binary);
  out << "Pf\n2 1\n-1.0\n";
  const float values[]{1.0F, value};
  out.write(reinterpret_cast<const char*>(values), sizeof values);
}

std::uint8_t value_of(const std::optional<AnyImage>& map) {
  return std::get<Image<std::uint8_t>>(map.value())(0, 0, 0);
}

}  // namespace

TEST_CASE("each image has the map of its name, and those that have none are counted") {
  const TemporaryFolder folder;
  const std::string images = folder.path() + "/photos", maps = folder.path() + "/maps";
  for (const char* name : {"/a.png", "/b.png", "/in/b.png", "/in/c.png"})
    write_map(images + name, 4, 6, 1, 3);
  write_map(maps + "/a.png", 4, 6, 10);
  write_map(maps + "/in/b_mask.png", 2, 3, 20, 3);
  write_map(maps + "/in/nobody.png", 4, 6, 30);
  const ImageFolder source(images);  // a, b, in/b, in/c
  const WeightFiles files = WeightFiles::of(source, maps);
  CHECK((files.size() == 4 && files.found() == 2));
  CHECK(files.text() ==
        "2 of 4 images have a weight map, 2 have none, the first b; 1 weight map belongs to no image, the "
        "first " +
            maps + "/in/nobody.png");
  CHECK(files.name(0) == maps + "/a.png");
  CHECK(files.name(1).empty());
  CHECK(value_of(files.load(0, 4, 6)) == 10);
  CHECK(!files.load(1, 4, 6));
  // Half of both sides, and grey of three channels.
  const auto small = files.load(2, 4, 6);
  CHECK(value_of(small) == 20);
  CHECK((height(*small) == 2 && width(*small) == 3 && channels(*small) == 1));
  CHECK(!files.load(3, 4, 6));
  // Other maps are told apart, by names and sizes.
  const std::string before = files.fingerprint();
  CHECK(WeightFiles::of(source, maps).fingerprint() == before);
  std::filesystem::rename(maps + "/in/nobody.png", maps + "/b.png");
  CHECK(WeightFiles::of(source, maps).fingerprint() != before);
  write_map(maps + "/in/c.png", 4, 6, 40);
  CHECK(WeightFiles::of(source, maps).text() == "4 of 4 images have a weight map");
}

TEST_CASE("maps that do not fit are refused by file, value and what was expected") {
  const TemporaryFolder folder;
  const std::string maps = folder.path() + "/maps";
  const std::vector<std::string> names{"a", "b"};
  write_map(maps + "/a.png", 4, 6, 10);
  const WeightFiles files(names, maps);
  const auto refused = [&](Index height, Index width) {
    return thrown_by<DataError>([&] { static_cast<void>(files.load(0, height, width)); });
  };
  CHECK(refused(6, 4) == maps +
                             "/a.png: is a weight map of 4 x 6 pixels; expected those of its image, 6 x 4, "
                             "or both divided by one whole number");
  CHECK(refused(8, 6) == maps +
                             "/a.png: is a weight map of 4 x 6 pixels; expected those of its image, 8 x 6, "
                             "or both divided by one whole number");
  CHECK(refused(2, 3) == maps +
                             "/a.png: is a weight map of 4 x 6 pixels; expected those of its image, 2 x 3, "
                             "or both divided by one whole number");
  CHECK(files.load(0, 12, 18));

  std::ofstream(maps + "/a.png") << "no picture";
  CHECK(refused(4, 6).starts_with(maps + "/a.png: not a "));

  write_floats(maps + "/b.pfm", -0.5F);
  const WeightFiles floats(names, maps);
  const auto refused_float = [&] {
    return thrown_by<DataError>([&] { static_cast<void>(floats.load(1, 1, 2)); });
  };
  CHECK(refused_float() == maps + "/b.pfm: has a weight of -0.5; expected 0 or more");
  write_floats(maps + "/b.pfm", std::numeric_limits<float>::quiet_NaN());
  CHECK(refused_float().starts_with(maps + "/b.pfm: holds a value that is not finite"));
  write_floats(maps + "/b.pfm", 7);
  CHECK(std::get<Image<float>>(floats.load(1, 1, 2).value())(0, 1, 0) == 7);

  CHECK(thrown_by<DataError>([&] {
          WeightFiles({"x", "y"}, maps);
        }) ==
        maps +
            ": none of 2 weight maps belongs to one of 2 images by its name; expected x.png for the first");
  CHECK(thrown_by<DataError>([&] {
          WeightFiles(names, folder.path() + "/nowhere");
        }).starts_with(folder.path() + "/nowhere: "));
  // Two maps of one image, in a folder of its name.
  write_map(maps + "/c/1.png", 4, 6, 1);
  write_map(maps + "/c/2.png", 4, 6, 1);
  CHECK(thrown_by<DataError>([&] { WeightFiles({"c"}, maps); }) ==
        "c: has 2 weight maps, " + maps + "/c/1.png and " + maps + "/c/2.png; expected one");
}
