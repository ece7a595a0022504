// dssl::cpu: the backend in double.
#include <dssl/backend/cpu.hpp>
#include <dssl/backend/cpu/definitions.hpp>

template class dssl::OwnProducts<double>;
template class dssl::BasicCpu<double>;
