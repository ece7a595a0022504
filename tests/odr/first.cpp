// The first translation unit with every header.
#include <all_headers.hpp>

#include "second.hpp"

int main() { return dssl::RandomStream{dssl::RandomKey{.seed = 1}}.bits() == draw_in_second_unit() ? 0 : 1; }
