// expect: AddsParameters
#include <string>
#include <string_view>

#include <dssl/train/recipe.hpp>

struct Backbone {
  static constexpr dssl::ViTConfig config = dssl::vit_tiny16;
  using Config = dssl::ViTConfig;
  template <class T>
  using Parameters = dssl::ViTParameters<T>;
  template <class T>
  using Inputs = dssl::ViTInputs<T>;
  template <class T>
  using Activations = dssl::ViTActivations<T>;
  template <class T>
  using Gradients = dssl::ViTGradients<T>;
  static std::string describe(const Config&) { return "own"; }
#ifdef DSSL_MUST_COMPILE
  static constexpr void add_parameters(dssl::ParameterLayout&, const Config&, dssl::LearnedTokens, std::string_view) {}
#endif
};

using Recipe = dssl::DenseDino::with_backbone<Backbone>;

int main() { return static_cast<int>(sizeof(Recipe) == 0); }
