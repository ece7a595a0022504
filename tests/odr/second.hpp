// What the second translation unit offers to the first.
#pragma once

#include <cstdint>

/// The first number of the stream with seed 1.
std::uint32_t draw_in_second_unit();
