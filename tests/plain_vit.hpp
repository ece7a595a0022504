// A vision transformer in plain loops and double precision, of any family's parts: what files of weights are
// held to, independent of the library's own.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <map>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include <dssl/io/backbone_description.hpp>
#include <dssl/io/tensor_file.hpp>

namespace dssl::test {

/// Rows one below another.
struct Rows {
  std::size_t rows = 0, columns = 0;
  std::vector<double> values{};

  Rows(std::size_t r, std::size_t c) : rows(r), columns(c), values(r * c) {}
  double& operator()(std::size_t r, std::size_t c) { return values[r * columns + c]; }
  double operator()(std::size_t r, std::size_t c) const { return values[r * columns + c]; }
};

/// Reads tensors under dssl's names and computes an image's tokens.
class PlainVit {
 public:
  PlainVit(const TensorFile& file, const BackboneDescription& description) : x_file(file), x_d(description) {}

  /// image (C,H,W) -> class token, registers, patches, after the last norm; `positions`: the table as it was
  /// added.
  [[nodiscard]] Rows forward(Rows& positions, const float* image, std::size_t height,
                             std::size_t width) const {
    const auto p = static_cast<std::size_t>(x_d.patch);
    const std::size_t h = height / p;
    const std::size_t w = width / p;
    const auto d = static_cast<std::size_t>(x_d.width);
    const auto channels = static_cast<std::size_t>(x_d.channels);
    const std::size_t first = 1 + static_cast<std::size_t>(x_d.registers);
    Rows patches(h * w, channels * p * p);
    for (std::size_t i = 0; i < patches.rows; ++i) {
      for (std::size_t k = 0; k < patches.columns; ++k) {
        const std::size_t y = i / w * p + k / p % p;
        const std::size_t x = i % w * p + k % p;
        patches(i, k) = image[(k / (p * p) * height + y) * width + x];
      }
    }
    const Rows embedded = linear(patches, "patch_embed.proj");
    Rows x(first + h * w, d);
    const auto class_token = tensor("cls_token");
    std::copy(class_token.begin(), class_token.end(), x.values.begin());
    if (first > 1) {
      const auto registers = tensor("register_tokens");
      std::copy(registers.begin(), registers.end(), x.values.begin() + static_cast<std::ptrdiff_t>(d));
    }
    std::copy(embedded.values.begin(), embedded.values.end(),
              x.values.begin() + static_cast<std::ptrdiff_t>(first * d));
    if (x_d.table_side > 0) {
      positions = table(h, w);
      for (std::size_t i = 0; i < positions.values.size(); ++i)
        x.values[first * d + i] += positions.values[i];
      const auto of_class = tensor("cls_pos_embed");
      for (std::size_t k = 0; k < d; ++k) x.values[k] += of_class[k];
    }
    for (Index i = 0; i < x_d.depth; ++i) block(x, "blocks." + std::to_string(i) + ".", first, h, w);
    Rows out = norm(x, "norm");
    if (!x_d.class_norm) return out;
    // Registers go with the class token.
    const Rows own = norm(x, "cls_norm");
    std::copy_n(own.values.begin(), first * d, out.values.begin());
    return out;
  }

 private:
  [[nodiscard]] std::vector<double> tensor(const std::string& name) const {
    return x_file.read<double>(name);
  }

  [[nodiscard]] Rows linear(const Rows& x, const std::string& name) const {
    const auto weight = tensor(name + ".weight");
    const auto bias = x_file.contains(name + ".bias") ? tensor(name + ".bias")
                                                      : std::vector<double>(static_cast<std::size_t>(x_file.shape(name + ".weight")[0]));
    Rows out(x.rows, bias.size());
    for (std::size_t r = 0; r < x.rows; ++r) {
      for (std::size_t o = 0; o < out.columns; ++o) {
        double sum = bias[o];
        for (std::size_t c = 0; c < x.columns; ++c) sum += x(r, c) * weight[o * x.columns + c];
        out(r, o) = sum;
      }
    }
    return out;
  }

  [[nodiscard]] Rows norm(const Rows& x, const std::string& name) const {
    const auto weight = tensor(name + ".weight");
    const auto bias = tensor(name + ".bias");
    Rows out(x.rows, x.columns);
    const auto count = static_cast<double>(x.columns);
    for (std::size_t r = 0; r < x.rows; ++r) {
      double mean = 0;
      double squares = 0;
      for (std::size_t c = 0; c < x.columns; ++c) mean += x(r, c) / count;
      for (std::size_t c = 0; c < x.columns; ++c) squares += (x(r, c) - mean) * (x(r, c) - mean) / count;
      for (std::size_t c = 0; c < x.columns; ++c)
        out(r, c) = (x(r, c) - mean) / std::sqrt(squares + x_d.norm_epsilon) * weight[c] + bias[c];
    }
    return out;
  }

  void add(Rows& x, const Rows& branch, const std::string& scale) const {
    const auto gamma = x_d.layer_scale ? tensor(scale) : std::vector<double>(x.columns, 1.0);
    for (std::size_t i = 0; i < x.values.size(); ++i) x.values[i] += branch.values[i] * gamma[i % x.columns];
  }

  void block(Rows& x, const std::string& name, std::size_t first, std::size_t h, std::size_t w) const {
    add(x, attention(norm(x, name + "norm1"), name, first, h, w), name + "ls1.gamma");
    const Rows y = norm(x, name + "norm2");
    if (x_d.mlp == MlpKind::gelu) {
      Rows hidden = linear(y, name + "mlp.fc1");
      for (double& v : hidden.values) v = 0.5 * v * (1 + std::erf(v / std::numbers::sqrt2));
      add(x, linear(hidden, name + "mlp.fc2"), name + "ls2.gamma");
      return;
    }
    const Rows both = linear(y, name + "mlp.w12");
    Rows hidden(y.rows, both.columns / 2);
    for (std::size_t r = 0; r < y.rows; ++r) {
      for (std::size_t c = 0; c < hidden.columns; ++c) {
        hidden(r, c) = both(r, c) / (1 + std::exp(-both(r, c))) * both(r, c + hidden.columns);
      }
    }
    add(x, linear(hidden, name + "mlp.w3"), name + "ls2.gamma");
  }

  [[nodiscard]] Rows attention(const Rows& x, const std::string& name, std::size_t first, std::size_t h,
                               std::size_t w) const {
    Rows qkv = linear(x, name + "attn.qkv");
    const std::size_t d = x.columns;
    const auto heads = static_cast<std::size_t>(x_d.heads);
    const std::size_t head = d / heads;
    if (x_d.position == PositionScheme::rotary) rotate(qkv, first, h, w, head);
    Rows mixed(x.rows, d);
    std::vector<double> scores(x.rows);
    for (std::size_t k = 0; k < heads; ++k) {
      for (std::size_t i = 0; i < x.rows; ++i) {
        double largest = -1e300;
        for (std::size_t j = 0; j < x.rows; ++j) {
          scores[j] = 0;
          for (std::size_t c = k * head; c < (k + 1) * head; ++c) scores[j] += qkv(i, c) * qkv(j, d + c);
          scores[j] /= std::sqrt(static_cast<double>(head));
          largest = std::max(largest, scores[j]);
        }
        double sum = 0;
        for (double& score : scores) sum += score = std::exp(score - largest);
        for (std::size_t c = k * head; c < (k + 1) * head; ++c) {
          for (std::size_t j = 0; j < x.rows; ++j) mixed(i, c) += scores[j] / sum * qkv(j, 2 * d + c);
        }
      }
    }
    return linear(mixed, name + "attn.proj");
  }

  /// Turns queries and keys of patches: half of a head's numbers go with the other half, a period each, down
  /// and across.
  void rotate(Rows& qkv, std::size_t first, std::size_t h, std::size_t w, std::size_t head) const {
    std::vector<double> periods;
    if (x_file.contains("rope_embed.periods")) {
      periods = tensor("rope_embed.periods");
    } else {
      for (std::size_t j = 0; j < head / 4; ++j)
        periods.push_back(std::pow(100.0, 4.0 * static_cast<double>(j) / static_cast<double>(head)));
    }
    for (std::size_t r = first; r < qkv.rows; ++r) {
      const double y = 2 * (static_cast<double>((r - first) / w) + 0.5) / static_cast<double>(h) - 1;
      const double x = 2 * (static_cast<double>((r - first) % w) + 0.5) / static_cast<double>(w) - 1;
      for (std::size_t begin = 0; begin < qkv.columns / 3 * 2; begin += head) {
        for (std::size_t j = 0; j < head / 2; ++j) {
          const double angle = 2 * std::numbers::pi * (j < head / 4 ? y : x) / periods[j % (head / 4)];
          const double a = qkv(r, begin + j);
          const double b = qkv(r, begin + head / 2 + j);
          qkv(r, begin + j) = a * std::cos(angle) - b * std::sin(angle);
          qkv(r, begin + head / 2 + j) = b * std::cos(angle) + a * std::sin(angle);
        }
      }
    }
  }

  [[nodiscard]] static double cubic(double x, double a) {
    x = std::abs(x);
    return x < 1   ? ((a + 2) * x - (a + 3)) * x * x + 1
           : x < 2 ? ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
                   : 0;
  }

  /// (h,g): how each of h cells is made of the table's g.
  [[nodiscard]] Rows resampling(std::size_t h) const {
    const auto g = static_cast<std::size_t>(x_d.table_side);
    Rows out(h, g);
    for (std::size_t i = 0; i < h; ++i) {
      const auto cells = static_cast<double>(g);
      const auto n = static_cast<double>(h);
      const auto at = static_cast<double>(i);
      if (x_d.position == PositionScheme::size_antialiased) {
        const double scale = cells / n;
        const double widened = std::max(scale, 1.0);
        double sum = 0;
        for (std::size_t j = 0; j < g; ++j) {
          out(i, j) = cubic((static_cast<double>(j) + 0.5 - scale * (at + 0.5)) / widened, -0.5);
          sum += out(i, j);
        }
        for (std::size_t j = 0; j < g; ++j) out(i, j) /= sum;
        continue;
      }
      const double x = x_d.position == PositionScheme::corners  ? (h > 1 ? at * (cells - 1) / (n - 1) : 0)
                       : x_d.position == PositionScheme::offset ? (at + 0.5) * cells / (n + 0.1) - 0.5
                                                                : (at + 0.5) * cells / n - 0.5;
      for (int k = -1; k <= 2; ++k) {
        const double j = std::floor(x) + k;
        out(i, static_cast<std::size_t>(std::clamp(j, 0.0, cells - 1))) += cubic(x - j, -0.75);
      }
    }
    return out;
  }

  [[nodiscard]] Rows table(std::size_t h, std::size_t w) const {
    const auto g = static_cast<std::size_t>(x_d.table_side);
    const auto d = static_cast<std::size_t>(x_d.width);
    Rows out(h * w, d);
    const auto cells = tensor("patch_pos_embed");
    if (h == g && w == g) {
      out.values = cells;
      return out;
    }
    const Rows down = resampling(h);
    const Rows across = resampling(w);
    for (std::size_t i = 0; i < h * w; ++i) {
      for (std::size_t j = 0; j < g * g; ++j) {
        const double weight = down(i / w, j / g) * across(i % w, j % g);
        for (std::size_t k = 0; k < d; ++k) out(i, k) += weight * cells[j * d + k];
      }
    }
    return out;
  }

  const TensorFile& x_file;
  BackboneDescription x_d;
};

}  // namespace dssl::test
