// dssl-variants: one list of types in, one table out. Recipes are exchanged at compile time: write yours into the list.
#include <algorithm>
#include <cstdio>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <dssl/data/image_files.hpp>
#include <dssl/data/synthetic.hpp>
#include <dssl/dssl.hpp>
#include <dssl/monitor/feature_monitor.hpp>
#include <dssl/points/grid_points.hpp>
#include <dssl/version.hpp>

#include "common/cpu.hpp"
#include "common/output_files.hpp"
#include "common/program.hpp"
#include "common/progress.hpp"

namespace {

using namespace dssl;

/// A recipe and the name it has in the table.
template <class RecipeT>
struct Variant {
  using Recipe = RecipeT;
  std::string_view name;
};

// The list. One line a variant: every part of a recipe can be exchanged (docs/recipe.md), also for one of your own.
using Base = DenseDino::with_backbone<ViT<vit_nano8>>;
constexpr std::tuple variants{
    Variant<Base>{"densedino"},
    Variant<Base::with_points<GridPoints<2>>>{"grid of points"},
    Variant<Base::with_tokens<FeatureMap>>{"points of the map"},
    Variant<Base::with_tokens<ClassToken>::with_loss<ImageLoss>>{"dino"},
};

struct Settings {
  std::string data = "synthetic", out;
  std::vector<std::string> only;
  Index epochs = 10, batch = 8, size = 64, local_size = 32, locals = 4, scenes = 200, queries = 60, prototypes = 256;
  double learning_rate = 0.03;
  std::uint64_t seed = 0;
  int threads = 0;

  template <class Options>
  [[nodiscard]] Options of() const {
    Options o;
    o.epochs = epochs;
    o.batch = batch;
    o.seed = seed;
    o.prototypes = prototypes;
    o.loader_threads = threads;
    o.optimiser.learning_rate = learning_rate;
    o.optimiser.warmup_epochs = std::min<Index>(2, epochs - 1);
    o.teacher.momentum = 0.99;
    o.views.locals = locals;
    o.views.global_size = {size, size};
    o.views.local_size = {local_size, local_size};
    o.views.local_area = {0.05, 0.4};
    return o;
  }
};

struct Row {
  std::string name;
  double loss = 0;     // mean over the last epoch
  double seconds = 0;  // a step, median
  double megabytes = 0;
  std::vector<Figure> before, after;
};

/// What a monitor is given to watch, whatever the backbone: scenes with masks, or a folder with a label a subfolder.
class Data {
 public:
  explicit Data(const Settings& s) : x_settings(s) {
    if (s.data == "synthetic") return;
    x_files.emplace(s.data);
    std::map<std::string, std::int64_t> numbers;
    for (Index i = 0; i < x_files->size(); ++i) numbers.emplace(x_files->label(i), 0);
    std::int64_t next = 0;
    for (auto& [label, number] : numbers) number = next++;
    for (Index i = 0; i < x_files->size() && numbers.size() > 1; ++i) x_labels.push_back(numbers[x_files->label(i)]);
  }

  void require_other_than_read(const programs::OutputFiles& output) const {
    if (x_files) output.require_other_than_all("--data", *x_files);
  }
  [[nodiscard]] Index size() const { return x_files ? x_files->size() : x_settings.scenes; }
  template <class T>
  RunSummary fit(T& trainer) const {
    return x_files ? trainer.fit(*x_files) : trainer.fit(ImagesOf(x_scenes(x_settings.scenes, 0)));
  }
  template <class Monitor>
  void watch(Monitor& monitor) const {
    if (x_files) return monitor.watch(*x_files, x_labels);
    monitor.watch(x_scenes(x_settings.scenes, 0), x_scenes(x_settings.queries, 1), {.classes = {.classes = 5}, .seed = x_settings.seed});
    monitor.watch(ImagesOf(x_scenes(x_settings.queries, 1)));
  }

 private:
  [[nodiscard]] SyntheticScenes x_scenes(Index count, std::uint64_t seed) const {
    const Index side = std::max<Index>(96, x_settings.size);
    return SyntheticScenes({.seed = x_settings.seed + seed, .count = count, .height = side, .width = side, .classes = 5});
  }

  const Settings& x_settings;
  std::optional<ImageFiles> x_files;
  std::vector<std::int64_t> x_labels;
};

template <class Recipe>
Row measured(std::string_view name, const Settings& s, const Data& data, const programs::Interruption& interruption) {
  const Cpu backend({.threads = s.threads});
  Trainer<Recipe, Cpu> trainer(s.of<TrainerOptionsOf<Recipe>>(), backend);
  FeatureMonitor<typename Recipe::Backbone, Cpu> monitor(backend, {.height = s.size, .width = s.size});
  data.watch(monitor);
  Row row;
  row.name = name;
  row.before = monitor.measure(trainer.teacher());
  row.megabytes = static_cast<double>(trainer.memory_plan().total()) / 1e6;
  std::vector<double> seconds;
  programs::Progress progress(row.name, s.epochs * (data.size() / s.batch), "steps", stderr);
  Index counted = 0;
  trainer.on_step([&](const StepReport& report) {
    progress.at(report.step + 1);
    seconds.push_back(report.seconds - report.data_wait_seconds);
    if (report.step + report.epoch_steps >= report.steps) row.loss += report.loss, ++counted;
    return interruption.requested() ? stop : proceed;
  });
  const RunSummary summary = data.fit(trainer);
  if (!summary.finished) throw Error(join("stopped in the variant '", name, "'"));
  row.loss /= static_cast<double>(std::max<Index>(1, counted));
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2), seconds.end());
  row.seconds = seconds[seconds.size() / 2];
  row.after = monitor.measure(trainer.teacher());
  return row;
}

/// `f(name, type)` for each variant of the list.
template <class F>
void for_each_variant(F&& f) {
  std::apply([&](const auto&... v) { (f(v.name, std::type_identity<typename std::decay_t<decltype(v)>::Recipe>{}), ...); }, variants);
}

int run(const Settings& s) {
  std::vector<std::string> names;
  for_each_variant([&](std::string_view name, auto) { names.emplace_back(name); });
  for (const std::string& name : s.only) {
    if (std::find(names.begin(), names.end(), name) != names.end()) continue;
    std::string known;
    for (const std::string& n : names) known += (known.empty() ? "" : ", ") + n;
    throw OptionError("only", name, "a variant of the list: " + known);
  }
  const Data data(s);
  if (!s.out.empty()) {
    const programs::OutputFiles output({s.out});
    output.require_writable();
    if (s.data != "synthetic") output.require_other_than_given("--data", {s.data});
    data.require_other_than_read(output);
  }
  const programs::Interruption interruption;
  std::vector<Row> rows;
  for_each_variant([&]<class Recipe>(std::string_view name, std::type_identity<Recipe>) {
    if (s.only.empty() || std::find(s.only.begin(), s.only.end(), name) != s.only.end()) {
      rows.push_back(measured<Recipe>(name, s, data, interruption));
    }
  });
  nlohmann::ordered_json json{{"program", "dssl-variants"}, {"version", version_string}, {"data", s.data}, {"epochs", s.epochs},
                              {"batch", s.batch}, {"seed", s.seed}, {"rows", nlohmann::ordered_json::array()}};
  std::string head = "| variant | loss | s a step | planned MB |", line = "|---|---|---|---|";
  for (const Figure& figure : rows.front().after) head += " " + figure.name + " (untrained) |", line += "---|";
  std::printf("%s\n%s\n", head.c_str(), line.c_str());
  for (const Row& row : rows) {
    std::printf("| %s | %.4f | %.4f | %.0f |", row.name.c_str(), row.loss, row.seconds, row.megabytes);
    nlohmann::ordered_json own{{"variant", row.name}, {"loss", row.loss}, {"seconds", row.seconds}, {"planned_megabytes", row.megabytes}};
    for (std::size_t i = 0; i < row.after.size(); ++i) {
      std::printf(" %.4g (%.4g) |", row.after[i].value, row.before[i].value);
      own[row.after[i].name] = {{"trained", row.after[i].value}, {"untrained", row.before[i].value}};
    }
    std::printf("\n");
    json["rows"].push_back(own);
  }
  if (!s.out.empty()) programs::write_json(s.out, json);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  Settings s;
  CLI::App app(
      "Trains every recipe of a list that is compiled in (examples/variants.cpp), on the same images, and prints one table: "
      "loss, time of a step, planned memory, and what held-out images say of the features before and after.",
      "dssl-variants");
  app.option_defaults()->always_capture_default();
  app.set_version_flag("--version", std::string(version_string));
  app.add_option("--data", s.data, "Folder of images, those of a subfolder having one label (k-NN), or 'synthetic' (retrieval)");
  app.add_option("--only", s.only, "Variants to run, by name; all if not given")->option_text("NAME ...");
  app.add_option("--out", s.out, "JSON file to write the table to")->option_text("FILE");
  app.add_option("--epochs", s.epochs, "Epochs of each")->check(CLI::Range(Index{1}, Index{1000000}));
  app.add_option("--batch", s.batch, "Images a step")->check(CLI::Range(Index{1}, Index{100000}));
  app.add_option("--size", s.size, "Height and width of global views and of what is measured, in pixels");
  app.add_option("--local-size", s.local_size, "Height and width of local views");
  app.add_option("--locals", s.locals, "Local views");
  app.add_option("--scenes", s.scenes, "Generated scenes to train on and to look up")->check(CLI::Range(Index{1}, Index{1000000}));
  app.add_option("--queries", s.queries, "Generated scenes to measure on")->check(CLI::Range(Index{1}, Index{1000000}));
  app.add_option("--prototypes", s.prototypes, "Prototypes of each head");
  app.add_option("--lr", s.learning_rate, "Learning rate")->check(CLI::Range(0.0, 1000.0));
  app.add_option("--seed", s.seed, "Seed of every random number");
  app.add_option("--threads", s.threads, "Threads; 0: all cores")->check(CLI::Range(0, 100000));
  return programs::run_program(app, argc, argv, [&] { return run(s); });
}
