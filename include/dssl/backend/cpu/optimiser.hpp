// Cpu backend: norms of parameter tensors, and the optimisers, which take the teacher along in the same pass.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

#include <dssl/backend/cpu/isa.hpp>
#include <dssl/backend/cpu/lanes.hpp>
#include <dssl/backend/cpu/pointwise.hpp>
#include <dssl/backend/cpu/workers.hpp>
#include <dssl/backend/operands.hpp>

namespace dssl::cpu::inline DSSL_ISA {

namespace detail {

/// The factor that clips a gradient of the given squared norm; 1 where `clip` is 0.
[[nodiscard]] inline double clip_scale(double squared_norm, double clip) {
  if (clip <= 0) return 1.0;
  const double scale = clip / (std::sqrt(squared_norm) + 1e-6);
  return scale < 1.0 ? scale : 1.0;
}

/// Parameter tensors cut into pieces of a fixed size, which never span two tensors; one task each.
class SegmentPieces {
 public:
  static constexpr Index piece = 32'768;

  /// Counts pieces into shared scratch, beside room for two numbers a piece.
  SegmentPieces(Workers& workers, VectorView<const Segment> segments) : x_workers(workers), x_segments(segments) {
    Index pieces = 0;
    for (const Segment& s : segments.flat()) pieces += x_pieces_of(s);
    Arena measure;
    x_cut(measure, pieces);
    Arena arena(workers.shared(measure.high_water()));
    x_cut(arena, pieces);
    Index first = 0;
    for (Index s = 0; s < segments.size(); ++s) {
      x_first[s] = first;
      first += x_pieces_of(segments(s));
    }
    x_first[segments.size()] = first;
  }

  [[nodiscard]] Index count() const { return x_first[x_segments.size()]; }
  /// First piece of segment s; s may be the number of segments.
  [[nodiscard]] Index first(Index s) const { return x_first[s]; }
  /// Two numbers that belong to a piece.
  [[nodiscard]] double* numbers(Index piece_index) const { return x_numbers + 2 * piece_index; }

  /// body(piece, segment number, begin, end): elements [begin, end) of the flat buffer.
  template <class Body>
  void run(Index work_per_piece, const Body& body) const {
    x_workers.run(count(), count() * work_per_piece, [&](Index task, std::size_t) {
      const Index* after = std::upper_bound(x_first, x_first + x_segments.size() + 1, task);
      const Index s = after - x_first - 1;
      const Segment& segment = x_segments(s);
      const Index begin = (task - x_first[s]) * piece;
      body(task, s, segment.offset + begin, segment.offset + std::min(segment.size, begin + piece));
    });
  }

 private:
  static Index x_pieces_of(const Segment& s) { return (s.size + piece - 1) / piece; }

  void x_cut(Arena& arena, Index pieces) {
    x_first = arena.take<Index>(x_segments.size() + 1);
    x_numbers = arena.take<double>(2 * pieces);
  }

  Workers& x_workers;
  VectorView<const Segment> x_segments;
  Index* x_first = nullptr;
  double* x_numbers = nullptr;
};

/// f(registers of the arrays `held`, register of `read`) for each register of `count` elements: all arrays in one
/// pass, those that are held written back.
template <class T, std::size_t N, class F>
void revise(T* const (&held)[N], const T* read, Index count, const F& f) {
  constexpr Index lanes = lane_count<T>;
  Lanes<T> x[N];
  Index i = 0;
  for (; i + lanes <= count; i += lanes) {
    for (std::size_t n = 0; n < N; ++n) x[n] = load(held[n] + i);
    f(x, Lanes<T>(load(read + i)));
    for (std::size_t n = 0; n < N; ++n) store(held[n] + i, x[n]);
  }
  if (i == count) return;
  for (std::size_t n = 0; n < N; ++n) x[n] = load_part(held[n] + i, count - i);
  f(x, Lanes<T>(load_part(read + i, count - i)));
  for (std::size_t n = 0; n < N; ++n) store_part(held[n] + i, x[n], count - i);
}

/// The teacher that follows in an optimiser's pass, or nobody.
template <class T>
class Following {
 public:
  Following() = default;
  Following(VectorView<T> teacher, double momentum) : x_teacher(teacher.data()), x_lerp(momentum) {}

  /// revise() over [begin, end) of w and the other arrays; w comes first, and the teacher moves towards its new values.
  template <std::size_t N, class F>
  void revise_pieces(T* const (&held)[N], const T* read, Index begin, Index end, const F& f) const {
    T* at[N];
    for (std::size_t n = 0; n < N; ++n) at[n] = held[n] + begin;
    if (x_teacher == nullptr) {
      revise<T>(at, read + begin, end - begin, f);
      return;
    }
    T* with[N + 1];
    std::copy_n(at, N, with);
    with[N] = x_teacher + begin;
    revise<T>(with, read + begin, end - begin, [&](auto& x, const Lanes<T>& r) {
      f(x, r);
      x[N] = x_lerp(x[N], x[0]);
    });
  }

  /// The teacher's part alone, where the optimiser leaves the weights as they are.
  void follow(const T* w, Index begin, Index end) const {
    if (x_teacher == nullptr) return;
    T* out = x_teacher + begin;
    map(out, end - begin, [&](const auto& y, const auto& x) { return x_lerp(y, x); }, out, w + begin);
  }

 private:
  T* x_teacher = nullptr;
  Lerp<T> x_lerp{1.0};
};

template <class T>
void momentum_piece(const Following<T>& teacher, VectorView<T> w, VectorView<T> m, VectorView<const T> g, Index begin,
                    Index end, double clip, double trust, double decay, double rate, const MomentumStep& step) {
  const auto of_gradient = spread(static_cast<T>(trust * clip));
  const auto of_weight = spread(static_cast<T>(trust * decay));
  const auto momentum = spread(static_cast<T>(step.momentum));
  const auto minus_rate = spread(static_cast<T>(-rate));
  teacher.revise_pieces({w.data(), m.data()}, g.data(), begin, end, [&](auto& x, const Lanes<T>& gg) {
    x[1] = multiply_add(Lanes<T>(momentum), x[1], multiply_add(Lanes<T>(of_weight), x[0], Lanes<T>(of_gradient * gg)));
    x[0] = multiply_add(Lanes<T>(minus_rate), x[1], x[0]);
  });
}

}  // namespace detail

template <class T>
void squared_norms(Workers& workers, VectorView<double> norms, VectorView<const T> flat,
                   VectorView<const Segment> segments) {
  const detail::SegmentPieces pieces(workers, segments);
  pieces.run(4'000, [&](Index piece, Index, Index begin, Index end) {
    *pieces.numbers(piece) = sum<T>(end - begin, [](const auto& v) { return v * v; }, flat.data() + begin);
  });
  for (Index s = 0; s < segments.size(); ++s) {
    double total = 0;
    for (Index p = pieces.first(s); p < pieces.first(s + 1); ++p) total += *pieces.numbers(p);
    norms(s) = total;
  }
}

template <class T>
void adamw_step(Workers& workers, VectorView<T> w, VectorView<T> m, VectorView<T> v, VectorView<const T> g,
                VectorView<const double> norms, VectorView<const Segment> segments, const AdamWStep& step,
                const detail::Following<T>& teacher = {}) {
  const detail::SegmentPieces pieces(workers, segments);
  const auto beta1 = spread(static_cast<T>(step.beta1));
  const auto beta2 = spread(static_cast<T>(step.beta2));
  const auto epsilon = spread(static_cast<T>(step.epsilon));
  pieces.run(16'000, [&](Index, Index s, Index begin, Index end) {
    const Segment& segment = segments(s);
    if (!segment.updated) {
      teacher.follow(w.data(), begin, end);
      return;
    }
    const auto t = static_cast<double>(segment.prototype ? step.prototype_step : step.step);
    const double clip = detail::clip_scale(norms(s), step.clip);
    const double rate = step.learning_rate * segment.rate;
    const auto minus_rate = spread(static_cast<T>(-rate / (1.0 - std::pow(step.beta1, t))));
    const auto root = spread(static_cast<T>(1.0 / std::sqrt(1.0 - std::pow(step.beta2, t))));
    const auto lost = spread(static_cast<T>(segment.decayed ? -rate * step.weight_decay : 0.0));
    const auto first = spread(static_cast<T>((1.0 - step.beta1) * clip));
    const auto second = spread(static_cast<T>((1.0 - step.beta2) * clip * clip));
    teacher.revise_pieces({w.data(), m.data(), v.data()}, g.data(), begin, end, [&](auto& x, const Lanes<T>& gg) {
      x[1] = multiply_add(Lanes<T>(beta1), x[1], Lanes<T>(first * gg));
      x[2] = multiply_add(Lanes<T>(beta2), x[2], Lanes<T>(second * gg * gg));
      const Lanes<T> update =
          x[1] / multiply_add(Lanes<T>(Eigen::internal::psqrt(x[2])), Lanes<T>(root), Lanes<T>(epsilon));
      x[0] = multiply_add(Lanes<T>(minus_rate), update, multiply_add(Lanes<T>(lost), x[0], x[0]));
    });
  });
}

template <class T>
void sgd_step(Workers& workers, VectorView<T> w, VectorView<T> m, VectorView<const T> g,
              VectorView<const double> norms, VectorView<const Segment> segments, const MomentumStep& step,
              const detail::Following<T>& teacher = {}) {
  const detail::SegmentPieces pieces(workers, segments);
  pieces.run(12'000, [&](Index, Index s, Index begin, Index end) {
    if (!segments(s).updated) {
      teacher.follow(w.data(), begin, end);
      return;
    }
    detail::momentum_piece(teacher, w, m, g, begin, end, detail::clip_scale(norms(s), step.clip), 1.0,
                           segments(s).decayed ? step.weight_decay : 0.0, step.learning_rate * segments(s).rate, step);
  });
}

template <class T>
void lars_step(Workers& workers, VectorView<T> w, VectorView<T> m, VectorView<const T> g,
               VectorView<const double> norms, VectorView<const Segment> segments, const MomentumStep& step,
               const detail::Following<T>& teacher = {}) {
  const detail::SegmentPieces pieces(workers, segments);
  const auto decay_of = [&](const Segment& s) { return s.decayed ? step.weight_decay : 0.0; };
  pieces.run(8'000, [&](Index piece, Index s, Index begin, Index end) {
    if (!segments(s).updated || !segments(s).adapted) return;
    const auto clip = spread(static_cast<T>(detail::clip_scale(norms(s), step.clip)));
    const auto decay = spread(static_cast<T>(decay_of(segments(s))));
    double* numbers = pieces.numbers(piece);
    numbers[0] = sum<T>(end - begin, [](const auto& x) { return x * x; }, w.data() + begin);
    numbers[1] = sum<T>(end - begin,
                        [&](const auto& x, const auto& d) {
                          const auto update = multiply_add(decay, x, clip * d);
                          return update * update;
                        },
                        w.data() + begin, g.data() + begin);
  });
  // A segment's sums replace those of its first piece, where all its pieces then find them.
  for (Index s = 0; s < segments.size(); ++s) {
    if (!segments(s).updated || !segments(s).adapted) continue;
    double* whole = pieces.numbers(pieces.first(s));
    for (Index p = pieces.first(s) + 1; p < pieces.first(s + 1); ++p) {
      whole[0] += pieces.numbers(p)[0];
      whole[1] += pieces.numbers(p)[1];
    }
  }
  pieces.run(12'000, [&](Index, Index s, Index begin, Index end) {
    if (!segments(s).updated) {
      teacher.follow(w.data(), begin, end);
      return;
    }
    double trust = 1.0;
    if (segments(s).adapted) {
      const double* whole = pieces.numbers(pieces.first(s));
      if (whole[0] > 0 && whole[1] > 0) trust = step.trust * std::sqrt(whole[0]) / std::sqrt(whole[1]);
    }
    detail::momentum_piece(teacher, w, m, g, begin, end, detail::clip_scale(norms(s), step.clip), trust,
                           decay_of(segments(s)), step.learning_rate * segments(s).rate, step);
  });
}

}  // namespace dssl::cpu::inline DSSL_ISA
