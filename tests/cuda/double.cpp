// The Cuda backend in double against the oracle: the formulas to rounding.
#include "catch.hpp"

#include <dssl/backend/cuda.hpp>
#include <dssl/views/multi_crop.hpp>

#include "backend/fused_cases.hpp"
#include "backend/mlp_cases.hpp"
#include "backend/op_cases.hpp"
#include "cuda/held_to_oracle.hpp"
#include "cuda/relation_cases.hpp"
#include "cuda/view_scenes.hpp"
#include "thrown.hpp"
#include "views/pictures.hpp"

using namespace dssl;
using namespace dssl::test;

TEST_CASE("Cuda in double holds to the oracle to rounding", "[cuda]") {
  if (!device_is_there()) return;
  const BasicCuda<double> cuda;
  HeldToOracle held(cuda, 1e-12);
  linear_cases(held);
  dense_cases(held);
  mlp_cases(held);
  fused_cases(held);
  attention_cases(held);
  for (const Index width : {Index{3}, Index{40}}) {
    relation_cases(
        held,
        {{{.patches = 31, .references = 3}, {.patches = 30}, {.patches = 33, .references = 40}}, 2, width},
        join("heads of ", width));
  }
  row_cases(held);
  loss_cases(held);
  prototype_loss_cases(held);
  optimiser_cases(held);
}

TEST_CASE("Cuda in double refuses rounded operands", "[cuda]") {
  if (!device_is_there()) return;
  for (const Precision precision : {Precision::tf32, Precision::bf16}) {
    CHECK(contains(thrown_by<OptionError>([&] { BasicCuda<double>(CudaOptions{.precision = precision}); }),
                   "expected full on a backend in double"));
  }
}

TEST_CASE("Cuda in double renders the views of Cuda in float", "[cuda]") {
  if (!device_is_there()) return;
  MultiCropOptions options;
  options.global_size = options.local_size = {20, 17};
  const MultiCrop<> views(options);
  const std::vector<Scene> scenes{{drawn_picture<std::uint8_t>(40, 31, 3), views.plan(40, 31, {.seed = 1})},
                                  {drawn_picture<std::uint16_t>(33, 50, 3), views.plan(33, 50, {.seed = 2})}};
  CHECK(OnDevice<BasicCuda<double>>()(views, scenes) == OnDevice<Cuda>()(views, scenes));
}
