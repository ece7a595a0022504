#include <report/page.hpp>

#include <cmath>
#include <cstddef>
#include <cstdio>
#include <span>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/io/png.hpp>

namespace dssl::programs {
namespace {

std::string base64(std::span<const std::byte> bytes) {
  constexpr std::string_view digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  text.reserve((bytes.size() + 2) / 3 * 4);
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      three = three << 8 | (i + k < bytes.size() ? std::to_integer<std::uint32_t>(bytes[i + k]) : 0U);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      text += i + k < bytes.size() + 1 ? digits[three >> (18 - 6 * k) & 63U] : '=';
    }
  }
  return text;
}

// Colours are named once, for light and for dark surroundings; pictures and charts use the names.
constexpr std::string_view style = R"css(
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1c2430; --soft: #5d6a7a; --line: #dfe4ea; --panel: #f6f8fa;
  --s0: #7d8794; --s1: #d07700; --s2: #0a6fb8; --s3: #2e8b57; }
@media (prefers-color-scheme: dark) { :root { --paper: #14181d; --ink: #e4e9ef; --soft: #98a4b3; --line: #2c343d;
  --panel: #1b2127; --s0: #98a2ae; --s1: #f0a040; --s2: #58b4f0; --s3: #63c08a; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.55 system-ui, "Segoe UI", Roboto,
  "Helvetica Neue", "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 40px 24px 64px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 8px; letter-spacing: -0.01em; }
h2 { font-size: 20px; margin: 48px 0 8px; }
p { max-width: 75ch; margin: 8px 0 16px; }
.soft, figcaption, caption { color: var(--soft); font-size: 14px; }
table { border-collapse: collapse; width: 100%; font-size: 15px; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 7px 12px; border-bottom: 1px solid var(--line); vertical-align: middle; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
thead th { font-weight: 600; color: var(--soft); font-size: 13px; border-bottom: 2px solid var(--line); }
td.wide { width: 30%; }
.bar { height: 12px; border-radius: 2px; min-width: 1px; }
.key { display: inline-block; width: 11px; height: 11px; border-radius: 2px; margin-right: 8px; }
.scroll { overflow-x: auto; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(400px, 1fr)); gap: 20px; }
figure { margin: 0; }
.charts figure, .panel { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 14px; }
figcaption { margin: 0 0 6px; } figcaption b { color: var(--ink); font-size: 15px; }
svg { display: block; width: 100%; height: auto; font-family: inherit; }
svg text { fill: var(--soft); font-size: 12px; }
img { display: block; width: 100%; height: auto; image-rendering: auto; border-radius: 3px; }
.views { display: grid; grid-template-columns: 2fr repeat(3, 1fr); gap: 12px; margin: 12px 0 28px; align-items: start; }
.views > figure:first-child { grid-row: span 2; }
.views figcaption { margin: 4px 0 0; font-size: 12.5px; line-height: 1.35; }
.shown { display: grid; gap: 10px; margin: 12px 0; }
.shown figcaption { margin: 0; font-weight: 600; text-align: center; font-size: 13.5px; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; font-size: 14px; margin: 10px 0; color: var(--soft); }
code { font: 13px/1.5 ui-monospace, "SFMono-Regular", "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
@media (max-width: 760px) { .views { grid-template-columns: 1fr 1fr; } .charts { grid-template-columns: 1fr; } }
)css";

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

std::string decimals(double value, int places) {
  if (!std::isfinite(value)) return "–";
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", places, value);
  return text;
}

std::string data_url(const Image<std::uint8_t>& picture) {
  return "data:image/png;base64," + base64(encode_png(picture));
}

std::string picture(const Image<std::uint8_t>& image, std::string_view alternative) {
  return join("<img alt=\"", escaped(alternative), "\" width=\"", image.width(), "\" height=\"",
              image.height(), "\" src=\"", data_url(image), "\">");
}

std::string page(std::string_view title, std::string_view body) {
  return join(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>",
      escaped(title), "</title>\n<style>", style, "</style>\n</head>\n<body>\n<main>\n", body,
      "</main>\n</body>\n</html>\n");
}

}  // namespace dssl::programs
