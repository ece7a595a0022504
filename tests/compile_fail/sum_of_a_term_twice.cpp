// expect: WeightedSum: two terms of one name; each is told by its name in reports and checkpoints
#include <dssl/train/recipe.hpp>

struct Another : dssl::PrototypeLevel<Another> {
#ifdef DSSL_MUST_COMPILE
  static constexpr std::string_view name = "another";
#else
  static constexpr std::string_view name = "image";
#endif
  static constexpr dssl::Reads reads{{.class_level = true}, {.class_level = true}};
};

int main() { return static_cast<int>(sizeof(dssl::WeightedSum<dssl::ImageLevel, Another>) == 0); }
