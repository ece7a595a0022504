// Banks and heads of the pilot.
#include "defect_pilot/scoring.hpp"

#include <algorithm>
#include <cmath>
#include <span>
#include <type_traits>
#include <utility>

#include <dssl/backend/concept.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/defects/defect_bank.hpp>
#include <dssl/defects/defect_score.hpp>
#include <dssl/defects/patch_rules.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/probe/linear_probe.hpp>
#include <dssl/search/row_sample.hpp>

namespace dssl::programs {

std::vector<float> over_grid(const std::vector<float>& scores, const std::vector<std::int32_t>& cells, GridSize grid) {
  std::vector<float> out(static_cast<std::size_t>(grid.size()), *std::min_element(scores.begin(), scores.end()));
  for (std::size_t i = 0; i < scores.size(); ++i) out[static_cast<std::size_t>(cells[i])] = scores[i];
  return out;
}

namespace {

template <Backend B>
class BankOn final : public NormalBank {
 public:
  BankOn(const B& backend, const PatchSet& normal, Index pool, double coreset, std::uint64_t seed, const LookSettings& look)
      : x_backend(backend),
        x_bank(backend, {.width = normal.width + (look.place > 0 ? 2 : 0),
                         .pool = std::min(pool, normal.rows()),
                         .coreset = coreset,
                         .seed = seed,
                         .top = look.top,
                         .rules = look.rules(),
                         .place_unit = look.place > 0 ? typical_distance(std::span<const float>(normal.images.front().patches), normal.width) : 0}) {
    x_learn(normal);
  }

  [[nodiscard]] SetScores score(const PatchSet& set) override;
  [[nodiscard]] Index size() const override { return x_bank.size(); }

 private:
  void x_learn(const PatchSet& normal);
  [[nodiscard]] std::vector<float> x_rows(const PatchImage& image, Index width) const {
    const DefectBankOptions& o = x_bank.options();
    if (!(o.rules.place > 0)) return image.patches;
    return append_places(std::span<const float>(image.patches), width, image.cells, image.grid, o.place_unit, o.rules.place);
  }
  [[nodiscard]] MatrixView<const float> x_upload(const std::vector<float>& rows) {
    const std::size_t bytes = rows.size() * sizeof(float);
    if (bytes > x_room.bytes()) x_room = x_backend.allocate(bytes);
    float* const to = reinterpret_cast<float*>(x_room.data());
    x_backend.upload(to, std::span<const float>(rows));
    return MatrixView<const float>(to, static_cast<Index>(rows.size()) / x_bank.options().width, x_bank.options().width);
  }

  B x_backend;
  DefectBank<B> x_bank;
  Buffer x_room;
};

template <Backend B>
void BankOn<B>::x_learn(const PatchSet& normal) {
  const auto count = static_cast<Index>(normal.images.size());
  const Index width = x_bank.options().width;
  for (Index i = 0; i < count; ++i) {
    const PatchImage& image = normal.images[static_cast<std::size_t>(i)];
    const auto drawn = sample_rows(
        static_cast<Index>(image.cells.size()), row_quota(i, count, x_bank.options().pool),
        {.seed = x_bank.options().seed, .sample = static_cast<std::uint64_t>(i), .view = 7, .purpose = Purpose::probe});
    const std::vector<float> rows = x_rows(image, normal.width);
    std::vector<float> some;
    for (const std::int32_t row : drawn) {
      const auto from = rows.begin() + row * width;
      some.insert(some.end(), from, from + width);
    }
    if (!some.empty()) x_bank.add(x_upload(some));
  }
  x_bank.build();
}

template <Backend B>
SetScores BankOn<B>::score(const PatchSet& set) {
  SetScores out;
  for (const PatchImage& image : set.images) {
    std::vector<float> scores(image.cells.size());
    out.images.push_back(x_bank.score(scores, x_upload(x_rows(image, set.width))));
    out.patches.push_back(over_grid(scores, image.cells, image.grid));
  }
  return out;
}

/// Pixels of a defect in each patch of an image that counts.
std::vector<Index> defect_pixels(const PatchImage& image, Index patch) {
  std::vector<Index> all(static_cast<std::size_t>(image.grid.size()));
  for (std::size_t i = 0; i < image.truth.size(); ++i) {
    if (image.truth[i] == 1) ++all[cell_of(static_cast<Index>(i), image.width, image.grid, patch)];
  }
  std::vector<Index> out;
  for (const std::int32_t cell : image.cells) out.push_back(all[static_cast<std::size_t>(cell)]);
  return out;
}

/// Rows of patches with a label each.
struct Rows {
  std::vector<float> values;
  std::vector<std::int64_t> labels;

  void add(const float* row, Index width, std::int64_t label) {
    values.insert(values.end(), row, row + width);
    labels.push_back(label);
  }
};

template <Backend B>
class HeadTrainerOn final : public HeadTrainer {
 public:
  explicit HeadTrainerOn(const B& backend) : x_backend(backend) {}

 private:
  [[nodiscard]] DefectHead x_train(MatrixView<const float> rows, const std::vector<std::int64_t>& labels,
                                   std::uint64_t seed) const override {
    const Index width = rows.cols();
    LinearProbe<B> probe(x_backend, {.width = width,
                                     .classes = 2,
                                     .learning_rates = {0.1},
                                     .epochs = 10,
                                     .batch = 512,
                                     .weight_decay = 1e-3,
                                     .standardise = true,
                                     .seed = seed});
    probe.train(rows, labels);
    std::vector<float> weight(static_cast<std::size_t>(2 * width));
    std::vector<float> bias(2);
    probe.get_weights(weight, bias, 0);
    DefectHead head;
    for (Index d = 0; d < width; ++d)
      head.weight.push_back(weight[static_cast<std::size_t>(width + d)] - weight[static_cast<std::size_t>(d)]);
    head.bias = bias[1] - bias[0];
    return head;
  }

  B x_backend;
};

}  // namespace

std::unique_ptr<NormalBank> make_normal_bank(const BackboneSettings& settings, const PatchSet& normal, Index pool,
                                             double coreset, const LookSettings& look) {
  std::unique_ptr<NormalBank> out;
  with_backend(settings, [&](const auto& backend) {
    out = std::make_unique<BankOn<std::decay_t<decltype(backend)>>>(backend, normal, pool, coreset, settings.seed, look);
  });
  return out;
}

std::vector<double> with_top(const SetScores& scores, const PatchSet& set, Index top) {
  std::vector<double> out;
  for (std::size_t i = 0; i < scores.images.size(); ++i) {
    const std::vector<float>& all = scores.patches[i];
    // What weighs the largest distance weighs the mean.
    const auto largest = static_cast<double>(*std::max_element(all.begin(), all.end()));
    out.push_back(largest > 0 ? scores.images[i] / largest * mean_of_largest(all, std::min(top, static_cast<Index>(set.images[i].cells.size()))) : 0);
  }
  return out;
}

SizedScores::SizedScores(std::vector<double>& scores, const PatchSet& set) : images(scores) {
  for (const PatchImage& image : set.images) patches.push_back(static_cast<Index>(image.cells.size()));
}

void take_size_off(const std::vector<SizedScores>& sets, const SizeTrend& trend) {
  for (const SizedScores& set : sets) {
    for (std::size_t i = 0; i < set.images.size(); ++i) set.images[i] = trend.without(set.images[i], set.patches[i]);
  }
}

SizeTrend take_size_off(const std::vector<SizedScores>& sets) {
  const SizeTrend trend = SizeTrend::of(sets.front().images, sets.front().patches);
  take_size_off(sets, trend);
  return trend;
}

std::unique_ptr<HeadTrainer> make_head_trainer(const BackboneSettings& settings) {
  std::unique_ptr<HeadTrainer> out;
  with_backend(settings, [&](const auto& backend) {
    out = std::make_unique<HeadTrainerOn<std::decay_t<decltype(backend)>>>(backend);
  });
  return out;
}

DefectHead HeadTrainer::train(const PatchSet& normal, const PatchSet& defects, const std::vector<Index>& labelled,
                              std::uint64_t seed) const {
  constexpr Index most_normal = 20'000;
  const Index width = defects.width;
  const Index patch = defects.patch;
  std::vector<const float*> positive;
  Rows rows;
  for (const Index i : labelled) {
    const PatchImage& image = defects.images[static_cast<std::size_t>(i)];
    const std::vector<Index> pixels = defect_pixels(image, patch);
    const Index largest = *std::max_element(pixels.begin(), pixels.end());
    for (Index n = 0; n < static_cast<Index>(image.cells.size()); ++n) {
      const float* const row = image.patches.data() + n * width;
      const Index own = pixels[static_cast<std::size_t>(n)];
      if (shows_defect(own, largest, patch)) positive.push_back(row);
      if (own == 0) rows.add(row, width, 0);
    }
  }
  if (positive.empty()) throw DataError("no patch of the labelled images shows a defect");
  std::size_t image = 0;
  Index before = 0;  // patches of the images before it
  for (const std::int32_t n :
       sample_rows(normal.rows(), most_normal, {.seed = seed, .view = 11, .purpose = Purpose::probe})) {
    while (n - before >= static_cast<Index>(normal.images[image].cells.size()))
      before += static_cast<Index>(normal.images[image++].cells.size());
    rows.add(normal.images[image].patches.data() + (n - before) * width, width, 0);
  }
  // As many defects as normal patches: the few there are come again and again.
  const auto normals = rows.labels.size();
  for (std::size_t n = 0; n < normals; ++n) rows.add(positive[n % positive.size()], width, 1);
  const MatrixView<const float> values(rows.values.data(), static_cast<Index>(rows.labels.size()), width);
  return x_train(values, rows.labels, seed);
}

SetScores DefectHead::score(const PatchSet& set, Index top) const {
  SetScores out;
  for (const PatchImage& image : set.images) {
    std::vector<float> scores;
    for (std::size_t n = 0; n < image.cells.size(); ++n) {
      double sum = static_cast<double>(bias);
      for (std::size_t d = 0; d < weight.size(); ++d)
        sum += static_cast<double>(weight[d]) *
               static_cast<double>(image.patches[n * weight.size() + d]);
      scores.push_back(static_cast<float>(sum));
    }
    out.images.push_back(mean_of_largest(scores, top));
    out.patches.push_back(over_grid(scores, image.cells, image.grid));
  }
  return out;
}

namespace {

struct Moments {
  double mean = 0;
  double deviation = 1;
  [[nodiscard]] double of(double value) const { return (value - mean) / deviation; }
};

template <class Values>
Moments moments_of(const Values& values) {
  Moments out{.mean = 0, .deviation = 0};
  const auto n = static_cast<double>(values.size());
  for (const auto v : values) out.mean += static_cast<double>(v) / n;
  for (const auto v : values)
    out.deviation += (static_cast<double>(v) - out.mean) * (static_cast<double>(v) - out.mean) / n;
  out.deviation = out.deviation > 0 ? std::sqrt(out.deviation) : 1.0;
  return out;
}

std::vector<float> all_patches(const SetScores& scores) {
  std::vector<float> out;
  for (const auto& own : scores.patches) out.insert(out.end(), own.begin(), own.end());
  return out;
}

}  // namespace

SetScores combined(const SetScores& first, const SetScores& first_normal, const SetScores& second,
                   const SetScores& second_normal) {
  const Moments a = moments_of(first_normal.images);
  const Moments b = moments_of(second_normal.images);
  const Moments a_patch = moments_of(all_patches(first_normal));
  const Moments b_patch = moments_of(all_patches(second_normal));
  SetScores out;
  for (std::size_t i = 0; i < first.images.size(); ++i) {
    out.images.push_back(0.5 * (a.of(first.images[i]) + b.of(second.images[i])));
    if (first.patches.empty()) continue;  // scores of images alone
    std::vector<float> patches;
    for (std::size_t n = 0; n < first.patches[i].size(); ++n) {
      patches.push_back(static_cast<float>(0.5 * (a_patch.of(static_cast<double>(first.patches[i][n])) +
                                                  b_patch.of(static_cast<double>(second.patches[i][n])))));
    }
    out.patches.push_back(std::move(patches));
  }
  return out;
}

}  // namespace dssl::programs
