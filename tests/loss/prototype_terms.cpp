// Cross-entropies of prototypes as iBOT, DINOv2 and DINOv3 weigh them, against their public code's numbers.
#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "catch.hpp"
#include "loss/term_check.hpp"

#include <dssl/loss/prototype_level.hpp>
#include <dssl/loss/view_pairs.hpp>

using namespace dssl;
using namespace dssl::test;

namespace {

/// Rows of logits compared with rows of targets, as a level compares them after its heads.
template <class B>
struct Compared {
  using T = typename B::Scalar;
  double loss = 0;
  std::vector<T> d_logits;

  Compared(const B& backend, Memory<B>& memory, MatrixView<const T> student, MatrixView<const T> targets,
           const std::vector<TargetRows>& rows, double temperature, double scale, const std::vector<T>& weights = {}) {
    const auto losses = memory.zeros(student.rows());
    const auto gradients = memory.zeros(student.rows(), student.cols());
    const VectorView<const T> of_rows =
        weights.empty() ? VectorView<const T>{} : VectorView<const T>(memory.matrix(weights, student.rows()).flat().data(), student.rows());
    backend.cross_entropy(losses, gradients, student, targets, VectorView<const TargetRows>(rows.data(), student.rows()),
                          temperature, scale, of_rows);
    const auto each = memory.read(losses);
    for (std::size_t i = 0; i < each.size(); ++i) {
      loss += scale * (weights.empty() ? 1.0 : static_cast<double>(weights[i])) * static_cast<double>(each[i]);
    }
    d_logits = memory.read(gradients);
  }
};

/// Gradients of targets that are given as probabilities rounded to float: their rows sum to 1 within 6e-8, which the
/// published code multiplies q with and the primitive takes for 1.
template <class T>
void expect_of_rounded(const ObjectiveFixture& fixture, const std::string& tensor, const std::vector<T>& got) {
  INFO(tensor);
  const auto expected = fixture.file().read<double>(tensor);
  CHECK(relative_difference<T, double>(std::span<const T>(got), std::span<const double>(expected)) <=
        std::max(1e-7, fixture.tolerance<T>(tensor)));
}

/// Masked patches of images of so many patches: each row its own target, weighed by how many its image has.
template <class T>
struct MaskedTargets {
  std::vector<TargetRows> rows;
  std::vector<T> weights;

  MaskedTargets(const std::vector<std::uint8_t>& mask, Index patches) {
    const auto each = static_cast<std::size_t>(patches);
    for (std::size_t i = 0; i < mask.size(); ++i) {
      const auto image = mask.begin() + static_cast<std::ptrdiff_t>(i / each * each);
      const auto count = std::count(image, image + static_cast<std::ptrdiff_t>(each), 1);
      rows.push_back({mask[i] == 1 ? static_cast<std::int32_t>(i) : -1, -1});
      weights.push_back(mask[i] == 1 ? static_cast<T>(1.0 / static_cast<double>(count)) : T{0});
    }
  }
};

}  // namespace

TEST_CASE("masked patches weigh as in the published loss", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    using T = typename B::Scalar;
    const ObjectiveFixture fixture("ibot_patch");
    Memory<B> memory(backend);
    const auto student = memory.matrix(fixture.file(), "student");
    const auto teacher = memory.matrix(fixture.file(), "teacher");
    const Index images = fixture.extent("student", 0), patches = fixture.extent("student", 1);
    const MaskedTargets<T> masked(fixture.file().template read<std::uint8_t>("mask"), patches);
    const Compared<B> found(backend, memory, student, teacher, masked.rows, fixture.config().template get<double>("student_temp"),
                            1.0 / static_cast<double>(images), masked.weights);
    fixture.expect("loss", std::vector<T>{static_cast<T>(found.loss)});
    expect_of_rounded(fixture, "d_student", found.d_logits);
    std::vector<T> weights;
    for (std::size_t i = 0; i < masked.rows.size(); ++i) {
      if (masked.rows[i][0] >= 0) weights.push_back(masked.weights[i]);
    }
    fixture.expect("weight", weights);
  });
}

TEST_CASE("iBOT's two losses and both centres are the published ones", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    using T = typename B::Scalar;
    const ObjectiveFixture fixture("ibot");
    const auto& config = fixture.config();
    Memory<B> memory(backend);
    const auto images = config.template get<Index>("batch");
    const Index views = 2 + config.template get<Index>("local_views");
    const double student_temperature = config.template get<double>("student_temp");
    const auto centre_after = [&](const std::string& name, MatrixView<const T> teacher, double momentum) {
      const auto centre = memory.matrix(fixture.file(), name + ".before");
      const VectorView<T> flat(centre.data(), centre.size());
      const auto mean = memory.zeros(centre.size());
      backend.add_column_sum(mean, teacher, {}, 1.0 / static_cast<double>(teacher.rows()));
      backend.lerp(flat, mean, momentum);
      fixture.expect(name + ".after", memory.read(flat));
    };
    const auto targets_of = [&](const std::string& teacher_name, const std::string& centre_name, const char* temperature) {
      const auto teacher = memory.matrix(fixture.file(), teacher_name);
      const auto centre = memory.matrix(fixture.file(), centre_name + ".before");
      const auto p = memory.zeros(teacher.rows(), teacher.cols());
      backend.centred_softmax(p, teacher, VectorView<const T>(centre.data(), centre.size()), config.template get<double>(temperature));
      return p;
    };
    // Class tokens: local views follow the global ones, each pair of two views once.
    const auto class_rows = memory.matrix(fixture.file(), "student.class");
    const auto local_rows = memory.matrix(fixture.file(), "student.local");
    const auto all = memory.zeros(class_rows.rows() + local_rows.rows(), class_rows.cols());
    backend.copy_rows(all.rows(0, class_rows.rows()), {}, class_rows, {});
    backend.copy_rows(all.rows(class_rows.rows(), local_rows.rows()), {}, local_rows, {});
    const LevelPairs pairs = image_pairs(views, images, true);
    const auto class_targets = targets_of("teacher.class", "center", "teacher_temp");
    const Compared<B> of_class(backend, memory, all, class_targets, pairs.targets, student_temperature,
                               1.0 / static_cast<double>(images * pairs.pairs));
    const auto split = of_class.d_logits.begin() + static_cast<std::ptrdiff_t>(class_rows.size());
    fixture.expect("d_student.class", std::vector<T>(of_class.d_logits.begin(), split));
    fixture.expect("d_student.local", std::vector<T>(split, of_class.d_logits.end()));
    // Patches: each view with itself.
    const auto patch_rows = memory.matrix(fixture.file(), "student.patch");
    const Index patches = fixture.extent("student.patch", 1);
    const MaskedTargets<T> masked(fixture.file().template read<std::uint8_t>("mask"), patches);
    const auto patch_targets = targets_of("teacher.patch", "patch_center", "teacher_patch_temp");
    const Compared<B> of_patches(backend, memory, patch_rows, patch_targets, masked.rows, student_temperature,
                                 1.0 / static_cast<double>(2 * images), masked.weights);
    fixture.expect("d_student.patch", of_patches.d_logits);
    fixture.expect("loss", std::vector<T>{static_cast<T>(of_class.loss + of_patches.loss), static_cast<T>(of_class.loss),
                                          static_cast<T>(of_patches.loss)});
    centre_after("center", memory.matrix(fixture.file(), "teacher.class"), config.template get<double>("center_momentum"));
    centre_after("patch_center", memory.matrix(fixture.file(), "teacher.patch"), config.template get<double>("center_momentum2"));
  });
}

TEST_CASE("DINOv2's centring: each step uses the centre of the steps before", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    const ObjectiveFixture fixture("centering");
    const auto& config = fixture.config();
    Memory<B> memory(backend);
    for (const std::string kind : {"class", "patch"}) {
      const auto centre = memory.zeros(config.template get<Index>("prototypes"));
      for (Index s = 0; s < config.template get<Index>("steps"); ++s) {
        const std::string at = std::to_string(s) + "." + kind;
        const auto teacher = memory.matrix(fixture.file(), at);
        fixture.expect(at + ".center_used", memory.read(centre));
        const auto p = memory.zeros(teacher.rows(), teacher.cols());
        backend.centred_softmax(p, teacher, centre, config.template get<double>("teacher_temp"));
        fixture.expect(at + ".probabilities", memory.read(p));
        const auto mean = memory.zeros(centre.size());
        backend.add_column_sum(mean, teacher, {}, 1.0 / static_cast<double>(teacher.rows()));
        backend.lerp(centre, mean, config.template get<double>("center_momentum"));
      }
      fixture.expect(kind + ".center.after", memory.read(centre));
    }
  });
}

TEST_CASE("DINO's pairs as DINOv2 adds and DINOv3 averages them", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    using T = typename B::Scalar;
    const ObjectiveFixture fixture("dino_loss");
    const auto& config = fixture.config();
    Memory<B> memory(backend);
    const auto images = config.template get<Index>("batch"), views = config.template get<Index>("student_views");
    const auto student = memory.matrix(fixture.file(), "student");
    const auto teacher = memory.matrix(fixture.file(), "teacher");
    std::vector<TargetRows> every;
    for (Index v = 0; v < views; ++v) {
      for (Index b = 0; b < images; ++b) every.push_back({static_cast<std::int32_t>(b), static_cast<std::int32_t>(images + b)});
    }
    const LevelPairs pairs = image_pairs(views, images, true);
    const auto check = [&](const std::string& name, const std::vector<TargetRows>& rows, double count) {
      const Compared<B> found(backend, memory, student, teacher, rows, config.template get<double>("student_temp"),
                              1.0 / (static_cast<double>(images) * count));
      fixture.expect(name + ".loss", std::vector<T>{static_cast<T>(found.loss)});
      expect_of_rounded(fixture, name + ".d_student", found.d_logits);
    };
    check("v2", every, 1);
    check("v3", every, static_cast<double>(2 * views));
    check("v3_ignore_diagonal", pairs.targets, static_cast<double>(pairs.pairs));
  });
}
