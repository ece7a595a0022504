// A function that takes a backend, and a program that hands it one: two translation units (handing.sh).
#include <dssl/backend/cpu.hpp>

std::size_t words_of(const dssl::Cpu& backend);

#if defined(DSSL_TEST_TAKES)
std::size_t words_of(const dssl::Cpu& backend) { return backend.describe().size(); }
#else
int main() { return words_of(dssl::Cpu()) > 0 ? 0 : 1; }
#endif
