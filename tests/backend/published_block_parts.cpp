// SwiGLU and rotations of heads by themselves, against the numbers of DINOv2's and DINOv3's own code.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <vector>

#include "catch.hpp"
#include "loss/term_check.hpp"
#include "objective_fixture.hpp"

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/nn/block_parameters.hpp>

using namespace dssl;
using namespace dssl::test;

namespace {

/// Queries and keys, (B,H,N,d) in a file, as the rows (B N,3D) that heads are turned in, with zeros for the values.
template <class T>
std::vector<T> packed_heads(const ObjectiveFixture& fixture, const std::string& q, const std::string& k) {
  const Index batch = fixture.extent(q, 0), heads = fixture.extent(q, 1), tokens = fixture.extent(q, 2), d = fixture.extent(q, 3);
  std::vector<T> out(static_cast<std::size_t>(3 * batch * heads * tokens * d), T{0});
  for (const Index third : {0, 1}) {
    const auto values = fixture.file().read<T>(third == 0 ? q : k);
    for (Index i = 0; i < static_cast<Index>(values.size()); ++i) {
      const Index column = i % d, n = i / d % tokens, h = i / (d * tokens) % heads, b = i / (d * tokens * heads);
      out[static_cast<std::size_t>(((b * tokens + n) * 3 + third) * heads * d + h * d + column)] = values[static_cast<std::size_t>(i)];
    }
  }
  return out;
}

/// The way back: queries (third 0) or keys (1).
template <class T>
std::vector<T> heads_of(const std::vector<T>& rows, Index third, Index batch, Index heads, Index tokens, Index d) {
  std::vector<T> out;
  for (Index b = 0; b < batch; ++b) {
    for (Index h = 0; h < heads; ++h) {
      for (Index n = 0; n < tokens; ++n) {
        const auto begin = rows.begin() + ((b * tokens + n) * 3 + third) * heads * d + h * d;
        out.insert(out.end(), begin, begin + d);
      }
    }
  }
  return out;
}

}  // namespace

TEST_CASE("SwiGLU alone gives the published numbers, and its width is the published one") {
  const ObjectiveFixture fixture("swiglu");
  const auto sizes = fixture.file().read<std::int64_t>("sizes");  // asked, made
  for (std::size_t i = 0; i < sizes.size(); i += 2) CHECK(swiglu_hidden(sizes[i]) == sizes[i + 1]);
  on_backends([&fixture](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    using T = typename B::Scalar;
    Memory<B> memory(backend);
    const auto x = memory.matrix(fixture.file(), "in"), d_out = memory.matrix(fixture.file(), "d_out");
    const auto w12 = memory.matrix(fixture.file(), "weight.w12.weight"), w3 = memory.matrix(fixture.file(), "weight.w3.weight");
    const auto bias = [&](const char* name, Index size) {
      return VectorView<const T>(memory.matrix(fixture.file(), name).data(), size);
    };
    const Index rows = x.rows(), hidden = w3.cols();
    const auto gated = memory.zeros(rows, 2 * hidden), y = memory.zeros(rows, hidden), out = memory.zeros(rows, x.cols());
    const auto d_y = memory.zeros(rows, hidden), d_x = memory.zeros(rows, x.cols());
    const auto d_w12 = memory.zeros(2 * hidden, x.cols()), d_w3 = memory.zeros(x.cols(), hidden);
    const auto d_b12 = memory.zeros(2 * hidden), d_b3 = memory.zeros(x.cols());
    backend.linear_forward(gated, x, w12, bias("weight.w12.bias", 2 * hidden));
    backend.swiglu_forward(y, gated);
    backend.linear_forward(out, y, w3, bias("weight.w3.bias", x.cols()));
    fixture.expect("out", memory.read(out));
    backend.linear_backward_input(d_y, d_out, w3);
    backend.fill(VectorView<T>(y.data(), y.size()), T{0});
    backend.swiglu_again_backward(y, gated, d_y, gated);  // the activations once more, and over what made them
    backend.linear_backward_weight(d_w3, d_b3, d_out, y);
    backend.linear_backward_weight(d_w12, d_b12, gated, x);
    backend.linear_backward_input(d_x, gated, w12);
    fixture.expect("d_in", memory.read(d_x));
    fixture.expect("grad.w12.weight", memory.read(d_w12));
    fixture.expect("grad.w12.bias", memory.read(d_b12));
    fixture.expect("grad.w3.weight", memory.read(d_w3));
    fixture.expect("grad.w3.bias", memory.read(d_b3));
  });
}

TEST_CASE("heads are turned by coordinates as published, there and back") {
  const ObjectiveFixture fixture("rope");
  const Index prefix = fixture.config().get<Index>("prefix");
  for (const auto& [run, settings] : fixture.config().json().at("runs").items()) {
    const auto sides = settings.at("grid").get<std::vector<Index>>();
    const auto normalised = settings.at("normalize_coords").get<std::string>();
    const Index largest = std::max(sides[0], sides[1]), smallest = std::min(sides[0], sides[1]);
    const auto extent = [&](Index side) { return normalised == "max" ? largest : normalised == "min" ? smallest : side; };
    std::vector<double> coordinates;
    for (Index i = 0; i < sides[0]; ++i) {
      for (Index j = 0; j < sides[1]; ++j) {
        coordinates.push_back((2 * static_cast<double>(i) + 1) / static_cast<double>(extent(sides[0])) - 1);
        coordinates.push_back((2 * static_cast<double>(j) + 1) / static_cast<double>(extent(sides[1])) - 1);
      }
    }
    const std::string at = run + ".";
    const Index batch = fixture.extent(at + "q", 0), heads = fixture.extent(at + "q", 1), tokens = fixture.extent(at + "q", 2);
    const Index d = fixture.extent(at + "q", 3), patches = sides[0] * sides[1], rows = batch * tokens;
    REQUIRE(tokens == prefix + patches);
    on_backends([&](const auto& backend) {
      using B = std::decay_t<decltype(backend)>;
      using T = typename B::Scalar;
      Memory<B> memory(backend);
      const auto turns = memory.zeros(patches, d);
      const std::vector<T> points(coordinates.begin(), coordinates.end());
      backend.rotation_rows(turns, memory.matrix(points, 2),
                            VectorView<const T>(memory.matrix(fixture.file(), at + "periods").data(), d / 4));
      std::vector<T> cosines, sines;  // tiled twice in the file
      const auto found = memory.read(turns);
      for (Index p = 0; p < patches; ++p) {
        for (Index j = 0; j < d; ++j) {
          cosines.push_back(found[static_cast<std::size_t>(p * d + j % (d / 2))]);
          sines.push_back(found[static_cast<std::size_t>(p * d + d / 2 + j % (d / 2))]);
        }
      }
      fixture.expect(at + "cos", cosines);
      fixture.expect(at + "sin", sines);

      const auto places = memory.buffers([&](Arena& arena) { return arena.vector<std::int32_t>(rows); });
      std::vector<std::int32_t> host(static_cast<std::size_t>(rows), -1);
      for (Index row = 0; row < rows; ++row) {
        if (row % tokens >= prefix) host[static_cast<std::size_t>(row)] = static_cast<std::int32_t>(row % tokens - prefix);
      }
      backend.upload(places.data(), std::span<const std::int32_t>(host));
      const auto turned = [&](const std::string& q, const std::string& k, double direction) {
        const auto x = memory.matrix(packed_heads<T>(fixture, at + q, at + k), 3 * heads * d);
        backend.rotate_heads(x, turns, places, {}, heads, direction);
        return memory.read(x);
      };
      const auto forward = turned("q", "k", 1.0), backward = turned("d_q_out", "d_k_out", -1.0);
      fixture.expect(at + "q_out", heads_of(forward, 0, batch, heads, tokens, d));
      fixture.expect(at + "k_out", heads_of(forward, 1, batch, heads, tokens, d));
      fixture.expect(at + "d_q", heads_of(backward, 0, batch, heads, tokens, d));
      fixture.expect(at + "d_k", heads_of(backward, 1, batch, heads, tokens, d));
    });
  }
}
