// Arena and buffers: measuring and cutting agree, rewinding shares memory, the plan adds up.
#include <cstddef>
#include <cstdint>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "thrown.hpp"

#include <dssl/core/arena.hpp>

using namespace dssl;

namespace {

constexpr std::align_val_t alignment{Arena::alignment};

/// Aligned bytes that count how often they are given back.
Buffer buffer_of(std::size_t bytes, int* freed = nullptr) {
  auto* data = static_cast<std::byte*>(::operator new(bytes, alignment));
  return {data, bytes, [freed](std::byte* p) {
            if (p != nullptr && freed != nullptr) ++*freed;
            ::operator delete(p, alignment);
          }};
}

/// Two parts that overlap in time and one that stays.
struct Parts {
  MatrixView<float> lasting;
  VectorView<double> early;
  VectorView<std::uint8_t> late;

  void place(Arena& arena) {
    lasting = arena.matrix<float>(3, 5);
    arena.name_part("lasting");
    const std::size_t shared = arena.mark();
    early = arena.vector<double>(20);
    arena.name_part("early");
    arena.rewind(shared);
    late = arena.vector<std::uint8_t>(300);
    arena.name_part("late, beyond early");
  }
};

}  // namespace

TEST_CASE("a measuring arena counts, a live one cuts the same") {
  Parts parts;
  Arena measure;
  parts.place(measure);
  CHECK(parts.lasting.data() == nullptr);
  CHECK(parts.lasting.rows() == 3);
  CHECK(parts.early.size() == 20);
  // 60 bytes are one cache line; 160 are three, 300 are five.
  CHECK(measure.high_water() == 64 + 320);
  REQUIRE(measure.plan().entries.size() == 3);
  CHECK(measure.plan().entries[0].name == "lasting");
  CHECK(measure.plan().entries[0].bytes == 64);
  CHECK(measure.plan().entries[1].bytes == 192);
  CHECK(measure.plan().entries[2].bytes == 128);
  CHECK(measure.plan().total() == measure.high_water());

  const Buffer buffer = buffer_of(measure.high_water());
  Arena live(buffer);
  parts.place(live);
  CHECK(live.high_water() == measure.high_water());
  CHECK(reinterpret_cast<std::byte*>(parts.lasting.data()) == buffer.data());
  CHECK(reinterpret_cast<std::byte*>(parts.early.data()) == buffer.data() + 64);
  CHECK(reinterpret_cast<std::byte*>(parts.late.data()) == buffer.data() + 64);
  for (const void* p : {static_cast<const void*>(parts.lasting.data()), static_cast<const void*>(parts.early.data())}) {
    CHECK(reinterpret_cast<std::uintptr_t>(p) % Arena::alignment == 0);
  }
}

TEST_CASE("more than was planned is refused") {
  const Buffer buffer = buffer_of(128);
  Arena live(buffer);
  CHECK(live.take<std::byte>(64) != nullptr);
  CHECK(live.take<std::byte>(1) != nullptr);
  const std::string message = test::thrown_by<Error>([&] { (void)live.take<std::byte>(1); });
  CHECK(test::contains(message, "192 bytes asked of 128 planned"));
}

TEST_CASE("nothing takes nothing") {
  Arena measure;
  CHECK(measure.vector<float>(0).empty());
  CHECK(measure.high_water() == 0);
  CHECK(measure.mark() == 0);
}

TEST_CASE("a buffer gives its memory back once") {
  int freed = 0;
  {
    Buffer first = buffer_of(256, &freed);
    CHECK(first.bytes() == 256);
    Buffer second = std::move(first);
    CHECK(second.data() != nullptr);
    CHECK(freed == 0);
    second = buffer_of(64, &freed);
    CHECK(freed == 1);
    CHECK(second.bytes() == 64);
  }
  CHECK(freed == 2);
  CHECK(Buffer().data() == nullptr);
  CHECK(Buffer().bytes() == 0);
}
