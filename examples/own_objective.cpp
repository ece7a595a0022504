// An objective of one's own: an image's two views lie close together, and by KoLeo the images of a batch apart.
#include <cstdio>

#include <dssl/data/synthetic.hpp>
#include <dssl/dssl.hpp>
#include <dssl/loss/spread_terms.hpp>
#include <dssl/views/two_views.hpp>
using namespace dssl;
/// mean over images of |u1 - u2|^2 = 2 - 2 u1.u2, u = unit class tokens of the two views.
struct Alignment {
  static constexpr std::string_view name = "alignment";
  static constexpr Reads reads{{.class_level = true}, {}};  // of the student, and nothing of a teacher
  static constexpr Whole whole = Whole::batch;              // both views at once
  using Teacher = NoTeacher;
  using Options = NoOptions;
  template <Backend B>
  struct Run : TermRun<B> {
    using T = typename B::Scalar;
    Run(const TermSetting& s, const Options&) : setting(s), dots(static_cast<std::size_t>(s.batch)) {}
    void place_lasting(const B&, Arena& arena) { device_dots = arena.vector<T>(setting.batch); }
    void place_student(const B&, Arena& arena, std::size_t) {
      rows = UnitRows<T>::take(arena, 2 * setting.batch, setting.width);
      d = arena.matrix<T>(2 * setting.batch, setting.width);
    }
    void student(const B& backend, const StudentPass<Alignment, T>& in) const {
      const Index n = setting.batch;  // images
      rows.forward(backend, in.features.class_level.rows(0, 2 * n), unit_epsilon);
      backend.row_dots(device_dots, rows.unit.rows(0, n), rows.unit.rows(n, n));
      const double slope = -2 * in.weight * setting.share / static_cast<double>(n);
      backend.fill(numbers_of(d), T{0});
      backend.add_scaled(numbers_of(d.rows(0, n)), numbers_of(rows.unit.rows(n, n)), slope);
      backend.add_scaled(numbers_of(d.rows(n, n)), numbers_of(rows.unit.rows(0, n)), slope);
      backend.l2_normalise_backward(d, d, rows.unit, rows.norm, unit_epsilon);
      put_gradients(backend, in.d_features.class_level.rows(0, 2 * n), {}, d, in.d_features.adds.class_level);
    }
    void add_to(const B& backend, TermReport& report) {
      backend.download(std::span<T>(dots), static_cast<const T*>(device_dots.data()));
      for (const T dot : dots) report.loss += setting.share * (2 - 2 * double(dot)) / double(dots.size());
      require_finite_loss(report);
    }
    TermSetting setting;
    std::vector<T> dots;  // on the host
    VectorView<T> device_dots;
    UnitRows<T> rows;  // of both views
    MatrixView<T> d;
  };
};

int main() {
  using Mine = Dino::with_backbone<ViT<vit_nano8>>::with_views<TwoViews>::with_loss<WeightedSum<Alignment, KoLeo>>;
  TrainerOptionsOf<Mine> options{.epochs = 3, .batch = 8};
  options.views.global_size = {48, 48};
  options.loss.of<KoLeo>().weight = 0.2;
  Trainer<Mine, Cpu> trainer(options);
  trainer.on_step([](const StepReport& r) {
    std::printf("alignment %.4f, koleo %.4f\n", r.term("alignment").loss, r.term("koleo").loss);
    return proceed;
  });
  return trainer.fit(ImagesOf(SyntheticScenes({.count = 32, .height = 64, .width = 64}))).finished ? 0 : 1;
}
