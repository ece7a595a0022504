// The objective against the reference numbers: losses, gradients of the student's logits, centres.
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "../compare.hpp"
#include "../fixtures.hpp"
#include "catch.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/loss/objective.hpp>
#include <dssl/loss/view_pairs.hpp>

using namespace dssl;
using dssl::test::relative_difference;

namespace {

/// One level as the training step computes it once the heads are through: in, the logits of the fixture; out,
/// the level's loss. `tokens` and `centre` are its names in the file.
template <class B>
double check_level(const B& backend, const SafetensorsFile& file, const LevelPairs& pairs, const std::string& tokens,
                   const std::string& centre_name, double weight, double teacher_temperature,
                   const LossOptions& options) {
  using T = typename B::Scalar;
  INFO(tokens << " tokens");
  const Index prototypes = file.shape(centre_name + ".before")[0];
  const auto selected = static_cast<Index>(pairs.student_rows.size());
  auto all_logits = file.read<T>("student." + tokens);
  auto teacher_logits = file.read<T>("teacher." + tokens);
  auto centre = file.read<T>(centre_name + ".before");
  const Index student_rows = static_cast<Index>(all_logits.size()) / prototypes;
  REQUIRE(static_cast<Index>(teacher_logits.size()) == pairs.teacher_rows * prototypes);
  REQUIRE(*std::max_element(pairs.student_rows.begin(), pairs.student_rows.end()) < student_rows);

  const MatrixView<T> teacher(teacher_logits.data(), pairs.teacher_rows, prototypes);
  const VectorView<T> centre_view(centre.data(), prototypes);
  std::vector<T> mean(centre.size(), T{0});
  const VectorView<T> mean_view(mean.data(), prototypes);
  backend.add_column_sum(mean_view, teacher,
                         RowIndex(pairs.centre_rows.data(), static_cast<Index>(pairs.centre_rows.size())),
                         1.0 / static_cast<double>(pairs.centre_rows.size()));
  backend.centred_softmax(teacher, teacher, centre_view, teacher_temperature);

  const RowIndex rows(pairs.student_rows.data(), selected);
  std::vector<T> logits(static_cast<std::size_t>(selected * prototypes));
  std::vector<T> row_loss(static_cast<std::size_t>(selected));
  const MatrixView<T> student(logits.data(), selected, prototypes);
  backend.copy_rows(student, {}, MatrixView<const T>(all_logits.data(), student_rows, prototypes), rows);
  backend.cross_entropy(VectorView<T>(row_loss.data(), selected), student, student, teacher,
                        VectorView<const TargetRows>(pairs.targets.data(), selected), options.student_temperature,
                        weight * pairs.scale);
  std::vector<T> d_all(all_logits.size(), T{0});
  backend.copy_rows(MatrixView<T>(d_all.data(), student_rows, prototypes), rows, student, {});
  const auto d_expected = file.read<double>("d_student." + tokens);
  CHECK(relative_difference<T, double>(d_all, d_expected) < 1e-4);

  backend.lerp(centre_view, mean_view, options.centre_momentum);
  const auto after = file.read<double>(centre_name + ".after");
  CHECK(relative_difference<T, double>(centre, after) < 1e-5);

  double sum = 0;
  for (const T value : row_loss) sum += static_cast<double>(value);
  return pairs.scale * sum;
}

template <class Loss, class B>
void check_with(const B& backend, const SafetensorsFile& file, const test::FixtureConfig& config) {
  LossOptions options;
  options.alpha = config.get<double>("alpha");
  options.image_all_views = config.get<bool>("image_all_views");
  options.point_all_views = config.get<bool>("point_all_views");
  const Index views = config.get<Index>("views");
  const Index batch = config.get<Index>("batch");
  const double temperature = config.get<double>("teacher_temp");
  const auto expected = file.read<double>("loss");
  double image = 0;
  double point = 0;
  if constexpr (has_term<Loss, ImageLevel>) {
    image = check_level(backend, file, image_pairs(views, batch, options.image_all_views), "class", "center",
                        Loss::template weight<ImageLevel>(options), temperature, options);
  }
  if constexpr (has_term<Loss, PointLevel>) {
    point = check_level(backend, file,
                        point_pairs(views, batch, config.get<Index>("points"), options.point_all_views), "reference",
                        "ref_center", Loss::template weight<PointLevel>(options), temperature, options);
  }
  CHECK(image == Approx(expected[1]).epsilon(1e-5));
  CHECK(point == Approx(expected[2]).epsilon(1e-5));
  double total = 0;
  if constexpr (has_term<Loss, ImageLevel>) total += Loss::template weight<ImageLevel>(options) * image;
  if constexpr (has_term<Loss, PointLevel>) total += Loss::template weight<PointLevel>(options) * point;
  CHECK(total == Approx(expected[0]).epsilon(1e-5));
}

template <class B>
void check(const B& backend) {
  for (const std::string name :
       {"loss_both", "loss_both_all", "loss_alpha08", "loss_image", "loss_point", "loss_point_two"}) {
    INFO(name << " on " << backend.describe());
    const auto file = SafetensorsFile::open(test::fixture_path(name + ".safetensors"));
    const test::FixtureConfig config(file);
    const bool image = config.get<bool>("image");
    const bool point = config.get<bool>("point");
    REQUIRE((image || point));
    if (image && point) check_with<ImageAndPointLoss>(backend, file, config);
    else if (image) check_with<ImageLoss>(backend, file, config);
    else check_with<PointLoss>(backend, file, config);
  }
}

}  // namespace

TEST_CASE("the objective gives the published losses, gradients and centres") {
  check(Reference<double>());
  check(Reference<float>());
  check(Cpu({.threads = 1}));
  check(Cpu({.threads = 2}));
}
