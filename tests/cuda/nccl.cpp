// Ranks with a device each, on the stand-in: sums and parts where they lie, the run of one rank, and what ends all of them.
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#include "catch.hpp"
#include "cuda/small_runs.hpp"
#include "cuda/two_devices.hpp"
#include "ranks.hpp"
#include "thrown.hpp"

#include <dssl/backend/cuda.hpp>
#include <dssl/backend/nccl.hpp>
#include <dssl/backend/over_ranks.hpp>
#include <dssl/core/random.hpp>
#include <dssl/train/trainer.hpp>

using namespace dssl;
using namespace dssl::test;

static_assert(WorksInStream<Cuda> && WorksInStream<BasicCuda<double>>);

namespace {

using cuda_stand_in::Nccl;
constexpr std::chrono::milliseconds patience{20'000};

int device_of(const Communicator& ranks) { return static_cast<int>(ranks.rank()); }

std::vector<double> numbers_of_rank(Index rank, Index count) {
  RandomStream random({.seed = 3, .sample = static_cast<std::uint64_t>(rank)});
  std::vector<double> out(static_cast<std::size_t>(count));
  for (double& value : out) value = random.normal();
  return out;
}

/// Numbers in a device's memory.
template <class T>
class OnOneDevice {
 public:
  OnOneDevice(int device, const std::vector<double>& values)
      : x_backend(CudaOptions{.device = device}), x_room(x_backend.allocate(values.size() * sizeof(T))) {
    const std::vector<T> host(values.begin(), values.end());
    x_backend.upload(view().data(), std::span<const T>(host));
  }
  [[nodiscard]] const BasicCuda<T>& backend() const { return x_backend; }
  [[nodiscard]] VectorView<T> view() const {
    return VectorView<T>(reinterpret_cast<T*>(x_room.data()), static_cast<Index>(x_room.bytes() / sizeof(T)));
  }
  [[nodiscard]] std::vector<double> values() const {
    std::vector<T> host(static_cast<std::size_t>(view().size()));
    x_backend.download(std::span<T>(host), static_cast<const T*>(view().data()));
    return {host.begin(), host.end()};
  }

 private:
  BasicCuda<T> x_backend;
  Buffer x_room;
};

/// work(ranks) on two threads with a device each, by NCCL over `host`.
template <class Work>
std::vector<std::string> on_devices(const Work& work, std::chrono::milliseconds timeout = patience) {
  return on_ranks(2, [&](const Communicator& host) {
    const NcclRanks nccl(host, device_of(host), timeout);
    work(nccl.communicator());
  });
}

template <class T>
void check_sums(Index count, double within) {
  INFO(count << " numbers of " << sizeof(T) << " bytes");
  std::vector<double> sum = numbers_of_rank(0, count);
  const std::vector<double> other = numbers_of_rank(1, count);
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += other[i];
  const auto near = [&](double is, double should) { return std::abs(is - should) <= within; };
  std::vector<std::vector<double>> found(2);
  std::vector<std::string> wrong(2);
  const auto words = on_devices([&](const Communicator& ranks) {
    const auto r = static_cast<std::size_t>(ranks.rank());
    const std::vector<double> own = numbers_of_rank(ranks.rank(), count);
    const OnOneDevice<T> summed(device_of(ranks), own);
    sum_over_ranks(summed.backend(), ranks, summed.view());
    found[r] = summed.values();

    const OnOneDevice<T> parts(device_of(ranks), own);
    const RankPart part = RankPart::of(count, 2, ranks.rank());
    sum_parts_over_ranks(parts.backend(), ranks, parts.view(), part, SentAs::whole);
    const std::vector<double> after = parts.values();
    for (Index i = 0; i < count; ++i) {
      const auto at = static_cast<std::size_t>(i);
      const bool mine = i >= part.first && i < part.first + part.size;
      if (!near(after[at], mine ? sum[at] : own[at])) wrong[r] = join("number ", i, " after sum_parts");
    }
    gather_parts_over_ranks(parts.backend(), ranks, parts.view(), part);
    if (parts.values() != found[r]) wrong[r] += " gather_parts";
    if (ranks.traffic().bytes != static_cast<std::int64_t>(sizeof(ncclUniqueId))) wrong[r] += " by way of the host";
  });
  REQUIRE(words == no_words(2));
  CHECK(wrong == no_words(2));
  for (std::size_t i = 0; i < sum.size(); ++i) CHECK(near(found[0][i], sum[i]));
  CHECK(found[0] == found[1]);
}

using Normed = Tiny::with_head<ProjectionHead<HeadConfig{.hidden = 24, .bottleneck = 8, .prototypes = 32, .batch_norm = true}>>;

/// A run whose update does not make much of little.
TrainerOptions run_options() {
  TrainerOptions options = tiny_options();
  options.batch = 4;
  options.epochs = 2;
  options.optimiser.kind = OptimiserKind::sgd;
  options.optimiser.freeze_prototypes_epochs = 0;
  return options;
}

}  // namespace

TEST_CASE("NCCL adds what lies in the memory of devices, all of it or in parts", "[cuda]") {
  const TwoDevices devices;
  const std::size_t before = Nccl::get().collectives;
  check_sums<float>(1000, 1e-6);
  CHECK(Nccl::get().collectives - before == 1 + 2 + 2);
  check_sums<double>(1000, 1e-15);
  check_sums<float>(5, 1e-6);  // of which one rank has all
  CHECK(Nccl::get().communicators == 0);
  CHECK(Nccl::get().aborts == 0);
  CHECK(cuda_stand_in::Device::get().used() == 0);
}

TEST_CASE("a run on two devices is that of one, by NCCL or by way of the host", "[cuda]") {
  const TwoDevices devices;
  using OneDevice = BasicCuda<double>;
  TrainerOptions options = run_options();
  const auto check = [&]<class Recipe>(std::type_identity<Recipe> /*recipe*/, bool nccl) {
    constexpr bool norms = std::is_same_v<Recipe, Normed>;
    const Run whole = run<Recipe>(OneDevice(), options);
    std::vector<Run> ended(2);
    std::vector<RankTraffic> sent(2), sent_by_making(2);
    std::vector<Index> parameters(2);
    const auto words = on_ranks(2, [&](const Communicator& host) {
      const auto r = static_cast<std::size_t>(host.rank());
      const std::optional<NcclRanks> devices_of_ranks = nccl ? std::optional<NcclRanks>(std::in_place, host, device_of(host), patience) : std::nullopt;
      TrainerOptions own = options;
      own.ranks = nccl ? devices_of_ranks->communicator() : host;
      const RankTraffic before = host.traffic();
      const OneDevice backend({.device = device_of(host)});
      const Trainer<Recipe, OneDevice> made(own, backend);
      sent_by_making[r] = {host.traffic().exchanges - before.exchanges, host.traffic().bytes - before.bytes};
      parameters[r] = made.step().layout().total();
      ended[r] = run<Recipe>(backend, own);
      sent[r] = host.traffic();
    });
    CHECK(words == no_words(2));
    REQUIRE(ended[0].losses.size() == whole.losses.size());
    for (std::size_t i = 0; i < whole.losses.size(); ++i) CHECK(ended[0].losses[i] == Approx(whole.losses[i]).epsilon(1e-12));
    CHECK(ended[0].losses == ended[1].losses);
    if (!options.shard) {
      // A bias before a batch norm has no gradient but rounding.
      CHECK(distance(ended[0].state, whole.state, norms ? 1e-6 : 0) < 1e-7);
      CHECK(same_bits(ended[0].state, ended[1].state));
    }
    CHECK(sent_by_making[0] == RankTraffic{});  // a step that is rehearsed talks to nobody
    const std::int64_t gradients = static_cast<std::int64_t>(whole.losses.size()) * parameters[0] * 4;
    CHECK((sent[0].bytes < gradients / (norms ? 2 : 4)) == nccl);
  };
  constexpr std::type_identity<Tiny> tiny;
  constexpr std::type_identity<Normed> normed;
  SECTION("by NCCL") { check(tiny, true); }
  SECTION("by NCCL, the optimiser's state in parts") {
    options.shard = true;
    check(tiny, true);
  }
  SECTION("by NCCL, with batch norms in heads, whose sums go by way of the host") { check(normed, true); }
  SECTION("by way of the host") { check(tiny, false); }
  SECTION("by way of the host, with batch norms in heads") { check(normed, false); }
  CHECK(Nccl::get().communicators == 0);
  CHECK(Nccl::get().aborts == 0);
}

TEST_CASE("one rank alone needs no NCCL", "[cuda]") {
  const int ids = Nccl::get().ids;
  const NcclRanks nccl({}, 0);
  CHECK(nccl.communicator().alone());
  CHECK(nccl.communicator().device() == nullptr);
  CHECK(Nccl::get().ids == ids);
}

TEST_CASE("what ends an exchange of devices ends it on all ranks, in words", "[cuda]") {
  const TwoDevices devices;
  using Clock = std::chrono::steady_clock;
  const auto began = Clock::now();
  const int aborts = Nccl::get().aborts;
  const std::vector<double> own(100, 1.0);
  const auto exchange = [&](const Communicator& ranks) {
    const OnOneDevice<float> numbers(device_of(ranks), own);
    sum_over_ranks(numbers.backend(), ranks, numbers.view());
  };
  // What each rank throws where a call of NCCL fails on rank 1.
  const auto failing = [&](const char* call, ncclResult_t how, const auto& work) {
    std::vector<std::string> out(2);
    CHECK(on_devices([&](const Communicator& ranks) {
            static_cast<void>(ranks.all_say(1));
            if (ranks.first()) Nccl::get().fails[{call, 1}] = how;
            static_cast<void>(ranks.all_say(1));
            out[static_cast<std::size_t>(ranks.rank())] = work(ranks);
          }) == no_words(2));
    Nccl::get().fails.clear();
    return out;
  };
  // The words of rank 1, which the other one hears.
  const auto heard = [](const std::string& words) { return std::vector<std::string>{left_words(1, words), words}; };

  SECTION("a rank that leaves") {
    const auto words = on_devices([&](const Communicator& ranks) {
      exchange(ranks);
      if (ranks.rank() == 1) throw DataError("no images");
      exchange(ranks);
    });
    CHECK(words == std::vector<std::string>{"rank 1 left the run: no images", "no images"});
    CHECK(Nccl::get().aborts - aborts == 2);
  }
  SECTION("a rank that hangs, whose stream goes on once the others have given up") {
    std::string waited;
    const auto words = on_devices(
        [&](const Communicator& ranks) {
          if (ranks.rank() == 1) {
            std::this_thread::sleep_for(std::chrono::milliseconds(800));
            ranks.listen();
          }
          const OnOneDevice<float> numbers(device_of(ranks), own);
          const auto sum = [&] { sum_over_ranks(numbers.backend(), ranks, numbers.view()); };
          waited = thrown_by<RankError>(sum);
          if (numbers.values() != own) throw Error("a sum that was given up writes something");
          sum();
        },
        std::chrono::milliseconds(300));
    CHECK(waited == "rank 0 has waited 0.3 s in adding 100 numbers over 2 ranks; one of them hangs");
    CHECK(words[0] == waited);
    CHECK(words[1] == left_words(0, waited));
  }
  SECTION("a rank that does not begin") {
    const auto words = on_ranks(2, [&](const Communicator& host) {
      if (host.rank() == 0) {
        const NcclRanks nccl(host, 0, std::chrono::milliseconds(300));
      } else {
        static_cast<void>(host.all_say(ncclUniqueId{}));
        static_cast<void>(host.all_say(1));
      }
    });
    CHECK(words[0] == "rank 0 has waited 0.3 s in making device 0 that of a rank; one of them hangs");
    CHECK(words[1] == left_words(0, words[0]));
  }
  SECTION("two ranks on one device") {
    const auto words = on_ranks(2, [&](const Communicator& host) { const NcclRanks nccl(host, 1, patience); });
    for (const std::string& word : words) {
      CHECK((contains(word, "invalid usage (Duplicate GPU detected)") || contains(word, "left the run: ncclCommInitRankConfig failed")));
    }
  }
  SECTION("a call that fails, and whoever caught that may go on alone") {
    std::vector<std::string> later(2);
    CHECK(failing("ncclAllReduce", ncclInternalError, [&](const Communicator& ranks) {
            const std::string words = ranks.first() ? thrown_by<RankError>([&] { exchange(ranks); })
                                                    : thrown_by<CudaError>([&] { exchange(ranks); });
            later[static_cast<std::size_t>(ranks.rank())] = thrown_by<RankError>([&] { exchange(ranks); });
            return words;
          }) == heard("ncclAllReduce failed in adding 100 numbers over 2 ranks: internal error"));
    CHECK(later == heard("ncclAllReduce failed in adding 100 numbers over 2 ranks: internal error"));
    CHECK(Nccl::get().aborts - aborts == 2);
  }
  SECTION("a group of calls that fails") {
    CHECK(failing("ncclReduce", ncclInvalidArgument, [&](const Communicator& ranks) {
            const OnOneDevice<float> numbers(device_of(ranks), own);
            const RankPart part = RankPart::of(100, 2, ranks.rank());
            return thrown_by<Error>([&] { sum_parts_over_ranks(numbers.backend(), ranks, numbers.view(), part, SentAs::whole); });
          }) == heard("ncclReduce failed in adding parts of 100 numbers over 2 ranks: invalid argument"));
  }
  SECTION("a connection that breaks, where nobody says why") {
    CHECK(failing("async", ncclRemoteError, [&](const Communicator& ranks) {
            return thrown_by<RankError>([&] { exchange(ranks); });
          }) == heard("ncclAllReduce failed in adding 100 numbers over 2 ranks: remote process exited or there was a network error"));
  }
  SECTION("a rank that cannot begin") {
    Nccl::get().fails[{"ncclCommInitRankConfig", 1}] = ncclSystemError;
    const auto words = on_ranks(2, [&](const Communicator& host) { const NcclRanks nccl(host, device_of(host), patience); });
    Nccl::get().fails.clear();
    CHECK(words == heard("ncclCommInitRankConfig failed in making device 1 that of a rank: unhandled system error"));
  }
  SECTION("a rank that leaves, and goes on by itself") {
    CHECK(on_devices([&](const Communicator& ranks) {
            static_cast<void>(ranks.all_say(1));  // both have begun
            if (ranks.rank() == 1) return ranks.leave("no images");
            if (thrown_by<RankError>([&] { static_cast<void>(ranks.all_say(1)); }) != left_words(1, "no images")) throw Error("unheard");
          }) == no_words(2));
    CHECK(Nccl::get().aborts - aborts == 2);
  }
  CHECK(Nccl::get().communicators == 0);
  CHECK(cuda_stand_in::Device::get().sticky == cudaSuccess);
  CHECK(Clock::now() - began < std::chrono::seconds(10));
}

TEST_CASE("what devices of ranks cannot do is refused in words", "[cuda]") {
  const auto thrown = [](const Communicator& ranks, const auto& change) {
    TrainerOptions options = run_options();
    options.ranks = ranks;
    change(options);
    return thrown_by<OptionError>([&] { const Trainer<Tiny, Cuda> trainer(options); });
  };
  const Communicator host = ThreadRanks(2).communicator(0);
  CHECK(contains(thrown(host, [](TrainerOptions& o) { o.bucket_bytes = 7; }), "option 'bucket_bytes' is 7; expected 0 on a device"));
  CHECK(thrown(host, [](TrainerOptions& o) { o.views_on = ViewsOn::device; }) ==
        "option 'views_on' is device; expected host where ranks share a run");
  struct Nothing final : DeviceExchange {
    void all_sum(const DeviceNumbers&) override {}
    void sum_parts(const DeviceNumbers&, const RankPart&) override {}
    void gather_parts(const DeviceNumbers&, const RankPart&) override {}
  };
  CHECK(contains(thrown(host.with(std::make_shared<Nothing>()), [](TrainerOptions& o) { o.reduce = SentAs::bf16; }),
                 "option 'reduce' is bf16; expected full where devices add gradients"));
}
