// The code of instances.hpp.
#define DSSL_TEST_INSTANCE template
#include "train/instances.hpp"
