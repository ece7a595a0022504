// What ranks of dssl-defects tell each other of an image that one of them scored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <type_traits>
#include <vector>

#include <dssl/core/tensor_view.hpp>

#include "defects/inspected.hpp"

namespace dssl::programs {

struct ToldScore {
  struct Figures {
    double score = 0;
    double map_white = 0;  ///< of the map that was written
    Index patches = 0, height = 0, width = 0;
    Truth truth = Truth::unknown;
  };
  Figures figures{};
  std::vector<float> heat_map{};       ///< (h,w); empty where no mask is looked at
  std::vector<std::uint8_t> labels{};  ///< (h,w) likewise

  [[nodiscard]] std::vector<std::byte> bytes() const {
    static_assert(std::is_trivially_copyable_v<Figures>);
    std::vector<std::byte> out(sizeof figures + heat_map.size() * sizeof(float) + labels.size());
    std::byte* to = out.data();
    const auto put = [&to](const void* from, std::size_t count) {
      if (count > 0) std::memcpy(to, from, count);
      to += count;
    };
    put(&figures, sizeof figures);
    put(heat_map.data(), heat_map.size() * sizeof(float));
    put(labels.data(), labels.size());
    return out;
  }

  [[nodiscard]] static ToldScore of(std::span<const std::byte> bytes) {
    ToldScore out;
    std::memcpy(&out.figures, bytes.data(), sizeof out.figures);
    const auto maps = bytes.subspan(sizeof out.figures);
    if (maps.empty()) return out;
    const std::size_t pixels = maps.size() / (sizeof(float) + 1);
    out.heat_map.resize(pixels);
    out.labels.resize(pixels);
    std::memcpy(out.heat_map.data(), maps.data(), pixels * sizeof(float));
    std::memcpy(out.labels.data(), maps.data() + pixels * sizeof(float), pixels);
    return out;
  }
};

}  // namespace dssl::programs
