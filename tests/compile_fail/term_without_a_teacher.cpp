// expect: WeightedSum: not a term, see LossTerm in dssl/concepts.hpp
#include <dssl/train/recipe.hpp>

struct Mine {
  static constexpr std::string_view name = "mine";
  static constexpr dssl::Reads reads{{.class_level = true}, {}};
  static constexpr dssl::Whole whole = dssl::Whole::row;
  using Options = dssl::LevelOptions;
#ifdef DSSL_MUST_COMPILE
  using Teacher = dssl::NoTeacher;
#endif
};

int main() { return static_cast<int>(sizeof(dssl::WeightedSum<Mine>) == 0); }
