// dssl::cpu: everything beside the kernels (dssl/instances.hpp), and functions that are no templates.
#define DSSL_COMPILING
#include <dssl/data/synthetic.hpp>
#include <dssl/dssl.hpp>
#include <dssl/feature_instances.hpp>
