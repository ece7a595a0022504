// The code of kinds.hpp.
#define DSSL_TEST_INSTANCE template
#include "cuda/kinds.hpp"
