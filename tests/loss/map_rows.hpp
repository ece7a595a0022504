// Maps as the published code stores them, and as rows of patches.
#pragma once

#include <cstddef>
#include <vector>

#include <dssl/core/tensor_view.hpp>

namespace dssl::test {

/// A map (B,C,H,W) as rows of patches (B H W,C), or back.
template <class T>
std::vector<T> transposed(const std::vector<T>& x, Index images, Index from, Index to) {
  std::vector<T> out(x.size());
  for (Index b = 0; b < images; ++b) {
    for (Index i = 0; i < from; ++i) {
      for (Index j = 0; j < to; ++j) {
        out[static_cast<std::size_t>((b * to + j) * from + i)] = x[static_cast<std::size_t>((b * from + i) * to + j)];
      }
    }
  }
  return out;
}

}  // namespace dssl::test
