#include <pretrain/held_out.hpp>

#include <algorithm>
#include <cstdint>
#include <map>
#include <string_view>
#include <type_traits>
#include <utility>

#include <common/architectures.hpp>
#include <common/backend.hpp>
#include <common/mask_classes.hpp>
#include <common/relations.hpp>
#include <dssl/backend/concept.hpp>
#include <dssl/core/error.hpp>
#include <dssl/data/apart.hpp>
#include <dssl/data/image_files.hpp>
#include <dssl/data/source.hpp>
#include <dssl/data/voc.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/features/label_census.hpp>
#include <pretrain/monitor_files.hpp>
#include <pretrain/recipes.hpp>

namespace dssl::programs {
namespace {

/// The label of each image as a number, in the order of the labels' names; empty unless there are at least
/// two.
std::vector<std::int64_t> numbered_labels(const ImageFiles& images) {
  std::map<std::string, std::int64_t> numbers;
  for (Index i = 0; i < images.size(); ++i) numbers.emplace(images.label(i), 0);
  if (numbers.size() < 2) return {};
  std::int64_t next = 0;
  for (auto& [name, number] : numbers) number = next++;
  std::vector<std::int64_t> out;
  for (Index i = 0; i < images.size(); ++i) out.push_back(numbers[images.label(i)]);
  return out;
}

template <Backend B>
class HeldOutOf final : public HeldOut {
 public:
  HeldOutOf(const Job& job, const B& backend, const std::function<void(std::string_view)>& warn)
      : x_reading(job.read), x_monitor(backend, x_options(job), job.backbone) {
    x_monitor.on_skip = [warn](std::string_view, std::string_view message) {
      warn(join("skipped in the monitor: ", message));
    };
    if (in_voc_layout(job.monitor)) {
      x_watch_voc(job, warn);
    } else {
      x_watch_folder(job);
    }
    const auto known = [&](const std::string& name) {
      return std::find(x_figures.begin(), x_figures.end(), name) != x_figures.end();
    };
    metric = job.monitor_metric.empty() ? x_figures.front() : job.monitor_metric;
    if (!known(metric)) {
      std::string expected = "one that the folder gives:";
      for (const std::string& figure : x_figures) expected += " " + figure;
      throw OptionError("monitor_metric", metric, expected);
    }
  }

  [[nodiscard]] std::string describe() const override {
    std::string text = x_what + "; figures";
    for (const std::string& figure : x_figures) text += " " + figure;
    const Index every = x_monitor.options().every;
    return text + (every == 1 ? std::string(" after every epoch") : join(" after every ", every, " epochs"));
  }
  [[nodiscard]] bool due(const StepReport& report) const override { return x_monitor.due(report); }
  [[nodiscard]] std::vector<Figure> measure(const BackboneWeights<float>& weights) override {
    return x_monitor.measure(weights);
  }

 private:
  static FeatureMonitorOptions x_options(const Job& job) {
    const Index side = job.monitor_size > 0 ? job.monitor_size : job.options.views.global_size.height;
    const Index patch = job.backbone.patch;
    if (side % patch != 0) {
      throw OptionError("monitor_size", side,
                        join("a multiple of the patch, ", patch, " pixels"));
    }
    return {.height = side,
            .width = side,
            .channels = job.options.channels,
            .every = job.monitor_every,
            .mean = job.options.views.mean,
            .deviation = job.options.views.deviation,
            .loader = {.threads = job.threads}};
  }

  /// Channels as the network sees them.
  [[nodiscard]] ReadOptions x_read() const {
    ReadOptions out = x_reading;
    out.channels = x_monitor.extractor().options().channels;
    return out;
  }

  void x_watch_voc(const Job& job, const std::function<void(std::string_view)>& warn) {
    VocFolder train(job.monitor, "train", {.read = x_read()});
    VocFolder val(job.monitor, "val", {.read = x_read()});
    const std::string same = same_or_apart(train, "the monitor's images to look up (train)", val,
                                           "those that it measures (val)");
    if (!same.empty()) warn(same);
    MaskClasses own = job.monitor_classes;
    static_cast<void>(settle_classes(own, job.monitor, "monitor_classes"));
    const ClassMap classes(own.class_options());
    x_look_at_masks(train, val, classes, warn);
    x_what = join(job.monitor, ", ", val.size(), " images, ", train.size(), " to look up, ", classes.classes(),
                  " classes");
    x_figures = {"retrieval", "rank", "spread"};
    ImagesOf images(val);
    x_monitor.watch(std::move(train), std::move(val), {.classes = own.class_options(), .seed = job.options.seed});
    x_monitor.watch(std::move(images));
  }

  /// Refuses masks that tell no classes apart, and warns of ids that nobody named.
  static void x_look_at_masks(const VocFolder& train, const VocFolder& val, const ClassMap& classes,
                              const std::function<void(std::string_view)>& warn) {
    constexpr Index few = 16;
    LabelCensus census = sampled_census(train, few);
    require_classes_seen(census, classes, "a few of the monitor's images to look up");
    census += sampled_census(val, few);
    const LabelShares shares = LabelShares::of(census, classes);
    if (shares.unclaimed_share > 0) {
      warn(join("a few of the monitor's masks: ", shares.text(), ": neither looked up nor scored; --monitor-classes, "
                "--monitor-only or --monitor-void say what these ids are"));
    }
  }

  void x_watch_folder(const Job& job) {
    ImageFiles images(job.monitor, {.read = x_read()});
    print_left_aside("dssl-pretrain", images);
    std::vector<std::int64_t> labels = numbered_labels(images);
    if (!labels.empty()) require_one_label(images);
    x_what = join(job.monitor, ", ", images.size(), " images");
    if (!labels.empty()) {
      x_what += join(" of ", *std::max_element(labels.begin(), labels.end()) + 1, " classes");
      x_figures.emplace_back("knn");
    }
    x_figures.insert(x_figures.end(), {"rank", "spread"});
    x_monitor.watch(std::move(images), std::move(labels));
  }

  ReadOptions x_reading;
  FeatureMonitor<ViTFamily, B> x_monitor;
  std::string x_what;
  std::vector<std::string> x_figures;
};

}  // namespace

std::unique_ptr<HeldOut> open_held_out(const Job& job,
                                       const std::function<void(std::string_view)>& warn) {
  if (job.monitor.empty()) {
    if (job.keep_best)
      throw OptionError("keep_best", "given", "--monitor FOLDER with it, whose figure says what is best");
    return nullptr;
  }
  if (recipe_of(job).relations && names_relation(job.relation, "all-query")) {
    throw OptionError("monitor", job.monitor,
                      "another relation than all-query, whose patches see other tokens");
  }
  std::unique_ptr<HeldOut> out;
  with_backend(job, [&](const auto& backend) {
    out = std::make_unique<HeldOutOf<std::decay_t<decltype(backend)>>>(job, backend, warn);
  });
  return out;
}

}  // namespace dssl::programs
