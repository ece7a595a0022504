// Views rendered on a device and on the host, and how far they are apart.
#pragma once

#include "catch.hpp"

#include <cmath>
#include <cstddef>
#include <span>
#include <vector>

#include <dssl/backend/cuda.hpp>
#include <dssl/views/image.hpp>
#include <dssl/views/multi_crop.hpp>
#include <dssl/views/view_pack.hpp>
#include <dssl/views/view_sheet.hpp>

namespace dssl::test {

/// Images and the plans of their views.
template <class Plan>
struct SceneOf {
  AnyImage image;
  std::vector<Plan> plans;
};
using Scene = SceneOf<ViewPlan>;
template <class Views>
using ScenesOf = std::vector<SceneOf<typename Views::Plan>>;

/// What of a plan tells its size.
template <class Plan>
const ViewPlan& view_of(const Plan& plan) {
  if constexpr (requires { plan.view; }) {
    return plan.view;
  } else {
    return plan;
  }
}
using Rendered = std::vector<std::vector<float>>;

template <class Plan>
Index values_of(const SceneOf<Plan>& scene, const Plan& plan) {
  return channels(scene.image) * view_of(plan).height * view_of(plan).width;
}

template <class Views>
Rendered on_host(const Views& views, const ScenesOf<Views>& scenes) {
  Rendered out;
  ViewWorkspace workspace;
  for (const auto& scene : scenes) {
    for (const auto& plan : scene.plans) {
      auto& view = out.emplace_back(static_cast<std::size_t>(values_of(scene, plan)));
      views.render(scene.image, plan, std::span<float>(view), workspace);
    }
  }
  return out;
}

/// Views on the device: sent at once, read later.
template <class B = Cuda>
class OnDevice {
 public:
  using T = typename B::Scalar;

  explicit OnDevice(std::size_t most_work = ViewSheet::work_bytes)
      : x_views(x_backend), x_most_work(most_work) {}

  template <class Views>
  void send(const Views& views, const ScenesOf<Views>& scenes) {
    Sent& sent = x_sent.emplace_back();
    std::size_t bytes = 0;
    for (const auto& scene : scenes) {
      for (const auto& plan : scene.plans) bytes += x_place(sent, values_of(scene, plan), bytes);
    }
    sent.room = x_backend.allocate(bytes);
    std::vector<T> unset(bytes / sizeof(T), T(1e30));
    x_backend.upload(reinterpret_cast<T*>(sent.room.data()), std::span<const T>(unset));
    std::vector<ViewPack> packs(scenes.size());
    ViewSheet sheet(x_most_work);
    std::size_t view = 0;
    for (std::size_t s = 0; s < scenes.size(); ++s) {
      pack_views(packs[s], scenes[s].image, views, scenes[s].plans);
      std::vector<void*> outs;
      for (std::size_t v = 0; v < scenes[s].plans.size(); ++v)
        outs.push_back(sent.room.data() + sent.offsets[view++]);
      sheet.add(packs[s], outs);
    }
    sheet.write(x_views.stage(sheet.bytes()));
    x_views.send(sheet.views());
    sent.runs.assign(sheet.runs().begin(), sheet.runs().end());
  }
  /// Renders the first that was sent and not rendered.
  void render() { x_views.render(x_sent[x_rendered++].runs); }
  /// The views of sheet number `i`.
  Rendered read(std::size_t i) const {
    Rendered out;
    for (std::size_t v = 0; v < x_sent[i].offsets.size(); ++v) {
      std::vector<T> view(static_cast<std::size_t>(x_sent[i].sizes[v]));
      x_backend.download(std::span<T>(view),
                         reinterpret_cast<const T*>(x_sent[i].room.data() + x_sent[i].offsets[v]));
      out.emplace_back(view.begin(), view.end());
    }
    return out;
  }
  template <class Views>
  Rendered operator()(const Views& views, const ScenesOf<Views>& scenes) {
    send(views, scenes);
    render();
    return read(x_sent.size() - 1);
  }
  const typename B::ViewRenderer& renderer() const { return x_views; }
  std::size_t runs(std::size_t i) const { return x_sent[i].runs.size(); }

 private:
  struct Sent {
    Buffer room;
    std::vector<std::size_t> offsets;
    std::vector<Index> sizes;
    std::vector<ViewRun> runs;
  };
  static std::size_t x_place(Sent& sent, Index values, std::size_t at) {
    sent.offsets.push_back(at);
    sent.sizes.push_back(values);
    return (static_cast<std::size_t>(values) * sizeof(T) + 63) / 64 * 64;
  }

  B x_backend;
  typename B::ViewRenderer x_views;
  std::size_t x_most_work;
  std::vector<Sent> x_sent;
  std::size_t x_rendered = 0;
};

/// How far views are apart, as shares of full scale.
struct Distance {
  double largest = 0;
  double mean = 0;
  double share = 0;  ///< of values that differ by more than 1e-5
};

template <class Views>
Distance distance(const Views& views, const ScenesOf<Views>& scenes, const Rendered& a,
                  const Rendered& b) {
  REQUIRE(a.size() == b.size());
  Distance out;
  std::size_t view = 0;
  double count = 0;
  for (const auto& scene : scenes) {
    std::vector<float> mean;
    std::vector<float> deviation;
    views.normalisation(mean, deviation, channels(scene.image));
    for (const auto& plan : scene.plans) {
      const auto plane = static_cast<std::size_t>(view_of(plan).height * view_of(plan).width);
      REQUIRE(a[view].size() == b[view].size());
      for (std::size_t i = 0; i < a[view].size(); ++i) {
        const double off = std::abs(static_cast<double>(a[view][i]) - static_cast<double>(b[view][i])) *
                           static_cast<double>(deviation[i / plane]);
        if (!(off <= out.largest)) out.largest = off;  // not a number, too
        out.mean += off;
        out.share += off > 1e-5 ? 1 : 0;
        count += 1;
      }
      ++view;
    }
  }
  out.mean /= count;
  out.share /= count;
  return out;
}

}  // namespace dssl::test
