// expect: a projection head needs at least 2 prototypes
#include <dssl/nn/head.hpp>

#ifdef DSSL_MUST_COMPILE
constexpr dssl::HeadConfig config{.prototypes = 2};
#else
constexpr dssl::HeadConfig config{.prototypes = 1};
#endif

int main() { return static_cast<int>(dssl::ProjectionHead<config>::config.prototypes == 0); }
