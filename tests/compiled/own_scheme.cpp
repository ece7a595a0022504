// A program that links dssl::cpu and trains with a token scheme of its own: its attention is compiled here, without the
// library's flags and without an optimiser, and everything else comes from there.
#include <vector>

#include <dssl/backend/cpu/definitions.hpp>  // the attention of relations that dssl::cpu does not hold
#include <dssl/backend/reference.hpp>
#include <dssl/data/synthetic.hpp>
#include <dssl/dssl.hpp>

#include "own_scheme.hpp"
#include "train/tiny_run.hpp"

namespace {

struct ReferencesThatSeeTheClass {
  static constexpr dssl::AttentionRelation relation{{dssl::Sees::full, dssl::Sees::none, dssl::Sees::full},
                                                    {dssl::Sees::full, dssl::Sees::self, dssl::Sees::full},
                                                    {dssl::Sees::full, dssl::Sees::none, dssl::Sees::full}};
  static constexpr dssl::PointFeatures point_features = dssl::PointFeatures::reference_tokens;
  static constexpr dssl::ReferenceConfig reference{};
};
using Recipe = dssl::test::Tiny::with_tokens<ReferencesThatSeeTheClass>;

template <class B>
std::vector<double> losses_on(const B& backend) {
  std::vector<dssl::AnyImage> images;
  const dssl::SyntheticScenes scenes({.count = 4, .height = 24, .width = 24});
  for (dssl::Index i = 0; i < scenes.size(); ++i) images.push_back(scenes.load(i).image);
  dssl::Trainer<Recipe, B> trainer(dssl::test::tiny_options(), backend);
  std::vector<double> losses;
  trainer.on_step([&](const dssl::StepReport& report) {
    losses.push_back(report.loss);
    return dssl::proceed;
  });
  trainer.fit(dssl::MemoryImages(std::move(images)));
  return losses;
}

}  // namespace

dssl::test::OwnScheme dssl::test::train_with_own_scheme() {
  return {losses_on(Cpu({.threads = 2})), losses_on(Reference<float>())};
}
