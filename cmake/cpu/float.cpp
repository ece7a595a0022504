// dssl::cpu: the backend in float.
#include <dssl/backend/cpu.hpp>
#include <dssl/backend/cpu/definitions.hpp>

template class dssl::OwnProducts<float>;
template class dssl::BasicCpu<float>;
