// Which random numbers the points of a view pair are drawn from.
// Tests: tests/points/samplers.cpp.
#pragma once

#include <cstdint>

#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl {

/// The key of the points of teacher view q and student view v of V views: seed, epoch and sample of `base`,
/// view q * V + v, purpose points.
[[nodiscard]] constexpr RandomKey point_key(RandomKey base, Index teacher_view, Index student_view,
                                            Index views) {
  base.view = static_cast<std::uint32_t>(teacher_view * views + student_view);
  base.purpose = Purpose::points;
  return base;
}

/// That of the points which a teacher chooses, likewise.
[[nodiscard]] constexpr RandomKey teacher_point_key(RandomKey base, Index teacher_view, Index student_view, Index views) {
  base = point_key(base, teacher_view, student_view, views);
  base.purpose = Purpose::teacher_points;
  return base;
}

}  // namespace dssl
