// The terms of methods that compare two views: BYOL, SimSiam, SimCLR, MoCo, Barlow Twins, VICReg.
// Tests: tests/train/two_view_terms.cpp, tests/train/two_view_parity.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <numeric>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/loss/contrastive.hpp>
#include <dssl/loss/cosine.hpp>
#include <dssl/loss/cross_correlation.hpp>
#include <dssl/loss/key_queue.hpp>
#include <dssl/loss/projected_term.hpp>
#include <dssl/loss/variance_covariance.hpp>

namespace dssl {

/// Rows of one of the two views among those of both, view-major.
template <class T>
[[nodiscard]] MatrixView<T> view_rows(MatrixView<T> rows, Index view) {
  return rows.rows(view * (rows.rows() / 2), rows.rows() / 2);
}

// ------------------------------------------------------------------------------------------------ cosine

/// Each view's prediction held to the other view's target: BYOL with `Ema` and `byol_cosine`, SimSiam with `StopGradient`
/// and `simsiam_cosine`. The options have no numbers. Formula and source: `cosine_loss`.
template <class TeacherT, MlpConfig Projector, MlpConfig Predictor, HeadName Name = "">
struct Cosine : ProjectedTerm<Cosine<TeacherT, Projector, Predictor, Name>, TeacherT, Projector, Predictor, Name> {
  static_assert(TeacherT::pass || std::is_same_v<TeacherT, StopGradient>,
                "Cosine: without targets there is nothing to be held to; use Ema or StopGradient");
  static_assert(Predictor.layers > 0, "Cosine: without a predictor all features become one; name its MlpConfig");

  static constexpr std::string_view name = "cosine";
  using Options = NoOptions;

  template <class T>
  class Compare : public KeepsNothing {
   public:
    template <Backend B>
    void place(const B& /*backend*/, Arena& arena, const CompareSize& size, const Options& /*options*/) {
      x_buffers = CosineBuffers<T>::take(arena, size.batch, size.width);
    }
    template <Backend B>
    void run(const B& backend, VectorView<T> value, MatrixView<T> d_out, MatrixView<const T> out,
             MatrixView<const T> targets, const Options& /*options*/, double weight) const {
      constexpr CosineNumbers numbers = TeacherT::pass ? byol_cosine : simsiam_cosine;
      for (const Index view : {Index{0}, Index{1}}) {
        cosine_loss(backend, x_buffers, value, view_rows(d_out, view), view_rows(out, view),
                    view_rows(targets, 1 - view), numbers, weight);
      }
    }

   private:
    CosineBuffers<T> x_buffers;
  };
};

// ------------------------------------------------------------------------------------------------ contrastive

/// The temperature of NT-Xent, 0.5 as published.
struct NtXentOptions : TemperatureOptions {
  constexpr NtXentOptions() : TemperatureOptions{0.5} {}
};

/// What terms of `nt_xent_loss` do with their rows: of images one set, of points one after the other, each set the first view of
/// all images and then the second. Every row's partner is in its own set, all rows are told apart.
template <class T>
class NtXentCompare : public KeepsNothing {
 public:
  template <Backend B>
  void place_lasting(const B& backend, Arena& arena, const CompareSize& size, const NtXentOptions& /*options*/) {
    const Index rows = 2 * size.points * size.batch;
    x_batch = size.batch;
    x_partners = arena.vector<std::int32_t>(rows);
    x_own = arena.vector<std::int32_t>(rows);
    number_rows(backend, x_own, 0, rows);
    if (x_partners.data() == nullptr) return;
    std::vector<std::int32_t> all(static_cast<std::size_t>(rows));
    std::iota(all.begin(), all.end(), 0);
    set_rows(backend, all);
  }
  /// From here on these rows alone are compared, as they lie one after the other: ascending, each with its partner.
  template <Backend B>
  void set_rows(const B& backend, std::span<const std::int32_t> rows) {
    x_places.resize(static_cast<std::size_t>(x_own.size()));
    for (std::size_t i = 0; i < rows.size(); ++i) x_places[static_cast<std::size_t>(rows[i])] = static_cast<std::int32_t>(i);
    x_partners_host.clear();
    const Index set = 2 * x_batch;
    for (const Index row : rows) x_partners_host.push_back(x_places[static_cast<std::size_t>(row / set * set + (row + x_batch) % set)]);
    backend.upload(x_partners.data(), std::span<const std::int32_t>(x_partners_host));
  }
  template <Backend B>
  void place(const B& /*backend*/, Arena& arena, const CompareSize& size, const NtXentOptions& /*options*/) {
    x_buffers = NtXentBuffers<T>::take(arena, x_partners, x_own, size.width);
  }
  template <Backend B>
  void run(const B& backend, VectorView<T> value, MatrixView<T> d_out, MatrixView<const T> out,
           MatrixView<const T> /*targets*/, const NtXentOptions& options, double weight) const {
    nt_xent_loss(backend, x_buffers.first(out.rows()), value, d_out, out, options.temperature, weight);
  }

 private:
  Index x_batch = 0;
  std::vector<std::int32_t> x_places, x_partners_host;  // of each row among those that are compared; of these the partners'
  VectorView<std::int32_t> x_partners, x_own;
  NtXentBuffers<T> x_buffers;
};

/// NT-Xent among the projections of both views: SimCLR. Source: `nt_xent_loss`.
template <MlpConfig Projector, HeadName Name = "">
struct NtXent : ProjectedTerm<NtXent<Projector, Name>, NoTeacher, Projector, no_mlp, Name> {
  static constexpr std::string_view name = "nt-xent";
  static constexpr bool views_together = true;
  using Options = NtXentOptions;
  template <class T>
  using Compare = NtXentCompare<T>;
};

/// Each view's prediction picks the other view's projection by the teacher among those of the batch: MoCo v3. Source:
/// `info_nce_loss`.
template <MlpConfig Projector, MlpConfig Predictor, HeadName Name = "">
struct InfoNce : ProjectedTerm<InfoNce<Projector, Predictor, Name>, Ema, Projector, Predictor, Name> {
  static constexpr std::string_view name = "info-nce";
  using Options = TemperatureOptions;

  template <class T>
  class Compare : public KeepsNothing {
   public:
    template <Backend B>
    void place(const B& /*backend*/, Arena& arena, const CompareSize& size, const Options& /*options*/) {
      x_buffers = InfoNceBuffers<T>::take(arena, size.batch, size.batch, size.width);
    }
    template <Backend B>
    void run(const B& backend, VectorView<T> value, MatrixView<T> d_out, MatrixView<const T> out,
             MatrixView<const T> targets, const Options& options, double weight) const {
      for (const Index view : {Index{0}, Index{1}}) {
        info_nce_loss(backend, x_buffers, value, view_rows(d_out, view), view_rows(out, view),
                      view_rows(targets, 1 - view), {}, options.temperature, weight);
      }
    }

   private:
    InfoNceBuffers<T> x_buffers;
  };
};

/// The first view's projection picks the second view's by the teacher among K of earlier batches: MoCo v2. Source:
/// `queue_contrast_loss`.
///
/// The queue begins with random unit vectors (drawn from the run's seed) and takes the keys of an update's last pass, in
/// the update: what a pass reads is as it was before its batch. Published code moves the teacher before the keys are
/// made; here it has moved at the end of the step before, which is the same but for the first step, where both are equal.
/// State: `queue` (K,O), `queue_ptr`. Throws `OptionError` where a batch has more images than the queue has room for.
template <MlpConfig Projector, HeadName Name = "">
struct QueueContrast : ProjectedTerm<QueueContrast<Projector, Name>, Ema, Projector, no_mlp, Name> {
  static constexpr std::string_view name = "queue-contrast";
  using Options = QueueOptions;

  template <class T>
  class Compare {
   public:
    template <Backend B>
    void place_lasting(const B& backend, Arena& arena, const CompareSize& size, const Options& options) {
      x_queue.place_lasting(backend, arena, options.keys, size.width, size.batch, size.seed, 0x6b657973);
      x_keys = UnitRows<T>::take(arena, size.batch, size.width);
    }
    template <Backend B>
    void place(const B& /*backend*/, Arena& arena, const CompareSize& size, const Options& options) {
      x_buffers = QueueContrastBuffers<T>::take(arena, size.batch, options.keys, size.width);
    }
    template <Backend B>
    void run(const B& backend, VectorView<T> value, MatrixView<T> d_out, MatrixView<const T> out,
             MatrixView<const T> targets, const Options& options, double weight) const {
      x_keys.forward(backend, view_rows(targets, 1), unit_epsilon);
      queue_contrast_loss(backend, x_buffers, value, view_rows(d_out, 0), view_rows(out, 0), x_keys.unit, x_queue.rows(),
                          options.temperature, weight);
    }
    template <Backend B>
    void update(const B& backend, MatrixView<const T> /*targets*/) {
      x_queue.update(backend, x_keys.unit);
    }
    template <class F>
    void for_each_state(F&& f) const {
      x_queue.for_each_state(Name.of("").view(), f);
    }

   private:
    StepQueue<T> x_queue;
    UnitRows<T> x_keys;
    QueueContrastBuffers<T> x_buffers;
  };
};

// ------------------------------------------------------------------------------------------------ without negatives

/// The correlation of both views' projections held to the identity: Barlow Twins. Source: `cross_correlation_loss`.
template <MlpConfig Projector, HeadName Name = "">
struct CrossCorrelation : ProjectedTerm<CrossCorrelation<Projector, Name>, NoTeacher, Projector, no_mlp, Name> {
  static constexpr std::string_view name = "cross-correlation";
  static constexpr std::size_t values = 2;
  struct Options {
    double redundancy = 0.0051;

    void validate(std::string_view prefix) const {
      if (!(redundancy >= 0)) throw OptionError(join(prefix, "redundancy"), redundancy, "at least 0");
    }
    template <class F>
    void for_each(std::string_view prefix, F&& f) const {
      f(join(prefix, "redundancy"), redundancy);
    }
  };

  template <class T>
  class Compare : public KeepsNothing {
   public:
    template <Backend B>
    void place(const B& /*backend*/, Arena& arena, const CompareSize& size, const Options& /*options*/) {
      x_buffers = CrossCorrelationBuffers<T>::take(arena, size.batch, size.width);
    }
    template <Backend B>
    void run(const B& backend, VectorView<T> value, MatrixView<T> d_out, MatrixView<const T> out,
             MatrixView<const T> /*targets*/, const Options& options, double weight) const {
      cross_correlation_loss(backend, x_buffers, value, view_rows(d_out, 0), view_rows(d_out, 1), view_rows(out, 0),
                             view_rows(out, 1), {.redundancy = options.redundancy}, weight);
    }

   private:
    CrossCorrelationBuffers<T> x_buffers;
  };
};

/// Both views' projections alike, of a variance of at least 1, no two columns alike: VICReg. Source:
/// `variance_covariance_loss`.
template <MlpConfig Projector, HeadName Name = "">
struct VarianceCovariance : ProjectedTerm<VarianceCovariance<Projector, Name>, NoTeacher, Projector, no_mlp, Name> {
  static constexpr std::string_view name = "variance-covariance";
  static constexpr std::size_t values = 3;
  struct Options {
    double invariance = 25;
    double variance = 25;
    double covariance = 1;

    void validate(std::string_view prefix) const {
      const auto not_negative = [&](std::string_view field, double value) {
        if (!(value >= 0)) throw OptionError(join(prefix, field), value, "at least 0");
      };
      not_negative("invariance", invariance);
      not_negative("variance", variance);
      not_negative("covariance", covariance);
    }
    template <class F>
    void for_each(std::string_view prefix, F&& f) const {
      f(join(prefix, "invariance"), invariance);
      f(join(prefix, "variance"), variance);
      f(join(prefix, "covariance"), covariance);
    }
  };

  template <class T>
  class Compare : public KeepsNothing {
   public:
    template <Backend B>
    void place(const B& /*backend*/, Arena& arena, const CompareSize& size, const Options& /*options*/) {
      x_buffers = VarianceCovarianceBuffers<T>::take(arena, size.batch, size.width);
    }
    template <Backend B>
    void run(const B& backend, VectorView<T> value, MatrixView<T> d_out, MatrixView<const T> out,
             MatrixView<const T> /*targets*/, const Options& options, double weight) const {
      variance_covariance_loss(
          backend, x_buffers, value, view_rows(d_out, 0), view_rows(d_out, 1), view_rows(out, 0), view_rows(out, 1),
          {.invariance = options.invariance, .variance = options.variance, .covariance = options.covariance}, weight);
    }

   private:
    VarianceCovarianceBuffers<T> x_buffers;
  };
};

}  // namespace dssl
