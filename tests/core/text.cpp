// Texts out of parts: the same as a stream writes in the classic locale, and numbers that come back as they were.
#include "catch.hpp"

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <locale>
#include <sstream>
#include <string>
#include <string_view>

#include <dssl/core/random.hpp>
#include <dssl/core/text.hpp>

using namespace dssl;

namespace {

template <class... Parts>
std::string streamed(const Parts&... parts) {
  std::ostringstream out;
  out.imbue(std::locale::classic());
  (out << ... << parts);
  return out.str();
}

}  // namespace

TEST_CASE("parts of every kind are joined as a stream writes them", "[text]") {
  const std::string owned = "owned";
  const std::string_view view = "view";
  const char* pointer = "pointer";
  CHECK(join() == "");
  CHECK(join("a ", owned, ' ', view, " ", pointer) == "a owned view pointer");
  CHECK(join(std::string_view("a\0b", 3)).size() == 3);
  CHECK(join(true, false) == "10");
  CHECK(join(std::int16_t{-7}, " ", std::uint16_t{65535}, " ", -1, " ", 1U, " ", 2L, " ", 3UL, " ", -4LL, " ", 5ULL) ==
        "-7 65535 -1 1 2 3 -4 5");
  CHECK(join(std::numeric_limits<std::int64_t>::min(), " ", std::numeric_limits<std::uint64_t>::max()) ==
        "-9223372036854775808 18446744073709551615");
}

TEST_CASE("real numbers have six digits at most, as in a stream", "[text]") {
  const double infinite = std::numeric_limits<double>::infinity();
  for (const double value : {0.0, -0.0, 1.0, 0.1, 1e5, 1e6, 123456789.0, 1e-4, 1e-5, 2.0 / 3, -1.5e300, 5e-324, infinite, -infinite,
                             std::numeric_limits<double>::quiet_NaN()}) {
    CHECK(join(value) == streamed(value));
  }
  CHECK(join(0.1F) == streamed(0.1F));
  RandomStream random({.seed = 3});
  for (int i = 0; i < 2000; ++i) {
    const double value = (random.uniform() - 0.5) * std::pow(10.0, 40 * (random.uniform() - 0.5));
    CHECK(join(value) == streamed(value));
    CHECK(hex_text(value) == streamed(std::hexfloat, value));
    CHECK(std::strtod(exact_text(value).c_str(), nullptr) == value);
    const auto narrow = static_cast<float>(value);
    CHECK(std::strtof(exact_text(narrow).c_str(), nullptr) == narrow);
  }
}

TEST_CASE("exact texts are the shortest, of the value's own type", "[text]") {
  CHECK(exact_text(0.1) == "0.1");
  CHECK(exact_text(0.1F) == "0.1");
  CHECK(exact_text(static_cast<double>(0.1F)) == "0.10000000149011612");
  CHECK(exact_text(1e300) == "1e+300");
  CHECK(hex_text(1.5) == "0x1.8p+0");
  CHECK(hex_text(-0.15625) == "-0x1.4p-3");
  CHECK(hex_text(0) == "0x0p+0");
  CHECK(hex_text(std::numeric_limits<double>::infinity()) == "inf");
}

TEST_CASE("numbers are written alike whatever the program's locale", "[text]") {
  struct Grouped : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
  };
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new Grouped));
  const std::string text = join(1234567, " and ", 0.5, " and ", exact_text(0.5));
  std::locale::global(before);
  CHECK(text == "1234567 and 0.5 and 0.5");
}

// What is written of a pointer is never whether it is null.
template <class X>
concept Joined = requires(const X& x) { TextPart(x); };
static_assert(Joined<const char*> && Joined<std::string> && Joined<float> && Joined<bool>);
static_assert(!Joined<int*> && !Joined<void*> && !Joined<std::nullptr_t> && !Joined<unsigned char>);
