// Every main primitive at the shapes of the published step, with FLOP and bytes from the operation's own count.
#include <benchmark/benchmark.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <dssl/backend/cpu.hpp>
#include <dssl/nn/prototype_loss.hpp>

namespace {

using dssl::Cpu;
using dssl::Index;

/// What one call of an operation does, by its own definition.
struct Count {
  double flops = 0;
  double bytes = 0;
};

/// A float buffer of random numbers around 0: never time zeros.
class Numbers {
 public:
  explicit Numbers(Index count, double scale = 1.0, double centre = 0.0)
      : x_buffer(Cpu(dssl::CpuOptions{.threads = 1}).allocate(static_cast<std::size_t>(count) * sizeof(float))),
        x_count(count) {
    std::minstd_rand random(static_cast<unsigned>(count));
    std::uniform_real_distribution<float> uniform(-1.7F, 1.7F);
    for (Index i = 0; i < count; ++i) data()[i] = static_cast<float>(scale) * uniform(random) + static_cast<float>(centre);
  }
  [[nodiscard]] float* data() const { return reinterpret_cast<float*>(x_buffer.data()); }
  [[nodiscard]] dssl::MatrixView<float> matrix(Index rows, Index cols) const { return {data(), {rows, cols}}; }
  [[nodiscard]] dssl::VectorView<float> vector() const { return {data(), {x_count}}; }

 private:
  dssl::Buffer x_buffer;
  Index x_count;
};

const Cpu& cpu_of(int threads) {
  static std::map<int, Cpu> backends;
  return backends.try_emplace(threads, dssl::CpuOptions{.threads = threads}).first->second;
}

/// Registers `operation` for one and two threads; make(backend) prepares the buffers and gives back the call.
void add(const std::string& name, Count count,
         const std::function<std::function<void()>(const Cpu&)>& make) {
  for (const int threads : {1, 2}) {
    benchmark::RegisterBenchmark((name + "/threads:" + std::to_string(threads)).c_str(),
                                 [=](benchmark::State& state) {
                                   const auto call = make(cpu_of(threads));
                                   call();
                                   for (auto _ : state) {
                                     call();
                                     benchmark::ClobberMemory();
                                   }
                                   using benchmark::Counter;
                                   if (count.flops > 0) {
                                     state.counters["FLOP/s"] = Counter(count.flops, Counter::kIsIterationInvariantRate);
                                   }
                                   if (count.bytes > 0) {
                                     state.counters["bytes/s"] = Counter(count.bytes, Counter::kIsIterationInvariantRate);
                                   }
                                 })
        ->UseRealTime()
        ->Unit(benchmark::kMicrosecond);
  }
}

void add_linear(Index m, Index i, Index o) {
  const std::string shape = "/rows:" + std::to_string(m) + "/in:" + std::to_string(i) + "/out:" + std::to_string(o);
  const Count count{.flops = 2.0 * static_cast<double>(m) * static_cast<double>(i) * static_cast<double>(o)};
  add("linear_forward" + shape, count, [=](const Cpu& cpu) {
    return [&cpu, m, i, o, y = std::make_shared<Numbers>(m * o), x = std::make_shared<Numbers>(m * i),
            w = std::make_shared<Numbers>(o * i, 0.05), b = std::make_shared<Numbers>(o)] {
      cpu.linear_forward(y->matrix(m, o), x->matrix(m, i), w->matrix(o, i), b->vector());
    };
  });
  add("linear_backward_input" + shape, count, [=](const Cpu& cpu) {
    return [&cpu, m, i, o, d_x = std::make_shared<Numbers>(m * i), d_y = std::make_shared<Numbers>(m * o),
            w = std::make_shared<Numbers>(o * i, 0.05)] {
      cpu.linear_backward_input(d_x->matrix(m, i), d_y->matrix(m, o), w->matrix(o, i));
    };
  });
  add("linear_backward_weight" + shape, count, [=](const Cpu& cpu) {
    return [&cpu, m, i, o, x = std::make_shared<Numbers>(m * i), d_y = std::make_shared<Numbers>(m * o, 1e-3),
            d_w = std::make_shared<Numbers>(o * i), d_b = std::make_shared<Numbers>(o)] {
      cpu.linear_backward_weight(d_w->matrix(o, i), d_b->vector(), d_y->matrix(m, o), x->matrix(m, i));
    };
  });
}

/// Sequences of one class token, `patches` and `references`.
struct Tokens {
  std::vector<dssl::Sequence> sequences;
  dssl::SequenceBatch batch;
  Tokens(Index count, Index patches, Index references) {
    for (Index s = 0; s < count; ++s) {
      sequences.push_back({.first = batch.rows, .patches = patches, .references = references});
      batch.rows += sequences.back().tokens();
      batch.longest = sequences.back().tokens();
    }
    batch.sequences = {sequences.data(), {count}};
  }
};

void add_attention(Index sequences, Index heads, Index d, Index patches, Index references) {
  const auto tokens = std::make_shared<Tokens>(sequences, patches, references);
  const Index width = heads * d;
  // A reference token sees the patches and itself, the others the class and the patches: one pair costs
  // 2 d for its score and 2 d for its value, and 8 d besides in the backward pass, which also recomputes the score.
  const Index pairs = sequences * heads * ((1 + patches) * (1 + patches) + references * (1 + patches));
  const double products = 2.0 * static_cast<double>(pairs * d);
  const std::string shape = "/sequences:" + std::to_string(sequences) + "/heads:" + std::to_string(heads) +
                            "/head_width:" + std::to_string(d) + "/patches:" + std::to_string(patches) +
                            "/references:" + std::to_string(references);
  const auto make = [=](bool forward, bool backward) {
    return [=](const Cpu& cpu) -> std::function<void()> {
      const Index rows = tokens->batch.rows;
      const auto out = std::make_shared<Numbers>(rows * width);
      const auto log_sum = std::make_shared<Numbers>(rows * heads);
      const auto qkv = std::make_shared<Numbers>(rows * 3 * width);
      const auto d_out = std::make_shared<Numbers>(rows * width);
      const auto d_qkv = std::make_shared<Numbers>(rows * 3 * width);
      const auto run_forward = [=, &cpu] {
        cpu.attention_forward<dssl::private_relation>(out->matrix(rows, width), log_sum->matrix(rows, heads),
                                                      qkv->matrix(rows, 3 * width), tokens->batch, heads,
                                                      dssl::all_groups);
      };
      run_forward();
      return [=, &cpu] {
        if (forward) run_forward();
        if (backward) {
          cpu.attention_backward<dssl::private_relation>(
              d_qkv->matrix(rows, 3 * width), d_out->matrix(rows, width), out->matrix(rows, width),
              log_sum->matrix(rows, heads), qkv->matrix(rows, 3 * width), tokens->batch, heads, dssl::all_groups);
        }
      };
    };
  };
  add("attention_forward" + shape, {.flops = 2 * products}, make(true, false));
  add("attention_backward" + shape, {.flops = 5 * products}, make(false, true));
  add("attention_both" + shape, {.flops = 7 * products}, make(true, true));
}

void add_dense(Index m, Index d) {
  const std::string shape = "/rows:" + std::to_string(m) + "/width:" + std::to_string(d);
  const double bytes = 4.0 * static_cast<double>(m * d);
  add("layer_norm_forward" + shape, {.bytes = 2 * bytes}, [=](const Cpu& cpu) {
    return [=, &cpu, y = std::make_shared<Numbers>(m * d), x = std::make_shared<Numbers>(m * d),
            w = std::make_shared<Numbers>(d), b = std::make_shared<Numbers>(d), mean = std::make_shared<Numbers>(m),
            std = std::make_shared<Numbers>(m)] {
      cpu.layer_norm_forward(y->matrix(m, d), mean->vector(), std->vector(), x->matrix(m, d), w->vector(),
                             b->vector(), 1e-6);
    };
  });
  add("layer_norm_backward" + shape, {.bytes = 4 * bytes}, [=](const Cpu& cpu) {
    return [=, &cpu, d_x = std::make_shared<Numbers>(m * d), d_y = std::make_shared<Numbers>(m * d, 1e-3),
            x = std::make_shared<Numbers>(m * d), w = std::make_shared<Numbers>(d),
            d_w = std::make_shared<Numbers>(d), d_b = std::make_shared<Numbers>(d),
            mean = std::make_shared<Numbers>(m, 0.1), std = std::make_shared<Numbers>(m, 0.1, 1.0)] {
      cpu.layer_norm_backward(d_x->matrix(m, d), d_w->vector(), d_b->vector(), d_y->matrix(m, d), x->matrix(m, d),
                              mean->vector(), std->vector(), w->vector());
    };
  });
  add("gelu_forward" + shape, {.bytes = 2 * bytes}, [=](const Cpu& cpu) {
    return [=, &cpu, y = std::make_shared<Numbers>(m * d), x = std::make_shared<Numbers>(m * d, 2.0)] {
      cpu.gelu_forward(y->matrix(m, d), x->matrix(m, d));
    };
  });
  add("gelu_backward" + shape, {.bytes = 3 * bytes}, [=](const Cpu& cpu) {
    return [=, &cpu, d_x = std::make_shared<Numbers>(m * d), d_y = std::make_shared<Numbers>(m * d),
            x = std::make_shared<Numbers>(m * d, 2.0)] {
      cpu.gelu_backward(d_x->matrix(m, d), d_y->matrix(m, d), x->matrix(m, d));
    };
  });
  add("residual_forward" + shape, {.bytes = 3 * bytes}, [=](const Cpu& cpu) {
    return [=, &cpu, out = std::make_shared<Numbers>(m * d), x = std::make_shared<Numbers>(m * d),
            branch = std::make_shared<Numbers>(m * d)] {
      cpu.residual_forward(out->matrix(m, d), x->matrix(m, d), branch->matrix(m, d), {}, {});
    };
  });
}

void add_loss(Index m, Index p) {
  const std::string shape = "/rows:" + std::to_string(m) + "/prototypes:" + std::to_string(p);
  const double bytes = 4.0 * static_cast<double>(m * p);
  add("centred_softmax" + shape, {.bytes = 2 * bytes}, [=](const Cpu& cpu) {
    return [=, &cpu, out = std::make_shared<Numbers>(m * p), t = std::make_shared<Numbers>(m * p, 0.2),
            c = std::make_shared<Numbers>(p, 0.01)] {
      cpu.centred_softmax(out->matrix(m, p), t->matrix(m, p), c->vector(), 0.04);
    };
  });
  add("cross_entropy" + shape, {.bytes = 4 * bytes}, [=](const Cpu& cpu) {
    const auto rows = std::make_shared<std::vector<dssl::TargetRows>>();
    for (Index i = 0; i < m; ++i) rows->push_back({static_cast<std::int32_t>(i), static_cast<std::int32_t>((i + 1) % m)});
    return [=, &cpu, loss = std::make_shared<Numbers>(m), d = std::make_shared<Numbers>(m * p),
            x = std::make_shared<Numbers>(m * p, 0.2),
            t = std::make_shared<Numbers>(m * p, 0.1 / static_cast<double>(p), 1.0 / static_cast<double>(p))] {
      cpu.cross_entropy(loss->vector(), d->matrix(m, p), x->matrix(m, p), t->matrix(m, p),
                        dssl::VectorView<const dssl::TargetRows>(rows->data(), m), 0.1, 1.0);
    };
  });
  add("row_entropy" + shape, {.bytes = bytes}, [=](const Cpu& cpu) {
    return [=, &cpu, out = std::make_shared<Numbers>(m),
            x = std::make_shared<Numbers>(m * p, 0.1 / static_cast<double>(p), 1.0 / static_cast<double>(p))] {
      cpu.row_entropy(out->vector(), x->matrix(m, p));
    };
  });
}

/// The end of a head, forward and backward: fused, and as primitives. Row i is compared with the teacher's row i.
void add_prototype_loss(Index m, Index p, Index d) {
  const std::string shape =
      "/rows:" + std::to_string(m) + "/prototypes:" + std::to_string(p) + "/width:" + std::to_string(d);
  const Count count{.flops = 8.0 * static_cast<double>(m) * static_cast<double>(p) * static_cast<double>(d),
                    .bytes = 4.0 * 5.0 * static_cast<double>(p) * static_cast<double>(d)};
  const auto make = [=](bool fused) {
    return [=](const Cpu& cpu) -> std::function<void()> {
      const auto rows = std::make_shared<std::vector<dssl::TargetRows>>();
      for (Index i = 0; i < m; ++i) rows->push_back({static_cast<std::int32_t>(i), -1});
      const auto unit = std::make_shared<Numbers>(2 * m * d, 1.0 / std::sqrt(static_cast<double>(d)));
      const auto v = std::make_shared<Numbers>(2 * p * d, 0.06);
      const auto d_unit = std::make_shared<Numbers>(m * d);
      const auto d_v = std::make_shared<Numbers>(p * d);
      const auto centre = std::make_shared<Numbers>(2 * p, 0.01);
      const auto loss = std::make_shared<Numbers>(2 * m);
      dssl::Arena measure;
      const dssl::PlainPrototypeLoss<float> sizes(measure, m, m, p, d);
      const std::size_t bytes = fused ? cpu.prototype_loss_workspace(*rows, m, p, d) : measure.high_water();
      const auto workspace = std::make_shared<dssl::Buffer>(cpu.allocate(bytes));
      return [=, &cpu] {
        using Matrix = dssl::MatrixView<float>;
        using Vector = dssl::VectorView<float>;
        const dssl::PrototypeLossResult<float> result{Vector(loss->data(), m),     Vector(loss->data() + m, m),
                                                      d_unit->matrix(m, d),        d_v->matrix(p, d),
                                                      {},                          Vector(centre->data() + p, p)};
        const dssl::PrototypeRows<float> student{Matrix(unit->data(), m, d), Matrix(v->data(), p, d), {}};
        const dssl::PrototypeRows<float> teacher{Matrix(unit->data() + m * d, m, d), Matrix(v->data() + p * d, p, d), {}};
        const dssl::PrototypeTargets<float> targets{
            Vector(centre->data(), p), dssl::VectorView<const dssl::TargetRows>(rows->data(), m), {}};
        if (fused) {
          cpu.prototype_loss(result, student, teacher, targets, {},
                             dssl::VectorView<std::byte>(workspace->data(), static_cast<Index>(bytes)));
        } else {
          dssl::Arena arena(*workspace);
          dssl::PlainPrototypeLoss<float>(arena, m, m, p, d).run(cpu, result, student, teacher, targets, {});
        }
      };
    };
  };
  add("prototype_loss" + shape, count, make(true));
  add("prototype_loss_as_primitives" + shape, count, make(false));
}

void add_parameters(Index n, Index rows, Index width) {
  const auto segments = std::make_shared<std::vector<dssl::Segment>>();
  for (Index at = 0; at < n; at += 589'824) {
    segments->push_back({.offset = at, .size = std::min(n - at, Index{589'824}), .decayed = true, .adapted = true});
  }
  const auto norms = std::make_shared<std::vector<double>>(segments->size(), 4.0);
  const std::string shape = "/parameters:" + std::to_string(n);
  const double bytes = 4.0 * static_cast<double>(n);
  const auto count = static_cast<Index>(segments->size());
  add("squared_norms" + shape, {.bytes = bytes}, [=](const Cpu& cpu) {
    return [=, &cpu, g = std::make_shared<Numbers>(n)] {
      cpu.squared_norms({norms->data(), {count}}, g->vector(), {segments->data(), {count}});
    };
  });
  add("adamw_step" + shape, {.bytes = 7 * bytes}, [=](const Cpu& cpu) {
    return [=, &cpu, w = std::make_shared<Numbers>(n), m = std::make_shared<Numbers>(n, 0.01),
            v = std::make_shared<Numbers>(n, 0.001, 0.01), g = std::make_shared<Numbers>(n, 0.01)] {
      cpu.adamw_step(w->vector(), m->vector(), v->vector(), g->vector(), {norms->data(), {count}},
                     {segments->data(), {count}},
                     dssl::AdamWStep{.learning_rate = 1e-5, .weight_decay = 0.04, .step = 1000, .prototype_step = 900,
                                     .clip = 3.0});
    };
  });
  add("adamw_step_with_teacher" + shape, {.bytes = 9 * bytes}, [=](const Cpu& cpu) {
    return [=, &cpu, w = std::make_shared<Numbers>(n), m = std::make_shared<Numbers>(n, 0.01),
            v = std::make_shared<Numbers>(n, 0.001, 0.01), g = std::make_shared<Numbers>(n, 0.01),
            teacher = std::make_shared<Numbers>(n)] {
      cpu.adamw_step(w->vector(), m->vector(), v->vector(), g->vector(), {norms->data(), {count}},
                     {segments->data(), {count}},
                     dssl::AdamWStep{.learning_rate = 1e-5, .weight_decay = 0.04, .step = 1000, .prototype_step = 900,
                                     .clip = 3.0},
                     teacher->vector(), 0.996);
    };
  });
  add("lerp" + shape, {.bytes = 3 * bytes}, [=](const Cpu& cpu) {
    return [=, &cpu, y = std::make_shared<Numbers>(n), x = std::make_shared<Numbers>(n)] {
      cpu.lerp(y->vector(), x->vector(), 0.996);
    };
  });
  const std::string matrix = "/prototypes:" + std::to_string(rows) + "/width:" + std::to_string(width);
  const double matrix_bytes = 4.0 * static_cast<double>(rows * width);
  add("weight_norm_forward" + matrix, {.bytes = 2 * matrix_bytes}, [=](const Cpu& cpu) {
    return [=, &cpu, w = std::make_shared<Numbers>(rows * width), v = std::make_shared<Numbers>(rows * width),
            norm = std::make_shared<Numbers>(rows)] {
      cpu.weight_norm_forward(w->matrix(rows, width), norm->vector(), v->matrix(rows, width), {});
    };
  });
  add("weight_norm_backward" + matrix, {.bytes = 4 * matrix_bytes}, [=](const Cpu& cpu) {
    return [=, &cpu, d_v = std::make_shared<Numbers>(rows * width),
            d_w = std::make_shared<Numbers>(rows * width, 1e-3), v = std::make_shared<Numbers>(rows * width),
            norm = std::make_shared<Numbers>(rows, 0.1, 9.0)] {
      cpu.weight_norm_backward(d_v->matrix(rows, width), {}, d_w->matrix(rows, width), v->matrix(rows, width), {},
                               norm->vector());
    };
  });
}

const bool registered = [] {
  // ViT-S over six views of two images and over the teacher's, ViT-Ti, the head.
  for (const Index rows : {Index{1206}, Index{2412}}) {
    add_linear(rows, 384, 1152);
    add_linear(rows, 384, 384);
    add_linear(rows, 384, 1536);
    add_linear(rows, 1536, 384);
  }
  add_linear(1608, 192, 768);
  add_linear(1608, 768, 192);
  add_linear(64, 384, 2048);
  add_linear(64, 2048, 2048);
  add_linear(64, 2048, 256);
  add_linear(64, 256, 65'536);
  add_attention(8, 6, 64, 196, 4);
  add_attention(8, 6, 64, 196, 0);
  add_attention(2, 6, 64, 784, 0);
  add_dense(1608, 384);
  add_dense(1608, 1536);
  add_loss(64, 65'536);
  add_loss(256, 4'096);
  add_prototype_loss(4, 65'536, 256);
  add_prototype_loss(40, 65'536, 256);
  add_prototype_loss(60, 65'536, 256);
  add_prototype_loss(160, 4'096, 256);
  add_parameters(21'700'000, 65'536, 256);
  return true;
}();

}  // namespace
