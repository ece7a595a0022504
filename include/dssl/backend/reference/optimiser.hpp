// Reference backend: norms of parameter tensors and the optimisers, as plain loops.
#pragma once

#include <cmath>

#include <dssl/backend/operands.hpp>
#include <dssl/core/tensor_view.hpp>

namespace dssl::reference {

/// The factor that clips a gradient of the given squared norm; 1 where `clip` is 0.
/// Source: the published per-parameter clipping, min(1, clip / (norm + 1e-6)).
[[nodiscard]] inline double clip_scale(double squared_norm, double clip) {
  if (clip <= 0) return 1.0;
  const double scale = clip / (std::sqrt(squared_norm) + 1e-6);
  return scale < 1.0 ? scale : 1.0;
}

/// Optimiser primitives; contracts in backend/concept.hpp.
template <class T>
class Optimiser {
 public:
  void squared_norms(VectorView<double> norms, VectorView<const T> flat, VectorView<const Segment> segments) const {
    for (Index s = 0; s < segments.size(); ++s) {
      double sum = 0;
      for (Index i = segments(s).offset; i < segments(s).offset + segments(s).size; ++i) {
        sum += static_cast<double>(flat(i)) * static_cast<double>(flat(i));
      }
      norms(s) = sum;
    }
  }

  void adamw_step(VectorView<T> w, VectorView<T> m, VectorView<T> v, VectorView<const T> g,
                  VectorView<const double> norms, VectorView<const Segment> segments, const AdamWStep& step) const {
    for (Index s = 0; s < segments.size(); ++s) {
      const Segment& segment = segments(s);
      if (!segment.updated) continue;
      const auto t = static_cast<double>(segment.prototype ? step.prototype_step : step.step);
      const double learning_rate = step.learning_rate * segment.rate;
      const double rate = learning_rate / (1.0 - std::pow(step.beta1, t));
      const double root = 1.0 / std::sqrt(1.0 - std::pow(step.beta2, t));
      const double keep = segment.decayed ? 1.0 - learning_rate * step.weight_decay : 1.0;
      const double clip = clip_scale(norms(s), step.clip);
      for (Index i = segment.offset; i < segment.offset + segment.size; ++i) {
        const double gradient = clip * static_cast<double>(g(i));
        const double first = step.beta1 * static_cast<double>(m(i)) + (1.0 - step.beta1) * gradient;
        const double second = step.beta2 * static_cast<double>(v(i)) + (1.0 - step.beta2) * gradient * gradient;
        m(i) = static_cast<T>(first);
        v(i) = static_cast<T>(second);
        w(i) = static_cast<T>(keep * static_cast<double>(w(i)) -
                              rate * first / (std::sqrt(second) * root + step.epsilon));
      }
    }
  }

  void sgd_step(VectorView<T> w, VectorView<T> m, VectorView<const T> g, VectorView<const double> norms,
                VectorView<const Segment> segments, const MomentumStep& step) const {
    for (Index s = 0; s < segments.size(); ++s) {
      if (segments(s).updated) x_momentum(w, m, g, segments(s), clip_scale(norms(s), step.clip), 1.0, step);
    }
  }

  void lars_step(VectorView<T> w, VectorView<T> m, VectorView<const T> g, VectorView<const double> norms,
                 VectorView<const Segment> segments, const MomentumStep& step) const {
    for (Index s = 0; s < segments.size(); ++s) {
      const Segment& segment = segments(s);
      if (!segment.updated) continue;
      const double clip = clip_scale(norms(s), step.clip);
      double trust = 1.0;
      if (segment.adapted) {
        double weight_squares = 0;
        double update_squares = 0;
        for (Index i = segment.offset; i < segment.offset + segment.size; ++i) {
          const auto weight = static_cast<double>(w(i));
          const double update = clip * static_cast<double>(g(i)) + (segment.decayed ? step.weight_decay : 0.0) * weight;
          weight_squares += weight * weight;
          update_squares += update * update;
        }
        if (weight_squares > 0 && update_squares > 0) {
          trust = step.trust * std::sqrt(weight_squares) / std::sqrt(update_squares);
        }
      }
      x_momentum(w, m, g, segment, clip, trust, step);
    }
  }

 private:
  static void x_momentum(VectorView<T> w, VectorView<T> m, VectorView<const T> g, const Segment& segment, double clip,
                         double trust, const MomentumStep& step) {
    const double decay = segment.decayed ? step.weight_decay : 0.0;
    const double rate = step.learning_rate * segment.rate;
    for (Index i = segment.offset; i < segment.offset + segment.size; ++i) {
      const double gradient = trust * (clip * static_cast<double>(g(i)) + decay * static_cast<double>(w(i)));
      const double momentum = step.momentum * static_cast<double>(m(i)) + gradient;
      m(i) = static_cast<T>(momentum);
      w(i) = static_cast<T>(static_cast<double>(w(i)) - rate * momentum);
    }
  }
};

}  // namespace dssl::reference
