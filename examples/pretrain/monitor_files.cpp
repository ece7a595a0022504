#include <pretrain/monitor_files.hpp>

#include <filesystem>
#include <utility>

#include <dssl/core/error.hpp>
#include <dssl/data/apart.hpp>

namespace dssl::programs {

bool in_voc_layout(const std::string& monitor) { return std::filesystem::is_directory(monitor + "/JPEGImages"); }

MonitorFiles::MonitorFiles(std::string monitor) : x_monitor(std::move(monitor)) {
  if (in_voc_layout(x_monitor)) {
    x_train.emplace(x_monitor, "train");
    x_val.emplace(x_monitor, "val");
  } else {
    x_images.emplace(x_monitor);
  }
}

void MonitorFiles::require_apart(const OutputFiles& output) const {
  output.require_other_than_given("--monitor", {x_monitor});
  if (x_images) output.require_other_than_all("--monitor", *x_images);
  if (!x_val) return;
  output.require_other_than("--monitor", x_monitor + "/classes.txt");
  for (const auto* const split : {&*x_train, &*x_val}) {
    output.require_other_than("--monitor", split->list_name());
    output.require_other_than_all("--monitor", *split);
    for (Index i = 0; i < split->size(); ++i) output.require_other_than("--monitor", split->mask_name(i));
  }
}

std::string MonitorFiles::shared_warning(const SourceView& trained_on) const {
  const Index all = x_val ? x_val->size() : x_images->size();
  const Index shared = x_val ? count_shared_files(trained_on, *x_val) : count_shared_files(trained_on, *x_images);
  if (shared == 0) return {};
  return join(shared, " of the monitor's ", all, " images ", shared == 1 ? "is" : "are", " among the training images: held-out figures ",
              "are of images that are trained on");
}

}  // namespace dssl::programs
