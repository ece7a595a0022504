// expect: WeightedSum: more than one term with a Snapshot<Ema>, of which a run has one
#include <dssl/loss/gram_term.hpp>
#include <dssl/loss/objective.hpp>

struct Another : dssl::Gram<> {
  static constexpr std::string_view name = "another";
#ifdef DSSL_MUST_COMPILE
  using Teacher = dssl::Ema;
#endif
};

using Loss = dssl::WeightedSum<dssl::ImageLevel, dssl::Gram<>, Another>;

int main() { return static_cast<int>(sizeof(Loss) == 0); }
