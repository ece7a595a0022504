// The list of terms: that it holds every one, and what those of no other test are held to.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <type_traits>
#include <typeindex>
#include <utility>
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

/// Where the slopes of a term are taken.
struct Taken {
  bool alone = false, in_sum = false;
};

template <class... Terms>
void add_taken(std::map<std::type_index, Taken>& out, WeightedSum<Terms...>) {
  if (own_targets(TypeList<Terms...>())) return;
  (((sizeof...(Terms) == 1 ? out[typeid(Terms)].alone : out[typeid(Terms)].in_sum) = true), ...);
}

/// A term whose head is another's is never alone, nor is one whose teacher is a copy of another's.
template <class... Terms>
void check_taken(const std::map<std::type_index, Taken>& taken, WeightedSum<Terms...>) {
  const auto check = [&taken]<class Term>(std::type_identity<Term>) {
    if (own_targets(TypeList<Term>())) return;
    const auto found = taken.find(typeid(Term));
    const Taken here = found == taken.end() ? Taken() : found->second;
    INFO("slopes of the term '" << Term::name << "' (" << typeid(Term).name() << "): alone, in a sum");
    CHECK((here.alone || SharesHead<Term> || is_snapshot<typename Term::Teacher>));
    CHECK(here.in_sum);
  };
  (check(std::type_identity<Terms>()), ...);
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

TEST_CASE("slopes of every term are taken alone and in a sum") {
  std::map<std::type_index, Taken> taken;
  const auto add = [&](const auto& entry) { add_taken(taken, typename std::decay_t<decltype(entry)>::Loss()); };
  for_each_listed(listed(), add);
  for_each_listed(slopes(), add);
  for_each_listed(listed(), [&](const auto& entry) { check_taken(taken, typename std::decay_t<decltype(entry)>::Loss()); });
}

TEST_CASE("every part of the catalogue is held to what terms are held to") {
  const std::filesystem::path tests = DSSL_TESTS_FOLDER;
  const std::string catalogue = text_of(tests / "train/catalogue.hpp");
  const std::string whole = catalogue.substr(catalogue.find("inline auto listed() {"));
  const std::string steps = texts_in(tests / "train"), on_cuda = texts_in(tests / "cuda");
  const auto parts = matches(catalogue, "inline auto (listed_\\w+)\\(\\)");
  CHECK(parts.size() > 5);
  const auto more = matches(catalogue, "inline auto (slopes_\\w+)\\(\\)");
  CHECK(more.size() > 5);
  for (const std::string& part : more) {
    INFO(part);
    CHECK(catalogue.find(part + "()", catalogue.find("inline auto slopes() {")) != std::string::npos);
    CHECK((steps.find("check_slopes_of(" + part + "())") != std::string::npos ||
           steps.find("check_listed(" + part + "())") != std::string::npos));
  }
  for (const std::string& part : parts) {
    INFO(part);
    CHECK(whole.find(part + "()") != std::string::npos);
    CHECK(steps.find("check_listed(" + part + "())") != std::string::npos);
    CHECK(on_cuda.find("check_on_cuda(" + part + "())") != std::string::npos);
  }
}

TEST_CASE("points, and one head for two levels: what every term is held to") { check_listed(listed_rest()); }

TEST_CASE("as many terms as a sum takes, and points that agree: slopes") { check_slopes_of(slopes_rest()); }

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

namespace {

template <class Loss>
using StepOfPoints = TrainingStep<Tiny<Loss, ContentReferences<>>, Reference<double>>;

/// What a pass of points gives, masked patches beside which weigh nothing, and its update.
struct OfPoints {
  StepReport report;
  std::vector<double> gradients;
  decltype(states_of(std::declval<const StepOfPoints<ListedPoints>&>())) states;
};

/// `before`: updates of all points that come before it.
template <class Loss = ListedPoints, class Change>
OfPoints of_points(BasicStepOptions<typename Loss::Options> options, Change&& change, int before = 0) {
  if constexpr (Loss::template has<MaskedLevel>) options.loss.template of<MaskedLevel>().weight = 0;
  StepOfPoints<Loss> step({}, options);
  draw(step);
  ViewBatch batch = drawn_batch(options.shape, 5);
  for (int i = 0; i < before; ++i) {
    StepReport report;
    step.begin();
    step.forward_backward(report, batch, 0.4);
    step.update(report, {.optimiser = {.learning_rate = 0}, .teacher_momentum = 1});
  }
  change(batch);
  OfPoints out;
  step.begin();
  step.forward_backward(out.report, batch, 0.4);
  out.gradients.assign(step.gradients().flat().begin(), step.gradients().flat().end());
  step.update(out.report, {.optimiser = {.learning_rate = 1e-3, .step = 0}, .teacher_momentum = 0.99});
  out.states = states_of(step);
  return out;
}

double furthest(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double out = 0;
  for (std::size_t i = 0; i < a.size(); ++i) out = std::max(out, std::abs(a[i] - b[i]));
  return out;
}

/// A term that takes points as they come.
struct EveryPoint : PointLevel {
  static constexpr std::string_view name = "every-point";
  static constexpr bool skips_points = false;
  template <Backend B>
  using Run = PrototypeRun<EveryPoint, B>;
};

}  // namespace

TEST_CASE("points that are all valid are points that nobody asked about, to the bit") {
  const auto checked = options_of<ListedPoints>(2, {{4, 4}});
  auto unchecked = checked;
  unchecked.shape.checked_points = false;
  REQUIRE(checked.shape.checked_points);
  const OfPoints plain = of_points(unchecked, [](ViewBatch&) {});
  const OfPoints empty = of_points(checked, [](ViewBatch& batch) { batch.valid.clear(); });
  const OfPoints ones = of_points(checked, [](ViewBatch& batch) { std::ranges::fill(batch.valid, std::uint8_t{1}); });
  for (const OfPoints* other : {&empty, &ones}) {
    CHECK(other->report.loss == plain.report.loss);
    CHECK(other->report.valid_points == 1);
    CHECK(other->report.term("point").counted == 1);
    CHECK(other->report.term("point-agreement").counted == 1);
    CHECK((other->gradients == plain.gradients));
    CHECK((other->states == plain.states));
  }
}

TEST_CASE("points that are not valid are as if they had not been drawn") {
  // Of two points a pair the second one is not valid: the step is that of the first alone, in its means and its centre.
  auto two = options_of<ListedPoints>(3, {{4, 4}});
  auto one = two;
  one.shape.points = 1;
  one.shape.checked_points = false;
  ViewBatch pairs;
  const OfPoints left_out = of_points(two, [&](ViewBatch& batch) {
    for (std::size_t i = 0; i < batch.valid.size(); ++i) batch.valid[i] = i % 2 == 0 ? 1 : 0;
    pairs = batch;
  });
  const OfPoints alone = of_points(one, [&](ViewBatch& batch) {
    for (std::size_t i = 0; i < batch.teacher_points.size(); ++i) {
      batch.teacher_points[i] = pairs.teacher_points[2 * i];
      batch.student_points[i] = pairs.student_points[2 * i];
    }
  });
  CHECK(left_out.report.valid_points == Approx(0.5));
  CHECK(left_out.report.loss > 0.1);
  for (const char* name : {"point", "point-agreement"}) {
    INFO(name);
    CHECK(left_out.report.term(name).loss == Approx(alone.report.term(name).loss).epsilon(1e-12));
    CHECK(left_out.report.term(name).counted == 1);
  }
  CHECK(left_out.report.term("point").teacher_entropy == Approx(alone.report.term("point").teacher_entropy).epsilon(1e-12));
  CHECK(furthest(left_out.gradients, alone.gradients) < 1e-12);
  REQUIRE(left_out.states.size() == alone.states.size());
  for (std::size_t i = 0; i < alone.states.size(); ++i) CHECK(furthest(left_out.states[i].second, alone.states[i].second) < 1e-12);
  const OfPoints all = of_points(two, [](ViewBatch& batch) { batch.valid.clear(); });
  CHECK(std::abs(all.report.loss - left_out.report.loss) > 1e-4);
}

TEST_CASE("a contrast of points is one of those that are valid, its projector's batch norms too") {
  using Contrast = WeightedSum<PointNtXent<by_head(simclr_projector)>>;
  const auto two = options_of<Contrast>(3);
  auto one = two;
  one.shape.points = 1;
  one.shape.checked_points = false;
  REQUIRE(two.shape.checked_points);
  ViewBatch pairs;
  const OfPoints left_out = of_points<Contrast>(two, [&](ViewBatch& batch) {
    for (std::size_t i = 0; i < batch.valid.size(); ++i) batch.valid[i] = i % 2 == 0 ? 1 : 0;
    pairs = batch;
  });
  const OfPoints alone = of_points<Contrast>(one, [&](ViewBatch& batch) {
    for (std::size_t i = 0; i < batch.teacher_points.size(); ++i) batch.teacher_points[i] = pairs.teacher_points[2 * i];
    for (std::size_t i = 0; i < batch.student_points.size(); ++i) batch.student_points[i] = pairs.student_points[2 * i];
  });
  CHECK(left_out.report.loss > 0.1);
  CHECK(left_out.report.loss == Approx(alone.report.loss).epsilon(1e-12));
  CHECK(left_out.report.term("point-nt-xent").counted == 1);
  CHECK(furthest(left_out.gradients, alone.gradients) < 1e-12);
  REQUIRE(left_out.states.size() == alone.states.size());
  CHECK(left_out.states.size() > 2);
  for (std::size_t i = 0; i < alone.states.size(); ++i) CHECK(furthest(left_out.states[i].second, alone.states[i].second) < 1e-12);

  const auto nothing_valid = [](ViewBatch& batch) { std::ranges::fill(batch.valid, std::uint8_t{0}); };
  const OfPoints none = of_points<Contrast>(two, nothing_valid, 1), was = of_points<Contrast>(two, [](ViewBatch&) {});
  CHECK(none.report.loss == 0);
  CHECK(none.report.term("point-nt-xent").counted == 0);
  CHECK(none.report.gradient_norm == 0);
  const OfPoints first = of_points<Contrast>(two, nothing_valid);
  for (std::size_t i = 0; i < first.states.size(); ++i) CHECK(furthest(first.states[i].second, was.states[i].second) > 1e-6);
}

TEST_CASE("a batch without a valid point has no loss of points, moves nothing by it, and says so") {
  const auto options = options_of<ListedPoints>(2, {{4, 4}});
  const auto nothing_valid = [](ViewBatch& batch) { std::ranges::fill(batch.valid, std::uint8_t{0}); };
  const OfPoints none = of_points(options, nothing_valid);
  CHECK(none.report.valid_points == 0);
  CHECK(none.report.loss == 0);
  for (const char* name : {"point", "point-agreement"}) {
    CHECK(none.report.term(name).loss == 0);
    CHECK(none.report.term(name).counted == 0);
  }
  CHECK(none.report.gradient_norm == 0);
  const OfPoints was = of_points(options, [](ViewBatch&) {});
  const OfPoints stays = of_points(options, nothing_valid, 1);
  REQUIRE(was.states.size() == stays.states.size());
  std::size_t centres = 0;
  for (std::size_t i = 0; i < was.states.size(); ++i) {
    if (was.states[i].first != "ref_center") continue;
    ++centres;
    CHECK(furthest(was.states[i].second, std::vector<double>(was.states[i].second.size())) > 1e-3);
    CHECK(furthest(was.states[i].second, stays.states[i].second) < 1e-15);
  }
  CHECK(centres == 1);
  CHECK(collapse_of(none.report.term("point"), term_widths.prototypes) == Collapse::none);
}

TEST_CASE("a term that compares every point, and a batch that says too much of them, are refused") {
  using Every = WeightedSum<EveryPoint>;
  auto options = options_of<Every>(2);
  CHECK_NOTHROW(TrainingStep<Tiny<Every, FeatureMap>, Reference<double>>({}, options));
  options.shape.checked_points = true;
  CHECK(refusal_of<Every, FeatureMap>(options) ==
        "option 'views' is with points that may not be valid; expected views whose shared points all are: the term 'every-point' "
        "compares every point");
  const auto checked = options_of<ListedPoints>(2);
  CHECK_THROWS_AS(of_points(checked, [](ViewBatch& batch) { batch.valid.pop_back(); }), ShapeError);
}
