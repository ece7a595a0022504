// The smallest policy of every role, a recipe made of them, and policies that do something.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <memory_resource>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <dssl/dssl.hpp>
#include <dssl/loss/gram_term.hpp>
#include <dssl/loss/pieces.hpp>
#include <dssl/loss/term_loss.hpp>
#include <dssl/loss/two_view_terms.hpp>
#include <dssl/views/masks.hpp>

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

// [scene sampler]
/// Points where the scene is dark: a pixel's weight is what its first channel lacks of white.
struct DarkPoints {
  [[nodiscard]] dssl::Index count() const { return 4; }
  [[nodiscard]] dssl::PointWeights look(const dssl::SampledScene& scene) const {
    const auto darkness = []<class T>(const dssl::ImageView<T>& image) {
      std::vector<double> weights;
      for (dssl::Index y = 0; y < image.height(); ++y)
        for (dssl::Index x = 0; x < image.width(); ++x)
          weights.push_back(std::max(0.0, 1.0 - static_cast<double>(image(y, x, 0)) / static_cast<double>(dssl::full_scale<T>)));
      return dssl::PointWeights(image.height(), image.width(), std::move(weights));
    };
    return std::visit(darkness, scene.image);
  }
};
// [scene sampler end]
static_assert(dssl::LooksAtScene<DarkPoints>);

// [teacher points]
using Attended = dssl::DenseDino::with_points<dssl::MixedPoints<dssl::AttentionPoints<6>, dssl::RandomPoints<2>>>;

/// The same with numbers that are said at run time.
dssl::AnySampler attended(double uniform) {
  return dssl::MixedPoints<dssl::AttentionPoints<>, dssl::RandomPoints<>>(
      dssl::AttentionPoints<>(6, {.temperature = 0.5, .uniform = uniform}), dssl::RandomPoints<>(2));
}
// [teacher points end]

// [any sampler]
using Sampled = dssl::DenseDino::with_points<dssl::AnySampler>;  // the points are an argument of its trainer

dssl::AnySampler sampler_named(std::string_view name, dssl::Index points) {
  if (name == "even") return dssl::EvenPoints<>(points);
  if (name == "salient") return dssl::SalientPoints<>(points);
  return dssl::RandomPoints<>(points);
}
// [any sampler end]

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

// [masks]
/// The lower half of every global view.
struct LowerHalf {
  using Options = dssl::MaskOptions;  // the trainer's, of which these masks have no use
  explicit LowerHalf(const Options& /*options*/ = {}) {}

  /// Patches of so many views that may be masked, at most.
  [[nodiscard]] dssl::Index most(dssl::Index views, dssl::GridSize grid) const {
    return views * (grid.height / 2) * grid.width;
  }
  /// masks (views,N) = 1 where the student does not see a patch, else 0.
  void draw(std::span<std::uint8_t> masks, dssl::Index /*views*/, dssl::GridSize grid,
            dssl::RandomStream& /*random*/) const {
    const dssl::Index seen = grid.size() - most(1, grid);  // patches of a view, row by row
    for (std::size_t i = 0; i < masks.size(); ++i)
      masks[i] = static_cast<dssl::Index>(i) % grid.size() < seen ? 0 : 1;
  }
  [[nodiscard]] std::string words() const { return "the lower half"; }
};
using HalfSeen = dssl::Dino  // with masked views, and a loss that reads masked patches
    ::with_views<dssl::Masked<dssl::MultiCrop<>, LowerHalf>>::with_loss<
        dssl::WeightedSum<dssl::ImageLevel, dssl::MaskedLevel>>;
// [masks end]
static_assert(dssl::MasksPatches<HalfSeen::Views>);

// [loss]
using MostlyPoints = dssl::WeightedSum<dssl::ImageLevel, dssl::PointLevel>;

inline dssl::TrainerOptionsOf<dssl::DenseDino::with_loss<MostlyPoints>> mostly_points() {
  MostlyPoints::Options loss;
  loss.of<dssl::ImageLevel>().weight = 0.2;
  loss.of<dssl::PointLevel>().options.student_temperature = 0.2;
  return {.epochs = 2, .batch = 4, .loss = loss};
}
// [loss end]

// [names of heads]
using PairsAndPredictions = dssl::WeightedSum<dssl::NtXent<dssl::simclr_projector, "pairs">,
                                              dssl::Cosine<dssl::Ema, dssl::byol_mlp, dssl::byol_mlp>>;
// [names of heads end]
static_assert(dssl::Objective<PairsAndPredictions>);

// [smallest term]
/// The mean square of the class tokens' numbers, of all views: loss = sum x^2 / (V B D).
struct SmallTokens {
  static constexpr std::string_view name = "small-tokens";
  static constexpr dssl::Reads reads{{.class_level = true}, {}};  // of the student, and nothing of a teacher
  static constexpr dssl::Whole whole = dssl::Whole::row;          // views may come one after the other
  using Teacher = dssl::NoTeacher;
  using Options = dssl::NoOptions;

  template <dssl::Backend B>
  class Run : public dssl::TermRun<B> {
   public:
    using T = typename B::Scalar;
    Run(const dssl::TermSetting& setting, const Options& /*options*/)
        : x_rows(setting.views * setting.batch),
          x_scale(1.0 / static_cast<double>(x_rows * setting.width)),
          x_share(setting.share) {}

    void place_lasting(const B& /*backend*/, dssl::Arena& arena) {
      x_squares = arena.vector<T>(x_rows);
      x_loss.place(arena);
    }
    void place_student(const B& /*backend*/, dssl::Arena& /*arena*/, std::size_t /*part*/) {}

    void student(const B& backend, const dssl::StudentPass<SmallTokens, T>& in) const {
      if (in.part == 0) x_loss.clear(backend);
      const auto x = in.features.class_level;  // (rows of this part,D)
      const dssl::VectorView<T> squares(x_squares.data(), x.rows());
      backend.row_dots(squares, x, x);
      dssl::add_total(backend, x_loss.value(), squares, x_scale);
      backend.add_scaled(dssl::numbers_of(in.d_features.class_level), dssl::numbers_of(x),
                         2 * x_scale * in.weight * x_share);  // zeros, or what earlier terms put there
    }
    void add_to(const B& backend, dssl::TermReport& report) const { x_loss.add_to(backend, report, x_share); }

   private:
    dssl::Index x_rows;
    double x_scale, x_share;
    dssl::VectorView<T> x_squares;
    dssl::TermLoss<T> x_loss;
  };
};
using Small = dssl::Dino::with_loss<dssl::WeightedSum<dssl::ImageLevel, SmallTokens>>;
// [smallest term end]

// [teachers]
/// DINO, and similarities of patches held to a copy of its teacher that is taken every 500 updates.
using Anchored = dssl::Dino::with_loss<dssl::WeightedSum<dssl::ImageLevel, dssl::Gram<>>>;

inline dssl::TrainerOptionsOf<Anchored> anchored() {
  dssl::TrainerOptionsOf<Anchored> options{.epochs = 2, .batch = 4};
  options.teacher.momentum = 0.99;
  options.loss.of<dssl::Gram<>>().options.snapshot.every = 500;
  return options;
}
// [teachers end]

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

// [optimiser]
inline dssl::OptimiserOptions by_lars() {
  return {.kind = dssl::OptimiserKind::lars,
          .learning_rate = 0.2,  // for 256 images
          .weight_decay = 1e-6,
          .final_weight_decay = 1e-6,
          .clip = 0,                   // no clipping
          .rates = {.vectors = 0.1}};  // biases and norms: a tenth of the rate
}
// [optimiser end]

// [optimiser step]
/// The CPU backend, with steps by the momentum's sign alone in the place of SGD's.
class SignCpu : public dssl::Cpu {
 public:
  using dssl::Cpu::Cpu;

  void sgd_step(Vector w, Vector m, ConstVector g, Norms /*squared_norms*/, Segments segments,
                const dssl::MomentumStep& step) const {
    for (dssl::Index s = 0; s < segments.size(); ++s) {
      const dssl::Segment& tensor = segments(s);
      if (!tensor.updated) continue;
      const double rate = step.learning_rate * tensor.rate;
      const double decay = tensor.decayed ? 1 - rate * step.weight_decay : 1;
      for (dssl::Index i = tensor.offset; i < tensor.offset + tensor.size; ++i) {
        m(i) = static_cast<float>(step.momentum * m(i) + g(i));
        const double sign = m(i) > 0 ? 1 : m(i) < 0 ? -1 : 0;
        w(i) = static_cast<float>(decay * w(i) - rate * sign);
      }
    }
  }
};
static_assert(dssl::Backend<SignCpu>);
// [optimiser step end]
static_assert(!dssl::FusedUpdate<SignCpu>);

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

template class snippets::SmallTokens::Run<dssl::Reference<float>>;
template class dssl::BasicTrainingStep<dssl::NetworkKindOf<snippets::MineWithoutClassTokens>, dssl::Reference<float>>;
