// A program of C++ that uses the library for C.
#include <cstdio>
#include <cstring>

#include <dssl.h>

int main() {
  char line[200];
  dssl_scorer* scorer = nullptr;
  std::printf("dssl_c %s\n", dssl_version());
  return dssl_scorer_open(&scorer, "nowhere", "nowhere", nullptr, line, sizeof line) == DSSL_BAD_FILE &&
                 std::strstr(line, "nowhere") != nullptr
             ? 0
             : 1;
}
