// One pretraining job: everything the command line says, and who runs it.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>

#include <dssl/core/tensor_view.hpp>
#include <dssl/io/image_codec.hpp>
#include <dssl/train/options.hpp>
#include <dssl/train/trainer.hpp>
#include <dssl/views/image.hpp>

namespace dssl::programs {

/// Where images come from, whatever its kind: so that a trainer is compiled once for all of them.
class AnySource {
 public:
  AnySource() = default;
  template <ImageSource Source>
  explicit AnySource(Source source) : x_held(std::make_shared<const Held<Source>>(std::move(source))) {}

  [[nodiscard]] Index size() const { return x_held->size(); }
  [[nodiscard]] std::string name(Index i) const { return x_held->name(i); }
  [[nodiscard]] AnyImage load(Index i) const { return x_held->load(i); }

 private:
  struct Holder {
    Holder() = default;
    Holder(const Holder&) = delete;
    Holder& operator=(const Holder&) = delete;
    virtual ~Holder() = default;
    [[nodiscard]] virtual Index size() const = 0;
    [[nodiscard]] virtual std::string name(Index i) const = 0;
    [[nodiscard]] virtual AnyImage load(Index i) const = 0;
  };
  template <class Source>
  struct Held final : Holder {
    explicit Held(Source source) : x_source(std::move(source)) {}
    [[nodiscard]] Index size() const override { return x_source.size(); }
    [[nodiscard]] std::string name(Index i) const override { return x_source.name(i); }
    [[nodiscard]] AnyImage load(Index i) const override { return x_source.load(i); }
    Source x_source;
  };

  std::shared_ptr<const Holder> x_held;
};

/// What the command line says.
struct Job {
  std::string data, split;
  std::string recipe = "densedino";
  std::string arch = "tiny16";
  std::string relation = "private";
  std::string left_aside;  ///< pictures of the data folder that cannot be read, by ending
  std::string out;
  std::string resume;      ///< checkpoint to go on from; empty: a new run
  Index extend_to = 0;     ///< epochs that the resumed run is extended to; 0: those it has
  bool overwrite = false;  ///< a new run may replace the one in `out`
  Index points = 2;        ///< K
  std::string backend = "cpu";
  int threads = 0;
  std::string precision = "f32";
  Index max_steps = 0;         ///< 0: no budget
  double minutes = 0;          ///< 0: no budget
  std::string monitor;         ///< folder of held-out images; empty: none
  Index monitor_every = 1;     ///< epochs
  Index monitor_size = 0;      ///< 0: the global views'
  Index monitor_classes = 0;   ///< 0: as many as classes.txt names
  std::string monitor_metric;  ///< empty: the first that the folder gives
  bool keep_best = false;
  Index synthetic_count = 1000;
  Index synthetic_size = 128;
  ReadOptions read;
  TrainerOptions options;
  AnySource source;

  /// How image files are read for the network.
  [[nodiscard]] ReadOptions reading() const {
    ReadOptions for_network = read;
    for_network.channels = options.channels > 0 ? options.channels : 3;
    return for_network;
  }

  [[nodiscard]] std::string checkpoint_path() const { return out + "/checkpoint.safetensors"; }
  [[nodiscard]] std::string teacher_path() const { return out + "/teacher.safetensors"; }
  [[nodiscard]] std::string best_path() const { return out + "/best.safetensors"; }
  /// What weights say of themselves.
  [[nodiscard]] std::map<std::string, std::string> weights_metadata(Index steps) const {
    return {{"arch", arch}, {"recipe", recipe}, {"relation", relation}, {"step", std::to_string(steps)}};
  }
};

class RunLog;

/// Trains. Throws `OptionError` for a recipe or a relation that is not there.
[[nodiscard]] RunSummary pretrain(const Job& job, RunLog& log);
[[nodiscard]] RunSummary pretrain_densedino(const Job& job, RunLog& log);

}  // namespace dssl::programs
