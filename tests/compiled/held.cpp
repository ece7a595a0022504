// Views, positions, passes of backbones and runs of the published recipes, of what dssl::cpu holds beside the kernels, worked
// out and printed: a line for each part, with its numbers' bits folded into one. Compiled header-only and with dssl::cpu, as
// two programs: what does not depend on a backend has one name in both, and in one program the linker would keep one of them
// for both.
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/backbone/vit.hpp>
#include <dssl/backend/cpu.hpp>
#include <dssl/data/synthetic.hpp>
#include <dssl/dssl.hpp>
#include <dssl/feature_instances.hpp>
#include <dssl/features/features.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/views/blur.hpp>
#include <dssl/views/multi_crop.hpp>
#include <dssl/views/photometric.hpp>
#include <dssl/views/resample.hpp>
#include <dssl/views/view_presets.hpp>

#include "backbone/vit_runner.hpp"
#include "temporary_folder.hpp"

namespace {

using dssl::Index;

/// Says what came out: how many numbers, their sum, for a reader, and their bits.
template <class T>
void print(std::string_view part, std::span<const T> numbers) {
  std::uint64_t bits = 14695981039346656037U;  // FNV-1a
  double sum = 0;
  for (const T x : numbers) {
    sum += static_cast<double>(x);
    for (const std::byte b : std::as_bytes(std::span<const T>(&x, 1))) {
      bits = (bits ^ std::to_integer<std::uint64_t>(b)) * 1099511628211U;
    }
  }
  std::printf("%.*s: %zu numbers, sum %.17g, bits %016llx\n", static_cast<int>(part.size()), part.data(),
              numbers.size(), sum, static_cast<unsigned long long>(bits));
}

double wave(double seed, std::size_t i) { return 0.5 + 0.5 * std::sin(seed + 0.37 * static_cast<double>(i)); }

template <class T>
dssl::Image<T> picture(Index height, Index width, double largest) {
  dssl::Image<T> out(height, width, 3);
  for (std::size_t i = 0; i < out.pixels().size(); ++i)
    out.pixels()[i] = static_cast<T>(largest * wave(1, i));
  return out;
}

/// Resampled up and down, by each rule, blurred by radii of each kind, normalised.
template <class T>
void views(std::string_view part, double largest) {
  using W = dssl::work_type<T>;
  const dssl::Image<T> image = picture<T>(37, 29, largest);
  dssl::ResampleWorkspace<W> resampling;
  dssl::BlurWorkspace<W> blurring;
  dssl::PlanarImage<W> planes;
  std::vector<float> all;
  const std::vector<float> mean{0.4F, 0.45F, 0.5F}, deviation{0.2F, 0.25F, 0.3F};
  for (const auto kind :
       {dssl::Interpolation::nearest, dssl::Interpolation::bilinear, dssl::Interpolation::bicubic}) {
    for (const Index size : {11, 64}) {
      dssl::resample(planes, image, dssl::Box{3, 2, 30, 25}, size, size + 3, kind, size == 11, resampling);
      for (const double radius : {0.0, 0.3, 0.9, 2.1}) {
        dssl::gaussian_blur(planes, radius, blurring);
        std::vector<float> normal(static_cast<std::size_t>(3 * planes.plane_size()));
        dssl::normalise(std::span<float>(normal), planes, std::span<const float>(mean),
                        std::span<const float>(deviation));
        all.insert(all.end(), normal.begin(), normal.end());
      }
    }
  }
  print(part, std::span<const float>(all));
}

/// Views as they are drawn for training, of both kinds of pixels, and as an old camera's.
void crops() {
  std::vector<float> all;
  const auto draw = [&](const dssl::AnyImage& image, dssl::MultiCropOptions options = {}) {
    dssl::ViewWorkspace workspace;
    workspace.mean = {0.4F, 0.45F, 0.5F};
    workspace.deviation = {0.2F, 0.25F, 0.3F};
    std::vector<dssl::ViewPlan> plans;
    options.global_size = options.local_size = {32, 32};
    dssl::plan_multi_crop(plans, options, 61, 47, {.seed = 3, .sample = 1});
    for (const dssl::ViewPlan& plan : plans) {
      std::vector<float> view(static_cast<std::size_t>(3 * plan.height * plan.width));
      dssl::render_view(std::span<float>(view), image, plan, dssl::Interpolation::bicubic, workspace);
      all.insert(all.end(), view.begin(), view.end());
    }
  };
  draw(picture<std::uint8_t>(61, 47, 255));
  draw(picture<float>(61, 47, 1));
  draw(picture<std::uint8_t>(61, 47, 255), dssl::with_preset({}, "old_camera"));
  print("views of multi-crop", std::span<const float>(all));
}

template <class T>
void grids(std::string_view part) {
  std::vector<T> all;
  for (const auto rule : {dssl::PositionRule::offset, dssl::PositionRule::size,
                          dssl::PositionRule::size_antialiased, dssl::PositionRule::corners}) {
    for (const dssl::GridSize grid : {dssl::GridSize{3, 11}, dssl::GridSize{7, 7}}) {
      for (const auto& reads : dssl::grid_reads<T>(grid, dssl::GridSize{7, 7}, rule)) {
        for (const dssl::Taps<T>& taps : reads) {
          for (std::size_t i = 0; i < taps.row.size(); ++i) {
            all.push_back(static_cast<T>(taps.row[i]));
            all.push_back(taps.weight[i]);
          }
        }
      }
    }
  }
  print(part, std::span<const T>(all));
}

constexpr dssl::ViTConfig small{.image = 32, .patch = 8, .width = 24, .depth = 2, .heads = 2};

/// Both passes of a backbone, with references, a group of views of another size than the table's, and
/// content.
void passes() {
  const dssl::Cpu cpu({.threads = 2});
  dssl::test::VitRunner<dssl::Cpu> runner(
      cpu, small, true,
      {{.count = 2, .grid = {4, 4}, .references = 3}, {.count = 1, .grid = {3, 5}, .references = 2}},
      {.class_token = true, .reference = true, .patch = true});
  for (std::size_t i = 0; i < runner.weights().size(); ++i)
    runner.weights()[i] = static_cast<float>(wave(2, i) - 0.5);
  for (std::size_t g = 0; g < 2; ++g) {
    for (std::size_t i = 0; i < runner.image(g).size(); ++i)
      runner.image(g)[i] = static_cast<float>(wave(3, i));
  }
  std::vector<double> points;
  for (Index i = 0; i < 2 * runner.tokens().reference_count(); ++i)
    points.push_back(wave(4, static_cast<std::size_t>(i)) - 0.5);
  runner.points(std::span<const double>(points));
  const auto out = runner.forward<dssl::private_relation>();
  print("forward pass", std::span<const float>(out.data(), static_cast<std::size_t>(out.size())));
  std::vector<float> upstream(static_cast<std::size_t>(out.size()));
  for (std::size_t i = 0; i < upstream.size(); ++i) upstream[i] = static_cast<float>(wave(5, i) - 0.5);
  runner.backward<dssl::private_relation>(
      dssl::MatrixView<const float>(upstream.data(), out.rows(), out.cols()));
  print("gradients", std::span<const float>(runner.gradients()));
}

/// Tokens of an input of another size than the table's.
void features() {
  dssl::FeatureExtractor<dssl::ViTFamily, dssl::Cpu> extractor(
      dssl::Cpu({.threads = 2}), {.height = 40, .width = 56, .batch = 2, .blocks = {0, 1}, .flips = true},
      small);
  std::vector<float> weights(static_cast<std::size_t>(extractor.layout().total()));
  for (std::size_t i = 0; i < weights.size(); ++i) weights[i] = static_cast<float>(wave(6, i) - 0.5);
  extractor.load(std::span<const float>(weights));
  std::vector<float> images(static_cast<std::size_t>(3 * extractor.image_size()));
  for (std::size_t i = 0; i < images.size(); ++i) images[i] = static_cast<float>(wave(7, i));
  std::vector<float> tokens(static_cast<std::size_t>(3 * extractor.width()));
  std::vector<float> maps(static_cast<std::size_t>(3 * extractor.width() * extractor.grid().size()));
  extractor.extract(std::span<float>(tokens), std::span<float>(maps), std::span<const float>(images));
  print("class tokens", std::span<const float>(tokens));
  print("patch maps", std::span<const float>(maps));
}

/// Every float of a file, in the order of its tensors.
std::vector<float> floats_of(const std::string& path) {
  std::vector<float> all;
  const dssl::SafetensorsFile file = dssl::SafetensorsFile::open(path);
  for (const auto& tensor : file.tensors()) {
    if (tensor.type != dssl::ElementType::f32) continue;
    const auto values = file.read<float>(tensor.name);
    all.insert(all.end(), values.begin(), values.end());
  }
  return all;
}

/// Three steps on scenes: losses, then weights, teacher, the optimiser's state and centres, as the checkpoint has them, and
/// the file of the backbone.
template <class Recipe>
void run(std::string_view part) {
  using Small = dssl::ProjectionHead<dssl::HeadConfig{.hidden = 32, .bottleneck = 16, .prototypes = 24}>;
  const dssl::test::TemporaryFolder folder;
  dssl::TrainerOptions options{.epochs = 1, .batch = 4, .checkpoint = folder / "checkpoint.safetensors"};
  options.views.locals = 1;
  options.views.global_size = options.views.local_size = {32, 32};
  typename dssl::Trainer<typename Recipe::template with_backbone<dssl::ViT<small>>::template with_head<Small>, dssl::Cpu> trainer(
      options);
  std::vector<double> losses;
  trainer.on_step([&](const dssl::StepReport& report) {
    losses.push_back(report.loss);
    return dssl::proceed;
  });
  trainer.fit(dssl::ImagesOf{dssl::SyntheticScenes({.count = 12, .height = 48, .width = 40})});
  dssl::save_backbone(folder / "teacher.safetensors", trainer.teacher());
  const std::string name(part);
  print(name + ", losses", std::span<const double>(losses));
  print(name + ", checkpoint", std::span<const float>(floats_of(options.checkpoint)));
  print(name + ", backbone", std::span<const float>(floats_of(folder / "teacher.safetensors")));
}

}  // namespace

int main() {
  views<std::uint8_t>("resampled, blurred and normalised, 8 bits", 255);
  views<std::uint16_t>("resampled, blurred and normalised, 16 bits", 65535);
  views<float>("resampled, blurred and normalised, float", 1);
  crops();
  grids<float>("positions, float");
  grids<double>("positions, double");
  passes();
  features();
  run<dssl::DenseDino>("DenseDino");
  run<dssl::Dino>("Dino");
  run<dssl::FeatureMapDino>("FeatureMapDino");
}
