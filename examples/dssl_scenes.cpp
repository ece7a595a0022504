// dssl-scenes: writes generated scenes with exact masks as a VOC folder.
#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <common/earlier_outputs.hpp>
#include <common/program.hpp>
#include <dssl/core/error.hpp>
#include <dssl/data/synthetic.hpp>
#include <dssl/data/synthetic_voc.hpp>
#include <dssl/io/atomic_file.hpp>
#include <dssl/io/mapped_file.hpp>
#include <dssl/version.hpp>

namespace {

namespace fs = std::filesystem;
using dssl::Index;
using dssl::join;
using Json = nlohmann::ordered_json;

/// Tells that dssl-scenes wrote the folder, and how many scenes lie in it.
std::string record_file(const std::string& folder) { return folder + "/scenes.json"; }

void write_record(const std::string& folder, Index scenes) {
  dssl::programs::write_json(record_file(folder),
                             {{"program", "dssl-scenes"}, {"version", dssl::version_string}, {"scenes", scenes}});
}

/// How many scenes of an earlier call lie in the folder: 0 where it is empty, or is not there. Throws `FileError` where
/// it holds what somebody else wrote, or where an earlier call's scenes are not to be replaced.
Index scenes_there(const std::string& folder, bool overwrite) {
  std::error_code ignored;
  // The lock of a call that is at work, or was killed, is nothing that lies there.
  if (!fs::is_directory(folder, ignored) || std::ranges::all_of(fs::directory_iterator(folder), [](const fs::directory_entry& entry) {
        return entry.path().filename() == ".lock";
      }))
    return 0;
  Json record;
  if (fs::exists(record_file(folder), ignored)) {
    const auto bytes = dssl::read_bytes(record_file(folder));
    const auto* const text = reinterpret_cast<const char*>(bytes.data());
    record = Json::parse(text, text + bytes.size(), nullptr, false);
  }
  const bool own = record.is_object() && record.value("program", Json()) == "dssl-scenes" && record.contains("scenes") &&
                   record["scenes"].is_number_unsigned();
  if (!own) throw dssl::FileError(folder, "holds files that dssl-scenes did not write; expected a new or an empty folder");
  if (!overwrite) throw dssl::FileError(folder, "holds scenes already; --overwrite replaces them, or use another --out");
  return record["scenes"].get<Index>();
}

/// What a scene has in each folder.
struct SceneFiles {
  const char* inner;
  const char* ending;
  bool of_defects;  ///< with --defects alone
  [[nodiscard]] std::string of(Index scene) const { return dssl::detail::scene_id(scene) + ending; }
};
constexpr std::array<SceneFiles, 3> scene_files{
    {{"JPEGImages", ".jpg", false}, {"SegmentationClass", ".png", false}, {"DefectMasks", ".png", true}}};
constexpr const char* lists = "ImageSets/Segmentation";
constexpr const char* train_list = "train.txt";
constexpr const char* val_list = "val.txt";

/// Removes what calls that were killed left half written of the first `count` scenes and the lists.
void remove_half_written(const std::string& folder, Index count) {
  for (const SceneFiles& files : scene_files) {
    dssl::programs::remove_abandoned_in(join(folder, "/", files.inner), [&](const std::string& name) {
      Index scene = -1;
      std::from_chars(name.data(), name.data() + name.size(), scene);
      return scene >= 0 && scene < count && name == files.of(scene);
    });
  }
  const auto is_list = [](const std::string& name) { return name == train_list || name == val_list; };
  dssl::programs::remove_abandoned_in(join(folder, "/", lists), is_list);
}

/// Removes what `there` scenes of an earlier call had and `now` do not.
void remove_rest(const std::string& folder, Index there, Index now, bool defects, Index train, Index val) {
  std::error_code ignored;
  for (Index i = 0; i < there; ++i) {
    for (const SceneFiles& files : scene_files) {
      if (i >= now || (files.of_defects && !defects)) fs::remove(join(folder, "/", files.inner, "/", files.of(i)), ignored);
    }
  }
  if (there == 0) return;
  for (const SceneFiles& files : scene_files) {
    if (files.of_defects && !defects) fs::remove(join(folder, "/", files.inner), ignored);  // where it is empty
  }
  if (train == 0) fs::remove(join(folder, "/", lists, "/", train_list), ignored);
  if (val == 0) fs::remove(join(folder, "/", lists, "/", val_list), ignored);
}

}  // namespace

int main(int argc, char** argv) {
  dssl::SyntheticOptions scenes;
  dssl::Index size = 128, train = 500, val = 100;
  std::string out;
  bool overwrite = false;
  CLI::App app(
      "Writes generated scenes, textured objects on textured ground, with exact masks, as a VOC folder with "
      "the "
      "splits train and val.",
      "dssl-scenes");
  app.option_defaults()->always_capture_default();
  app.set_version_flag("--version", std::string(dssl::version_string));
  app.add_option("--out", out, "Folder to write; a new or an empty one")->required()->option_text("DIR");
  app.add_flag("--overwrite", overwrite, "Replaces the scenes of an earlier call in the folder");
  app.add_option("--train", train, "Scenes of the split train")->check(CLI::Range(0, 10000000));
  app.add_option("--val", val, "Scenes of the split val")->check(CLI::Range(0, 10000000));
  app.add_option("--size", size, "Height and width in pixels");
  app.add_option("--classes", scenes.classes, "Class ids, the ground's 0 among them");
  app.add_option("--channels", scenes.channels, "3: colour, 1: grey");
  app.add_flag("--defects", scenes.defects, "Draws small defects and writes their masks");
  app.add_option("--seed", scenes.seed, "Seed of every random number");
  return dssl::programs::run_program(app, argc, argv, [&] {
    scenes.height = scenes.width = size;
    scenes.count = train + val;
    const dssl::SyntheticScenes source(scenes);
    static_cast<void>(scenes_there(out, overwrite));  // before anything is made
    const dssl::FolderClaim claim = dssl::programs::claim_output_folder(out, {"scenes.json"});
    const Index there = scenes_there(out, overwrite);  // another call may have ended meanwhile
    remove_half_written(out, std::max(there, train + val));
    // A call that is cut off leaves a folder that another one may replace, and knows how much there may be.
    write_record(out, std::max(there, train + val));
    dssl::write_voc(out, source, train, val);
    remove_rest(out, there, train + val, scenes.defects, train, val);
    write_record(out, train + val);
    std::printf("%td scenes for training and %td for evaluation: %s\n", train, val, out.c_str());
    return 0;
  });
}
