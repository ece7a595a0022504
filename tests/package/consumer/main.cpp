// Uses the library as its headers alone, and says so with its exit status.
#include <cstdio>

#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/version.hpp>
#include <dssl/views/image.hpp>

int main() {
  const dssl::Image<float> image{2, 3, 1};
  try {
    const dssl::Image<float> impossible{0, 3, 1};
    return 1;
  } catch (const dssl::ShapeError& error) {
    std::printf("dssl %s, seed 7 starts with %08x; refused: %s\n", dssl::version_string.data(),
                dssl::RandomStream{dssl::RandomKey{.seed = 7}}.bits(), error.what());
  }
  return image.pixels().size() == 6 ? 0 : 1;
}
