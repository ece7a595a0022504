// The term of methods that predict prototype assignments of other views: SwAV's.
// Tests: tests/train/swapped_term.cpp.
#pragma once

#include <array>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include <dssl/backend/concept.hpp>
#include <dssl/core/arena.hpp>
#include <dssl/core/error.hpp>
#include <dssl/loss/gathered_rows.hpp>
#include <dssl/loss/key_queue.hpp>
#include <dssl/loss/pieces.hpp>
#include <dssl/loss/projected_term.hpp>
#include <dssl/loss/swapped_assignment.hpp>
#include <dssl/loss/term.hpp>
#include <dssl/loss/term_loss.hpp>
#include <dssl/nn/head.hpp>
#include <dssl/nn/mlp.hpp>
#include <dssl/nn/parameters.hpp>

namespace dssl {

/// A projector and prototypes behind it (or their gradients), as views into the flat buffer.
template <class T>
struct ProjectedPrototypes {
  MlpParameters<T> projector;
  MatrixView<T> prototypes;  // (P,O)
};

/// Every view predicts the prototypes that the two global views are assigned to: SwAV with `StopGradient`, whose
/// assignments are of the student's own features; with `Ema`, of the teacher's, by the teacher's prototypes. Source:
/// `assign_view`, `predict_assignments`.
///
/// loss = mean over the assigning views a in {0, 1} of the mean over all other views v, B images each, of
/// -q_a log softmax(z_v c^T / temperature), z unit rows of the projections (V B,O), c unit rows of `prototypes.weight`
/// (P,O), q Sinkhorn-Knopp's of a view's scores, without gradient. The batch norms of the projector see the rows of all
/// views at once, a teacher's those of both global views. Class tokens of every view are read: multi-crop.
///
/// Prototypes stay as they are in the first epoch, as published, by `optimiser.freeze_prototypes_epochs`. They are made
/// unit rows in each pass, whose gradient is told through; the published code writes the unit rows over the weights
/// before each step, so here the weights' lengths, which no score depends on, scale the step of a row instead.
///
/// With a queue (`queue` rows for each of the two assigning views) a view is assigned together with the rows that it had in
/// earlier updates, under the prototypes as they are now. From epoch `queue_first_epoch` on an update writes the rows of its last
/// pass, of all ranks, over the oldest; the queue is used once it is full. Published queues are cut to a multiple of the batch,
/// and each rank has its own share; here every rank has all of it. Memory: 2 Q O, and Q P scores.
///
/// Reported as figures of a teacher are: the mean entropy of q_a over the batch and both assigning views (at a flat loss ln P
/// too: a collapse), the loss less that, and the entropy of the mean of these q_a, ln P where all prototypes have equal shares.
///
/// State: running statistics where the projector has batch norm; with a queue `queue` (2,Q,O) and `queue_ptr`. Throws
/// `OptionError` for a batch of one image, and for one that is larger than the queue.
template <class TeacherT, MlpConfig Projector, HeadName Name = "">
struct SwappedAssignment {
  static constexpr std::string_view name = "swapped-assignment";
  static constexpr Reads reads{{.class_level = true}, {.class_level = TeacherT::pass}};
  static constexpr Whole whole = Whole::batch;
  static constexpr bool spans_ranks = true;
  using Teacher = TeacherT;
  using Options = SwappedAssignmentNumbers;
  template <class T>
  using Parameters = ProjectedPrototypes<T>;

  static_assert(TeacherT::pass || std::is_same_v<TeacherT, StopGradient>,
                "SwappedAssignment: without targets there is nothing to predict; use StopGradient or Ema");
  static_assert(Projector.layers > 0, "SwappedAssignment: prototypes stand behind a projector");

  /// In words, for checkpoints.
  static std::string words() {
    return join(TeacherT::weights ? "teacher" : "own targets", "; projector ", describe(Projector), Name.words());
  }

  static constexpr void add_parameters(ParameterLayout& layout, const HeadConfig& head, Index width) {
    const MlpConfig sizes = sized_by(head, Projector);
    add_mlp_parameters(layout, sizes, width, Name.of("projector.").view());
    layout.add(Name.of("prototypes.weight").view(), {head.prototypes, sizes.out},
               {.initial = InitialValues::uniform, .fan_in = sizes.out, .prototype = true});
  }
  template <class T>
  static ProjectedPrototypes<T> bind(ParameterCursor<T>& next, const HeadConfig& head) {
    ProjectedPrototypes<T> out;
    out.projector = MlpParameters<T>::bind(next, sized_by(head, Projector));
    out.prototypes = next.matrix();
    return out;
  }

  template <Backend B>
  class Run : public TermRun<B> {
   public:
    using T = typename B::Scalar;
    static constexpr bool teaches = TeacherT::pass;

    Run(const TermSetting& setting, const Options& options)
        : x_options(options),
          x_gathered(setting.ranks, setting.views, setting.batch),
          x_gathered_targets(setting.ranks, 2, setting.batch),
          x_batch(setting.batch * setting.ranks.size()),
          x_rows(x_gathered.rows()),
          x_width(setting.width),
          x_prototypes(setting.head.prototypes),
          x_share(setting.share),
          x_projector(sized_by(setting.head, Projector), 1),
          x_teacher(sized_by(setting.head, Projector), 1) {
      if (x_batch < 2) {
        throw OptionError("batch", x_batch, join("at least 2: the term '", name, "' assigns the images of a batch"));
      }
    }

    void place_lasting(const B& backend, Arena& arena) {
      x_gathered.place_lasting(backend, arena);
      x_projector.place_lasting(backend, arena);
      if constexpr (teaches) {
        x_teacher.place_lasting(backend, arena);
        x_targets = UnitRows<T>::take(arena, 2 * x_batch, x_projector.width());
      }
      x_rows_of_images = arena.vector<TargetRows>(x_batch);
      number_targets(backend, x_rows_of_images);
      x_loss.place(arena);
      x_entropies = arena.vector<T>(2);
      if (!x_queued()) return;
      x_queues.place_lasting(backend, arena, 2, x_options.queue, x_projector.width(), x_batch);
      x_newest = teaches ? x_targets.unit : arena.matrix<T>(2 * x_batch, x_projector.width());
    }
    void place_teacher(const B& /*backend*/, Arena& arena) {
      x_teacher_features = arena.matrix<T>(2 * x_batch, x_width);
      x_teacher.place(arena, x_teacher_features, arena.matrix<T>(2 * x_batch, x_projector.width()));
    }
    void place_student(const B& /*backend*/, Arena& arena, std::size_t part) {
      if (!reads_part(part)) return;
      const Index out = x_projector.width();
      x_features = arena.matrix<T>(x_rows, x_width);
      x_d_features = arena.matrix<T>(x_rows, x_width);
      x_d_out = arena.matrix<T>(x_rows, out);
      x_projector.place(arena, x_features, arena.matrix<T>(x_rows, out));
      x_projector.place_back(arena, x_d_out, x_d_features);
      x_unit = UnitRows<T>::take(arena, x_rows, out);
      x_d_unit = arena.matrix<T>(x_rows, out);
      x_unit_prototypes = UnitRows<T>::take(arena, x_prototypes, out);
      x_d_unit_prototypes = arena.matrix<T>(x_prototypes, out);
      if constexpr (teaches) x_teacher_prototypes = UnitRows<T>::take(arena, x_prototypes, out);
      x_buffers = SwappedAssignmentBuffers<T>::take(arena, x_rows_of_images, x_prototypes, out, x_options.queue);
      x_gathered.place_gradients(arena, x_width);
    }

    /// All views are one part.
    [[nodiscard]] bool reads_part(std::size_t part) const { return part == 0; }

    void begin(const B& backend) {
      if (x_queued()) x_queues.look(backend);
    }
    /// Until the queue is full there is more to a pass than its primitives.
    [[nodiscard]] bool repeats() const { return !x_queued() || x_queues.full(); }

    void teacher(const B& backend, const TeacherPass<SwappedAssignment, T>& in) {
      x_gathered_targets.gather(backend, x_teacher_features, in.features.class_level);
      x_teacher.forward(backend, in.parameters.head.projector);
      x_targets.forward(backend, x_teacher.out(), unit_epsilon);
    }

    void student(const B& backend, const StudentPass<SwappedAssignment, T>& in) {
      if (!reads_part(in.part)) return;
      x_queue_open = in.numbers.epoch >= x_options.queue_first_epoch || x_queues.full();
      x_gathered.gather(backend, x_features, in.features.class_level);
      x_projector.forward(backend, in.parameters.head.projector);
      x_unit.forward(backend, x_projector.out(), unit_epsilon);
      x_unit_prototypes.forward(backend, in.parameters.head.prototypes, unit_epsilon);
      if constexpr (teaches) x_teacher_prototypes.forward(backend, in.teacher.head.prototypes, unit_epsilon);
      const UnitRows<T>& targets = teaches ? x_targets : x_unit;
      const UnitRows<T>& by = teaches ? x_teacher_prototypes : x_unit_prototypes;

      x_loss.clear(backend);
      const VectorView<T> entropy(x_entropies.data(), 1), mean_entropy(x_entropies.data() + 1, 1);
      backend.fill(entropy, T{0});
      backend.fill(numbers_of(x_buffers.mean), T{0});
      backend.fill(numbers_of(x_d_unit), T{0});
      backend.fill(numbers_of(x_d_unit_prototypes), T{0});
      for (const Index assigning : {Index{0}, Index{1}}) {
        assign_view(backend, x_buffers, targets.unit.rows(assigning * x_batch, x_batch), by.unit, x_queues.rows(assigning), x_options);
        add_assignment_entropy(backend, x_buffers, entropy, 0.5);
        predict_assignments(backend, x_buffers, x_loss.value(), x_d_unit, x_d_unit_prototypes, x_unit.unit,
                            x_unit_prototypes.unit, assigning, x_options, 0.5, in.weight * x_share);
      }
      backend.row_entropy(mean_entropy, x_buffers.mean);
      if (!teaches && x_queued()) backend.copy_rows(x_newest, {}, x_unit.unit.rows(0, 2 * x_batch), {});
      x_unit_prototypes.backward(backend, in.d_parameters.head.prototypes, x_d_unit_prototypes, unit_epsilon);
      backend.fill(numbers_of(x_d_out), T{0});
      x_unit.backward(backend, x_d_out, x_d_unit, unit_epsilon);
      x_projector.backward(backend, in.d_parameters.head.projector, in.parameters.head.projector);
      x_gathered.put_gradients(backend, in.d_features.class_level, {}, x_d_features, in.d_features.adds.class_level);
    }

    void start(TermReport& report) const { report.teacher_entropy = report.mean_entropy = 0; }
    void add_to(const B& backend, TermReport& report) const {
      x_loss.add_to(backend, report, x_share);
      std::array<T, 2> entropies{};
      backend.download(std::span<T>(entropies), static_cast<const T*>(x_entropies.data()));
      report.teacher_entropy += x_share * static_cast<double>(entropies[0]);
      report.mean_entropy += x_share * static_cast<double>(entropies[1]);
      report.divergence = report.loss - report.teacher_entropy;
    }
    void update(const B& backend) {
      x_projector.update(backend);
      if constexpr (teaches) x_teacher.update(backend);
      if (x_queued() && x_queue_open) x_queues.enqueue(backend, x_newest);
    }
    template <class F>
    void for_each_state(F&& f) const {
      const ParameterName of_projector = Name.of("projector.");
      x_projector.for_each_state(join("statistics.", of_projector.view()), f);
      if constexpr (teaches) x_teacher.for_each_state(join("teacher_statistics.", of_projector.view()), f);
      if (x_queued()) x_queues.for_each_state(Name.of("").view(), f);
    }

   private:
    [[nodiscard]] bool x_queued() const { return x_options.queue > 0; }

    Options x_options;
    GatheredRows<T> x_gathered, x_gathered_targets;
    Index x_batch, x_rows, x_width, x_prototypes;
    double x_share;
    StepMlp<T> x_projector, x_teacher;
    TermLoss<T> x_loss;
    VectorView<T> x_entropies;  // (2) of the assignments, a row's mean, and of their mean over both assigning views
    VectorView<TargetRows> x_rows_of_images;                          // (B)
    UnitRows<T> x_targets;                                            // (2B,O) the teacher's
    MatrixView<T> x_teacher_features;                                 // (2B,D)
    MatrixView<T> x_features, x_d_features;                           // (V B,D)
    MatrixView<T> x_d_out, x_d_unit;                                  // (V B,O)
    UnitRows<T> x_unit;                                               // (V B,O)
    UnitRows<T> x_unit_prototypes, x_teacher_prototypes;              // (P,O)
    MatrixView<T> x_d_unit_prototypes;                                // (P,O)
    SwappedAssignmentBuffers<T> x_buffers;
    FillingQueues<T> x_queues;
    MatrixView<T> x_newest;     // (2B,O) what goes into the queues
    bool x_queue_open = false;  // whether it does, by the last pass that was not played back
  };
};

}  // namespace dssl
