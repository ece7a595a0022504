// The loss of a training step against the method written out view by view, image by image, point by point.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "../gradient_check.hpp"
#include "backbone/vit_runner.hpp"
#include "catch.hpp"
#include "train/figures.hpp"
#include "train/instances.hpp"
#include "train/tiny_model.hpp"

#include <dssl/backend/reference.hpp>
#include <dssl/nn/position.hpp>
#include <dssl/train/training_step.hpp>

using namespace dssl;

namespace {

using Row = std::vector<double>;

constexpr ViTConfig size{.image = 8, .patch = 2, .width = 8, .depth = 2, .heads = 2, .mlp_ratio = 2, .channels = 2};
constexpr HeadConfig head{.layers = 2, .hidden = 8, .bottleneck = 6, .prototypes = 7};
constexpr double student_temperature = 0.2;
constexpr double teacher_temperature = 0.1;

/// One network applied to one view of one image at a time.
template <class Recipe>
class Network {
 public:
  Network(const ParameterLayout& layout, std::span<const double> weights) : x_layout(&layout), x_weights(weights) {}

  struct Features {
    Row image;                ///< class token
    std::vector<Row> points;  ///< a row a point
  };

  [[nodiscard]] Features features(std::span<const float> image, ViewSize view, std::span<const Point> points) const {
    constexpr bool tokens = Recipe::Tokens::point_features == PointFeatures::reference_tokens;
    const GridSize grid{view.height / size.patch, view.width / size.patch};
    const auto references = tokens ? static_cast<Index>(points.size()) : 0;
    test::VitRunner<Reference<double>> runner({}, size, Recipe::Tokens::reference.learned,
                                              {{.count = 1, .grid = grid, .references = references}}, all_groups,
                                              false);
    for (const auto& spec : runner.parameters().specs()) {
      const auto& from = x_layout->find("backbone." + std::string(spec.name.view()));
      const auto values = test::tensor_of(x_weights, from);
      std::copy(values.begin(), values.end(), runner.weights().data() + spec.offset);
    }
    std::copy(image.begin(), image.end(), runner.image(0).begin());
    std::vector<double> xy;
    for (const Point& p : points) xy.insert(xy.end(), {p.x, p.y});
    if (tokens) runner.points(std::span<const double>(xy));
    const auto out = runner.template forward<Recipe::Tokens::relation>();
    const auto row = [&](Index i) { return Row(out.row(i), out.row(i) + size.width); };
    Features result{.image = row(0), .points = {}};
    const Index first_reference = runner.tokens().output_begin(TokenGroup::reference);
    const Index first_patch = runner.tokens().output_begin(TokenGroup::patch);
    for (std::size_t k = 0; k < points.size(); ++k) {
      if (tokens) {
        result.points.push_back(row(first_reference + static_cast<Index>(k)));
        continue;
      }
      Row sampled(static_cast<std::size_t>(size.width), 0.0);
      const auto taps = point_read<double>(points[k], grid);
      for (std::size_t t = 0; t < taps.row.size(); ++t) {
        for (std::size_t c = 0; c < sampled.size(); ++c) {
          sampled[c] += taps.weight[t] * out(first_patch + taps.row[t], static_cast<Index>(c));
        }
      }
      result.points.push_back(std::move(sampled));
    }
    return result;
  }

  /// Logits of one feature row, the head written out.
  [[nodiscard]] Row logits(const std::string& name, const Row& x) const {
    const auto linear = [&](const std::string& layer, const Row& in) {
      const auto weight = test::tensor_of(x_weights, x_layout->find(name + layer + ".weight"));
      const auto bias = test::tensor_of(x_weights, x_layout->find(name + layer + ".bias"));
      Row out(bias.begin(), bias.end());
      for (std::size_t o = 0; o < out.size(); ++o) {
        for (std::size_t i = 0; i < in.size(); ++i) out[o] += weight[o * in.size() + i] * in[i];
      }
      return out;
    };
    const auto unit = [](Row v) {
      const double norm = std::sqrt(test::dot(v, v));
      for (double& value : v) value /= norm;
      return v;
    };
    Row hidden = linear("mlp.0", x);
    for (double& h : hidden) h *= 0.5 * (1 + std::erf(h / std::sqrt(2.0)));
    const Row bottleneck = unit(linear("mlp.2", hidden));
    const auto v = test::tensor_of(x_weights, x_layout->find(name + "last_layer.weight_v"));
    Row out;
    for (std::size_t p = 0; p < static_cast<std::size_t>(head.prototypes); ++p) {
      const auto from = v.begin() + static_cast<std::ptrdiff_t>(p * bottleneck.size());
      out.push_back(test::dot(unit(Row(from, from + head.bottleneck)), bottleneck));
    }
    return out;
  }

 private:
  const ParameterLayout* x_layout;
  std::span<const double> x_weights;
};

Row softmax(Row x, double temperature) {
  double sum = 0;
  for (double& v : x) sum += v = std::exp(v / temperature);
  for (double& v : x) v /= sum;
  return x;
}

double cross_entropy(Row teacher, const Row& centre, const Row& student) {
  for (std::size_t p = 0; p < teacher.size(); ++p) teacher[p] -= centre[p];
  const Row target = softmax(teacher, teacher_temperature);
  const Row predicted = softmax(student, student_temperature);
  double sum = 0;
  for (std::size_t p = 0; p < target.size(); ++p) sum -= target[p] * std::log(predicted[p]);
  return sum;
}

template <class Recipe>
void check(const LossOptions& loss_options) {
  StepOptions options;
  options.shape = {.batch = 2, .channels = 2, .points = 2, .views = {{8, 8}, {8, 8}, {4, 6}, {6, 4}, {4, 6}}};
  options.stochastic_depth = 0;
  options.loss = loss_options;
  options.loss.student_temperature = student_temperature;
  TrainingStep<Recipe, Reference<double>> step({}, options);
  const auto student_weights = test::drawn_weights<double>(step.layout(), 1);
  const auto teacher_weights = test::drawn_weights<double>(step.layout(), 2);
  std::copy(student_weights.begin(), student_weights.end(), step.student().data());
  std::copy(teacher_weights.begin(), teacher_weights.end(), step.teacher().data());
  const Row image_centre = test::normal_values(static_cast<std::size_t>(head.prototypes), 3, 0.1);
  const Row point_centre = test::normal_values(static_cast<std::size_t>(head.prototypes), 4, 0.1);
  if (has_term<typename Recipe::Loss, ImageLevel>) std::copy(image_centre.begin(), image_centre.end(), step.term_state("center").data());
  if (has_term<typename Recipe::Loss, PointLevel>) std::copy(point_centre.begin(), point_centre.end(), step.term_state("ref_center").data());
  const ViewBatch batch = test::drawn_batch(options.shape, 5);

  const Index batch_size = options.shape.batch;
  const Index views = options.shape.view_count();
  const Index points = options.shape.points;
  const Network<Recipe> student(step.layout(), student_weights);
  const Network<Recipe> teacher(step.layout(), teacher_weights);
  double image = 0;
  double point = 0;
  Row image_mean(image_centre.size(), 0.0);
  Row point_mean(point_centre.size(), 0.0);
  for (Index b = 0; b < batch_size; ++b) {
    const auto view_of = [&](Index v) {
      const std::span<const float> all(batch.images[static_cast<std::size_t>(v)]);
      const std::size_t each = all.size() / static_cast<std::size_t>(batch_size);
      return all.subspan(static_cast<std::size_t>(b) * each, each);
    };
    std::vector<typename Network<Recipe>::Features> taught;
    for (Index q = 0; q < 2; ++q) {
      const auto first = static_cast<std::size_t>((q * batch_size + b) * views * points);
      taught.push_back(teacher.features(view_of(q), options.shape.views[static_cast<std::size_t>(q)],
                                        std::span(batch.teacher_points).subspan(first, static_cast<std::size_t>(views * points))));
    }
    for (Index v = 0; v < views; ++v) {
      const auto first = static_cast<std::size_t>((v * batch_size + b) * 2 * points);
      const auto seen = student.features(view_of(v), options.shape.views[static_cast<std::size_t>(v)],
                                         std::span(batch.student_points).subspan(first, static_cast<std::size_t>(2 * points)));
      for (Index q = 0; q < 2; ++q) {
        const auto& target = taught[static_cast<std::size_t>(q)];
        if constexpr (has_term<typename Recipe::Loss, ImageLevel>) {
          const Row t = teacher.logits("head.", target.image);
          if (q != v && (v < 2 || options.loss.image_all_views)) {
            image += cross_entropy(t, image_centre, student.logits("head.", seen.image));
          }
          if (v == 0) {
            for (std::size_t p = 0; p < t.size(); ++p) image_mean[p] += t[p] / static_cast<double>(2 * batch_size);
          }
        }
        if constexpr (has_term<typename Recipe::Loss, PointLevel>) {
          for (Index k = 0; k < points; ++k) {
            const Row t = teacher.logits("ref_head.", target.points[static_cast<std::size_t>(v * points + k)]);
            if (q != v && (v < 2 || options.loss.point_all_views)) {
              point += cross_entropy(t, point_centre,
                                     student.logits("ref_head.", seen.points[static_cast<std::size_t>(q * points + k)]));
            }
            if (v < 2) {
              for (std::size_t p = 0; p < t.size(); ++p) point_mean[p] += t[p] / static_cast<double>(4 * batch_size * points);
            }
          }
        }
      }
    }
  }
  const auto pairs = [&](bool all) { return static_cast<double>(all ? 2 * views - 2 : 2) + 1e-5; };
  image /= static_cast<double>(batch_size) * pairs(options.loss.image_all_views);
  point /= static_cast<double>(batch_size * points) * pairs(options.loss.point_all_views);
  const double alpha = !has_term<typename Recipe::Loss, PointLevel> ? 1.0 : has_term<typename Recipe::Loss, ImageLevel> ? options.loss.alpha : 0.0;

  StepReport report;
  step.begin();
  step.forward_backward(report, batch, teacher_temperature);
  CHECK(test::loss_of(report, "image") == Approx(image).epsilon(1e-11));
  CHECK(test::loss_of(report, "point") == Approx(point).epsilon(1e-11));
  CHECK(report.loss == Approx(alpha * image + (1 - alpha) * point).epsilon(1e-11));

  step.update(report, {.optimiser = {.learning_rate = 0.01}, .teacher_momentum = 0.9});
  const auto check_centre = [&](VectorView<double> centre, const Row& before, const Row& mean) {
    for (std::size_t p = 0; p < mean.size(); ++p) {
      CHECK(centre(static_cast<Index>(p)) == Approx(0.9 * before[p] + 0.1 * mean[p]).epsilon(1e-11));
    }
  };
  if (has_term<typename Recipe::Loss, ImageLevel>) check_centre(step.term_state("center"), image_centre, image_mean);
  if (has_term<typename Recipe::Loss, PointLevel>) check_centre(step.term_state("ref_center"), point_centre, point_mean);
}

template <class Tokens, class Loss>
using Tiny = test::TinyRecipe<Tokens, Loss, size, head>;

constexpr ReferenceConfig learned_reference{.learned = true};

}  // namespace

TEST_CASE("a step's losses and centres are the method's, written out") {
  SECTION("reference tokens") {
    check<Tiny<ReferenceTokens<>, ImageAndPointLoss>>({.alpha = 0.3});
    check<Tiny<ReferenceTokens<open_relation, learned_reference>, ImageAndPointLoss>>(
        {.image_all_views = true, .point_all_views = false});
    check<Tiny<ReferenceTokens<>, PointLoss>>({});
  }
  SECTION("class token") {
    check<Tiny<ClassToken, ImageLoss>>({});
    check<Tiny<ClassToken, ImageLoss>>({.image_all_views = true});
  }
  SECTION("sampled patches") {
    check<Tiny<FeatureMap, ImageAndPointLoss>>({.alpha = 0.7});
    check<Tiny<FeatureMap, PointLoss>>({.point_all_views = false});
  }
}
