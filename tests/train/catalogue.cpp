// The list of terms: that it holds every one, and what those of no other test are held to.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>

#include "catch.hpp"
#include "train/catalogue.hpp"
#include "train/term_steps.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

/// The names that the terms of a folder of headers say, whatever a name depends on.
std::set<std::string> names_in(const std::filesystem::path& folder) {
  const std::regex statement("std::string_view\\s+name\\s*=\\s*([^;]*);"), quoted("\"([^\"]*)\"");
  std::set<std::string> out;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    std::ifstream file(entry.path());
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    for (std::sregex_iterator said(text.begin(), text.end(), statement), last; said != last; ++said) {
      const std::string value = (*said)[1];
      for (std::sregex_iterator word(value.begin(), value.end(), quoted), end; word != end; ++word) out.insert((*word)[1]);
    }
  }
  return out;
}

template <class... Terms>
void add_names(std::set<std::string>& out, WeightedSum<Terms...>) {
  (out.insert(std::string(Terms::name)), ...);
}

}  // namespace

TEST_CASE("the catalogue holds every term") {
  const std::set<std::string> named = names_in(DSSL_LOSS_FOLDER);
  CHECK(named.size() > 20);
  std::set<std::string> held;
  for_each_listed(listed(), [&](const auto& entry) { add_names(held, typename std::decay_t<decltype(entry)>::Loss()); });
  for (const std::string& name : named) {
    INFO("the term '" << name << "' of include/dssl/loss is in no sum of tests/train/catalogue.hpp");
    CHECK(held.contains(name));
  }
  CHECK(held.size() == named.size());
}

TEST_CASE("points, and one head for two levels: what every term is held to") { check_listed(listed_rest()); }

TEST_CASE("as many terms as a sum takes: slopes of all of them") {
  check_slopes<ListedTogether, FeatureMap>({"pixel_projector.0.bias", "projector.0.bias"}, {{4, 4}});
}

TEST_CASE("points that agree with a teacher's: a student that is its teacher, at equal points of equal views, is at 0") {
  using Alone = WeightedSum<PointAgreement<>>;
  const auto options = options_of<Alone>();
  TrainingStep<Tiny<Alone, FeatureMap>, Reference<double>> step({}, options);
  draw(step);
  step.backend().copy(step.teacher(), step.student());
  ViewBatch batch = drawn_batch(options.shape, 5);
  batch.images[1] = batch.images[0];
  std::ranges::fill(batch.teacher_points, Point{0.2, -0.3});
  std::ranges::fill(batch.student_points, Point{0.2, -0.3});
  StepReport report;
  step.begin();
  step.forward_backward(report, batch, 0.4);
  CHECK(report.loss < 1e-20);
  std::ranges::fill(batch.student_points, Point{0.9, 0.8});
  StepReport apart;
  step.forward_backward(apart, batch, 0.4);
  CHECK(apart.loss > 1e-3);
}
