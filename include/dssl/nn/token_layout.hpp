// How views of several sizes are packed into one token matrix, and which rows are read of it.
// Tests: tests/backbone/vit_parity.cpp.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/backend/place.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/compiled.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/point.hpp>
#include <dssl/core/sequence.hpp>
#include <dssl/nn/position.hpp>

namespace dssl {

/// Register tokens of a backbone of those sizes: none where the sizes do not know of them.
template <class Config>
[[nodiscard]] constexpr Index registers_of(const Config& config) {
  if constexpr (requires { config.registers; }) {
    return config.registers;
  } else {
    return 0;
  }
}

/// Residual blocks of a backbone of those sizes, whose branches stochastic depth drops: none where the sizes do not know
/// of them.
template <class Config>
[[nodiscard]] constexpr Index depth_of(const Config& config) {
  if constexpr (requires { config.depth; }) {
    return config.depth;
  } else {
    return 0;
  }
}

/// Whether a backbone of those sizes tells class tokens of local views from others: not where the sizes do not know of it.
template <class Config>
[[nodiscard]] constexpr bool tells_local_views(const Config& config) {
  if constexpr (requires { config.local_class_norm; }) {
    return config.local_class_norm;
  } else {
    return false;
  }
}

/// Some views of one size: `count` images, each with the same number of reference tokens.
struct ViewGroup {
  Index count = 0;
  GridSize grid;            ///< patches a view
  Index references = 0;     ///< reference tokens a view
  Index registers = 0;      ///< register tokens a view
  bool patches_read = true; ///< whether its patches are among those that somebody reads
  bool local = false;       ///< views that a teacher does not see, where the backbone tells them from others
  bool registers_read = false;  ///< whether its registers are read, where patches are

  [[nodiscard]] constexpr bool operator==(const ViewGroup&) const = default;
};

/// The packed token matrix of a batch: sequences of all groups, one after the other, and the rows of it that
/// somebody reads. Host side; the same for every step, so it is made once.
///
/// Output rows (what the backbone returns) come in the order: class rows of all sequences, reference rows,
/// patch rows (of the groups whose patches are read); each only where `reads` has the group. Registers are of the patches'
/// group: those that are read follow behind it.
class TokenLayout {
 public:
  TokenLayout() = default;

  TokenLayout(std::vector<ViewGroup> groups, GroupSet reads);

  [[nodiscard]] const std::vector<ViewGroup>& groups() const { return x_groups; }
  [[nodiscard]] GroupSet reads() const { return x_reads; }
  [[nodiscard]] const std::vector<Sequence>& sequences() const { return x_sequences; }
  [[nodiscard]] Index sequence_count() const { return static_cast<Index>(x_sequences.size()); }
  /// Patch grid of a sequence.
  [[nodiscard]] GridSize grid_of(std::size_t sequence) const { return x_groups[x_group_of_sequence[sequence]].grid; }
  [[nodiscard]] Index rows() const { return x_rows; }
  [[nodiscard]] Index longest() const { return x_longest; }
  /// Cells of the position grids of all groups together: each group has one grid.
  [[nodiscard]] Index cells() const { return x_cells; }
  [[nodiscard]] Index patch_count() const { return static_cast<Index>(x_patch_rows.size()); }
  /// Patches of the groups whose patches are read.
  [[nodiscard]] Index read_patch_count() const { return static_cast<Index>(x_read_patch_rows.size()); }
  /// Registers that are read: the last output rows.
  [[nodiscard]] Index read_register_count() const { return static_cast<Index>(x_read_register_rows.size()); }
  [[nodiscard]] Index reference_count() const { return static_cast<Index>(x_reference_rows.size()); }
  [[nodiscard]] Index read_count() const { return static_cast<Index>(x_read_rows.size()); }

  /// First output row of a group, and how many it has.
  [[nodiscard]] Index output_begin(TokenGroup group) const {
    Index begin = 0;
    if (group == TokenGroup::class_token) return begin;
    if (x_reads.class_token) begin += sequence_count();
    if (group == TokenGroup::reference) return begin;
    return x_reads.reference ? begin + reference_count() : begin;
  }

  [[nodiscard]] std::span<const std::int32_t> class_rows() const { return x_class_rows; }
  [[nodiscard]] std::span<const std::int32_t> patch_rows() const { return x_patch_rows; }
  [[nodiscard]] std::span<const std::int32_t> patch_cells() const { return x_patch_cells; }
  [[nodiscard]] std::span<const std::int32_t> register_rows() const { return x_register_rows; }
  /// Of each of these rows, which register of its sequence it is.
  [[nodiscard]] std::span<const std::int32_t> register_numbers() const { return x_register_numbers; }
  [[nodiscard]] std::span<const std::int32_t> reference_rows() const { return x_reference_rows; }
  [[nodiscard]] std::span<const std::int32_t> read_rows() const { return x_read_rows; }
  [[nodiscard]] std::span<const std::int32_t> sequence_of_row() const { return x_sequence_of_row; }
  [[nodiscard]] std::span<const std::int32_t> sequence_of_read_row() const { return x_sequence_of_read_row; }

 private:
  std::vector<ViewGroup> x_groups;
  GroupSet x_reads;
  std::vector<Sequence> x_sequences;
  std::vector<std::size_t> x_group_of_sequence;
  std::vector<std::int32_t> x_class_rows;
  std::vector<std::int32_t> x_patch_rows;
  std::vector<std::int32_t> x_read_patch_rows;
  std::vector<std::int32_t> x_patch_cells;
  std::vector<std::int32_t> x_register_rows;
  std::vector<std::int32_t> x_register_numbers;
  std::vector<std::int32_t> x_read_register_rows;
  std::vector<std::int32_t> x_reference_rows;
  std::vector<std::int32_t> x_read_rows;
  std::vector<std::int32_t> x_sequence_of_row;
  std::vector<std::int32_t> x_sequence_of_read_row;
  Index x_rows = 0;
  Index x_longest = 0;
  Index x_cells = 0;
};

#if defined(DSSL_WITH_DEFINITIONS)
DSSL_INLINE TokenLayout::TokenLayout(std::vector<ViewGroup> groups, GroupSet reads)
    : x_groups(std::move(groups)), x_reads(reads) {
  for (std::size_t g = 0; g < x_groups.size(); ++g) {
    const ViewGroup& group = x_groups[g];
    for (Index i = 0; i < group.count; ++i) {
      const Sequence s{.first = x_rows,
                       .patches = group.registers + group.grid.size(),
                       .references = group.references};
      const Index first_patch = s.first + 1 + group.registers;
      const auto number = static_cast<std::int32_t>(x_sequences.size());
      for (Index r = 0; r < group.registers; ++r) {
        x_register_rows.push_back(static_cast<std::int32_t>(s.first + 1 + r));
        x_register_numbers.push_back(static_cast<std::int32_t>(r));
        if (group.registers_read) x_read_register_rows.push_back(x_register_rows.back());
      }
      for (Index t = 0; t < group.grid.size(); ++t) {
        x_patch_rows.push_back(static_cast<std::int32_t>(first_patch + t));
        if (group.patches_read) x_read_patch_rows.push_back(x_patch_rows.back());
        x_patch_cells.push_back(static_cast<std::int32_t>(x_cells + t));
      }
      for (Index r = 0; r < s.references; ++r) {
        x_reference_rows.push_back(static_cast<std::int32_t>(s.first + 1 + s.patches + r));
      }
      x_class_rows.push_back(static_cast<std::int32_t>(s.first));
      x_sequence_of_row.insert(x_sequence_of_row.end(), static_cast<std::size_t>(s.tokens()), number);
      x_longest = s.tokens() > x_longest ? s.tokens() : x_longest;
      x_rows += s.tokens();
      x_sequences.push_back(s);
      x_group_of_sequence.push_back(g);
    }
    x_cells += group.grid.size();
  }
  const auto read = [&](const std::vector<std::int32_t>& rows) {
    for (const std::int32_t row : rows) {
      x_read_rows.push_back(row);
      x_sequence_of_read_row.push_back(x_sequence_of_row[static_cast<std::size_t>(row)]);
    }
  };
  if (reads.class_token) read(x_class_rows);
  if (reads.reference) read(x_reference_rows);
  if (!reads.patch) x_read_register_rows.clear();
  if (reads.patch) read(x_read_patch_rows);
  read(x_read_register_rows);
}
#endif

/// Appends how the patches of all sequences, as rows of one matrix, are read at the points of their references: each
/// reads its own sequence's, by `point_read`. `points`: those of each sequence after one another.
///
/// What `content_taps` of a backbone's inputs take. Test: tests/backbone/vit_gradients.cpp.
template <class T>
void append_patch_reads(std::vector<Taps<T>>& to, const TokenLayout& tokens, std::span<const Point> points) {
  Index first_row = 0;
  std::size_t next = 0;
  for (std::size_t s = 0; s < tokens.sequences().size(); ++s) {
    const GridSize grid = tokens.grid_of(s);
    for (Index r = 0; r < tokens.sequences()[s].references; ++r) to.push_back(point_read<T>(points[next++], grid, first_row));
    first_row += grid.size();
  }
}

/// Appends where a backbone reads the positions of references at these points: by its own `point_taps`, else by `point_read`
/// of a table of its `native_grid()`.
///
/// What `point_taps` of a backbone's inputs take. Test: tests/features/token_trace.cpp.
template <class Backbone, class T>
void append_point_reads(std::vector<Taps<T>>& to, const typename Backbone::Config& config, std::span<const Point> points) {
  for (const Point& point : points) {
    if constexpr (requires { Backbone::template point_taps<T>(config, point); }) {
      to.push_back(Backbone::template point_taps<T>(config, point));
    } else {
      to.push_back(point_read<T>(point, config.native_grid()));
    }
  }
}

/// A `TokenLayout` in a backend's memory, as primitives take it.
struct DeviceTokenLayout {
  SequenceBatch batch;
  RowIndex class_rows;
  RowIndex patch_rows;
  RowIndex patch_cells;
  RowIndex register_rows;
  RowIndex register_numbers;
  RowIndex reference_rows;
  RowIndex read_rows;
  RowIndex sequence_of_row;
  RowIndex sequence_of_read_row;
  bool reads_in_part = false;  ///< of some groups only some rows are read

  /// Takes the memory from `arena` and, if that is live, uploads.
  template <Backend B>
  static DeviceTokenLayout place(const B& backend, Arena& arena, const TokenLayout& layout);
};

template <Backend B>
DeviceTokenLayout DeviceTokenLayout::place(const B& backend, Arena& arena, const TokenLayout& layout) {
  DeviceTokenLayout out;
  out.batch = {.sequences = place_copy(backend, arena, layout.sequences()),
               .rows = layout.rows(),
               .longest = layout.longest()};
  out.class_rows = place_copy(backend, arena, layout.class_rows());
  out.patch_rows = place_copy(backend, arena, layout.patch_rows());
  out.patch_cells = place_copy(backend, arena, layout.patch_cells());
  out.register_rows = place_copy(backend, arena, layout.register_rows());
  out.register_numbers = place_copy(backend, arena, layout.register_numbers());
  out.reference_rows = place_copy(backend, arena, layout.reference_rows());
  out.read_rows = place_copy(backend, arena, layout.read_rows());
  out.sequence_of_row = place_copy(backend, arena, layout.sequence_of_row());
  out.sequence_of_read_row = place_copy(backend, arena, layout.sequence_of_read_row());
  // Registers are of the patches' group, and few read them.
  const auto registers = static_cast<Index>(layout.register_rows().size());
  out.reads_in_part = layout.reads().patch && (layout.read_patch_count() < layout.patch_count() ||
                                               layout.read_register_count() < registers);
  return out;
}

}  // namespace dssl
