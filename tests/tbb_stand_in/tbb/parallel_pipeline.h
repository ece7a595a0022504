// Stand-in: pipelines in which each thread carries one item through all filters.
#pragma once

#include <tbb/stand_in.h>

namespace tbb {

enum class filter_mode { parallel, serial_in_order, serial_out_of_order };

class flow_control {
 public:
  void stop() { x_stopped = true; }
  [[nodiscard]] bool is_pipeline_stopped() const { return x_stopped; }

 private:
  bool x_stopped = false;
};

namespace stand_in {

/// The turns of a serial filter. (Out of order is served in order as well.)
class Turns {
 public:
  void wait_for(std::size_t ticket, const std::atomic<bool>& failed) {
    std::unique_lock lock{x_mutex};
    x_changed.wait(lock, [&] { return x_next == ticket || failed.load(); });
  }
  void pass_on() {
    const std::scoped_lock lock{x_mutex};
    ++x_next;
    x_changed.notify_all();
  }
  void wake() {
    const std::scoped_lock lock{x_mutex};
    x_changed.notify_all();
  }

 private:
  std::mutex x_mutex;
  std::condition_variable x_changed;
  std::size_t x_next = 0;
};

/// What an item on its way through the pipeline carries besides its value.
struct Item {
  std::size_t ticket;
  const std::atomic<bool>* failed;
};

/// Ends an item's way after another item has failed.
struct Cancelled {};

struct Nothing {};
template <class T>
using Boxed = std::conditional_t<std::is_void_v<T>, Nothing, T>;

template <class Out, class Body, class... Arguments>
Boxed<Out> call(const Body& body, Arguments&&... arguments) {
  if constexpr (std::is_void_v<Out>) {
    body(std::forward<Arguments>(arguments)...);
    return {};
  } else {
    return body(std::forward<Arguments>(arguments)...);
  }
}

}  // namespace stand_in

template <class In, class Out>
class filter {
 public:
  std::function<stand_in::Boxed<Out>(stand_in::Boxed<In>, const stand_in::Item&)> run;
  std::vector<std::shared_ptr<stand_in::Turns>> turns;
};

/// A chain that begins with the source: `start` draws an item, one call at a time, and returns the rest of
/// its way, or nothing when the source has ended.
template <class Out>
class filter<void, Out> {
 public:
  using Way = std::function<stand_in::Boxed<Out>(const stand_in::Item&)>;
  std::function<Way(flow_control&)> start;
  std::vector<std::shared_ptr<stand_in::Turns>> turns;
};

template <class In, class Out, class Body>
filter<In, Out> make_filter(filter_mode mode, const Body& body) {
  using namespace stand_in;
  filter<In, Out> made;
  if constexpr (std::is_void_v<In>) {
    made.start = [body](flow_control& control) -> typename filter<void, Out>::Way {
      auto value = std::make_shared<Boxed<Out>>(call<Out>(body, control));
      if (control.is_pipeline_stopped()) return {};
      return [value](const Item&) { return std::move(*value); };
    };
  } else if (mode == filter_mode::parallel) {
    made.run = [body](Boxed<In> in, const Item&) { return call<Out>(body, std::move(in)); };
  } else {
    const auto turns = std::make_shared<Turns>();
    made.turns.push_back(turns);
    made.run = [body, turns](Boxed<In> in, const Item& item) {
      turns->wait_for(item.ticket, *item.failed);
      if (item.failed->load()) throw Cancelled{};
      Boxed<Out> out = call<Out>(body, std::move(in));
      turns->pass_on();
      return out;
    };
  }
  return made;
}

template <class In, class Middle, class Out>
filter<In, Out> operator&(const filter<In, Middle>& first, const filter<Middle, Out>& second) {
  filter<In, Out> chain;
  chain.turns = first.turns;
  chain.turns.insert(chain.turns.end(), second.turns.begin(), second.turns.end());
  if constexpr (std::is_void_v<In>) {
    chain.start = [first, second](flow_control& control) -> typename filter<void, Out>::Way {
      auto way = first.start(control);
      if (!way) return {};
      return [way, second](const stand_in::Item& item) { return second.run(way(item), item); };
    };
  } else {
    chain.run = [first, second](stand_in::Boxed<In> in, const stand_in::Item& item) {
      return second.run(first.run(std::move(in), item), item);
    };
  }
  return chain;
}

inline void parallel_pipeline(std::size_t max_items, const filter<void, void>& chain) {
  std::mutex mutex;
  flow_control control;
  std::size_t tickets = 0;
  std::exception_ptr first;
  std::atomic<bool> failed{false};
  stand_in::on_several_threads(max_items - 1, [&] {
    try {
      for (;;) {
        filter<void, void>::Way way;
        stand_in::Item item{0, &failed};
        {
          const std::scoped_lock lock{mutex};
          if (failed.load() || control.is_pipeline_stopped()) return;
          way = chain.start(control);
          if (!way) return;
          item.ticket = tickets++;
        }
        way(item);
      }
    } catch (...) {
      {
        const std::scoped_lock lock{mutex};
        if (!first) first = std::current_exception();
      }
      failed.store(true);
      for (const auto& turns : chain.turns) turns->wake();
    }
  });
  if (first) std::rethrow_exception(first);
}

template <class... Filters>
  requires(sizeof...(Filters) >= 2)
void parallel_pipeline(std::size_t max_items, const Filters&... filters) {
  parallel_pipeline(max_items, (filters & ...));
}

}  // namespace tbb
