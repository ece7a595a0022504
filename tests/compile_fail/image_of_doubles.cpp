// expect: PixelType
#include <dssl/views/image.hpp>

int main() {
#ifdef DSSL_MUST_COMPILE
  const dssl::Image<float> image{1, 1, 1};
#else
  const dssl::Image<double> image{1, 1, 1};
#endif
  return static_cast<int>(image.width()) - 1;
}
