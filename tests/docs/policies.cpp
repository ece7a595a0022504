// The smallest policy of every role, a recipe made of them, and policies that do something.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <memory_resource>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <dssl/dssl.hpp>

namespace snippets {

// [smallest point sampler]
struct CentrePoint {
  [[nodiscard]] dssl::Index count() const { return 1; }
  void sample(std::span<dssl::Point> out, dssl::RandomStream& /*random*/) const { out[0] = {0.5, 0.5}; }
};
// [smallest point sampler end]

// [point sampler]
/// One random point in each of k x k cells of the overlap: spread like a grid, never twice the same.
class JitteredGrid {
 public:
  explicit JitteredGrid(dssl::Index side = 3) : x_side(side) {
    if (side < 1) throw dssl::OptionError("side", side, "at least 1");
  }
  [[nodiscard]] dssl::Index count() const { return x_side * x_side; }
  void sample(std::span<dssl::Point> out, dssl::RandomStream& random) const {
    const auto side = static_cast<double>(x_side);
    for (std::size_t i = 0; i < out.size(); ++i) {
      const auto cell = static_cast<dssl::Index>(i);
      out[i].x = (static_cast<double>(cell % x_side) + random.uniform()) / side;
      out[i].y = (static_cast<double>(cell / x_side) + random.uniform()) / side;
    }
  }

 private:
  dssl::Index x_side;
};
// [point sampler end]

// [token scheme]
/// Reference tokens that see the class token too; nobody else sees a reference token.
struct ReferencesThatSeeTheClass {
  static constexpr dssl::AttentionRelation relation{
      // sees the class token, the references, the patches
      {dssl::Sees::full, dssl::Sees::none, dssl::Sees::full},   // the class token
      {dssl::Sees::full, dssl::Sees::self, dssl::Sees::full},   // a reference
      {dssl::Sees::full, dssl::Sees::none, dssl::Sees::full}};  // a patch
  static constexpr dssl::PointFeatures point_features = dssl::PointFeatures::reference_tokens;
  static constexpr dssl::ReferenceConfig reference{};  // {.learned = true} adds a learned vector
};
// [token scheme end]

// [views]
/// Two views, each the whole image resized: no crop, no change of colour.
class WholeImage {
 public:
  using Options = dssl::MultiCropOptions;
  using Plan = dssl::ViewPlan;
  using Workspace = dssl::ViewWorkspace;

  explicit WholeImage(dssl::MultiCropOptions options = {}) : x_crops(std::move(options)) {}

  [[nodiscard]] dssl::Index views() const { return 2; }
  [[nodiscard]] dssl::ViewSize size(dssl::Index /*view*/) const { return x_crops.options().global_size; }

  /// Where each view lies in an image of that size, and what is done to it.
  void plan(std::vector<Plan>& out, dssl::Index height, dssl::Index width,
            const dssl::RandomKey& /*key*/) const {
    const dssl::CropMap whole{.box = {0, 0, height, width}};
    out.assign(2, {.map = whole, .height = size(0).height, .width = size(0).width, .colour = {}});
  }
  /// Pixels of one view, (C,h,w), normalised.
  void render(const dssl::AnyImageView& image, const Plan& plan, std::span<float> out,
              Workspace& workspace) const {
    x_crops.render(image, plan, out, workspace);
  }

 private:
  dssl::MultiCrop<> x_crops;
};
// [views end]

// [loss]
using MostlyPoints = dssl::WeightedSum<dssl::ImageLevel, dssl::PointLevel>;

inline dssl::TrainerOptionsOf<dssl::DenseDino::with_loss<MostlyPoints>> mostly_points() {
  MostlyPoints::Options loss;
  loss.of<dssl::ImageLevel>().weight = 0.2;
  loss.of<dssl::PointLevel>().options.student_temperature = 0.2;
  return {.epochs = 2, .batch = 4, .loss = loss};
}
// [loss end]

// [head]
struct SmallHead {
  static constexpr dssl::HeadConfig config{.layers = 2, .hidden = 256, .bottleneck = 64, .prototypes = 1024};
};
// [head end]

// [backbone]
inline constexpr dssl::ViTConfig my_size{.image = 64, .patch = 8, .width = 64, .depth = 2, .heads = 2};
struct MyBackbone : dssl::ViT<my_size> {};  // members declared here hide those of ViT
// [backbone end]

// [products]
/// Plain loops on one thread, with sums in double.
struct LoopProducts {
  explicit LoopProducts(const dssl::CpuOptions& /*options*/) {}

  template <class T>
  void multiply(dssl::cpu::Workers& /*workers*/, const dssl::cpu::MatrixProduct<T>& p) const {
    const auto at = [](const dssl::cpu::Factor<T>& f, dssl::Index i, dssl::Index j) {
      return static_cast<double>(f.data[f.transposed ? j * f.stride + i : i * f.stride + j]);
    };
    for (dssl::Index i = 0; i < p.c.rows(); ++i) {
      for (dssl::Index j = 0; j < p.c.cols(); ++j) {
        T& c = p.c.row(i)[j];
        double sum = p.onto == dssl::cpu::Onto::sum ? c : p.bias != nullptr ? p.bias[j] : T{0};
        for (dssl::Index k = 0; k < p.depth; ++k) sum += at(p.a, i, k) * at(p.b, k, j);
        c = static_cast<T>(sum);
      }
    }
  }
  [[nodiscard]] std::string describe() const { return ", linear layers by loops"; }
};
using LoopCpu = dssl::BasicCpu<float, LoopProducts>;
// [products end]
static_assert(dssl::Backend<LoopCpu>);

// [backend]
/// The CPU backend, counting the floating-point operations of its linear layers' forward passes.
class CountingCpu : public dssl::Cpu {
 public:
  using dssl::Cpu::Cpu;

  void linear_forward(Matrix y, ConstMatrix x, ConstMatrix weight, ConstVector bias) const {
    *x_operations += 2 * y.size() * x.cols();
    dssl::Cpu::linear_forward(y, x, weight, bias);
  }
  [[nodiscard]] dssl::Index operations() const { return *x_operations; }

 private:
  std::shared_ptr<dssl::Index> x_operations = std::make_shared<dssl::Index>(0);  // copies share the count
};
static_assert(dssl::Backend<CountingCpu>);
// [backend end]

// [recipe]
using Mine = dssl::DenseDino                  // backbone, tokens, views, points, loss and head, as published
    ::with_backbone<MyBackbone>               // any of them exchanged,
    ::with_tokens<ReferencesThatSeeTheClass>  // in any order
    ::with_views<WholeImage>::with_points<JitteredGrid>::with_head<SmallHead>;
using MineWithoutClassTokens = Mine::with_loss<dssl::PointLoss>;
// [recipe end]

static_assert(dssl::PointSampler<CentrePoint>);

// [run-time points]
dssl::RunSummary train_mine(const dssl::MemoryImages& images, std::pmr::memory_resource& memory) {
  dssl::TrainerOptions options{.epochs = 2, .batch = 4};
  options.views.global_size = {64, 64};
  const JitteredGrid points(4);  // 16 points a pair of views, not the default 9
  dssl::Trainer<Mine, CountingCpu> trainer(options, CountingCpu({.threads = 2, .memory = &memory}), points);
  return trainer.fit(images);
}
// [run-time points end]

}  // namespace snippets

template class dssl::BasicTrainingStep<dssl::NetworkKindOf<snippets::MineWithoutClassTokens>, dssl::Reference<float>>;
