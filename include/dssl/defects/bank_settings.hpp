// What the features of a bank of normal patches were read with: without it a bank's distances mean nothing.
#pragma once

#include <charconv>
#include <cmath>
#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/pixel_scale.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/defects/bank_metadata.hpp>
#include <dssl/defects/patch_look.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/io/backbone_rules.hpp>
#include <dssl/io/json_reader.hpp>
#include <dssl/io/json_writer.hpp>
#include <dssl/io/pixel_scale.hpp>
#include <dssl/io/tensor_file.hpp>
#include <dssl/nn/position.hpp>

namespace dssl {

/// The settings of a bank's features, and of its heat maps, as the bank's file holds them beside its rows: metadata
/// `settings`, a JSON object of these names. Test: tests/defects/defect_bank.cpp.
struct BankSettings {
  std::string arch = "auto";  ///< a name of `named_vit`, or "auto" for the sizes that the weights say
  std::string family{};       ///< empty: as the weights' names say
  Index heads = 0;            ///< 0: as the weights say, or the usual number
  std::string size = "224";   ///< of the input in pixels: "224", or "352x480" for height and width
  std::string fit = "stretch";  ///< or "pad"
  Index channels = 3;
  std::vector<Index> blocks{};
  bool norm = true;
  bool flips = false;
  Index references = 0;  ///< n of n x n references a patch that were read; 0: patches, as of banks from before there was a choice
  std::uint64_t seed = 0;
  Index white = 0;      ///< of 16-bit images
  bool orient = false;  ///< pictures are turned as EXIF says; banks of before that know nothing of it were not
  Index neighbourhood = 3;
  double smoothing = 4;
  PixelScale pixels{};  ///< that images were normalised by; empty: by `usual_pixels`, as those of banks from before it was kept
  PatchLook look{};  ///< of banks from before there was any: none of it
  BackboneRules ran{};  ///< how the weights were run, whoever said it: an option, their file, config.json, nobody

  [[nodiscard]] bool operator==(const BankSettings&) const = default;
  /// What images are normalised by.
  [[nodiscard]] PixelScale pixel_scale() const { return pixels == PixelScale{} ? usual_pixels(channels) : pixels; }
  /// Heads that the weights were run with, which a later run takes where their file does not say; 0: not kept.
  [[nodiscard]] Index heads_run() const { return ran.heads > 0 ? ran.heads : heads; }
  [[nodiscard]] InputFit input_fit() const { return fit == "pad" ? InputFit::pad : InputFit::stretch; }

  /// As one line of JSON.
  [[nodiscard]] std::string json() const {
    std::string list;
    for (const Index block : blocks) list += join(list.empty() ? "" : ",", block);
    const auto flag = [](bool value) { return value ? "true" : "false"; };
    const std::string named = join(family.empty() ? "" : join(",\"family\":", detail::json_string(family)),
                                   heads > 0 ? join(",\"heads\":", heads) : "");
    std::string looked;
    PatchLook::for_each(look, [&]<class V>(std::string_view name, const V& value) {
      const std::string key = join(",\"", name, "\":");
      if constexpr (std::is_same_v<V, bool>) looked += key + flag(value);
      else if constexpr (std::is_same_v<V, double>) looked += key + exact_text(value);
      else if constexpr (std::is_same_v<V, std::optional<double>>) looked += value ? key + exact_text(*value) : "";
      else looked += key + join(value);
    });
    return join("{\"arch\":", detail::json_string(arch), ",\"size\":", detail::json_string(size), ",\"fit\":", detail::json_string(fit),
                ",\"channels\":", channels, ",\"blocks\":[", list, "],\"norm\":", flag(norm), ",\"flips\":", flag(flips),
                ",\"seed\":", seed >> 63U == 0 ? join(seed) : detail::json_string(join(seed)), ",\"white\":", white, ",\"orient\":", flag(orient), ",\"neighbourhood\":", neighbourhood,
                ",\"smoothing\":", exact_text(smoothing), references > 0 ? join(",\"references\":", references) : "", looked, named,
                pixels == PixelScale{} ? "" : join(",\"mean\":[", detail::number_list(pixels.mean, ","), "],\"deviation\":[",
                                                   detail::number_list(pixels.deviation, ","), "]"),
                ran.heads > 0 ? join(",\"ran\":{\"heads\":", ran.heads, ",\"norm_epsilon\":",
                                     exact_text(ran.norm_epsilon), ",\"positions\":",
                                     detail::json_string(ran.positions), "}")
                              : "",
                "}");
  }

  /// Those of a bank's file. Throws `CheckpointError` where it has none, or they cannot be read.
  [[nodiscard]] static BankSettings of(const TensorFile& file);

  /// `BackboneRules::require_same` for the bank `path` and a backbone of these sizes (`ViTConfig`), of `weights`, on `grid`
  /// patches.
  template <class Config>
  void require_run_as(const std::string& path, const Config& config, GridSize grid, const std::string& weights) const;
};

namespace detail {

/// Reads a bank's settings; fields of other names are passed over.
class BankSettingsReader : JsonReader {
 public:
  BankSettingsReader(std::string_view path, std::string_view text) : JsonReader(path, text, "settings of the bank ", 0) {}

  [[nodiscard]] BankSettings read() {
    BankSettings s;
    std::set<std::string> seen;
    std::vector<double> mean, deviation;
    object([&](const std::string& key) {
      if (!seen.insert(key).second) throw CheckpointError(path(), join("has '", key, "' twice in its settings"));
      if (key == "arch") s.arch = string();
      else if (key == "family") s.family = string();
      else if (key == "heads") s.heads = whole(0, 1 << 20);
      else if (key == "size") s.size = string();
      else if (key == "fit") s.fit = string();
      else if (key == "channels") s.channels = whole(1, 1024);
      else if (key == "blocks") s.blocks = blocks();
      else if (key == "norm") s.norm = flag();
      else if (key == "flips") s.flips = flag();
      else if (key == "references") s.references = whole(0, 64);
      else if (key == "seed") s.seed = seed();
      else if (key == "white") s.white = whole(0, 65535);
      else if (key == "orient") s.orient = flag();
      else if (key == "neighbourhood") s.neighbourhood = whole(1, 3);
      else if (key == "smoothing") s.smoothing = number();
      else if (key == "mean") mean = numbers();
      else if (key == "deviation") deviation = numbers();
      else if (key == "ran") s.ran = rules();
      else if (!look(s.look, key)) pass_over();
    });
    end("the settings");
    for (const char* const key : {"arch", "size", "fit", "channels", "blocks", "norm", "flips", "seed", "neighbourhood", "smoothing"}) {
      if (!seen.contains(key)) throw CheckpointError(path(), join("has no '", key, "' in its settings"));
    }
    if (seen.contains("mean") || seen.contains("deviation")) {
      s.pixels = checked_pixels(path(), "mean", mean, "deviation", deviation);
      if (s.pixels.channels() != s.channels)
        throw CheckpointError(path(), join("has ", s.pixels.channels(), " means for ", s.channels, " channels in its settings; expected as many"));
    }
    if (s.fit != "stretch" && s.fit != "pad")
      throw CheckpointError(path(), join("has fit '", s.fit, "' in its settings; expected stretch or pad"));
    if (!(s.smoothing >= 0 && s.smoothing <= 16384))
      throw CheckpointError(path(), join("has smoothing ", s.smoothing, " in its settings; expected 0 to 16384 pixels"));
    if (s.neighbourhood == 2) throw CheckpointError(path(), "has neighbourhood 2 in its settings; expected 1 or 3");
    foreground_of_file(path(), s.look.foreground());
    return s;
  }

 private:
  /// Reads the entry of that name; says whether there is one.
  [[nodiscard]] bool look(PatchLook& out, const std::string& key) {
    bool known = false;
    PatchLook::for_each(out, [&]<class V>(std::string_view name, V& value) {
      if (name != key) return;
      known = true;
      if constexpr (std::is_same_v<V, bool>) value = flag();
      else if constexpr (std::is_same_v<V, double> || std::is_same_v<V, std::optional<double>>) value = number();
      else value = whole(0, Index{1} << 30);
    });
    return known;
  }

  [[nodiscard]] BackboneRules rules() {
    BackboneRules out;
    object([&](const std::string& key) {
      if (key == "heads") out.heads = whole(1, 1 << 20);
      else if (key == "norm_epsilon") out.norm_epsilon = number();
      else if (key == "positions") out.positions = string();
      else pass_over();
    });
    if (out.heads == 0 || !(out.norm_epsilon > 0) || out.positions.empty())
      throw CheckpointError(path(), "has 'ran' in its settings without heads, norm_epsilon above 0 and positions");
    return out;
  }

  [[nodiscard]] bool flag() {
    const bool value = ahead() == 't';
    word(value ? "true" : "false");
    return value;
  }

  [[nodiscard]] Index whole(Index low, Index high) {
    const double value = number();
    if (!(value >= static_cast<double>(low) && value <= static_cast<double>(high)) || value != std::floor(value))
      fail(join("a whole number from ", low, " to ", high));
    return static_cast<Index>(value);
  }

  /// From 2^63 on as text.
  [[nodiscard]] std::uint64_t seed() {
    if (ahead() != '"') return static_cast<std::uint64_t>(natural());
    const std::string text = string();
    std::uint64_t value = 0;
    const auto [last, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (problem != std::errc{} || last != text.data() + text.size()) fail("a number below 2^64");
    return value;
  }

  /// A list of values, each read by one(), at most 4096 `what`.
  template <class One>
  [[nodiscard]] auto list(const char* what, const One& one) {
    std::vector<decltype(one())> out;
    expect('[');
    if (next_is(']')) return out;
    do {
      out.push_back(one());
      if (out.size() > 4096) fail(what);
    } while (next_is(','));
    expect(']');
    return out;
  }

  [[nodiscard]] std::vector<Index> blocks() {
    return list("at most 4096 blocks", [this] { return whole(-4096, 4096); });
  }

  [[nodiscard]] std::vector<double> numbers() {
    return list("at most 4096 channels", [this] { return number(); });
  }
};

}  // namespace detail

inline BankSettings BankSettings::of(const TensorFile& file) {
  const auto stored = file.metadata().find("settings");
  if (stored == file.metadata().end()) throw CheckpointError(file.path(), "is no bank of dssl-defects: it has no settings");
  return detail::BankSettingsReader(file.path(), stored->second).read();
}

template <class Config>
void BankSettings::require_run_as(const std::string& path, const Config& config, GridSize grid,
                                  const std::string& weights) const {
  ran.require_same(path, BackboneRules::of(config), grid == config.native_grid(), weights, "a bank of their own");
}

}  // namespace dssl
