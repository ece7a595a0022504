// dssl-variants: two lists of types in, one table out. Recipes and backends are exchanged at compile time: write yours into
// the lists.
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

#include <dssl/backend/reference.hpp>
#include <dssl/data/image_files.hpp>
#include <dssl/data/synthetic.hpp>
#include <dssl/dssl.hpp>
#include <dssl/monitor/feature_monitor.hpp>
#include <dssl/points/grid_points.hpp>
#include <dssl/version.hpp>

#include "common/backend.hpp"
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

/// A backend, how it is made for so many threads, and the name it has in the table.
template <class BackendT>
struct Choice {
  using Backend = BackendT;
  std::string_view name;
  Backend (*make)(int threads);
};

/// A Cpu whose products are in bf16, where the processor has instructions for them.
programs::Cpu cpu_in_bf16(int threads) {
  programs::Cpu backend({.threads = threads, .precision = Precision::bf16});
  if (backend.precision() != Precision::bf16) programs::warn_of_float_products();
  return backend;
}

// The other list. A variant runs on each of them that is asked for; a new type compiles the step of every kind of variant
// once more, a line with a type that is there costs nothing.
constexpr std::tuple backends{
    Choice<programs::Cpu>{"cpu", [](int threads) { return programs::Cpu({.threads = threads}); }},
    Choice<programs::Cpu>{"cpu-bf16", cpu_in_bf16},
    Choice<Reference<float>>{"reference", [](int /*threads*/) { return Reference<float>(); }},  // plain loops: small settings
};

struct Settings {
  std::string data = "synthetic", out;
  std::vector<std::string> only, backends{"cpu"};
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
  std::string name, backend;
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

/// Trains a recipe on a backend. What it has learned is looked at by the same backend for all.
template <class Recipe, class B>
Row measured(std::string_view name, const Choice<B>& choice, const Settings& s, const Data& data,
             const programs::Interruption& interruption) {
  Trainer<Recipe, B> trainer(s.of<TrainerOptionsOf<Recipe>>(), choice.make(s.threads));
  FeatureMonitor<typename Recipe::Backbone, programs::Cpu> monitor(programs::Cpu({.threads = s.threads}),
                                                                   {.height = s.size, .width = s.size});
  data.watch(monitor);
  Row row;
  row.name = name;
  row.backend = choice.name;
  row.before = monitor.measure(trainer.teacher());
  row.megabytes = static_cast<double>(trainer.memory_plan().total()) / 1e6;
  std::vector<double> seconds;
  programs::Progress progress(join(row.name, " on ", row.backend), s.epochs * (data.size() / s.batch), "steps", stderr);
  Index counted = 0;
  trainer.on_step([&](const StepReport& report) {
    progress.at(report.step + 1);
    seconds.push_back(report.seconds - report.data_wait_seconds);
    if (report.step + report.epoch_steps >= report.steps) row.loss += report.loss, ++counted;
    return interruption.requested() ? stop : proceed;
  });
  const RunSummary summary = data.fit(trainer);
  if (!summary.finished) throw Error(join("stopped in the variant '", name, "' on ", row.backend));
  row.loss /= static_cast<double>(std::max<Index>(1, counted));
  std::nth_element(seconds.begin(), seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2), seconds.end());
  row.seconds = seconds[seconds.size() / 2];
  row.after = monitor.measure(trainer.teacher());
  return row;
}

/// `f(entry)` for each of a list.
template <class List, class F>
void for_each(const List& list, F&& f) {
  std::apply([&](const auto&... entry) { (f(entry), ...); }, list);
}

[[nodiscard]] bool holds(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Throws `OptionError` where a name that was asked for is not of the list. `what`: an entry, in words.
template <class List>
void require_known(const List& list, const std::vector<std::string>& asked, std::string_view field, std::string_view what) {
  std::vector<std::string> names;
  for_each(list, [&](const auto& entry) { names.emplace_back(entry.name); });
  for (const std::string& name : asked) {
    if (holds(names, name)) continue;
    std::string known;
    for (const std::string& n : names) known += (known.empty() ? "" : ", ") + n;
    throw OptionError(field, name, join(what, " of the list: ", known));
  }
}

int run(const Settings& s) {
  require_known(variants, s.only, "only", "a variant");
  require_known(backends, s.backends, "backends", "a backend");
  const Data data(s);
  if (!s.out.empty()) {
    const programs::OutputFiles output({s.out});
    output.require_writable();
    if (s.data != "synthetic") output.require_other_than_given("--data", {s.data});
    data.require_other_than_read(output);
  }
  const programs::Interruption interruption;
  std::vector<Row> rows;
  for_each(variants, [&]<class Recipe>(const Variant<Recipe>& variant) {
    if (!s.only.empty() && !holds(s.only, variant.name)) return;
    for_each(backends, [&]<class B>(const Choice<B>& choice) {
      if (holds(s.backends, choice.name)) rows.push_back(measured<Recipe>(variant.name, choice, s, data, interruption));
    });
  });
  nlohmann::ordered_json json{{"program", "dssl-variants"}, {"version", version_string}, {"data", s.data}, {"epochs", s.epochs},
                              {"batch", s.batch}, {"seed", s.seed}, {"rows", nlohmann::ordered_json::array()}};
  std::string head = "| variant | backend | loss | s a step | planned MB |", line = "|---|---|---|---|---|";
  for (const Figure& figure : rows.front().after) head += " " + figure.name + " (untrained) |", line += "---|";
  std::printf("%s\n%s\n", head.c_str(), line.c_str());
  for (const Row& row : rows) {
    std::printf("| %s | %s | %.4f | %.4f | %.0f |", row.name.c_str(), row.backend.c_str(), row.loss, row.seconds, row.megabytes);
    nlohmann::ordered_json own{{"variant", row.name}, {"backend", row.backend}, {"loss", row.loss}, {"seconds", row.seconds}, {"planned_megabytes", row.megabytes}};
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
      "Trains every recipe of a list that is compiled in (examples/variants.cpp) on every backend of another that is asked "
      "for, on the same images, and prints one table: loss, time of a step, planned memory, and what held-out images say of "
      "the features before and after.",
      "dssl-variants");
  app.option_defaults()->always_capture_default();
  app.set_version_flag("--version", std::string(version_string));
  app.add_option("--data", s.data, "Folder of images, those of a subfolder having one label (k-NN), or 'synthetic' (retrieval)");
  app.add_option("--only", s.only, "Variants to run, by name; all if not given")->option_text("NAME ...");
  app.add_option("--backends", s.backends, "Backends to train on, by name: cpu, cpu-bf16, and reference, plain loops for small settings")
      ->option_text("NAME ...");
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
