// A probe on the Cuda backend: what it learns on the CPU, with no word of the device's memory read by the host.
#include "catch.hpp"

#include <vector>

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/cuda.hpp>
#include <dssl/probe/segmentation_probe.hpp>

#include "cuda/rig.hpp"
#include "halves.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

struct Outcome {
  std::vector<double> losses;
  double mean_iou = 0;
};

template <Backend B>
Outcome run(const B& backend, const SegmentationProbeOptions& options) {
  auto features = halves_extractor(backend, 4);
  SegmentationProbe<HalvesBackbone, B> probe(features, options);
  Outcome out;
  probe.on_step = [&](const ProbeStep& step) { out.losses.push_back(step.loss); };
  probe.train(Halves(12, 1));
  out.mean_iou = probe.evaluate(Halves(6, 2)).scores().mean_iou;
  return out;
}

}  // namespace

TEST_CASE("the segmentation probe learns on Cuda what it learns on the CPU", "[cuda]") {
  if (!device_is_there()) return;
  SegmentationProbeOptions options{.classes = {.classes = 8, .only = {2, 7}},
                                   .epochs = 5,
                                   .batch = 5,
                                   .learning_rate = 2.0,
                                   .label_extent = 24,
                                   .seed = 3};
  for (const bool kept : {false, true}) {
    INFO("features kept " << kept);
    options.augment = !kept;
    options.cache_features = kept;
    options.standardise = kept;
    const Outcome on_cpu = run(Cpu({.threads = 1}), options);
    const Outcome on_cuda = run(Cuda(), options);
    REQUIRE(on_cuda.losses.size() == on_cpu.losses.size());
    CHECK(on_cuda.losses.back() == Approx(on_cpu.losses.back()).epsilon(1e-3));
    CHECK(on_cuda.mean_iou == Approx(on_cpu.mean_iou).epsilon(0.02));
  }
}
