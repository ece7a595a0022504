// dssl-products: times the products of linear layers by everything that can compute them, in turn.
#include <cstddef>
#include <ctime>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <dssl/backend/cpu.hpp>
#ifdef DSSL_WITH_ONEDNN
#include <dssl/backend/onednn.hpp>
#endif
#ifdef DSSL_WITH_CBLAS
#include <dssl/backend/cblas.hpp>
#endif

#include "serve.hpp"

namespace {

using namespace dssl;
using namespace dssl::benchmarks;
using nlohmann::json;

struct Options {
  int threads = 1;
  int rounds = 9;
  std::vector<Index> rows{3216, 9648};
};

/// Adds up the tasks of all loops, the first of each call apart: where a call packs the right factor once for
/// all threads, that is the first.
class Loops final : public cpu::LoopObserver {
 public:
  void loop(bool /*shared*/, std::span<const double> seconds) override {
    double sum = 0;
    for (const double s : seconds) sum += s;
    all += sum;
    if (x_count++ == 0) first = sum;
  }
  void clear() {
    all = 0;
    first = 0;
    x_count = 0;
  }

  double all = 0;
  double first = 0;

 private:
  int x_count = 0;
};

/// Operands of a linear layer of `in` to `out` over `rows` rows.
struct Layer {
  Index rows, in, out;
  std::vector<float> x, y, d_x, weight, d_weight, bias, d_bias;

  Layer(Index m, Index i, Index o) : rows(m), in(i), out(o) {
    std::minstd_rand random(1);
    std::uniform_real_distribution<float> uniform(-1.0F, 1.0F);
    for (auto [values, count] : {std::pair{&x, m * i},
                                 {&y, m * o},
                                 {&d_x, m * i},
                                 {&weight, o * i},
                                 {&d_weight, o * i},
                                 {&bias, o},
                                 {&d_bias, o}}) {
      values->resize(static_cast<std::size_t>(count));
      for (float& v : *values) v = uniform(random);
    }
  }
  [[nodiscard]] double flop() const {
    return 2.0 * static_cast<double>(rows) * static_cast<double>(in) * static_cast<double>(out);
  }
};

enum class Pass { forward, backward_input, backward_weight };
constexpr const char* pass_names[] = {"forward", "backward_input", "backward_weight"};

/// One that can compute products: calls of a pass, and the same with its loops observed.
struct Contestant {
  std::string name;
  std::string description;
  std::function<void(Pass, Layer&)> call;
  std::shared_ptr<Loops> loops;
  std::function<void(Pass, Layer&)> observed;
};

template <class B>
Contestant contestant(std::string name, CpuOptions options) {
  const auto caller = [](const CpuOptions& o) {
    return [backend = B(o)](Pass pass, Layer& l) {
      const MatrixView<float> x(l.x.data(), l.rows, l.in), d_x(l.d_x.data(), l.rows, l.in),
          y(l.y.data(), l.rows, l.out), w(l.weight.data(), l.out, l.in), d_w(l.d_weight.data(), l.out, l.in);
      switch (pass) {
        case Pass::forward:
          return backend.linear_forward(y, x, w, VectorView<const float>(l.bias.data(), l.out));
        case Pass::backward_input:
          return backend.linear_backward_input(d_x, y, w);
        case Pass::backward_weight:
          return backend.linear_backward_weight(d_w, {}, y, x);
      }
    };
  };
  const auto loops = std::make_shared<Loops>();
  Contestant out{std::move(name), B(options).describe(), caller(options), loops, {}};
  options.observer = loops.get();
  out.observed = caller(options);
  return out;
}

std::vector<Contestant> contestants(int threads) {
  std::vector<Contestant> all;
  const CpuOptions f32{.threads = threads};
  CpuOptions plain = f32;
  plain.split_products = false;
  CpuOptions bf16 = f32;
  bf16.precision = Precision::bf16;
  if (Cpu(f32).describe() != Cpu(plain).describe())
    all.push_back(contestant<Cpu>("own, f32 as three bf16", f32));
  all.push_back(contestant<Cpu>("own, f32", plain));
#ifdef DSSL_WITH_ONEDNN
  all.push_back(contestant<OneDnnCpu>("oneDNN, f32", f32));
#endif
#ifdef DSSL_WITH_CBLAS
  all.push_back(contestant<CblasCpu>("CBLAS, f32", f32));
#endif
  if (!Cpu::multiplies_bf16()) return all;
  all.push_back(contestant<Cpu>("own, bf16", bf16));
#ifdef DSSL_WITH_ONEDNN
  try {
    all.push_back(contestant<OneDnnCpu>("oneDNN, bf16", bf16));
  } catch (const OptionError&) {  // not on this processor
  }
#endif
  return all;
}

[[nodiscard]] double processor_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

void run(const Options& options) {
  auto all = contestants(options.threads);
  json cases = json::array();
  const LoadWatch watch;
  for (const Index rows : options.rows) {
    for (const auto& [in, out] : {std::pair<Index, Index>{384, 1536}, {1536, 384}, {384, 1152}, {384, 384}}) {
      Layer layer(rows, in, out);
      for (const Pass pass : {Pass::forward, Pass::backward_input, Pass::backward_weight}) {
        std::vector<std::vector<double>> seconds(all.size()), processor(all.size()), packing(all.size());
        for (Contestant& c : all) c.call(pass, layer);
        for (int round = 0; round < options.rounds; ++round) {
          for (std::size_t i = 0; i < all.size(); ++i) {
            const double before = processor_seconds();
            seconds[i].push_back(seconds_of([&] { all[i].call(pass, layer); }));
            processor[i].push_back(processor_seconds() - before);
            all[i].loops->clear();
            all[i].observed(pass, layer);
            packing[i].push_back(all[i].loops->first / all[i].loops->all);
          }
        }
        for (std::size_t i = 0; i < all.size(); ++i) {
          cases.push_back({{"products", all[i].name},
                           {"pass", pass_names[static_cast<int>(pass)]},
                           {"rows", rows},
                           {"in", in},
                           {"out", out},
                           {"flop", layer.flop()},
                           {"seconds", seconds_json(seconds[i])},
                           {"processor_seconds", seconds_json(processor[i])},
                           {"first_loop_share", median(packing[i])}});
        }
      }
    }
  }
  json described;
  for (const Contestant& c : all) described[c.name] = c.description;
  const json out{{"program", "dssl-products"},
                 {"threads", options.threads},
                 {"rounds", options.rounds},
                 {"backends", described},
                 {"others_load", watch.others()},
                 {"machine", machine_json()},
                 {"cases", cases}};
  std::printf("%s\n", out.dump(1).c_str());
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{
      "Times the products of linear layers by each of dssl's backends on the CPU, in turn, and prints JSON.",
      "dssl-products"};
  Options options;
  app.add_option("--threads", options.threads, "threads of each backend")->capture_default_str();
  app.add_option("--rounds", options.rounds, "timed calls of each")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--rows", options.rows, "rows of the layers' inputs")->capture_default_str();
  return run_measurement(app, argc, argv, [&] { run(options); });
}
