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
#include <dssl/features/class_map.hpp>
#include <dssl/probe/linear_probe.hpp>
#include <dssl/search/row_sample.hpp>

namespace dssl::programs {

namespace {

template <Backend B>
class BankOn final : public NormalBank {
 public:
  BankOn(const B& backend, const PatchSet& normal, Index pool, double coreset, std::uint64_t seed)
      : x_backend(backend),
        x_bank(backend, {.width = normal.width,
                         .pool = std::min(pool, static_cast<Index>(normal.images.size()) * normal.grid.size()),
                         .coreset = coreset,
                         .seed = seed}) {
    x_learn(normal);
  }

  [[nodiscard]] SetScores score(const PatchSet& set) override;
  [[nodiscard]] Index size() const override { return x_bank.size(); }

 private:
  void x_learn(const PatchSet& normal);

  B x_backend;
  DefectBank<B> x_bank;
  Buffer x_room;
};

template <Backend B>
void BankOn<B>::x_learn(const PatchSet& normal) {
  const Index patches = normal.grid.size();
  const auto count = static_cast<Index>(normal.images.size());
  x_room = x_backend.allocate(static_cast<std::size_t>(patches * normal.width) * sizeof(float));
  float* const room = reinterpret_cast<float*>(x_room.data());
  for (Index i = 0; i < count; ++i) {
    const PatchImage& image = normal.images[static_cast<std::size_t>(i)];
    const auto rows = sample_rows(
        patches, row_quota(i, count, x_bank.options().pool),
        {.seed = x_bank.options().seed, .sample = static_cast<std::uint64_t>(i), .view = 7, .purpose = Purpose::probe});
    std::vector<float> some;
    for (const std::int32_t row : rows) {
      const auto from = image.patches.begin() + row * normal.width;
      some.insert(some.end(), from, from + normal.width);
    }
    if (some.empty()) continue;
    x_backend.upload(room, std::span<const float>(some));
    x_bank.add(MatrixView<const float>(room, static_cast<Index>(rows.size()), normal.width));
  }
  x_bank.build();
}

template <Backend B>
SetScores BankOn<B>::score(const PatchSet& set) {
  SetScores out;
  float* const room = reinterpret_cast<float*>(x_room.data());
  for (const PatchImage& image : set.images) {
    x_backend.upload(room, std::span<const float>(image.patches));
    std::vector<float> scores(static_cast<std::size_t>(set.grid.size()));
    out.images.push_back(x_bank.score(scores, MatrixView<const float>(room, set.grid.size(), set.width)));
    out.patches.push_back(std::move(scores));
  }
  return out;
}

/// Pixels of a defect in each patch of an image.
std::vector<Index> defect_pixels(const PatchImage& image, GridSize grid, Index patch) {
  std::vector<Index> out(static_cast<std::size_t>(grid.size()));
  const Index width = grid.width * patch;
  for (std::size_t i = 0; i < image.truth.size(); ++i) {
    const auto pixel = static_cast<Index>(i);
    if (image.truth[i] == 1)
      ++out[static_cast<std::size_t>(pixel / width / patch * grid.width + pixel % width / patch)];
  }
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
                                             double coreset) {
  std::unique_ptr<NormalBank> out;
  with_backend(settings, [&](const auto& backend) {
    out = std::make_unique<BankOn<std::decay_t<decltype(backend)>>>(backend, normal, pool, coreset, settings.seed);
  });
  return out;
}

std::unique_ptr<HeadTrainer> make_head_trainer(const BackboneSettings& settings) {
  std::unique_ptr<HeadTrainer> out;
  with_backend(settings, [&](const auto& backend) {
    out = std::make_unique<HeadTrainerOn<std::decay_t<decltype(backend)>>>(backend);
  });
  return out;
}

DefectHead HeadTrainer::train(const PatchSet& normal, const PatchSet& defects, const std::vector<Index>& labelled,
                              Index patch, std::uint64_t seed) const {
  constexpr Index most_normal = 20'000;
  const Index width = defects.width;
  std::vector<const float*> positive;
  Rows rows;
  for (const Index i : labelled) {
    const PatchImage& image = defects.images[static_cast<std::size_t>(i)];
    const std::vector<Index> pixels = defect_pixels(image, defects.grid, patch);
    const Index largest = *std::max_element(pixels.begin(), pixels.end());
    for (Index n = 0; n < defects.grid.size(); ++n) {
      const float* const row = image.patches.data() + n * width;
      const Index own = pixels[static_cast<std::size_t>(n)];
      // A defect fills a quarter of a patch, or no patch of the image more than this one. Others that it
      // touches are neither.
      if (own > 0 && (4 * own >= patch * patch || own == largest)) positive.push_back(row);
      if (own == 0) rows.add(row, width, 0);
    }
  }
  if (positive.empty()) throw DataError("no patch of the labelled images shows a defect");
  const Index all_normal = static_cast<Index>(normal.images.size()) * normal.grid.size();
  for (const std::int32_t n :
       sample_rows(all_normal, most_normal, {.seed = seed, .view = 11, .purpose = Purpose::probe}))
    rows.add(normal.images[static_cast<std::size_t>(n / normal.grid.size())].patches.data() +
                 n % normal.grid.size() * width,
             width, 0);
  // As many defects as normal patches: the few there are come again and again.
  const auto normals = rows.labels.size();
  for (std::size_t n = 0; n < normals; ++n) rows.add(positive[n % positive.size()], width, 1);
  const MatrixView<const float> values(rows.values.data(), static_cast<Index>(rows.labels.size()), width);
  return x_train(values, rows.labels, seed);
}

SetScores DefectHead::score(const PatchSet& set) const {
  SetScores out;
  for (const PatchImage& image : set.images) {
    std::vector<float> scores;
    for (Index n = 0; n < set.grid.size(); ++n) {
      double sum = static_cast<double>(bias);
      for (std::size_t d = 0; d < weight.size(); ++d)
        sum += static_cast<double>(weight[d]) *
               static_cast<double>(image.patches[static_cast<std::size_t>(n) * weight.size() + d]);
      scores.push_back(static_cast<float>(sum));
    }
    out.images.push_back(static_cast<double>(*std::max_element(scores.begin(), scores.end())));
    out.patches.push_back(std::move(scores));
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
