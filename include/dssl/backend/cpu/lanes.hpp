// Vector registers: Eigen's packets, with loads whose results never depend on alignment.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>

// g++ 12 takes the deliberately undefined registers of its own AVX-512 intrinsics for mistakes (bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <Eigen/Core>
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

#include <dssl/backend/cpu/isa.hpp>
#include <dssl/core/tensor_view.hpp>

// Eigen's own array expressions begin where memory is aligned, so that the order of a sum, and which elements
// go through scalar code, depend on the address. Loops here begin at element 0 and treat the tail as a full
// register, so the bits depend on the values alone.

namespace dssl::cpu::inline DSSL_ISA {

/// As many numbers as one register holds (one, on a machine without vectors).
template <class T>
using Lanes = typename Eigen::internal::packet_traits<T>::type;

template <class T>
inline constexpr Index lane_count = Index{Eigen::internal::unpacket_traits<Lanes<T>>::size};

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wignored-attributes"  // a register as template argument: Eigen's own way
#endif
/// As many registers as each holds numbers.
template <class T>
using Square = Eigen::internal::PacketBlock<Lanes<T>, static_cast<int>(lane_count<T>)>;
/// Whether there are registers of whole numbers with as many and as wide lanes; they are `WholeNumbers<T>`.
template <class T>
concept HasWholeNumbers = requires { typename Eigen::internal::unpacket_traits<Lanes<T>>::integer_packet; };
template <class T>
using WholeNumbers = typename Eigen::internal::unpacket_traits<Lanes<T>>::integer_packet;
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic pop
#endif

template <class T>
[[nodiscard]] inline Lanes<T> load(const T* p) {
  return Eigen::internal::ploadu<Lanes<T>>(p);
}
template <class T>
inline void store(T* p, Lanes<T> x) {
  Eigen::internal::pstoreu(p, x);
}
/// The same number in every lane.
template <class T>
[[nodiscard]] inline Lanes<T> spread(T x) {
  return Eigen::internal::pset1<Lanes<T>>(x);
}
/// The first `count` lanes from memory, `rest` in the others.
template <class T>
[[nodiscard]] inline Lanes<T> load_part(const T* p, Index count, T rest = T{0}) {
  alignas(64) std::array<T, lane_count<T>> full;
  full.fill(rest);
  std::copy_n(p, count, full.begin());
  return load(full.data());
}
template <class T>
inline void store_part(T* p, Lanes<T> x, Index count) {
  alignas(64) std::array<T, lane_count<T>> full;
  store(full.data(), x);
  std::copy_n(full.begin(), count, p);
}
/// x with all lanes from `count` on replaced by `rest`.
template <class T>
[[nodiscard]] inline Lanes<T> keep_first(Lanes<T> x, Index count, T rest = T{0}) {
  alignas(64) std::array<T, lane_count<T>> full;
  store(full.data(), x);
  std::fill(full.begin() + count, full.end(), rest);
  return load(full.data());
}

/// a b + c, rounded once where the machine can.
template <class P>
[[nodiscard]] inline P multiply_add(const P& a, const P& b, const P& c) {
  return Eigen::internal::pmadd(a, b, c);
}

/// out[i] = f(in[i]...) for i in [0, count), a register at a time; out may be one of the inputs.
template <class T, class F, class... In>
inline void map(T* out, Index count, const F& f, const In*... in) {
  constexpr Index lanes = lane_count<T>;
  Index i = 0;
  for (; i + lanes <= count; i += lanes) store(out + i, f(load(in + i)...));
  if (i < count) store_part(out + i, f(load_part(in + i, count - i)...), count - i);
}

/// Sum of f(in[i]...) over [0, count), f in T: lanes sum 16 numbers at most, their sums are added in double.
template <class T, class F, class... In>
[[nodiscard]] inline double sum(Index count, const F& f, const In*... in) {
  constexpr Index lanes = lane_count<T>;
  constexpr Index terms = 16;
  double total = 0;
  Index i = 0;
  // Four sums at once, since one would wait for itself.
  for (; i + 4 * terms * lanes <= count; i += 4 * terms * lanes) {
    auto s0 = spread(T{0});
    auto s1 = s0;
    auto s2 = s0;
    auto s3 = s0;
    for (Index t = 0; t < terms; ++t) {
      const Index at = i + 4 * t * lanes;
      s0 = s0 + f(load(in + at)...);
      s1 = s1 + f(load(in + at + lanes)...);
      s2 = s2 + f(load(in + at + 2 * lanes)...);
      s3 = s3 + f(load(in + at + 3 * lanes)...);
    }
    total += static_cast<double>(Eigen::internal::predux(Lanes<T>((s0 + s1) + (s2 + s3))));
  }
  while (i < count) {
    auto part = spread(T{0});
    const Index end = std::min(count, i + terms * lanes);
    for (; i + lanes <= end; i += lanes) part = part + f(load(in + i)...);
    if (i < end) {
      part = part + keep_first<T>(f(load_part(in + i, end - i)...), end - i);
      i = end;
    }
    total += static_cast<double>(Eigen::internal::predux(Lanes<T>(part)));
  }
  return total;
}

/// Two registers that a function gives at once.
template <class T>
struct TwoLanes {
  Lanes<T> first;
  Lanes<T> second;
};

/// As `map` with two results: f gives `TwoLanes`.
template <class T, class F, class... In>
inline void map_two(T* first, T* second, Index count, const F& f, const In*... in) {
  constexpr Index lanes = lane_count<T>;
  Index i = 0;
  for (; i + lanes <= count; i += lanes) {
    const TwoLanes<T> both = f(load(in + i)...);
    store(first + i, both.first);
    store(second + i, both.second);
  }
  if (i == count) return;
  const TwoLanes<T> both = f(load_part(in + i, count - i)...);
  store_part(first + i, both.first, count - i);
  store_part(second + i, both.second, count - i);
}

/// Largest f(in[i]...) over [0, count), count at least 1; NaN only where the first of a lane is.
template <class T, class F, class... In>
[[nodiscard]] inline T largest(Index count, const F& f, const In*... in) {
  constexpr Index lanes = lane_count<T>;
  if (count < lanes) {
    const auto x = f(load_part(in, count)...);
    alignas(64) std::array<T, lane_count<T>> full;
    store(full.data(), Lanes<T>(x));
    return *std::max_element(full.begin(), full.begin() + count);
  }
  Lanes<T> most = f(load(in)...);
  Index i = lanes;
  for (; i + lanes <= count; i += lanes) most = Eigen::internal::pmax(Lanes<T>(f(load(in + i)...)), most);
  // The tail overlaps what was seen: the largest does not mind.
  if (i < count) most = Eigen::internal::pmax(Lanes<T>(f(load(in + count - lanes)...)), most);
  return Eigen::internal::predux_max(most);
}

}  // namespace dssl::cpu::inline DSSL_ISA
