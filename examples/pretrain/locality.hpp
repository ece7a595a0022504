// The images that a run's reference tokens are looked at on.
#pragma once

#include <vector>

#include <dssl/core/tensor_view.hpp>
#include <dssl/monitor/reference_locality.hpp>
#include <pretrain/job.hpp>

namespace dssl::programs {

/// The first images of the job's source that can be read, evenly spread over it, whole and at the size of its global views:
/// at most `most` (C,h,w) after one another; fewer than two are none.
[[nodiscard]] std::vector<float> images_to_look_at(const Job& job, Index channels, Index most = 8);

/// Epochs from one look at reference tokens to the next; 0: never.
[[nodiscard]] Index locality_rhythm(const Job& job);

}  // namespace dssl::programs
