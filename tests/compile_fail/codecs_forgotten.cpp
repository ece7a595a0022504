// expect: reads PNG and JPEG: link dssl::codecs, which defines DSSL_WITH_CODECS
#ifdef DSSL_MUST_COMPILE
#define DSSL_WITH_CODECS  // as the target dssl::codecs does
#endif
#include <dssl/dssl.hpp>

int main() { return static_cast<int>(dssl::ImageFolder{"photos"}.size()); }
