// Every primitive at the shapes of the published step, with FLOP and bytes from the operation's own count.
#include <benchmark/benchmark.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/backend/cpu.hpp>
#include <dssl/nn/position.hpp>

namespace {

using dssl::Index;

/// What one call of an operation does, by its own definition.
struct Count {
  double flops = 0;
  double bytes = 0;
};

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

/// All cases of one backend, under its name: another backend has the same cases under its own.
template <dssl::Backend B>
class Cases {
 public:
  using T = typename B::Scalar;

  explicit Cases(std::string_view name) : x_name(name) {}

  void register_all() {
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
    add_memory(1608 * 1536);
    add_memory(21'700'000);
    add_rows_of(1608, 384);
    add_rows_of(64, 256);
    add_inputs(12, 224, 16, 384, 48);
    add_loss(64, 65'536);
    add_loss(256, 4'096);
    add_parameters(21'700'000, 65'536, 256);
  }

 private:
  /// A buffer of random numbers around 0: never time zeros.
  class Numbers {
   public:
    explicit Numbers(Index count, double scale = 1.0, double centre = 0.0)
        : x_buffer(backend_of(1).allocate(static_cast<std::size_t>(count) * sizeof(T))), x_count(count) {
      std::minstd_rand random(static_cast<unsigned>(count));
      std::uniform_real_distribution<float> uniform(-1.7F, 1.7F);
      for (Index i = 0; i < count; ++i) {
        data()[i] = static_cast<T>(static_cast<float>(scale) * uniform(random) + static_cast<float>(centre));
      }
    }
    [[nodiscard]] T* data() const { return reinterpret_cast<T*>(x_buffer.data()); }
    [[nodiscard]] dssl::MatrixView<T> matrix(Index rows, Index cols) const { return {data(), {rows, cols}}; }
    [[nodiscard]] dssl::VectorView<T> vector() const { return {data(), {x_count}}; }

   private:
    dssl::Buffer x_buffer;
    Index x_count;
  };

  static const B& backend_of(int threads) {
    static std::map<int, B> backends;
    return backends.try_emplace(threads, dssl::CpuOptions{.threads = threads}).first->second;
  }

  /// Registers `operation` for one and two threads; make(backend) prepares the buffers and gives back the
  /// call.
  void add(const std::string& name, Count count, const std::function<std::function<void()>(const B&)>& make) {
    for (const int threads : {1, 2}) {
      benchmark::RegisterBenchmark(
          (x_name + "/" + name + "/threads:" + std::to_string(threads)).c_str(),
          [=](benchmark::State& state) {
            const auto call = make(backend_of(threads));
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
    const std::string shape =
        "/rows:" + std::to_string(m) + "/in:" + std::to_string(i) + "/out:" + std::to_string(o);
    const Count count{.flops =
                          2.0 * static_cast<double>(m) * static_cast<double>(i) * static_cast<double>(o)};
    add("linear_forward" + shape, count, [=](const B& b) {
      return [&b, m, i, o, y = std::make_shared<Numbers>(m * o), x = std::make_shared<Numbers>(m * i),
              w = std::make_shared<Numbers>(o * i, 0.05), bias = std::make_shared<Numbers>(o)] {
        b.linear_forward(y->matrix(m, o), x->matrix(m, i), w->matrix(o, i), bias->vector());
      };
    });
    add("linear_backward_input" + shape, count, [=](const B& b) {
      return [&b, m, i, o, d_x = std::make_shared<Numbers>(m * i), d_y = std::make_shared<Numbers>(m * o),
              w = std::make_shared<Numbers>(o * i, 0.05)] {
        b.linear_backward_input(d_x->matrix(m, i), d_y->matrix(m, o), w->matrix(o, i));
      };
    });
    add("linear_backward_weight" + shape, count, [=](const B& b) {
      return [&b, m, i, o, x = std::make_shared<Numbers>(m * i), d_y = std::make_shared<Numbers>(m * o, 1e-3),
              d_w = std::make_shared<Numbers>(o * i), d_bias = std::make_shared<Numbers>(o)] {
        b.linear_backward_weight(d_w->matrix(o, i), d_bias->vector(), d_y->matrix(m, o), x->matrix(m, i));
      };
    });
  }

  void add_attention(Index sequences, Index heads, Index d, Index patches, Index references) {
    const auto tokens = std::make_shared<Tokens>(sequences, patches, references);
    const Index width = heads * d;
    // A reference token sees the patches and itself, the others the class and the patches: one pair costs
    // 2 d for its score and 2 d for its value, and 8 d besides in the backward pass, which also recomputes
    // the score.
    const Index pairs = sequences * heads * ((1 + patches) * (1 + patches) + references * (1 + patches));
    const double products = 2.0 * static_cast<double>(pairs * d);
    const std::string shape = "/sequences:" + std::to_string(sequences) + "/heads:" + std::to_string(heads) +
                              "/head_width:" + std::to_string(d) + "/patches:" + std::to_string(patches) +
                              "/references:" + std::to_string(references);
    const auto make = [=](bool forward, bool backward) {
      return [=](const B& b) -> std::function<void()> {
        const Index rows = tokens->batch.rows;
        const auto out = std::make_shared<Numbers>(rows * width);
        const auto log_sum = std::make_shared<Numbers>(rows * heads);
        const auto qkv = std::make_shared<Numbers>(rows * 3 * width);
        const auto d_out = std::make_shared<Numbers>(rows * width);
        const auto d_qkv = std::make_shared<Numbers>(rows * 3 * width);
        const auto run_forward = [=, &b] {
          b.template attention_forward<dssl::private_relation>(
              out->matrix(rows, width), log_sum->matrix(rows, heads), qkv->matrix(rows, 3 * width),
              tokens->batch, heads, dssl::all_groups);
        };
        run_forward();
        return [=, &b] {
          if (forward) run_forward();
          if (backward) {
            b.template attention_backward<dssl::private_relation>(
                d_qkv->matrix(rows, 3 * width), d_out->matrix(rows, width), out->matrix(rows, width),
                log_sum->matrix(rows, heads), qkv->matrix(rows, 3 * width), tokens->batch, heads,
                dssl::all_groups);
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
    add("layer_norm_forward" + shape, {.bytes = 2 * bytes}, [=](const B& b) {
      return [=, &b, y = std::make_shared<Numbers>(m * d), x = std::make_shared<Numbers>(m * d),
              w = std::make_shared<Numbers>(d), bias = std::make_shared<Numbers>(d),
              mean = std::make_shared<Numbers>(m), std = std::make_shared<Numbers>(m)] {
        b.layer_norm_forward(y->matrix(m, d), mean->vector(), std->vector(), x->matrix(m, d), w->vector(),
                             bias->vector(), 1e-6);
      };
    });
    add("layer_norm_backward" + shape, {.bytes = 4 * bytes}, [=](const B& b) {
      return [=, &b, d_x = std::make_shared<Numbers>(m * d), d_y = std::make_shared<Numbers>(m * d, 1e-3),
              x = std::make_shared<Numbers>(m * d), w = std::make_shared<Numbers>(d),
              d_w = std::make_shared<Numbers>(d), d_b = std::make_shared<Numbers>(d),
              mean = std::make_shared<Numbers>(m, 0.1), std = std::make_shared<Numbers>(m, 0.1, 1.0)] {
        b.layer_norm_backward(d_x->matrix(m, d), d_w->vector(), d_b->vector(), d_y->matrix(m, d),
                              x->matrix(m, d), mean->vector(), std->vector(), w->vector());
      };
    });
    add("batch_norm_forward" + shape, {.bytes = 2 * bytes}, [=](const B& b) {
      return [=, &b, y = std::make_shared<Numbers>(m * d), x = std::make_shared<Numbers>(m * d),
              w = std::make_shared<Numbers>(d), bias = std::make_shared<Numbers>(d),
              mean = std::make_shared<Numbers>(d), std = std::make_shared<Numbers>(d)] {
        b.batch_norm_forward(y->matrix(m, d), mean->vector(), std->vector(), x->matrix(m, d), w->vector(),
                             bias->vector(), 1e-5);
      };
    });
    add("batch_norm_backward" + shape, {.bytes = 3 * bytes}, [=](const B& b) {
      return [=, &b, d_x = std::make_shared<Numbers>(m * d), d_y = std::make_shared<Numbers>(m * d, 1e-3),
              x = std::make_shared<Numbers>(m * d), w = std::make_shared<Numbers>(d),
              d_w = std::make_shared<Numbers>(d), d_b = std::make_shared<Numbers>(d),
              mean = std::make_shared<Numbers>(d, 0.1), std = std::make_shared<Numbers>(d, 0.1, 1.0)] {
        b.batch_norm_backward(d_x->matrix(m, d), d_w->vector(), d_b->vector(), d_y->matrix(m, d),
                              x->matrix(m, d), mean->vector(), std->vector(), w->vector());
      };
    });
    add("gelu_forward" + shape, {.bytes = 2 * bytes}, [=](const B& b) {
      return [=, &b, y = std::make_shared<Numbers>(m * d), x = std::make_shared<Numbers>(m * d, 2.0)] {
        b.gelu_forward(y->matrix(m, d), x->matrix(m, d));
      };
    });
    add("gelu_backward" + shape, {.bytes = 3 * bytes}, [=](const B& b) {
      return [=, &b, d_x = std::make_shared<Numbers>(m * d), d_y = std::make_shared<Numbers>(m * d),
              x = std::make_shared<Numbers>(m * d, 2.0)] {
        b.gelu_backward(d_x->matrix(m, d), d_y->matrix(m, d), x->matrix(m, d));
      };
    });
    add("residual_forward" + shape, {.bytes = 3 * bytes}, [=](const B& b) {
      return [=, &b, out = std::make_shared<Numbers>(m * d), x = std::make_shared<Numbers>(m * d),
              branch = std::make_shared<Numbers>(m * d)] {
        b.residual_forward(out->matrix(m, d), x->matrix(m, d), branch->matrix(m, d), {}, {});
      };
    });
    add_fused(m, d);
  }

  /// Optional operations, where the backend has them.
  void add_fused(Index m, Index d) {
    const std::string shape = "/rows:" + std::to_string(m) + "/width:" + std::to_string(d);
    const double bytes = 4.0 * static_cast<double>(m * d);
    if constexpr (dssl::GeluAgain<B>) {
      add("gelu_again_backward" + shape, {.bytes = 4 * bytes}, [=](const B& b) {
        return [=, &b, y = std::make_shared<Numbers>(m * d), d_x = std::make_shared<Numbers>(m * d),
                d_y = std::make_shared<Numbers>(m * d, 1e-3), x = std::make_shared<Numbers>(m * d, 2.0),
                d_b = std::make_shared<Numbers>(d)] {
          b.gelu_again_backward(y->matrix(m, d), d_x->matrix(m, d), d_b->vector(), d_y->matrix(m, d), x->matrix(m, d));
        };
      });
    }
    if constexpr (dssl::ResidualNorms<B>) {
      add("residual_norm_forward" + shape, {.bytes = 4 * bytes}, [=](const B& b) {
        return [=, &b, out = std::make_shared<Numbers>(m * d), y = std::make_shared<Numbers>(m * d),
                x = std::make_shared<Numbers>(m * d), branch = std::make_shared<Numbers>(m * d),
                w = std::make_shared<Numbers>(d), bias = std::make_shared<Numbers>(d),
                mean = std::make_shared<Numbers>(m), std = std::make_shared<Numbers>(m)] {
          b.residual_norm_forward(out->matrix(m, d), {y->matrix(m, d), mean->vector(), std->vector()}, x->matrix(m, d),
                                  branch->matrix(m, d), {}, {}, w->vector(), bias->vector(), 1e-6);
        };
      });
      add("norm_residual_backward" + shape, {.bytes = 5 * bytes}, [=](const B& b) {
        return [=, &b, d_x = std::make_shared<Numbers>(m * d), d_y = std::make_shared<Numbers>(m * d, 1e-3),
                d_branch = std::make_shared<Numbers>(m * d), x = std::make_shared<Numbers>(m * d),
                w = std::make_shared<Numbers>(d), d_w = std::make_shared<Numbers>(d),
                d_b = std::make_shared<Numbers>(d), d_bb = std::make_shared<Numbers>(d),
                mean = std::make_shared<Numbers>(m, 0.1), std = std::make_shared<Numbers>(m, 0.1, 1.0)] {
          b.norm_residual_backward(d_x->matrix(m, d), d_w->vector(), d_b->vector(), d_branch->matrix(m, d),
                                   d_bb->vector(), d_y->matrix(m, d), {}, x->matrix(m, d), mean->vector(),
                                   std->vector(), w->vector(), {});
        };
      });
    }
  }

  /// Rows [0, count) in an order of their own, without repeats.
  static std::shared_ptr<std::vector<std::int32_t>> shuffled_rows(Index count) {
    auto rows = std::make_shared<std::vector<std::int32_t>>(static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < rows->size(); ++i) (*rows)[i] = static_cast<std::int32_t>(i);
    std::shuffle(rows->begin(), rows->end(), std::minstd_rand(7));
    return rows;
  }
  static dssl::RowIndex index(const std::vector<std::int32_t>& rows) {
    return dssl::RowIndex(rows.data(), static_cast<Index>(rows.size()));
  }

  void add_memory(Index n) {
    const std::string shape = "/values:" + std::to_string(n);
    const double bytes = static_cast<double>(sizeof(T)) * static_cast<double>(n);
    add("fill" + shape, {.bytes = bytes},
        [=](const B& b) { return [&b, x = std::make_shared<Numbers>(n)] { b.fill(x->vector(), T{1}); }; });
    add("copy" + shape, {.bytes = 2 * bytes}, [=](const B& b) {
      return [&b, y = std::make_shared<Numbers>(n), x = std::make_shared<Numbers>(n)] {
        b.copy(y->vector(), x->vector());
      };
    });
    add("accumulate" + shape, {.bytes = 3 * bytes}, [=](const B& b) {
      return [&b, y = std::make_shared<Numbers>(n), x = std::make_shared<Numbers>(n, 1e-6)] {
        b.accumulate(y->vector(), x->vector());
      };
    });
  }

  void add_rows_of(Index m, Index d) {
    const std::string shape = "/rows:" + std::to_string(m) + "/width:" + std::to_string(d);
    const double bytes = static_cast<double>(sizeof(T)) * static_cast<double>(m * d);
    add("residual_backward" + shape, {.bytes = 2 * bytes}, [=](const B& b) {
      return [=, &b, d_branch = std::make_shared<Numbers>(m * d), d_out = std::make_shared<Numbers>(m * d)] {
        b.residual_backward(d_branch->matrix(m, d), d_out->matrix(m, d), {}, {});
      };
    });
    add("copy_rows" + shape, {.bytes = 2 * bytes}, [=](const B& b) {
      return [=, &b, y = std::make_shared<Numbers>(m * d), x = std::make_shared<Numbers>(m * d),
              rows = shuffled_rows(m)] { b.copy_rows(y->matrix(m, d), {}, x->matrix(m, d), index(*rows)); };
    });
    add("add_rows" + shape, {.bytes = 3 * bytes}, [=](const B& b) {
      return [=, &b, y = std::make_shared<Numbers>(m * d), x = std::make_shared<Numbers>(m * d, 1e-6),
              rows = shuffled_rows(m)] { b.add_rows(y->matrix(m, d), index(*rows), x->matrix(m, d), {}); };
    });
    add("l2_normalise_forward" + shape, {.bytes = 2 * bytes}, [=](const B& b) {
      return [=, &b, y = std::make_shared<Numbers>(m * d), x = std::make_shared<Numbers>(m * d),
              norm = std::make_shared<Numbers>(m)] {
        b.l2_normalise_forward(y->matrix(m, d), norm->vector(), x->matrix(m, d), 1e-12);
      };
    });
    add("l2_normalise_backward" + shape, {.bytes = 3 * bytes}, [=](const B& b) {
      return [=, &b, d_x = std::make_shared<Numbers>(m * d), d_y = std::make_shared<Numbers>(m * d),
              y = std::make_shared<Numbers>(m * d, 0.05), norm = std::make_shared<Numbers>(m, 0.1, 10.0)] {
        b.l2_normalise_backward(d_x->matrix(m, d), d_y->matrix(m, d), y->matrix(m, d), norm->vector(), 1e-12);
      };
    });
  }

  void add_inputs(Index images, Index side, Index patch, Index width, Index points) {
    const Index grid = side / patch;
    const Index cells = grid * grid;
    const Index patches = images * cells;
    const Index values = 3 * patch * patch;
    const std::string shape = "/images:" + std::to_string(images) + "/side:" + std::to_string(side);
    add("unfold_patches" + shape,
        {.bytes = 2.0 * static_cast<double>(sizeof(T)) * static_cast<double>(patches * values)},
        [=](const B& b) {
          return [=, &b, y = std::make_shared<Numbers>(patches * values),
                  x = std::make_shared<Numbers>(patches * values)] {
            b.unfold_patches(y->matrix(patches, values),
                             dssl::TensorView<const T, 4>(x->data(), images, 3, side, side), patch);
          };
        });
    const auto taps = std::make_shared<std::vector<dssl::Taps<T>>>();
    for (Index i = 0; i < points; ++i) {
      const double at = static_cast<double>(i) / static_cast<double>(points);
      taps->push_back(dssl::point_read<T>({2 * at - 1, 1 - 2 * at}, {grid, grid}));
    }
    const dssl::VectorView<const dssl::Taps<T>> reads(taps->data(), points);
    const std::string sampled = "/points:" + std::to_string(points) + "/width:" + std::to_string(width);
    const double bytes = static_cast<double>(sizeof(T)) * static_cast<double>((cells + points) * width);
    add("sample_rows_forward" + sampled, {.bytes = bytes}, [=](const B& b) {
      return [=, &b, keep = taps, y = std::make_shared<Numbers>(points * width),
              x = std::make_shared<Numbers>(cells * width)] {
        b.sample_rows_forward(y->matrix(points, width), x->matrix(cells, width), reads);
      };
    });
    add("sample_rows_backward" + sampled, {.bytes = bytes}, [=](const B& b) {
      return [=, &b, keep = taps, d_table = std::make_shared<Numbers>(cells * width),
              d_y = std::make_shared<Numbers>(points * width, 1e-6)] {
        b.sample_rows_backward(d_table->matrix(cells, width), d_y->matrix(points, width), reads);
      };
    });
  }

  void add_loss(Index m, Index p) {
    const std::string shape = "/rows:" + std::to_string(m) + "/prototypes:" + std::to_string(p);
    const double bytes = 4.0 * static_cast<double>(m * p);
    add("centred_softmax" + shape, {.bytes = 2 * bytes}, [=](const B& b) {
      return [=, &b, out = std::make_shared<Numbers>(m * p), t = std::make_shared<Numbers>(m * p, 0.2),
              c = std::make_shared<Numbers>(p, 0.01)] {
        b.centred_softmax(out->matrix(m, p), t->matrix(m, p), c->vector(), 0.04);
      };
    });
    add("cross_entropy" + shape, {.bytes = 4 * bytes}, [=](const B& b) {
      const auto rows = std::make_shared<std::vector<dssl::TargetRows>>();
      for (Index i = 0; i < m; ++i)
        rows->push_back({static_cast<std::int32_t>(i), static_cast<std::int32_t>((i + 1) % m)});
      return
          [=, &b, loss = std::make_shared<Numbers>(m), d = std::make_shared<Numbers>(m * p),
           x = std::make_shared<Numbers>(m * p, 0.2),
           t = std::make_shared<Numbers>(m * p, 0.1 / static_cast<double>(p), 1.0 / static_cast<double>(p))] {
            b.cross_entropy(loss->vector(), d->matrix(m, p), x->matrix(m, p), t->matrix(m, p),
                            dssl::VectorView<const dssl::TargetRows>(rows->data(), m), 0.1, 1.0);
          };
    });
    add("add_column_sum" + shape, {.bytes = bytes}, [=](const B& b) {
      return
          [=, &b, sum = std::make_shared<Numbers>(p), x = std::make_shared<Numbers>(m * p, 1e-3),
           rows = shuffled_rows(m)] { b.add_column_sum(sum->vector(), x->matrix(m, p), index(*rows), 1e-3); };
    });
    add("row_entropy" + shape, {.bytes = bytes}, [=](const B& b) {
      return
          [=, &b, out = std::make_shared<Numbers>(m),
           x = std::make_shared<Numbers>(m * p, 0.1 / static_cast<double>(p), 1.0 / static_cast<double>(p))] {
            b.row_entropy(out->vector(), x->matrix(m, p));
          };
    });
  }

  void add_parameters(Index n, Index rows, Index width) {
    const auto segments = std::make_shared<std::vector<dssl::Segment>>();
    for (Index at = 0; at < n; at += 589'824) {
      segments->push_back(
          {.offset = at, .size = std::min(n - at, Index{589'824}), .decayed = true, .adapted = true});
    }
    const auto norms = std::make_shared<std::vector<double>>(segments->size(), 4.0);
    const std::string shape = "/parameters:" + std::to_string(n);
    const double bytes = 4.0 * static_cast<double>(n);
    const auto count = static_cast<Index>(segments->size());
    add("squared_norms" + shape, {.bytes = bytes}, [=](const B& b) {
      return [=, &b, g = std::make_shared<Numbers>(n)] {
        b.squared_norms({norms->data(), {count}}, g->vector(), {segments->data(), {count}});
      };
    });
    add("adamw_step" + shape, {.bytes = 7 * bytes}, [=](const B& b) {
      return [=, &b, w = std::make_shared<Numbers>(n), m = std::make_shared<Numbers>(n, 0.01),
              v = std::make_shared<Numbers>(n, 0.001, 0.01), g = std::make_shared<Numbers>(n, 0.01)] {
        b.adamw_step(w->vector(), m->vector(), v->vector(), g->vector(), {norms->data(), {count}},
                     {segments->data(), {count}},
                     dssl::AdamWStep{.learning_rate = 1e-5,
                                     .weight_decay = 0.04,
                                     .step = 1000,
                                     .prototype_step = 900,
                                     .clip = 3.0});
      };
    });
    const dssl::MomentumStep momentum_step{.learning_rate = 1e-5, .weight_decay = 0.04, .clip = 3.0};
    add("sgd_step" + shape, {.bytes = 5 * bytes}, [=](const B& b) {
      return [=, &b, w = std::make_shared<Numbers>(n), m = std::make_shared<Numbers>(n, 0.01),
              g = std::make_shared<Numbers>(n, 0.01)] {
        b.sgd_step(w->vector(), m->vector(), g->vector(), {norms->data(), {count}},
                   {segments->data(), {count}}, momentum_step);
      };
    });
    add("lars_step" + shape, {.bytes = 7 * bytes}, [=](const B& b) {
      return [=, &b, w = std::make_shared<Numbers>(n), m = std::make_shared<Numbers>(n, 0.01),
              g = std::make_shared<Numbers>(n, 0.01)] {
        b.lars_step(w->vector(), m->vector(), g->vector(), {norms->data(), {count}},
                    {segments->data(), {count}}, momentum_step);
      };
    });
    add("lerp" + shape, {.bytes = 3 * bytes}, [=](const B& b) {
      return [=, &b, y = std::make_shared<Numbers>(n), x = std::make_shared<Numbers>(n)] {
        b.lerp(y->vector(), x->vector(), 0.996);
      };
    });
    const std::string matrix = "/prototypes:" + std::to_string(rows) + "/width:" + std::to_string(width);
    const double matrix_bytes = 4.0 * static_cast<double>(rows * width);
    add("weight_norm_forward" + matrix, {.bytes = 2 * matrix_bytes}, [=](const B& b) {
      return [=, &b, w = std::make_shared<Numbers>(rows * width), v = std::make_shared<Numbers>(rows * width),
              norm = std::make_shared<Numbers>(rows)] {
        b.weight_norm_forward(w->matrix(rows, width), norm->vector(), v->matrix(rows, width), {});
      };
    });
    add("weight_norm_backward" + matrix, {.bytes = 4 * matrix_bytes}, [=](const B& b) {
      return [=, &b, d_v = std::make_shared<Numbers>(rows * width),
              d_w = std::make_shared<Numbers>(rows * width, 1e-3),
              v = std::make_shared<Numbers>(rows * width), norm = std::make_shared<Numbers>(rows, 0.1, 9.0)] {
        b.weight_norm_backward(d_v->matrix(rows, width), {}, d_w->matrix(rows, width), v->matrix(rows, width),
                               {}, norm->vector());
      };
    });
  }

  std::string x_name;
};

const bool registered = [] {
  Cases<dssl::Cpu>("Cpu").register_all();
  return true;
}();

}  // namespace
