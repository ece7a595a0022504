// Patch and image scores against the formulas written out, and means over neighbourhoods.
#include "catch.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <numeric>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <dssl/backbone/vit_parameters.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/backend/reference.hpp>
#if __has_include(<dssl/backend/cpu.hpp>)
#include <dssl/backend/cpu.hpp>
#endif
#include <dssl/defects/bank_settings.hpp>
#include <dssl/defects/defect_bank.hpp>
#include <dssl/defects/defect_bank_file.hpp>
#include <dssl/defects/neighbourhood.hpp>
#include <dssl/features/extents.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/nn/position.hpp>

#include "temporary_folder.hpp"
#include "thrown.hpp"

using namespace dssl;
using namespace dssl::test;

namespace {

double distance(const double* a, const double* b, Index width) {
  double sum = 0;
  for (Index d = 0; d < width; ++d) sum += (a[d] - b[d]) * (a[d] - b[d]);
  return std::sqrt(sum);
}

template <Backend B>
void check(const B& backend) {
  using T = typename B::Scalar;
  INFO(backend.describe());
  constexpr Index width = 4;
  constexpr Index n = 120;
  constexpr Index m = 30;
  std::mt19937 random(1);
  std::normal_distribution<double> normal;
  std::vector<T> bank(n * width);
  std::vector<T> test(m * width);
  for (T& v : bank) v = static_cast<T>(normal(random));
  for (T& v : test) v = static_cast<T>(1.5 * normal(random));
  const std::vector<double> rows(bank.begin(), bank.end());
  const std::vector<double> queries(test.begin(), test.end());
  for (const Index reweighting : {0, 1, 3, 9, 500}) {
    DefectBank<B> defects(
        backend, {.width = width, .pool = 200, .coreset = 1.0, .reweighting = reweighting, .queries = 7});
    defects.add(MatrixView<const T>(bank.data(), 50, width));
    defects.add(MatrixView<const T>(bank.data() + 50 * width, n - 50, width));
    CHECK(defects.added() == n);
    defects.build();
    CHECK(defects.size() == n);
    std::vector<float> scores(m);
    const double image = defects.score(scores, MatrixView<const T>(test.data(), m, width));

    // Equations 6 and 7.
    double most = -1;
    Index most_patch = 0;
    Index most_row = 0;
    for (Index q = 0; q < m; ++q) {
      double least = 1e300;
      Index nearest = 0;
      for (Index i = 0; i < n; ++i) {
        const double d = distance(queries.data() + q * width, rows.data() + i * width, width);
        if (d < least) {
          least = d;
          nearest = i;
        }
      }
      CHECK(scores[static_cast<std::size_t>(q)] == Approx(least).epsilon(1e-5));
      if (least > most) {
        most = least;
        most_patch = q;
        most_row = nearest;
      }
    }
    double expected = most;
    if (reweighting > 1) {
      std::vector<Index> order(n);
      std::iota(order.begin(), order.end(), Index{0});
      std::sort(order.begin(), order.end(), [&](Index a, Index b) {
        return distance(rows.data() + a * width, rows.data() + most_row * width, width) <
               distance(rows.data() + b * width, rows.data() + most_row * width, width);
      });
      order.resize(static_cast<std::size_t>(std::min(reweighting, n)));
      double sum = 0;
      for (const Index i : order)
        sum += std::exp(distance(queries.data() + most_patch * width, rows.data() + i * width, width));
      expected = (1 - std::exp(most) / sum) * most;
    }
    INFO("reweighting " << reweighting);
    CHECK(image == Approx(expected).epsilon(1e-5).margin(1e-12));
  }
}

}  // namespace

TEST_CASE("patch and image scores are PatchCore's") {
  check(Reference<double>());
  check(Reference<float>());
#if __has_include(<dssl/backend/cpu.hpp>)
  check(Cpu({.threads = 2}));
#endif
}

TEST_CASE("a bank keeps the share or the number of rows that was asked for, and what it keeps scores 0") {
  std::mt19937 random(2);
  std::normal_distribution<double> normal;
  std::vector<double> rows(500 * 3);
  for (double& v : rows) v = normal(random);
  const MatrixView<const double> view(rows.data(), 500, 3);
  const auto built = [&](const DefectBankOptions& options) {
    DefectBank<Reference<double>> bank(Reference<double>(), options);
    bank.add(view);
    bank.build();
    std::vector<float> scores(500);
    bank.score(scores, view);
    CHECK(std::count(scores.begin(), scores.end(), 0.0F) == bank.size());
    CHECK(*std::max_element(scores.begin(), scores.end()) == Approx(bank.radius()).margin(1e-12));
    return bank.size();
  };
  CHECK(built({.width = 3, .pool = 500}) == 50);
  CHECK(built({.width = 3, .pool = 600, .coreset_size = 77}) == 77);
  CHECK(built({.width = 3, .pool = 500, .coreset_size = 9999}) == 500);
  CHECK(built({.width = 3, .pool = 500, .coreset = 1e-9}) == 1);
}

TEST_CASE("a far patch is scored without overflow, and a bank says what is wrong with its use") {
  DefectBank<Reference<double>> bank(Reference<double>(), {.width = 1, .pool = 4, .coreset = 1.0});
  const std::vector<double> rows{0, 1, 2, 3};
  const std::vector<double> far{1e6};
  std::vector<float> score(1);
  const MatrixView<const double> view(rows.data(), 4, 1);
  CHECK(contains(thrown_by<DataError>([&] { bank.build(); }), "no normal patches"));
  CHECK(contains(thrown_by<DataError>([&] { bank.score(score, view.rows(0, 1)); }), "before it was built"));
  bank.add(view);
  CHECK(contains(thrown_by<ShapeError>([&] { bank.add(view); }), "pool of 4 rows"));
  bank.build();
  const double image = bank.score(score, MatrixView<const double>(far.data(), 1, 1));
  const double expected = 1 - 1 / (1 + std::exp(1.0) + std::exp(2.0) + std::exp(3.0));
  CHECK(image == Approx(expected * (1e6 - 3)).epsilon(1e-9));
  CHECK(contains(thrown_by<ShapeError>([&] { bank.score(score, view); }), "1 places"));
  CHECK(contains(thrown_by<OptionError>([] {
                   DefectBank<Reference<double>>(Reference<double>(), {.width = 1, .pool = 4, .coreset = 0});
                 }),
                 "'coreset' is 0"));
}

TEST_CASE("an image's score is the mean of its largest distances, of all where there are fewer") {
  const std::vector<double> rows{0, 10};
  const std::vector<double> queries{1, 13, 4, 12};  // distances 1, 3, 4, 2
  for (const Index top : {1, 2, 3, 9}) {
    DefectBank<Reference<double>> bank(Reference<double>(), {.width = 1, .pool = 2, .coreset = 1.0, .reweighting = 0, .top = top});
    bank.add(MatrixView<const double>(rows.data(), 2, 1));
    bank.build();
    std::vector<float> scores(4);
    const double expected = top == 1 ? 4 : top == 2 ? 3.5 : top == 3 ? 3 : 2.5;
    CHECK(bank.score(scores, MatrixView<const double>(queries.data(), 4, 1)) == Approx(expected));
    CHECK(scores[3] == 2);
  }
}

TEST_CASE("a bank's image scores are without the trend over sizes that was set, in its file too") {
  const TemporaryFolder folder;
  const std::string path = folder / "bank.safetensors";
  const std::vector<double> rows{0, 10}, queries{1, 13, 4, 12};  // distances 1, 3, 4, 2
  for (const Index reweighting : {0, 2}) {
    CAPTURE(reweighting);
    DefectBank<Reference<double>> bank(Reference<double>(), {.width = 1, .pool = 2, .coreset = 1.0, .reweighting = reweighting});
    bank.add(MatrixView<const double>(rows.data(), 2, 1));
    bank.build();
    std::vector<float> scores(4), later(4);
    const MatrixView<const double> view(queries.data(), 4, 1);
    const double before = bank.score(scores, view);
    save_defect_bank(path, bank);
    CHECK_FALSE(SafetensorsFile::open(path).metadata().contains("size_slope"));
    bank.set_size_trend({.slope = 0.1, .usual = 2});
    const double expected = before - 0.1 * std::log(2.0);
    CHECK(bank.score(later, view) == Approx(expected));
    CHECK(later == scores);  // of patches, nothing is taken off
    save_defect_bank(path, bank);
    auto read = load_defect_bank(Reference<double>(), SafetensorsFile::open(path));
    CHECK(read.size_trend() == bank.size_trend());
    CHECK(read.score(later, view) == bank.score(scores, view));
    for (const auto& [key, value] : {std::pair("size_slope", "-1"), {"size_usual", "0.5"}, {"size_usual", "inf"}}) {
      save_defect_bank(path, bank, {{key, value}});
      CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(load_defect_bank(Reference<double>(), SafetensorsFile::open(path))); }),
                     join("metadata '", key, "' is ", value)));
    }
    bank.restore(MatrixView<const double>(rows.data(), 2, 1), 0);  // other rows have another trend
    CHECK(bank.score(later, view) == before);
  }
}

TEST_CASE("a bank file whose numbers cannot be those of a bank is damaged") {
  const TemporaryFolder folder;
  const std::string path = folder / "bank.safetensors";
  DefectBank<Reference<float>> bank(Reference<float>(), {.width = 1, .pool = 2, .coreset = 1.0, .reweighting = 1});
  const std::vector<float> rows{0, 1};
  bank.add(MatrixView<const float>(rows.data(), 2, 1));
  bank.build();
  const auto problem = [&](const char* key, const char* value) {
    save_defect_bank(path, bank, {{key, value}});
    return thrown_by<CheckpointError>(
        [&] { static_cast<void>(load_defect_bank(Reference<float>(), SafetensorsFile::open(path))); });
  };
  for (const char* const value : {"-1", "nan", "inf", "1e300", "1.5"}) {
    CAPTURE(value);
    CHECK(contains(problem("reweighting", value), "metadata 'reweighting' is "));
  }
  for (const char* const value : {"-1", "nan", "inf"}) {
    CAPTURE(value);
    CHECK(contains(problem("radius", value), "metadata 'radius' is "));
  }
  CHECK(contains(problem("reweighting", "0"), "nothing was thrown"));
}

TEST_CASE("a bank's settings come back as they were written; what cannot be read is named") {
  const TemporaryFolder folder;
  const std::string path = folder / "bank.safetensors";
  const auto with = [&](const std::map<std::string, std::string>& metadata) {
    SafetensorsWriter writer;
    for (const auto& [key, value] : metadata) writer.metadata(key, value);
    writer.write(path);
    return SafetensorsFile::open(path);
  };
  const BankSettings odd{.arch = "an \"arch\"",
                         .family = "timm",
                         .heads = 3,
                         .size = "352x480",
                         .fit = "pad",
                         .channels = 1,
                         .blocks = {-1, 4},
                         .norm = false,
                         .flips = true,
                         .references = 2,
                         .seed = 0xFFFF'FFFF'FFFF'FFFFU,
                         .white = 4095,
                         .orient = true,
                         .neighbourhood = 1,
                         .smoothing = 0.1,
                         .pixels = {{0.33333334F}, {1e-6F}},
                         .look = {.border = 2, .standardise_features = true, .standardise_images = true, .flatten = 9, .top = 5,
                                  .place = 0.3, .free_of_size = true, .tiles = true, .scale = 0.7, .overlap = 16, .foreground_masks = true,
                                  .foreground_above = 0.1, .foreground_below = 250.5},
                         .ran = {.heads = 3, .norm_epsilon = 1e-12, .positions = "corners"}};
  for (const BankSettings& settings : {odd, BankSettings{}, BankSettings{.seed = 0x7FFF'FFFF'FFFF'FFFFU}}) {
    const BankSettings read = BankSettings::of(with({{"settings", settings.json()}}));
    CHECK(read == settings);
  }
  // As banks were written before.
  const std::string old =
      R"({"arch":"nano8","size":"40x56","fit":"stretch","channels":1,"blocks":[],"norm":true,"flips":false,"seed":7,)"
      R"("neighbourhood":3,"smoothing":2.0,"later":{"a":[1]}})";
  const BankSettings read = BankSettings::of(with({{"settings", old}}));
  CHECK(read == BankSettings{.arch = "nano8", .size = "40x56", .channels = 1, .seed = 7, .orient = false, .smoothing = 2});
  CHECK(extents_of("size", read.size) == std::pair<Index, Index>{40, 56});

  CHECK(read.pixel_scale() == usual_pixels(1));
  CHECK(odd.pixel_scale() == odd.pixels);

  const auto problem = [&](const std::map<std::string, std::string>& metadata) {
    return thrown_by<CheckpointError>([&] { static_cast<void>(BankSettings::of(with(metadata))); });
  };
  const auto of_pixels = [&](const std::string& said) { return problem({{"settings", old.substr(0, old.size() - 1) + said + "}"}}); };
  CHECK(contains(of_pixels(R"(,"mean":[0.5],"deviation":[0])"), "has mean 0.5 and deviation 0; expected means of -10 to 10"));
  CHECK(contains(of_pixels(R"(,"mean":[0.5])"), "has mean of 1 numbers and deviation of 0; expected one a channel"));
  CHECK(contains(of_pixels(R"(,"mean":[0.5,0.5],"deviation":[1,1])"), "has 2 means for 1 channels in its settings; expected as many"));
  const auto changed = [&](std::string_view from, std::string_view to) {
    std::string text = old;
    return problem({{"settings", text.replace(text.find(from), from.size(), to)}});
  };
  CHECK(contains(problem({}), "is no bank of dssl-defects: it has no settings"));
  CHECK(contains(problem({{"settings", "{}"}}), "has no 'arch' in its settings"));
  CHECK(contains(problem({{"settings", old + "x"}}), "settings of the bank is damaged at byte"));
  CHECK(contains(changed("\"seed\":7,", ""), "has no 'seed'"));
  CHECK(contains(changed("\"seed\":7", "\"seed\":-7"), "expected a whole number"));
  CHECK(contains(changed("\"channels\":1", "\"channels\":1,\"channels\":3"), "has 'channels' twice"));
  CHECK(contains(changed("\"channels\":1", "\"channels\":0"), "expected a whole number from 1 to 1024"));
  CHECK(contains(changed("\"channels\":1", "\"channels\":1.5"), "expected a whole number from 1 to 1024"));
  CHECK(contains(changed("stretch", "crop"), "has fit 'crop' in its settings; expected stretch or pad"));
  CHECK(contains(changed("2.0", "-2.0"), "has smoothing -2 in its settings"));
  CHECK(contains(changed("2.0", "1e9"), "has smoothing 1e+09 in its settings; expected 0 to 16384 pixels"));
  CHECK(contains(changed("\"neighbourhood\":3", "\"neighbourhood\":2"), "has neighbourhood 2"));
  CHECK(contains(changed("true", "1"), "expected 'false'"));
  CHECK(contains(changed("\"seed\":7", "\"seed\":7,\"references\":65"), "expected a whole number from 0 to 64"));
  CHECK(contains(changed("\"seed\":7", "\"seed\":7,\"border\":-1"), "expected a whole number from 0"));
  for (const std::string_view ran : {R"({"heads":2})", R"({"heads":2,"norm_epsilon":0,"positions":"size"})",
                                     R"({"norm_epsilon":1e-6,"positions":"size"})", R"({"heads":2,"norm_epsilon":1e-6,"positions":""})"})
    CHECK(contains(changed("\"seed\":7", join("\"seed\":7,\"ran\":", ran)), "has 'ran' in its settings without heads"));
  CHECK(contains(changed("\"seed\":7", "\"seed\":7,\"ran\":{\"heads\":0}"), "expected a whole number from 1"));

  const auto threshold = bank_threshold(with({{"threshold", "0.25"}, {"false_alarms", "0.05"}}));
  REQUIRE(threshold.has_value());
  CHECK(threshold->score == 0.25);
  CHECK(threshold->false_alarms == 0.05);
  CHECK_FALSE(bank_threshold(with({})).has_value());
  CHECK(contains(thrown_by<CheckpointError>([&] { static_cast<void>(bank_threshold(with({{"threshold", "high"}}))); }),
                 "metadata 'threshold' is 'high'"));
  require_bank_of(with({}), "abc", "weights");
  require_bank_of(with({{"weights_fingerprint", "abc"}}), "abc", "weights");
  CHECK(contains(thrown_by<CheckpointError>([&] { require_bank_of(with({{"weights_fingerprint", "abc"}}), "def", "some.pth"); }),
                 "was made with other weights than some.pth (fingerprint abc, not def)"));
}

TEST_CASE("a bank's backbone is run by the rules that it was made with, where the bank says them") {
  const ViTConfig config{
      .image = 32, .patch = 8, .width = 64, .heads = 4, .position_rule = PositionRule::size, .norm_exponent = 12};
  const auto problem = [&](const ViTConfig& other, GridSize grid, const BackboneRules& ran) {
    return thrown_by<CheckpointError>([&] { BankSettings{.ran = ran}.require_run_as("a.bank", other, grid, "some.pth"); });
  };
  const BackboneRules own = BackboneRules::of(config);
  CHECK(own == BackboneRules{.heads = 4, .norm_epsilon = config.norm_epsilon(), .positions = "size"});
  CHECK(contains(problem(config, {5, 4}, own), "nothing was thrown"));
  CHECK(contains(problem(config, {5, 4}, {}), "nothing was thrown"));  // as banks were before
  const auto with = [&](auto change) {
    ViTConfig other = config;
    change(other);
    return other;
  };
  CHECK(contains(problem(with([](ViTConfig& c) { c.heads = 2; }), {5, 4}, own),
                 "a.bank: was made with heads 4, and some.pth is run with heads 2;"));
  CHECK(contains(problem(with([](ViTConfig& c) { c.norm_exponent = 6; }), {5, 4}, own),
                 "made with norm epsilon 1e-12, and some.pth is run with norm epsilon 1e-06;"));
  const ViTConfig corners = with([](ViTConfig& c) { c.position_rule = PositionRule::corners; });
  CHECK(contains(problem(corners, {5, 4}, own),
                 "made with positions 'size', and some.pth is run with positions 'corners';"));
  CHECK(contains(problem(corners, config.native_grid(), own), "nothing was thrown"));
  const ViTConfig rotary = with([](ViTConfig& c) { c.positions = Positions::rotary; });
  CHECK(contains(problem(rotary, {5, 4}, own), "run with positions 'rotary';"));
}

TEST_CASE("means over 3 x 3 cells leave out what lies beyond the edge") {
  const GridSize grid{3, 4};
  std::vector<double> cells(12);
  std::iota(cells.begin(), cells.end(), 1.0);
  const Reference<double> backend;
  for (const Index extent : {1, 3}) {
    const auto taps = neighbourhood_taps<double>(grid, extent);
    std::vector<double> out(12);
    backend.sample_rows_forward(MatrixView<double>(out.data(), 12, 1),
                                MatrixView<const double>(cells.data(), 12, 1),
                                VectorView<const Taps<double>>(taps.data(), 12));
    for (Index y = 0; y < 3; ++y) {
      for (Index x = 0; x < 4; ++x) {
        double sum = 0;
        double count = 0;
        for (Index v = 0; v < 3; ++v) {
          for (Index u = 0; u < 4; ++u) {
            if (std::abs(v - y) > extent / 2 || std::abs(u - x) > extent / 2) continue;
            sum += cells[static_cast<std::size_t>(v * 4 + u)];
            count += 1;
          }
        }
        CHECK(out[static_cast<std::size_t>(y * 4 + x)] == Approx(sum / count));
      }
    }
  }
  CHECK(contains(thrown_by<OptionError>([&] { static_cast<void>(neighbourhood_taps<double>(grid, 5)); }),
                 "'neighbourhood' is 5"));
}
