// A contrast of shared points: each picks itself in the other view among all points of the batch.
// Tests: tests/train/catalogue.cpp, tests/train/two_view_terms.cpp.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/loss/contrastive.hpp>
#include <dssl/loss/projected_term.hpp>

namespace dssl {

/// NT-Xent at the points that both global views share: SimCLR's loss with a point in the place of an image.
///
///   loss = mean over the 2KB rows i of -log softmax(u[i] . u[j] / temperature)[partner of i], j over all rows but i
///
/// u the projections (2KB,O) of K points of B images in both views, as unit vectors; the partner of a row is the same point in
/// the other view, and every other point is a negative, of the same image too. Features of reference tokens, or reads of the map
/// (any tokens with points); a run whose points may not be valid refuses it. No teacher, no centre, no prototypes. Memory:
/// (2KB,2KB) logits. Formula: `nt_xent_loss`. Its like is VADeR (O. Pinheiro et al. 2020), which has a queue of other images'
/// pixels for negatives; no publication has it for reference tokens.
template <MlpConfig Projector, HeadName Name = "points">
struct PointNtXent : ProjectedTerm<PointNtXent<Projector, Name>, NoTeacher, Projector, no_mlp, Name> {
  static constexpr std::string_view name = "point-nt-xent";
  static constexpr Reads reads{{.points = true}, {}};
  static constexpr bool views_together = true;
  static constexpr bool at_points = true;
  struct Options : TemperatureOptions {
    constexpr Options() : TemperatureOptions{0.5} {}
  };

  template <class T>
  class Compare : public KeepsNothing {
   public:
    template <Backend B>
    void place_lasting(const B& backend, Arena& arena, const CompareSize& size, const Options& /*options*/) {
      // One point after the other: its rows of all images in the first view, then in the second.
      const Index each = 2 * size.batch, rows = size.points * each;
      x_partners = arena.vector<std::int32_t>(rows);
      x_own = arena.vector<std::int32_t>(rows);
      number_rows(backend, x_own, 0, rows);
      if (x_partners.data() == nullptr) return;
      std::vector<std::int32_t> partners;
      for (Index row = 0; row < rows; ++row) {
        partners.push_back(static_cast<std::int32_t>(row / each * each + (row + size.batch) % each));
      }
      backend.upload(x_partners.data(), std::span<const std::int32_t>(partners));
    }
    template <Backend B>
    void place(const B& /*backend*/, Arena& arena, const CompareSize& size, const Options& /*options*/) {
      x_buffers = NtXentBuffers<T>::take(arena, x_partners, x_own, size.width);
    }
    template <Backend B>
    void run(const B& backend, VectorView<T> value, MatrixView<T> d_out, MatrixView<const T> out,
             MatrixView<const T> /*targets*/, const Options& options, double weight) const {
      nt_xent_loss(backend, x_buffers, value, d_out, out, options.temperature, weight);
    }

   private:
    VectorView<std::int32_t> x_partners, x_own;
    NtXentBuffers<T> x_buffers;
  };
};

}  // namespace dssl
