// The list of terms: that it holds every one, and what those of no other test are held to.
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <type_traits>
#include <vector>

#include "catch.hpp"
#include "train/catalogue.hpp"
#include "train/term_steps.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// All files of a folder, one after the other.
std::string texts_in(const std::filesystem::path& folder) {
  std::string out;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) out += text_of(entry.path());
  return out;
}

/// What the pattern's bracket holds, for each part of a text that matches.
std::vector<std::string> matches(const std::string& text, const char* pattern) {
  const std::regex regex(pattern);
  std::vector<std::string> out;
  for (std::sregex_iterator at(text.begin(), text.end(), regex), end; at != end; ++at) out.push_back((*at)[1]);
  return out;
}

const std::string with_own_targets = ", with targets of its own";

/// The names that the terms of a folder of headers say, whatever a name depends on; once more those of terms that ask
/// whether their teacher is StopGradient.
std::set<std::string> names_in(const std::filesystem::path& folder) {
  std::set<std::string> out;
  const std::string text = texts_in(folder);
  for (std::size_t begin = 0; begin != std::string::npos;) {  // from one type at the left margin to the next
    const std::size_t end = text.find("\nstruct ", begin + 1);
    const std::string type = text.substr(begin, end - begin);
    begin = end;
    for (const std::string& value : matches(type, "std::string_view\\s+name\\s*=\\s*([^;]*);")) {
      for (const std::string& name : matches(value, "\"([^\"]*)\"")) {
        out.insert(name);
        if (type.find("is_same_v<TeacherT, StopGradient>") != std::string::npos) out.insert(name + with_own_targets);
      }
    }
  }
  return out;
}

template <class... Terms>
void add_names(std::set<std::string>& out, WeightedSum<Terms...>) {
  const auto add = [&out]<class Term>(std::type_identity<Term>) {
    out.insert(std::string(Term::name));
    if (std::is_same_v<typename Term::Teacher, StopGradient>) out.insert(std::string(Term::name) + with_own_targets);
  };
  (add(std::type_identity<Terms>()), ...);
}

}  // namespace

TEST_CASE("the catalogue holds every term") {
  const std::set<std::string> named = names_in(DSSL_LOSS_FOLDER);
  CHECK(named.size() > 22);
  std::set<std::string> held;
  for_each_listed(listed(), [&](const auto& entry) { add_names(held, typename std::decay_t<decltype(entry)>::Loss()); });
  for (const std::string& name : named) {
    INFO("the term '" << name << "' of include/dssl/loss is in no sum of tests/train/catalogue.hpp");
    CHECK(held.contains(name));
  }
  CHECK(held.size() == named.size());
}

TEST_CASE("every part of the catalogue is held to what terms are held to") {
  const std::filesystem::path tests = DSSL_TESTS_FOLDER;
  const std::string catalogue = text_of(tests / "train/catalogue.hpp");
  const std::string whole = catalogue.substr(catalogue.find("inline auto listed() {"));
  const std::string steps = texts_in(tests / "train"), on_cuda = texts_in(tests / "cuda");
  const auto parts = matches(catalogue, "inline auto (listed_\\w+)\\(\\)");
  CHECK(parts.size() > 5);
  for (const std::string& part : parts) {
    INFO(part);
    CHECK(whole.find(part + "()") != std::string::npos);
    CHECK(steps.find("check_listed(" + part + "())") != std::string::npos);
    CHECK(on_cuda.find("check_on_cuda(" + part + "())") != std::string::npos);
  }
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
