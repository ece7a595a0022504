#include <pretrain/small_budget.hpp>

#include <algorithm>
#include <cstddef>

#include <dssl/core/error.hpp>
#include <dssl/views/image.hpp>

namespace dssl::programs {
namespace {

/// Images that a run sees: prototypes say little before twice as many as a contrast wants (docs/results.md).
constexpr Index images_contrasted = 10800, images_assigned = 21600;

/// The largest power of two of at most `most` and a fourth of the images, at least 2; then the nearest that the ranks divide.
Index batch_of(Index most, Index images, Index ranks) {
  Index batch = most;
  while (batch > 2 && batch * 4 > images) batch /= 2;
  return std::max<Index>(1, (batch + ranks / 2) / ranks) * ranks;
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
  const auto [images, side, patch, view, said_epochs, said_batch, ranks, said_points, begun, adamw] = facts;
  const bool contrasts = recipe.temperature && (recipe.levels || !recipe.prototypes);  // beside prototypes, too
  std::vector<OptionWords> out;
  const auto add = [&out](std::string_view option, const auto&... words) { out.push_back({option, {dssl::join(words)...}}); };
  const auto as_checkpoints_have = [&out](auto... fields) { out.back().in_checkpoint = {fields...}; };

  const Index seen = recipe.prototypes ? images_assigned : images_contrasted;
  const Index epochs = said_epochs > 0 ? said_epochs : std::max<Index>(1, (seen + images / 2) / std::max<Index>(images, 1));
  add("--epochs", epochs);
  as_checkpoints_have("epochs");
  add("--weight-decay-end", 0.1);
  add("--stochastic-depth", 0);
  // A contrast compares the images of a batch; prototypes want many updates, of few images.
  const Index most_images = !recipe.prototypes ? 16 : contrasts ? 8 : 2;
  const Index batch = said_batch > 0 ? said_batch : batch_of(most_images, images, ranks);
  add("--batch", batch);
  as_checkpoints_have("batch");
  // Updates of four images, or of as few as ranks and images allow.
  add("--accumulate", recipe.prototypes && !contrasts ? std::clamp<Index>(images / batch, 1, std::max<Index>(1, 4 / batch)) : 1);
  as_checkpoints_have("accumulate");
  if (!begun && adamw) add("--lr", recipe.prototypes ? 0.0128 : 0.004);
  if (!begun) {
    add("--warmup-epochs", epochs < 3 ? 0 : std::max<Index>(1, epochs / 10));
    as_checkpoints_have("optimiser.warmup_epochs");
  }
  // Views: things as large as where features are used; pictures that are small themselves are shown whole.
  const bool small = side > 0 && side < view + view / 3;
  const Index global = small ? std::max(2 * patch, std::min(view, side / patch * patch)) : view;
  add("--views-global", global);
  as_checkpoints_have("views.global_size.height");
  const double least = recipe.prototypes ? 0.1 : 0.05, most = recipe.prototypes ? 0.6 : 0.3;
  add("--global-scale", small ? 0.25 : least, small ? 1.0 : most);
  as_checkpoints_have("views.global_area.low", "views.global_area.high");
  if (!recipe.pairs) {
    add("--views-local", std::max(patch, global / 2 / patch * patch));
    as_checkpoints_have("views.local_size.height");
    add("--locals", 4);
    add("--local-scale", small ? 0.05 : 0.02, small ? 0.3 : 0.2);
    as_checkpoints_have("views.local_area.low", "views.local_area.high");
  }
  if (recipe.points) {
    add("--points", contrasts ? 16 : 4);
    // Points that are told apart keep patches apart where they lie evenly (docs/results.md); a number that is said may be no square.
    if (contrasts && !said_points) add("--sampler", "grid");
  }
  if (recipe.prototypes) {
    add("--prototypes", 512);
    if (recipe.levels) {
      add("--teacher-temp", 0.02);
      add("--warmup-teacher-temp", 0.02);
    }
    if (recipe.published_levels) add("--image-all-views", "true");
    if (recipe.teacher) add("--momentum", 0.996);
  }
  if (contrasts || !recipe.prototypes) {
    add("--projector-hidden", 512);
    add("--projector-out", 128);
  }
  return out;
}

void keep_words_of_run(std::vector<OptionWords>& chosen, const std::map<std::string, std::string>& checkpoint) {
  for (OptionWords& option : chosen) {
    for (std::size_t i = 0; i < option.in_checkpoint.size(); ++i) {
      const auto found = checkpoint.find(dssl::join("option.", option.in_checkpoint[i]));
      if (found != checkpoint.end()) option.words[i] = found->second;
    }
  }
}

}  // namespace dssl::programs
