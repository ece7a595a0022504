// A stand-in, see core/mat.hpp.
#pragma once

#include <opencv2/core/mat.hpp>
