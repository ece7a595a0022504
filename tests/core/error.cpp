// What the exceptions say.
#include "catch.hpp"

#include <charconv>
#include <cmath>
#include <limits>
#include <locale>
#include <string>

#include <dssl/core/error.hpp>
#include <dssl/core/exact_number.hpp>

TEST_CASE("an option's error names the field, the value and what was expected", "[error]") {
  const dssl::OptionError error{"batch", 0, "at least 1"};
  CHECK(error.what() == std::string{"option 'batch' is 0; expected at least 1"});
  CHECK(error.field() == "batch");

  const dssl::OptionError text{"relation", "privat", "open, hidden or private"};
  CHECK(text.what() == std::string{"option 'relation' is privat; expected open, hidden or private"});
}

TEST_CASE("numbers are written alike whatever the program's locale", "[error]") {
  struct Grouped : std::numpunct<char> {
    char do_decimal_point() const override { return ','; }
    char do_thousands_sep() const override { return '.'; }
    std::string do_grouping() const override { return "\3"; }
  };
  const std::locale before = std::locale::global(std::locale(std::locale::classic(), new Grouped));
  const std::string text = dssl::join(1234567, " and ", 0.5);
  std::locale::global(before);
  CHECK(text == "1234567 and 0.5");
}

TEMPLATE_TEST_CASE("numbers are written in as few digits as bring them back", "[error]", float, double) {
  using Limits = std::numeric_limits<TestType>;
  for (const TestType value : {TestType(0.1), TestType(1) / 3, TestType(100), TestType(-2.5e-7), Limits::max(), Limits::min(),
                               Limits::denorm_min(), std::nextafter(TestType(1), TestType(2))}) {
    const std::string text = dssl::exact_number(value);
    TestType read = 0;
    CHECK(std::from_chars(text.data(), text.data() + text.size(), read).ptr == text.data() + text.size());
    CHECK(read == value);
  }
  CHECK(dssl::exact_number(TestType(0.1)) == "0.1");
  CHECK(dssl::exact_number(TestType(100)) == "100");
  CHECK(dssl::exact_number(Limits::infinity()) == "inf");
}

TEST_CASE("a file's error begins with its path", "[error]") {
  const dssl::ImageError error{"photos/a.jpg", "not a JPEG file"};
  CHECK(error.what() == std::string{"photos/a.jpg: not a JPEG file"});
  CHECK(error.path() == "photos/a.jpg");
}

TEST_CASE("every kind of error is caught as dssl::Error", "[error]") {
  CHECK_THROWS_AS((throw dssl::OptionError{"a", 1, "2"}), dssl::Error);
  CHECK_THROWS_AS((throw dssl::ImageError{"a", "b"}), dssl::FileError);
  CHECK_THROWS_AS((throw dssl::CheckpointError{"a", "b"}), dssl::FileError);
  CHECK_THROWS_AS((throw dssl::DataError{"a"}), dssl::Error);
  CHECK_THROWS_AS((throw dssl::NonFiniteError{"a"}), dssl::Error);
  CHECK_THROWS_AS((throw dssl::FileError{"a", "b"}), std::runtime_error);
}

TEST_CASE("require_shape throws its parts joined, and only when it must", "[error]") {
  CHECK_NOTHROW(dssl::require_shape(true, "never said"));
  try {
    dssl::require_shape(false, "product of (", 2, ",", 3, ") and (", 4, ",", 5, ")");
    FAIL("nothing was thrown");
  } catch (const dssl::ShapeError& error) {
    CHECK(error.what() == std::string{"product of (2,3) and (4,5)"});
  }
}

TEST_CASE("a message stays one line, whatever the names in it", "[error]") {
  const dssl::CheckpointError error{"a\nb.safetensors", "tensor 'x\r\n\t\x1b[2J\x7f\x01\xc3\xa4' is listed twice"};
  CHECK(error.what() == std::string{"a\\nb.safetensors: tensor 'x\\r\\n\\t\\x1b[2J\\x7f\\x01\xc3\xa4' is listed twice"});
  CHECK(error.path() == "a\nb.safetensors");
  CHECK(error.problem() == "tensor 'x\\r\\n\\t\\x1b[2J\\x7f\\x01\xc3\xa4' is listed twice");
  CHECK(dssl::DataError(std::string("a\0b", 3)).what() == std::string{"a\\x00b"});
}
