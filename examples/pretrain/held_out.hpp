// Held-out images that tell, while a run goes on, what was learned.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/monitor/feature_monitor.hpp>
#include <dssl/train/report.hpp>
#include <dssl/train/trainer.hpp>
#include <pretrain/job.hpp>

namespace dssl::programs {

/// A folder's images under a backbone whose architecture is known at run time.
class HeldOut {
 public:
  HeldOut() = default;
  HeldOut(const HeldOut&) = delete;
  HeldOut& operator=(const HeldOut&) = delete;
  virtual ~HeldOut() = default;

  /// What they measure, in one line.
  [[nodiscard]] virtual std::string describe() const = 0;
  [[nodiscard]] virtual bool due(const StepReport& report) const = 0;
  [[nodiscard]] virtual std::vector<Figure> measure(const BackboneWeights<float>& weights) = 0;

  /// The figure that the best weights are kept by.
  std::string metric;
};

/// The folder that `--monitor` names; nothing where it names none. Opens every list, and of labelled images a few. Throws
/// `OptionError`, `DataError`. `warn` hears of each image that cannot be read, and of ids that nobody named.
[[nodiscard]] std::unique_ptr<HeldOut> open_held_out(const Job& job,
                                                     const std::function<void(std::string_view)>& warn);

}  // namespace dssl::programs
