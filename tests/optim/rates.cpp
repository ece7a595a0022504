// Learning rates of single tensors, and which gradients are clipped together, by the names of a layout.
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "catch.hpp"
#include "thrown.hpp"

#include <dssl/nn/parameters.hpp>
#include <dssl/optim/optimiser.hpp>

using namespace dssl;

namespace {

/// A backbone of two blocks with three last norms, and two heads, of which one has prototypes.
ParameterLayout small_layout() {
  ParameterLayout layout;
  layout.add("backbone.cls_token", {1, 1, 4}, {});
  layout.add("backbone.patch_embed.proj.weight", {4, 3, 2, 2}, {});
  layout.add("backbone.patch_embed.proj.bias", {4}, {});
  layout.add("backbone.blocks.0.norm1.weight", {4}, {});
  layout.add("backbone.blocks.1.attn.qkv.weight", {12, 4}, {});
  layout.add("backbone.norm.weight", {4}, {});
  layout.add("backbone.cls_norm.weight", {4}, {});
  layout.add("backbone.local_cls_norm.weight", {4}, {});
  layout.add("head.mlp.0.weight", {4, 4}, {});
  layout.add("head.last_layer.weight_v", {8, 4}, {.prototype = true});
  layout.add("predictor.0.bias", {4}, {});
  return layout;
}

std::vector<double> rates_of(const OptimiserOptions& options, bool frozen = false) {
  std::vector<double> rates;
  for (const Segment& segment : optimiser_segments(small_layout(), options, frozen)) rates.push_back(segment.rate);
  return rates;
}

}  // namespace

TEST_CASE("a tensor's rate follows from its block, its dimensions and its part") {
  CHECK(rates_of({}) == std::vector<double>(11, 1.0));
  OptimiserOptions options;
  options.rates.layer_decay = 0.5;
  CHECK(rates_of(options) == std::vector<double>{0.125, 0.125, 0.125, 0.25, 0.5, 1, 1, 1, 1, 1, 1});
  options.rates.patch_embedding = 0.25;
  options.rates.vectors = 2;
  CHECK(rates_of(options) == std::vector<double>{0.125, 0.03125, 0.0625, 0.5, 0.5, 2, 2, 2, 1, 1, 2});
}

TEST_CASE("frozen prototypes are left alone, or have a rate of 0 and moments that go on") {
  OptimiserOptions options;
  const auto prototypes = [&] { return optimiser_segments(small_layout(), options, true)[9]; };
  CHECK_FALSE(prototypes().updated);
  options.frozen_moments = true;
  CHECK(prototypes().updated);
  CHECK(prototypes().rate == 0);
  CHECK(rates_of(options)[9] == 1);
}

TEST_CASE("a layer decay is refused where no block is numbered") {
  ParameterLayout layout;
  layout.add("backbone.stage1.weight", {4, 4}, {});
  OptimiserOptions options;
  CHECK_NOTHROW(optimiser_segments(layout, options, false));
  options.rates.layer_decay = 0.9;
  const std::string message = test::thrown_by<OptionError>([&] { (void)optimiser_segments(layout, options, false); });
  CHECK(test::contains(message, "'optimiser.rates.layer_decay' is 0.9"));
  CHECK(test::contains(message, "without numbered blocks"));
}

TEST_CASE("gradients are clipped together by tensor, part or network") {
  using Together = std::vector<std::size_t>;
  CHECK(clipped_together(small_layout(), ClipOver::tensor) == Together{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10});
  CHECK(clipped_together(small_layout(), ClipOver::part) == Together{0, 0, 0, 0, 0, 0, 0, 0, 8, 8, 10});
  CHECK(clipped_together(small_layout(), ClipOver::network) == Together(11, 0));
}
