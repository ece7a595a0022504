// Terms in sums, in a whole training step of a small model: slopes of those that are in no other file's, and what sums refuse.
#include "catch.hpp"
#include "train/catalogue.hpp"
#include "train/term_steps.hpp"

using namespace dssl;
using namespace dssl::test;

TEST_CASE("terms in sums: slopes") { check_slopes_of(slopes_summed()); }

TEST_CASE("two sizes for one head's name are refused, and of two names are not") {
  using Clash = WeightedSum<NtXent<by_head(simclr_projector)>, CrossCorrelation<by_head(barlow_projector)>>;
  CHECK(refusal_of<Clash>(options_of<Clash>()) ==
        "option 'loss' is with two parameters 'projector.0.weight'; expected terms whose heads have names of their own");
  const TrainingStep<Tiny<ListedApart>, Reference<double>> step({}, options_of<ListedApart>());
  CHECK(step.layout().find("projector.6.weight").shape() == std::vector<Index>{5, 7});
  CHECK(step.layout().find("dense_projector.2.weight").shape() == std::vector<Index>{5, 7});
}
