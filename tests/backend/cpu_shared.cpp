// Two threads that share one Cpu backend: the second call is refused in words while the first is under way.
#include <future>
#include <span>
#include <string>
#include <vector>

#include <dssl/backend/cpu.hpp>
#include "catch.hpp"
#include "thrown.hpp"

using namespace dssl;

namespace {

/// Holds a backend's first loop until it is let go.
class Holding : public cpu::LoopObserver {
 public:
  void loop(bool /*shared*/, std::span<const double> /*seconds*/) override {
    if (x_held) return;
    x_held = true;
    x_entered.set_value();
    x_leave.get_future().wait();
  }
  void wait_until_entered() { x_entered.get_future().wait(); }
  void let_go() { x_leave.set_value(); }

 private:
  bool x_held = false;
  std::promise<void> x_entered;
  std::promise<void> x_leave;
};

}  // namespace

TEST_CASE("A Cpu backend that is in a call refuses one on another thread", "[cpu]") {
  Holding holding;
  const Cpu first({.threads = 1, .observer = &holding});
  const Cpu second = first;  // a copy: the same threads and memory
  const std::vector<float> x(64, 2.0F);
  std::vector<float> y(64);
  std::vector<float> z(64);
  const auto copy = [&x](const Cpu& backend, std::vector<float>& to) {
    backend.copy(VectorView<float>(to.data(), 64), VectorView<const float>(x.data(), 64));
  };
  auto call = std::async(std::launch::async, [&] { copy(first, y); });
  holding.wait_until_entered();
  const std::string sentence = test::thrown_by<Error>([&] { copy(second, z); });
  holding.let_go();
  call.get();
  CHECK_THAT(sentence, Catch::Contains("in a call on another thread") && Catch::Contains("make one for each thread"));
  CHECK(z == std::vector<float>(64));  // untouched
  CHECK(y == x);                       // the call that was under way ends as if alone
  copy(second, z);                     // and the backend is free again
  CHECK(z == x);
  // An exception leaves it free too.
  CHECK_THROWS_AS(second.linear_forward(MatrixView<float>(y.data(), 8, 8), MatrixView<const float>(x.data(), 8, 8),
                                        MatrixView<const float>(x.data(), 8, 4), {}),
                  ShapeError);
  CHECK_NOTHROW(copy(first, z));
}
