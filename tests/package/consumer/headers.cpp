// Finds the headers and both libraries, and prints the version of the headers.
#include <cstdio>

#include <Eigen/Core>
#include <tbb/global_control.h>

#include <dssl/version.hpp>
#include <dssl/views/image.hpp>

int main() {
  const dssl::Image<unsigned char> image(2, 3, 1);
  const auto threads = tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
  std::printf("%s\n", dssl::version_string.data());
  return image.pixels().size() == 6 && threads > 0 && Eigen::Vector2f::Ones().sum() == 2 ? 0 : 1;
}
