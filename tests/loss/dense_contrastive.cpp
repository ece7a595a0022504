// DenseCL over several steps against its public code's numbers: matches, both losses, both queues.
#include <cstdint>
#include <string>
#include <vector>

#include "catch.hpp"
#include "loss/map_rows.hpp"
#include "loss/term_check.hpp"

#include <dssl/loss/dense_contrastive.hpp>

using namespace dssl;
using namespace dssl::test;

TEST_CASE("DenseCL's matches, losses and queues over several steps are the published ones", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    using T = typename B::Scalar;
    const ObjectiveFixture fixture("densecl");
    const auto& config = fixture.config();
    const auto size = [&](const char* name) { return config.template get<Index>(name); };
    const Index images = size("batch"), channels = size("channels"), hidden = size("hidden"), dim = size("dim");
    const Index patches = size("height") * size("width"), keys = size("queue");
    const auto temperature = config.template get<double>("temperature");
    const auto lambda = config.template get<double>("loss_lambda");
    Memory<B> memory(backend);

    // A head: two layers, whose hidden values and gradients are kept; of pooled features, or of every patch.
    struct Head {
      std::string name;
      Index rows = 0;
      std::vector<MatrixView<T>> weights, d_weights;  // weight, bias, weight, bias
      MatrixView<T> hidden, d_hidden, out, d_out, d_x;

      [[nodiscard]] std::string tensor(std::size_t weight) const {
        return name + (weight < 2 ? ".0" : ".2") + (weight % 2 == 0 ? ".weight" : ".bias");
      }
    };
    const auto head_of = [&](const std::string& of, const std::string& name, Index rows) {
      Head head;
      head.name = name;
      head.rows = rows;
      for (const char* layer : {".0", ".2"}) {
        for (const char* tensor : {".weight", ".bias"}) {
          const std::string full = of + ".before." + name + layer + tensor;
          const auto values = fixture.file().template read<T>(full);
          const bool bias = std::string(tensor) == ".bias";
          const Index cols = bias ? fixture.extent(full, 0) : fixture.extent(full, 1);
          head.weights.push_back(memory.matrix(values, cols));
        }
      }
      head.hidden = memory.zeros(rows, hidden);
      head.d_hidden = memory.zeros(rows, hidden);
      head.out = memory.zeros(rows, dim);
      head.d_x = memory.zeros(rows, channels);
      return head;
    };
    const auto forward = [&](Head& head, MatrixView<const T> x) {
      backend.linear_forward(head.hidden, x, head.weights[0], numbers_of(head.weights[1]));
      backend.relu_forward(head.hidden, head.hidden);
      backend.linear_forward(head.out, head.hidden, head.weights[2], numbers_of(head.weights[3]));
      head.d_out = memory.zeros(head.rows, dim);
      head.d_weights.clear();
      for (const auto& w : head.weights) head.d_weights.push_back(memory.zeros(w.rows(), w.cols()));
    };
    const auto backward = [&](Head& head, MatrixView<const T> x) {
      backend.linear_backward_weight(head.d_weights[2], numbers_of(head.d_weights[3]), head.d_out, head.hidden);
      backend.linear_backward_input(head.d_hidden, head.d_out, head.weights[2]);
      backend.relu_backward(head.d_hidden, head.d_hidden, head.hidden);
      backend.linear_backward_weight(head.d_weights[0], numbers_of(head.d_weights[1]), head.d_hidden, x);
      backend.linear_backward_input(head.d_x, head.d_hidden, head.weights[0]);
    };
    const Index rows = images * patches;
    Head query = head_of("query", "mlp", images), query_dense = head_of("query", "mlp2", rows);
    Head key = head_of("key", "mlp", images), key_dense = head_of("key", "mlp2", rows);

    auto queue = memory.buffers([&](Arena& arena) { return KeyQueue<T>::take(arena, keys, dim); });
    auto queue_dense = memory.buffers([&](Arena& arena) { return KeyQueue<T>::take(arena, keys, dim); });
    queue.rows = memory.matrix(fixture.file(), "queue.before");
    queue_dense.rows = memory.matrix(fixture.file(), "queue2.before");
    const auto unit = [&](Index count, Index width) {
      return memory.buffers([&](Arena& arena) { return UnitRows<T>::take(arena, count, width); });
    };
    const auto key_unit = unit(images, dim), key_patches = unit(rows, dim), pooled_unit = unit(images, dim);
    const auto matches = memory.buffers([&](Arena& arena) { return MatchBuffers<T>::take(arena, patches, channels); });
    const auto match = memory.buffers([&](Arena& arena) { return arena.matrix<std::int32_t>(images, patches); });
    const auto single = memory.buffers([&](Arena& arena) { return QueueContrastBuffers<T>::take(arena, images, keys, dim); });
    const auto dense = memory.buffers([&](Arena& arena) { return QueueContrastBuffers<T>::take(arena, rows, keys, dim); });
    const auto matched = memory.zeros(rows, dim);
    const auto mean_of_patches = [&](MatrixView<T> out, MatrixView<const T> map) {
      backend.fill(numbers_of(out), T{0});
      for (Index b = 0; b < images; ++b) {
        backend.add_column_sum(numbers_of(out.rows(b, 1)), map.rows(b * patches, patches), {}, 1.0 / static_cast<double>(patches));
      }
    };
    for (Index step = 0; step < size("steps"); ++step) {
      const auto name = [&](const std::string& tensor) { return std::to_string(step) + "." + tensor; };
      for (const auto& [teacher, student] : {std::pair{&key, &query}, {&key_dense, &query_dense}}) {
        for (std::size_t w = 0; w < 4; ++w) {
          backend.lerp(numbers_of(teacher->weights[w]), numbers_of(student->weights[w]), config.template get<double>("momentum"));
        }
      }
      const auto rows_of = [&](const char* map) {
        return memory.matrix(transposed(fixture.file().template read<T>(name(map)), images, channels, patches), channels);
      };
      const auto query_map = rows_of("query_map"), key_map = rows_of("key_map");
      const auto query_pooled = memory.zeros(images, channels), key_pooled = memory.zeros(images, channels);
      mean_of_patches(query_pooled, query_map);
      mean_of_patches(key_pooled, key_map);
      forward(key, key_pooled);
      forward(key_dense, key_map);
      key_unit.forward(backend, key.out, unit_epsilon);
      key_patches.forward(backend, key_dense.out, unit_epsilon);
      forward(query, query_pooled);
      forward(query_dense, query_map);

      match_patches(backend, matches, match, query_map, key_map);
      const auto found = memory.read(match);
      CHECK(std::vector<std::int64_t>(found.begin(), found.end()) == fixture.file().template read<std::int64_t>(name("match")));
      gather_matched(backend, matched, key_patches.unit, match);
      const auto value = memory.zeros(2);
      queue_contrast_loss(backend, single, VectorView<T>(value.data(), 1), query.d_out, query.out, key_unit.unit,
                          queue.rows, temperature, 1 - lambda);
      queue_contrast_loss(backend, dense, VectorView<T>(value.data() + 1, 1), query_dense.d_out, query_dense.out, matched,
                          queue_dense.rows, temperature, lambda);
      const auto terms = memory.read(value);
      const T of_single = static_cast<T>(1 - lambda) * terms[0], of_dense = static_cast<T>(lambda) * terms[1];
      fixture.expect(name("loss"), std::vector<T>{of_single + of_dense, of_single, of_dense});
      backward(query, query_pooled);
      backward(query_dense, query_map);
      for (const Head* head : {&query, &query_dense}) {
        for (std::size_t w = 0; w < 4; ++w) fixture.expect(name("grad." + head->tensor(w)), memory.read(head->d_weights[w]));
      }
      // Each patch is one of the mean's.
      for (Index b = 0; b < images; ++b) {
        for (Index p = 0; p < patches; ++p) {
          backend.add_scaled(numbers_of(query_dense.d_x.rows(b * patches + p, 1)), numbers_of(query.d_x.rows(b, 1)),
                             1.0 / static_cast<double>(patches));
        }
      }
      fixture.expect(name("d_query_map"), transposed(memory.read(query_dense.d_x), images, patches, channels));

      const auto pooled = memory.zeros(images, dim);
      mean_of_patches(pooled, key_dense.out);
      pooled_unit.forward(backend, pooled, unit_epsilon);
      queue.enqueue(backend, key_unit.unit);
      queue_dense.enqueue(backend, pooled_unit.unit);
      fixture.expect(name("queue.after"), memory.read(queue.rows));
      fixture.expect(name("queue2.after"), memory.read(queue_dense.rows));
      CHECK(std::vector<std::int64_t>{queue.pointer, queue_dense.pointer} ==
            fixture.file().template read<std::int64_t>(name("pointer.after")));
    }
    for (const Head* head : {&key, &key_dense}) {
      for (std::size_t w = 0; w < 4; ++w) fixture.expect("key.after." + head->tensor(w), memory.read(head->weights[w]));
    }
  });
}
