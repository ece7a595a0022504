// Terms alone in a whole training step of a small model: slopes, of those that no other file takes alone.
#include "catch.hpp"
#include "train/catalogue.hpp"
#include "train/term_steps.hpp"

using namespace dssl::test;

TEST_CASE("terms alone: slopes") { check_slopes_of(slopes_alone()); }
