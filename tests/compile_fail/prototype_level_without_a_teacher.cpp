// expect: WeightedSum: a term reads a teacher's features, but its Teacher gives none; use Ema, Snapshot<Ema> or Frozen<Backbone>
#include <dssl/loss/objective.hpp>

struct Level : dssl::ClassTokenLevel<Level> {
  static constexpr std::string_view name = "mine";
#ifndef DSSL_MUST_COMPILE
  using Teacher = dssl::NoTeacher;
#endif
};

int main() { return static_cast<int>(sizeof(dssl::WeightedSum<Level>) == 0); }
