// What held-out images say of a backbone while it is trained, and which weights are kept for it.
//
//   feature_monitor     figures of a backbone, a call an epoch
//   best_weights        the best weights so far, in a file
//   reference_locality  whether reference tokens know where they stand
//
// A program that needs one part includes that part alone.
#pragma once

#include <dssl/monitor/best_weights.hpp>
#include <dssl/monitor/feature_monitor.hpp>
#include <dssl/monitor/reference_locality.hpp>
