// The second translation unit with every header.
#include <all_headers.hpp>

#include "second.hpp"

std::uint32_t draw_in_second_unit() { return dssl::RandomStream{dssl::RandomKey{.seed = 1}}.bits(); }
