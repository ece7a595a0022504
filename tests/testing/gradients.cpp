// The checker of gradients: it passes what is right, and finds what is wrong in one entry, in a scale, or not finite.
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "catch.hpp"
#include "train/tiny_model.hpp"

#include <dssl/backend/reference.hpp>
#include <dssl/testing/gradients.hpp>
#include <dssl/train/training_step.hpp>

using namespace dssl;

TEST_CASE("a gradient is compared with central differences") {
  std::vector<double> x{0.3, -1.2, 2.0, 0.7};
  const auto loss = [&] { return x[0] * x[0] * x[1] + std::sin(x[2]) + 3 * x[3]; };
  const std::vector<double> right{2 * 0.3 * -1.2, 0.09, std::cos(2.0), 3.0};
  const std::vector<double> before = x;
  const auto found = gradient_difference(x, right, loss, 1, 3);
  CHECK(found.small());
  CHECK(found.norm == Approx(std::sqrt(0.72 * 0.72 + 0.0081 + std::cos(2.0) * std::cos(2.0) + 9)));
  CHECK(x == before);
  std::vector<double> wrong = right;
  wrong[2] += 1e-3;
  CHECK_FALSE(gradient_difference(x, wrong, loss, 1, 3).small());
  for (double& v : wrong) v = 0;
  CHECK_FALSE(gradient_difference(x, wrong, loss, 1).small());
  wrong[1] = std::numeric_limits<double>::quiet_NaN();
  CHECK_FALSE(gradient_difference(x, wrong, loss, 1).small());
  CHECK(gradient_difference({}, {}, loss, 1).small());
}

namespace {

/// A level whose student's gradients are a hundredth too large.
struct WrongLevel : ClassTokenLevel<WrongLevel> {
  static constexpr std::string_view name = "wrong";

  template <Backend B>
  struct Run : PrototypeRun<WrongLevel, B> {
    using PrototypeRun<WrongLevel, B>::PrototypeRun;
    void student(const B& backend, StudentPass<WrongLevel, typename B::Scalar> in) const {
      PrototypeRun<WrongLevel, B>::student(backend, in);
      const auto d = in.d_features.class_level;
      for (Index m = 0; m < d.rows(); ++m) {
        for (Index i = 0; i < d.cols(); ++i) d(m, i) *= 1.01;
      }
    }
  };
};

constexpr ViTConfig size{.image = 4, .patch = 2, .width = 4, .depth = 1, .heads = 1, .mlp_ratio = 2, .channels = 1};
constexpr HeadConfig head{.layers = 2, .hidden = 5, .bottleneck = 4, .prototypes = 5};

template <class Loss>
std::vector<ParameterGradient> of() {
  BasicStepOptions<typename Loss::Options> options;
  options.shape = {.batch = 2, .channels = 1, .points = 0, .views = {{4, 4}, {4, 4}}};
  options.stochastic_depth = 0;
  TrainingStep<test::TinyRecipe<ClassToken, Loss, size, head>, Reference<double>> step({}, options);
  const auto weights = test::drawn_weights<double>(step.layout(), 1);
  std::copy(weights.begin(), weights.end(), step.student().data());
  const auto teacher = test::drawn_weights<double>(step.layout(), 2);
  std::copy(teacher.begin(), teacher.end(), step.teacher().data());
  auto found = gradient_differences(step, test::drawn_batch(options.shape, 5), 0.3);
  CHECK(std::equal(weights.begin(), weights.end(), step.student().data()));
  return found;
}

}  // namespace

TEST_CASE("a whole step's gradients: right ones pass, a term's wrong ones are found in the parameters below it") {
  for (const ParameterGradient& p : of<WeightedSum<ImageLevel>>()) {
    INFO(p.name);
    CHECK(p.found.small());
  }
  Index wrong = 0;
  for (const ParameterGradient& p : of<WeightedSum<WrongLevel>>()) {
    INFO(p.name);
    if (p.name.starts_with("head.")) {
      CHECK(p.found.small());
    } else {
      wrong += p.found.small() ? 0 : 1;
    }
  }
  CHECK(wrong > 10);
}
