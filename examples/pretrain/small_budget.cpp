#include <pretrain/small_budget.hpp>

#include <algorithm>
#include <cmath>

#include <dssl/core/error.hpp>
#include <dssl/views/image.hpp>

namespace dssl::programs {
namespace {

/// Images that a run sees: prototypes say little before twice as many as a contrast wants (docs/results.md).
constexpr Index images_contrasted = 10800, images_assigned = 21600;

/// The largest power of two of at most `most` and a fourth of the images, at least 2.
Index batch_of(Index most, Index images) {
  Index batch = most;
  while (batch > 2 && batch * 4 > images) batch /= 2;
  return batch;
}

}  // namespace

Index usual_side(const SourceView& source) {
  std::vector<Index> sides;
  const Index count = std::min<Index>(source.size(), 9);
  for (Index k = 0; k < count; ++k) {
    try {
      const HeldImage image = source.hold(k * source.size() / count);
      sides.push_back(std::min(height(image.view()), width(image.view())));
    } catch (const ImageError&) {
      continue;  // told where the run meets it
    }
  }
  if (sides.empty()) return 0;
  const auto middle = sides.begin() + static_cast<std::ptrdiff_t>(sides.size() / 2);
  std::nth_element(sides.begin(), middle, sides.end());
  return *middle;
}

std::vector<OptionWords> small_budget(const RecipeFacts& recipe, const SmallBudgetFacts& facts) {
  const auto [images, side, patch, view, said_epochs, begun] = facts;
  std::vector<OptionWords> out;
  const auto add = [&out](std::string_view option, const auto&... words) { out.push_back({option, {dssl::join(words)...}}); };

  const Index seen = recipe.prototypes ? images_assigned : images_contrasted;
  const Index epochs = said_epochs > 0 ? said_epochs : std::max<Index>(1, (seen + images / 2) / std::max<Index>(images, 1));
  add("--epochs", epochs);
  add("--weight-decay-end", 0.1);
  add("--stochastic-depth", 0);
  // A contrast compares the images of a batch; prototypes want many updates, of few images.
  const Index batch = recipe.prototypes ? batch_of(2, images) : batch_of(16, images);
  add("--batch", batch);
  add("--accumulate", recipe.prototypes ? 2 : 1);
  if (!begun) {
    add("--lr", recipe.prototypes ? 0.0128 : 0.004);
    add("--warmup-epochs", epochs < 3 ? 0 : std::max<Index>(1, epochs / 10));
  }
  // Views: things as large as where features are used; pictures that are small themselves are shown whole.
  const bool small = side > 0 && side < view + view / 3;
  if (small) add("--views-global", std::max(2 * patch, std::min(view, side / patch * patch)));
  const double least = recipe.prototypes ? 0.1 : 0.05, most = recipe.prototypes ? 0.6 : 0.3;
  add("--global-scale", small ? 0.25 : least, small ? 1.0 : most);
  if (!recipe.pairs) {
    add("--views-local", std::max(patch, (small ? std::min(view, side) : view) / 2 / patch * patch));
    add("--locals", 4);
    add("--local-scale", small ? 0.05 : 0.02, small ? 0.3 : 0.2);
  }
  if (recipe.points) add("--points", recipe.prototypes ? 4 : 16);
  if (recipe.prototypes) {
    add("--prototypes", 512);
    if (recipe.levels) {
      add("--teacher-temp", 0.02);
      add("--warmup-teacher-temp", 0.02);
    }
    if (recipe.published_levels) add("--image-all-views", "true");
    if (recipe.teacher) add("--momentum", 0.996);
  } else {
    add("--projector-hidden", 512);
    add("--projector-out", 128);
  }
  return out;
}

}  // namespace dssl::programs
