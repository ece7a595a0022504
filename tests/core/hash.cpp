// Hashes of bytes: the numbers that checkpoints, banks and runs hold, which a later version has to make again.
#include "catch.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include <dssl/core/hash.hpp>

using namespace dssl;

namespace {

std::vector<std::byte> bytes_of(std::size_t count) {
  std::vector<std::byte> out;
  for (std::size_t i = 0; i < count; ++i) out.push_back(static_cast<std::byte>(7 * i + 3));
  return out;
}

struct Kept {
  std::size_t count;
  std::uint64_t bytes, sum, twice, words;
};

}  // namespace

TEST_CASE("hashes of bytes are the numbers that files hold") {
  // What a program of a few lines makes of the formulas, in another language.
  for (const Kept& kept : {Kept{0, 0xcbf29ce484222325, 0x0000000000000000, 0x0000000000000000, 0x1d0d3347fe7c38e1},
                           Kept{1, 0xaf63be4c8601b992, 0x122026ab595abc61, 0xe05e3151a6708bbf, 0xd237e8f79362e2d3},
                           Kept{8, 0x247823416cac7435, 0xe4398c67d953aa88, 0x3e92fd87215b3dfa, 0x1dce1c934cb562e2},
                           Kept{13, 0xa532a955f3c477da, 0xe919fd13068b929e, 0x465c5ba407fbe348, 0x57b52986728fa9d1},
                           Kept{32, 0xa2a6bfc397b0de25, 0x1e236cac35fe7cf1, 0xe60df42558be460d, 0xb5ff8e84cb3db6e5},
                           Kept{71, 0x17581484f583ef03, 0x3db1ca144b3aaea2, 0x2a59ee8cfd3a9193, 0xe40c03a4902c973b}}) {
    const std::vector<std::byte> bytes = bytes_of(kept.count);
    CAPTURE(kept.count);
    CHECK(detail::hash_of_bytes(bytes) == kept.bytes);
    CHECK(detail::check_sum(0, bytes) == kept.sum);
    CHECK(detail::check_sum(kept.sum, bytes) == kept.twice);
    CHECK(detail::hash_of_words(bytes) == kept.words);
  }
  // As its authors print it.
  CHECK(detail::hash_of_bytes(std::as_bytes(std::span(std::string_view("foobar")))) == 0x85944171f73967e8);
  CHECK(detail::hexadecimal(0x0123456789abcdef) == "0123456789abcdef");
}
