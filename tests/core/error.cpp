// What the exceptions say.
#include "catch.hpp"

#include <string>

#include <dssl/core/error.hpp>

TEST_CASE("an option's error names the field, the value and what was expected", "[error]") {
  const dssl::OptionError error{"batch", 0, "at least 1"};
  CHECK(error.what() == std::string{"option 'batch' is 0; expected at least 1"});
  CHECK(error.field() == "batch");

  const dssl::OptionError text{"relation", "privat", "open, hidden or private"};
  CHECK(text.what() == std::string{"option 'relation' is privat; expected open, hidden or private"});
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
