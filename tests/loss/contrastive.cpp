// NT-Xent, MoCo v3's InfoNCE and MoCo v2's with a queue against their public code's numbers.
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "loss/term_check.hpp"
#include "thrown.hpp"

#include <dssl/core/random.hpp>
#include <dssl/loss/contrastive.hpp>

using namespace dssl;
using namespace dssl::test;

TEST_CASE("NT-Xent is the published one", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    using T = typename B::Scalar;
    const ObjectiveFixture fixture("simclr_ntxent");
    const auto factor = static_cast<T>(fixture.config().template get<double>("repository_factor"));
    for (const auto& [run, options] : fixture.config().json().at("runs").items()) {
      Memory<B> memory(backend);
      const auto z1 = fixture.file().template read<T>(run + ".z.1");
      const auto z2 = fixture.file().template read<T>(run + ".z.2");
      std::vector<T> both = z1;
      both.insert(both.end(), z2.begin(), z2.end());
      const Index images = fixture.extent(run + ".z.1", 0), width = fixture.extent(run + ".z.1", 1);
      const auto buffers = memory.buffers([&](Arena& arena) { return NtXentBuffers<T>::take(arena, images, width); });
      buffers.begin(backend);
      const auto value = memory.zeros(1);
      const auto d_z = memory.zeros(2 * images, width);
      nt_xent_loss(backend, buffers, value, d_z, memory.matrix(both, width), options.at("temperature").template get<double>(),
                   factor);
      fixture.expect(run + ".loss_mean", memory.read(value));
      fixture.expect(run + ".loss", std::vector<T>{factor * memory.read(value)[0]});
      const std::string of_processes = run + ".loss_mean_each_process";
      if (fixture.file().contains(of_processes)) {
        // Each process has its own rows, a share of both views' images, and all columns.
        const Index processes = fixture.extent(of_processes, 0), share = images / processes;
        const auto rows = memory.read(buffers.loss);
        std::vector<T> means(static_cast<std::size_t>(processes), T{0});
        for (std::size_t row = 0; row < rows.size(); ++row) {
          means[row % static_cast<std::size_t>(images) / static_cast<std::size_t>(share)] += rows[row] / static_cast<T>(2 * share);
        }
        fixture.expect(of_processes, means);
      }
      fixture.expect(run + ".d_z.1", memory.read(d_z.rows(0, images)));
      fixture.expect(run + ".d_z.2", memory.read(d_z.rows(images, images)));
    }
  });
}

TEST_CASE("MoCo v3's InfoNCE is the published one", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    using T = typename B::Scalar;
    const ObjectiveFixture fixture("mocov3_loss");
    Memory<B> memory(backend);
    const auto load = [&](const char* tensor) { return memory.matrix(fixture.file(), tensor); };
    const auto q1 = load("query.1"), q2 = load("query.2"), k1 = load("key.1"), k2 = load("key.2");
    const auto buffers = memory.buffers(
        [&](Arena& arena) { return InfoNceBuffers<T>::take(arena, q1.rows(), k1.rows(), q1.cols()); });
    const auto value = memory.zeros(2);
    const auto d1 = memory.zeros(q1.rows(), q1.cols()), d2 = memory.zeros(q2.rows(), q2.cols());
    const auto temperature = fixture.config().template get<double>("temperature");
    info_nce_loss(backend, buffers, VectorView<T>(value.data(), 1), d1, q1, k2, {}, temperature);
    info_nce_loss(backend, buffers, VectorView<T>(value.data() + 1, 1), d2, q2, k1, {}, temperature);
    const auto each = memory.read(value);
    fixture.expect("loss", std::vector<T>{each[0] + each[1], each[0], each[1]});
    fixture.expect("d_query.1", memory.read(d1));
    fixture.expect("d_query.2", memory.read(d2));
  });
}

// The published module's two-layer head, forward and back; what is held to the numbers is the loss and the queue.
TEST_CASE("MoCo v2's loss and its queue over several steps are the published ones", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    using T = typename B::Scalar;
    const ObjectiveFixture fixture("mocov2");
    const auto& config = fixture.config();
    Memory<B> memory(backend);
    const auto batch = config.template get<Index>("batch"), keys = config.template get<Index>("queue");
    const auto width = config.template get<Index>("width"), dim = config.template get<Index>("dim");
    const auto temperature = config.template get<double>("temperature");
    struct Layer {
      MatrixView<T> weight, bias;
    };
    const auto head = [&](const std::string& of) {
      std::vector<Layer> layers;
      for (const char* layer : {".before.fc.0", ".before.fc.2"}) {
        layers.push_back({memory.matrix(fixture.file(), of + layer + ".weight"), memory.matrix(fixture.file(), of + layer + ".bias")});
      }
      return layers;
    };
    const auto query = head("query");
    auto key = head("key");
    const auto hidden = memory.zeros(batch, width), d_hidden = memory.zeros(batch, width), out = memory.zeros(batch, dim);
    const auto key_unit = memory.buffers([&](Arena& arena) { return UnitRows<T>::take(arena, batch, dim); });
    const auto forward = [&](const std::vector<Layer>& layers, MatrixView<const T> x) {
      backend.linear_forward(hidden, x, layers[0].weight, numbers_of(layers[0].bias));
      backend.relu_forward(hidden, hidden);
      backend.linear_forward(out, hidden, layers[1].weight, numbers_of(layers[1].bias));
    };
    auto queue = memory.buffers([&](Arena& arena) { return KeyQueue<T>::take(arena, keys, dim); });
    queue.rows = memory.matrix(fixture.file(), "queue.before");
    const auto buffers = memory.buffers([&](Arena& arena) { return QueueContrastBuffers<T>::take(arena, batch, keys, dim); });
    for (Index step = 0; step < config.template get<Index>("steps"); ++step) {
      const auto name = [&](const std::string& tensor) { return std::to_string(step) + "." + tensor; };
      // Before the keys are computed the teacher follows.
      for (std::size_t layer = 0; layer < 2; ++layer) {
        const auto m = config.template get<double>("momentum");
        backend.lerp(numbers_of(key[layer].weight), numbers_of(query[layer].weight), m);
        backend.lerp(numbers_of(key[layer].bias), numbers_of(query[layer].bias), m);
      }
      forward(key, memory.matrix(fixture.file(), name("key_in")));
      key_unit.forward(backend, out, unit_epsilon);
      const auto x = memory.matrix(fixture.file(), name("query_in"));
      forward(query, x);
      const auto value = memory.zeros(1);
      const auto d_out = memory.zeros(batch, dim), d_x = memory.zeros(batch, width);
      queue_contrast_loss(backend, buffers, value, d_out, out, key_unit.unit, queue.rows, temperature);
      fixture.expect(name("loss"), memory.read(value));
      std::vector<Layer> d;
      for (const Layer& layer : query) {
        d.push_back({memory.zeros(layer.weight.rows(), layer.weight.cols()), memory.zeros(1, layer.bias.cols())});
      }
      backend.linear_backward_weight(d[1].weight, numbers_of(d[1].bias), d_out, hidden);
      backend.linear_backward_input(d_hidden, d_out, query[1].weight);
      backend.relu_backward(d_hidden, d_hidden, hidden);
      backend.linear_backward_weight(d[0].weight, numbers_of(d[0].bias), d_hidden, x);
      backend.linear_backward_input(d_x, d_hidden, query[0].weight);
      fixture.expect(name("d_query_in"), memory.read(d_x));
      for (std::size_t layer = 0; layer < 2; ++layer) {
        const std::string of = "fc." + std::to_string(2 * layer);
        fixture.expect(name("grad." + of + ".weight"), memory.read(d[layer].weight));
        fixture.expect(name("grad." + of + ".bias"), memory.read(d[layer].bias));
        fixture.expect(name("key.after." + of + ".weight"), memory.read(key[layer].weight));
        fixture.expect(name("key.after." + of + ".bias"), memory.read(key[layer].bias));
      }
      // The logits that the loss saw, the positive in front.
      const auto logits = memory.zeros(batch, keys), positive = memory.zeros(1, batch);
      backend.linear_forward(logits, buffers.query.unit, queue.rows, {});
      backend.row_dots(numbers_of(positive), buffers.query.unit, key_unit.unit);
      std::vector<T> together;
      const auto rest = memory.read(logits), first = memory.read(positive);
      for (Index b = 0; b < batch; ++b) {
        together.push_back(first[static_cast<std::size_t>(b)]);
        for (Index k = 0; k < keys; ++k) together.push_back(rest[static_cast<std::size_t>(b * keys + k)]);
      }
      for (T& v : together) v = static_cast<T>(static_cast<double>(v) / temperature);
      fixture.expect(name("logits"), together);

      queue.enqueue(backend, key_unit.unit);
      fixture.expect(name("queue.after"), memory.read(queue.rows));
      CHECK(queue.pointer == fixture.file().template read<std::int64_t>(name("pointer.after"))[0]);
    }
  });
}

TEST_CASE("gradients of contrastive losses", "[loss][gradients]") {
  check_term_gradients({normal_values(70, 1)}, 7, 1, 0.6,
                       [](const auto& backend, auto& memory, auto value, const auto& d, const auto& x) {
                         const auto buffers =
                             memory.buffers([](Arena& arena) { return NtXentBuffers<double>::take(arena, 5, 7); });
                         buffers.begin(backend);
                         nt_xent_loss(backend, buffers, value, d[0], x[0], 0.3, 0.6);
                       });
  const auto key = normal_values(63, 2);
  const std::vector<std::int32_t> labels{8, 2, 2, 0, 5};
  for (const bool labelled : {false, true}) {
    check_term_gradients({normal_values(35, 1)}, 7, 1, 0.6,
                         [&](const auto& backend, auto& memory, auto value, const auto& d, const auto& x) {
                           const auto buffers =
                               memory.buffers([](Arena& arena) { return InfoNceBuffers<double>::take(arena, 5, 9, 7); });
                           info_nce_loss(backend, buffers, value, d[0], x[0], memory.matrix(key, 7),
                                         labelled ? RowIndex(labels.data(), 5) : RowIndex{}, 0.3, 0.6);
                         });
  }
  const auto own = normal_values(35, 3, 0.4), queue = normal_values(77, 4, 0.4);
  check_term_gradients({normal_values(35, 1)}, 7, 1, 0.6,
                       [&](const auto& backend, auto& memory, auto value, const auto& d, const auto& x) {
                         const auto buffers = memory.buffers(
                             [](Arena& arena) { return QueueContrastBuffers<double>::take(arena, 5, 11, 7); });
                         queue_contrast_loss(backend, buffers, value, d[0], x[0], memory.matrix(own, 7),
                                             memory.matrix(queue, 7), 0.3, 0.6);
                       });
}

TEST_CASE("a queue of keys wraps in the middle of a batch, and refuses more keys than it holds", "[loss]") {
  const Reference<double> backend;
  Memory<Reference<double>> memory(backend);
  auto queue = memory.buffers([](Arena& arena) { return KeyQueue<double>::take(arena, 5, 1); });
  RandomStream random({.seed = 3});
  queue.begin(backend, random);
  for (const double v : memory.read(queue.rows)) CHECK(std::abs(v) == 1.0);
  queue.enqueue(backend, memory.matrix({1, 2, 3}, 1));
  CHECK(queue.pointer == 3);
  queue.enqueue(backend, memory.matrix({4, 5, 6}, 1));
  CHECK(memory.read(queue.rows) == std::vector<double>{6, 2, 3, 4, 5});
  CHECK(queue.pointer == 1);
  CHECK_THROWS_AS(queue.enqueue(backend, memory.zeros(6, 1)), ShapeError);
  CHECK_THROWS_AS(queue.enqueue(backend, memory.zeros(2, 2)), ShapeError);
}

TEST_CASE("rows of a contrast with a queue have their own weights: those at 0 no part, the others that of them alone", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    using T = typename B::Scalar;
    Memory<B> memory(backend);
    RandomStream random({.seed = 5});
    const auto drawn = [&](Index rows) {
      std::vector<T> out(static_cast<std::size_t>(3 * rows));
      for (T& v : out) v = static_cast<T>(random.normal());
      return memory.matrix(out, 3);
    };
    const auto query = drawn(5), key = drawn(5), queue = drawn(4);
    const auto run = [&](MatrixView<T> q, MatrixView<T> k, VectorView<const T> weights, double weight) {
      const auto buffers = memory.buffers([&](Arena& arena) { return QueueContrastBuffers<T>::take(arena, q.rows(), 4, 3); });
      const auto value = memory.zeros(1);
      const auto d = memory.zeros(q.rows(), 3);
      queue_contrast_loss(backend, buffers, value, d, q, k, queue, 0.3, weight, weights);
      return std::pair{memory.read(value)[0], memory.read(d)};
    };
    const auto half = memory.matrix({0, T{0.5}, T{0.5}, 0, 0}, 5), none = memory.zeros(1, 5);
    const auto [loss, d] = run(query, key, numbers_of(half), 0.7);
    const auto [alone, d_alone] = run(query.rows(1, 2), key.rows(1, 2), {}, 0.7);
    CHECK(loss == Approx(alone).epsilon(1e-5));
    for (std::size_t i = 0; i < d.size(); ++i) {
      if (i < 3 || i >= 9) {
        CHECK(d[i] == 0);
      } else {
        CHECK(d[i] == Approx(d_alone[i - 3]).epsilon(1e-4).margin(1e-6));
      }
    }
    const auto [of_none, d_none] = run(query, key, numbers_of(none), 0.7);
    CHECK(of_none == 0);
    CHECK(d_none == std::vector<T>(15, T{0}));
  });
}
