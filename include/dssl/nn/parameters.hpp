// The layout of all parameters in one flat buffer: names, shapes, offsets, initial values.
// Tests: tests/nn/parameters.cpp.
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/packed_weights.hpp>
#include <dssl/backend/operands.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/random.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/nn/sincos.hpp>

namespace dssl {

/// How a parameter tensor is filled before training.
enum class InitialValues : std::uint8_t {
  zero,
  one,
  truncated_normal,  ///< standard deviation 0.02, cut at -2 and 2 (absolute)
  uniform,           ///< in [-1/sqrt(fan_in), 1/sqrt(fan_in)]
  power_of_ten,      ///< 10^-exponent everywhere
  rotary_periods,    ///< number i of n is 100^(i/n). Source: DINOv3
  sincos_table       ///< (1,g g,D): sines and cosines of the cells of a square grid (`sincos_positions`, MAE's order)
};

/// 10^-exponent, rounded once: what a literal such as 1e-6 is. `exponent` from 0 to 22.
[[nodiscard]] constexpr double negative_power_of_ten(Index exponent) {
  double power = 1;  // exact up to 10^22
  for (Index i = 0; i < exponent; ++i) power *= 10;
  return 1 / power;
}

/// The block that a backbone's tensor is of, by its name "blocks.<i>..." there; -1 where it is of none.
[[nodiscard]] inline Index block_number(std::string_view name) {
  constexpr std::string_view blocks = "blocks.";
  if (!name.starts_with(blocks)) return -1;
  const std::string_view rest = name.substr(blocks.size());
  const std::size_t digits = rest.find_first_not_of("0123456789");
  Index number = 0;
  if (digits == 0 || digits == std::string_view::npos || rest[digits] != '.') return -1;
  const auto [end, problem] = std::from_chars(rest.data(), rest.data() + digits, number);
  return problem == std::errc{} ? number : -1;
}

/// Whether a backbone's tensor is of a norm behind the last block, by its name there.
[[nodiscard]] inline bool is_last_norm(std::string_view name) {
  return name.starts_with("norm.") || name.starts_with("cls_norm.") || name.starts_with("local_cls_norm.");
}

/// A name of at most 64 characters that can be built at compile time.
class ParameterName {
 public:
  constexpr ParameterName() = default;
  constexpr explicit ParameterName(std::string_view text) { append(text); }

  constexpr ParameterName& append(std::string_view text) {
    for (const char c : text) x_text.at(x_size++) = c;
    return *this;
  }
  constexpr ParameterName& append(Index number) {
    if (number >= 10) append(number / 10);
    x_text.at(x_size++) = static_cast<char>('0' + number % 10);
    return *this;
  }
  [[nodiscard]] constexpr std::string_view view() const { return {x_text.data(), x_size}; }

 private:
  std::array<char, 64> x_text{};
  std::size_t x_size = 0;
};

/// One parameter tensor of a layout.
struct ParameterSpec {
  ParameterName name;
  std::array<Index, 4> extents{};
  std::size_t rank = 0;
  Index offset = 0;  ///< first element in the flat buffer
  Index size = 0;
  InitialValues initial = InitialValues::zero;
  Index fan_in = 1;        ///< for InitialValues::uniform
  Index exponent = 0;      ///< for InitialValues::power_of_ten
  bool trained = true;     ///< false: no gradient, never updated (a fixed weight norm)
  bool prototype = false;  ///< belongs to a head's prototypes

  /// Weight decay: tensors of two or more dimensions, but for biases, which have one.
  [[nodiscard]] constexpr bool decayed() const { return rank >= 2; }
  [[nodiscard]] std::vector<Index> shape() const { return {extents.begin(), extents.begin() + rank}; }
};

/// Where every parameter of a model lies in its flat buffer; can be computed at compile time.
///
/// Tensors begin at multiples of 16 elements (a cache line of floats); the gaps stay zero, so that one pass
/// over the whole buffer is right for sums, averages and copies.
class ParameterLayout {
 public:
  struct Options {
    InitialValues initial = InitialValues::zero;
    Index fan_in = 1;
    Index exponent = 0;
    bool trained = true;
    bool prototype = false;
  };

  /// Appends a tensor; the name is the current prefix and `name`.
  constexpr void add(std::string_view name, std::initializer_list<Index> extents, Options options) {
    ParameterSpec spec;
    spec.name.append(x_prefix.view()).append(name);
    spec.rank = extents.size();
    spec.size = 1;
    std::size_t d = 0;
    for (const Index e : extents) {
      spec.extents.at(d++) = e;
      spec.size *= e;
    }
    spec.offset = x_total;
    spec.initial = options.initial;
    spec.fan_in = options.fan_in;
    spec.exponent = options.exponent;
    spec.trained = options.trained;
    spec.prototype = options.prototype;
    x_total += (spec.size + 15) / 16 * 16;
    x_specs.push_back(spec);
  }

  /// What comes before the names of the tensors added from now on.
  constexpr void prefix(std::string_view name) { x_prefix = ParameterName(name); }

  /// Elements of the flat buffer, gaps included.
  [[nodiscard]] constexpr Index total() const { return x_total; }

  /// Number of parameters, without the gaps.
  [[nodiscard]] constexpr Index parameter_count() const {
    Index count = 0;
    for (const auto& spec : x_specs) count += spec.size;
    return count;
  }

  [[nodiscard]] constexpr const std::vector<ParameterSpec>& specs() const { return x_specs; }
  [[nodiscard]] constexpr std::size_t size() const { return x_specs.size(); }

  /// The tensor of that name. Throws `Error` if there is none.
  [[nodiscard]] const ParameterSpec& find(std::string_view name) const {
    const auto found =
        std::find_if(x_specs.begin(), x_specs.end(), [&](const auto& spec) { return spec.name.view() == name; });
    if (found == x_specs.end()) throw Error(join("no parameter is named '", name, "'"));
    return *found;
  }

  /// The layout as optimisers see it. Prototypes are left alone where `freeze_prototypes`.
  [[nodiscard]] std::vector<Segment> segments(bool freeze_prototypes = false) const {
    std::vector<Segment> out;
    for (const auto& spec : x_specs) {
      out.push_back({.offset = spec.offset,
                     .size = spec.size,
                     .decayed = spec.decayed(),
                     .adapted = spec.rank >= 2,
                     .updated = spec.trained && !(spec.prototype && freeze_prototypes),
                     .prototype = spec.prototype});
    }
    return out;
  }

 private:
  std::vector<ParameterSpec> x_specs;
  ParameterName x_prefix;
  Index x_total = 0;
};

/// The next initial values of a tensor, drawn from its stream.
/// Source: the published initialisation (truncated normal, PyTorch's default convolution).
template <class T>
void draw_initial(std::span<T> out, const ParameterSpec& spec, RandomStream& random) {
  switch (spec.initial) {
    case InitialValues::zero: std::fill(out.begin(), out.end(), T{0}); break;
    case InitialValues::one: std::fill(out.begin(), out.end(), T{1}); break;
    case InitialValues::power_of_ten:
      std::fill(out.begin(), out.end(), static_cast<T>(negative_power_of_ten(spec.exponent)));
      break;
    case InitialValues::rotary_periods:
      for (std::size_t i = 0; i < out.size(); ++i) {
        out[i] = static_cast<T>(std::pow(100.0, static_cast<double>(i) / static_cast<double>(out.size())));
      }
      break;
    case InitialValues::sincos_table: break;  // of the whole tensor: `initial_values`
    case InitialValues::truncated_normal:
      for (T& value : out) {
        double drawn = 0;
        do drawn = 0.02 * random.normal();
        while (std::abs(drawn) > 2.0);
        value = static_cast<T>(drawn);
      }
      break;
    case InitialValues::uniform: {
      const double bound = 1.0 / std::sqrt(static_cast<double>(spec.fan_in));
      for (T& value : out) value = static_cast<T>(random.uniform(-bound, bound));
      break;
    }
  }
}

/// Calls put(offset, values) with the initial values of all tensors, piece by piece in the order of the layout.
///
/// Tensor number i draws from a stream of its own (sample i), so its values do not depend on the sizes of the
/// tensors before it.
template <class T, class Put>
void initial_values(const ParameterLayout& layout, std::uint64_t seed, const Put& put) {
  constexpr std::size_t piece = 65'536;
  std::vector<T> values(std::min(piece, static_cast<std::size_t>(layout.total())));
  std::uint64_t number = 0;
  for (const auto& spec : layout.specs()) {
    RandomStream random({.seed = seed, .sample = number++, .purpose = Purpose::initialise});
    const auto size = static_cast<std::size_t>(spec.size);
    if (spec.initial == InitialValues::sincos_table) {
      const auto side = static_cast<Index>(std::llround(std::sqrt(static_cast<double>(spec.extents[1]))));
      std::vector<T> table(size);
      sincos_positions(MatrixView<T>(table.data(), spec.extents[1], spec.extents[2]), GridSize{side, side}, SincosOrder::column_first);
      put(static_cast<std::size_t>(spec.offset), std::span<const T>(table));
      continue;
    }
    for (std::size_t done = 0; done < size; done += piece) {
      const auto next = std::span(values).first(std::min(piece, size - done));
      draw_initial(next, spec, random);
      put(static_cast<std::size_t>(spec.offset) + done, std::span<const T>(next));
    }
  }
}

/// Fills a flat host buffer of `layout.total()` elements with initial values.
template <class T>
void initialise(std::span<T> flat, const ParameterLayout& layout, std::uint64_t seed) {
  std::fill(flat.begin(), flat.end(), T{0});  // what lies between tensors, too
  initial_values<T>(layout, seed, [&](std::size_t offset, std::span<const T> values) {
    std::copy(values.begin(), values.end(), flat.begin() + static_cast<std::ptrdiff_t>(offset));
  });
}

/// The same for weights in a backend's memory that hold zeros, without a copy of them all on the host.
template <MemoryPrimitives B, class T = typename B::Scalar>
void initialise(const B& backend, VectorView<T> flat, const ParameterLayout& layout, std::uint64_t seed) {
  initial_values<T>(layout, seed, [&](std::size_t offset, std::span<const T> values) {
    backend.upload(flat.data() + offset, values);
  });
}

/// Views of a layout's tensors, handed out in the order in which they were added.
///
/// A layer binds its parameters by taking them in the same order in which it described them.
template <class T>
class ParameterCursor {
 public:
  ParameterCursor(const ParameterLayout& layout, T* base, std::size_t first = 0)
      : x_layout(&layout), x_base(base), x_next(first) {}
  /// Of weights that a backend may pack (dssl/backend/packed_weights.hpp): so say the matrices.
  ParameterCursor(const ParameterLayout& layout, PackedWeights<std::remove_const_t<T>>& packed)
    requires std::is_const_v<T>
      : x_layout(&layout), x_base(packed.base()), x_packed(&packed) {}

  [[nodiscard]] VectorView<T> vector() {
    const auto& spec = x_take();
    return VectorView<T>(x_at(spec), spec.size);
  }
  /// The tensor as a matrix of its first extent by all the others; leading extents of 1 are dropped.
  [[nodiscard]] WeightView<T> matrix() {
    const std::size_t number = x_next;
    const auto& spec = x_take();
    std::size_t first = 0;
    while (first + 2 < spec.rank && spec.extents[first] == 1) ++first;
    return {MatrixView<T>(x_at(spec), spec.extents[first], spec.size / spec.extents[first]),
            x_packed == nullptr ? nullptr : x_packed->matrix(number, spec.offset)};
  }
  [[nodiscard]] std::size_t position() const { return x_next; }

 private:
  const ParameterSpec& x_take() { return x_layout->specs().at(x_next++); }
  /// Where a tensor lies; nowhere while buffers are measured, as a null pointer may not be moved.
  T* x_at(const ParameterSpec& spec) const { return x_base == nullptr ? nullptr : x_base + spec.offset; }

  const ParameterLayout* x_layout;
  T* x_base;
  std::size_t x_next = 0;
  PackedWeights<std::remove_const_t<T>>* x_packed = nullptr;
};

/// A name that two parameters have; empty where there is none.
[[nodiscard]] inline std::string_view name_given_twice(const ParameterLayout& layout) {
  std::vector<std::string_view> names;
  for (const auto& spec : layout.specs()) names.push_back(spec.name.view());
  std::ranges::sort(names);
  const auto twice = std::ranges::adjacent_find(names);
  return twice == names.end() ? std::string_view() : *twice;
}

}  // namespace dssl
