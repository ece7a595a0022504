// dssl-view-sets: times the views of images, as boxes or through homographies, alone or in turn with a peer.
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <dssl/io/safetensors.hpp>
#include <dssl/views/multi_crop.hpp>
#include <dssl/views/warped_views.hpp>

#include "serve.hpp"
#include "view_scene.hpp"

namespace {

using namespace dssl;
using namespace dssl::benchmarks;
using nlohmann::json;

struct Options {
  std::string views = "boxes";
  int images = 32;
  int runs = 9;
  int warm_up = 1;
  bool serve = false;
  std::string write_start;
};

constexpr Index image_height = 360, image_width = 480;

/// The published numbers of views; `plain`: none of their values is changed.
MultiCropOptions options_of(bool turned, bool plain) {
  MultiCropOptions options;
  if (turned) {
    options.rotation = 30;
    options.perspective = 0.2;
  }
  if (plain) {
    options.jitter = options.grey = 0;
    options.blur_first_global = options.blur_second_global = options.blur_local = 0;
    options.solarise_second_global = 0;
  }
  return options;
}

json colours_of(const ColourPlan& plan) {
  constexpr std::array<const char*, 4> names{"brightness", "contrast", "saturation", "hue"};  // of ColourStep
  json order = json::array();
  for (const ColourStep step : plan.order) order.push_back(names[static_cast<std::size_t>(step)]);
  return {{"order", order},
          {"brightness", plan.brightness},
          {"contrast", plan.contrast},
          {"saturation", plan.saturation},
          {"hue", plan.hue},
          {"grey", plan.grey},
          {"blur_radius", plan.blur_radius},
          {"solarise", plan.solarise}};
}

json description_of(const ViewPlan& plan) {
  const Box& box = plan.map.box;
  return {{"box", {box.y, box.x, box.height, box.width}},
          {"flip", plan.map.flip},
          {"size", {plan.height, plan.width}},
          {"colours", colours_of(plan.colour)}};
}

/// `matrix`: from pixels of the view to those of the image, both counted from the corner of pixel 0.
json description_of(const WarpedPlan& plan) {
  const Homography pixels = plan.map.first().plane() * Homography::shift(-1, -1) *
                            Homography::scale(2.0 / static_cast<double>(plan.view.width),
                                              2.0 / static_cast<double>(plan.view.height));
  return {{"matrix", pixels.matrix()},
          {"size", {plan.view.height, plan.view.width}},
          {"colours", colours_of(plan.view.colour)}};
}

Index size_of(const ViewPlan& plan) { return 3 * plan.height * plan.width; }
Index size_of(const WarpedPlan& plan) { return size_of(plan.view); }

/// The mean of each quarter of each channel of a view, and 3, so that none is near 0.
void add_means(std::vector<double>& means, std::span<const float> view, Index height, Index width) {
  for (Index c = 0; c < 3; ++c) {
    for (Index quarter = 0; quarter < 4; ++quarter) {
      double sum = 0;
      for (Index y = quarter / 2 * (height / 2); y < (quarter / 2 + 1) * (height / 2); ++y) {
        for (Index x = quarter % 2 * (width / 2); x < (quarter % 2 + 1) * (width / 2); ++x)
          sum += static_cast<double>(view[static_cast<std::size_t>((c * height + y) * width + x)]);
      }
      means.push_back(3 + 4 * sum / static_cast<double>(height * width));
    }
  }
}

template <class Views>
void run(const Options& options, const Views& views) {
  const std::size_t at_start = resident_bytes("VmRSS");
  const Image<std::uint8_t> image = view_scene<std::uint8_t>(image_height, image_width, 3);
  const AnyImageView seen{ImageView<std::uint8_t>(image)};
  std::vector<typename Views::Plan> plans;
  const auto plan = [&](int i) {
    views.plan(plans, image_height, image_width, {.seed = 1, .sample = static_cast<std::uint64_t>(i)});
  };
  if (!options.write_start.empty()) {
    json sets = json::array();
    for (int i = 0; i < options.images; ++i) {
      plan(i);
      json set = json::array();
      for (const auto& view : plans) set.push_back(description_of(view));
      sets.push_back(set);
    }
    SafetensorsWriter writer;
    writer.metadata("config", json{{"sets", sets}}.dump());
    std::vector<float> pixels;
    for (Index y = 0; y < image_height; ++y)
      pixels.insert(pixels.end(), image.row(y), image.row(y) + 3 * image_width);
    writer.add("image", {image_height, image_width, 3}, std::span<const float>(pixels));
    writer.write(options.write_start);
    return;
  }

  typename Views::Workspace workspace;
  std::vector<float> values;
  const auto make = [&](int i, const auto& after) {
    plan(i);
    for (std::size_t v = 0; v < plans.size(); ++v) {
      values.resize(static_cast<std::size_t>(size_of(plans[v])));
      views.render(seen, plans[v], values, workspace);
      after(static_cast<Index>(v));
    }
  };
  const auto all = [&] {
    for (int i = 0; i < options.images; ++i) make(i, [](Index) {});
  };
  const auto check = [&] {
    std::vector<double> means;
    for (int i = 0; i < options.images; ++i)
      make(i, [&](Index v) { add_means(means, values, views.size(v).height, views.size(v).width); });
    return means;
  };
  json out{{"program", "dssl-view-sets"},
           {"workload", {{"views", options.views}, {"images", options.images}}},
           {"flop", 0},
           {"machine", machine_json()}};
  if (options.serve) return serve(out, at_start, all, check);
  for (int i = 0; i < options.warm_up; ++i) all();
  const LoadWatch watch;
  std::vector<double> seconds;
  for (int i = 0; i < options.runs; ++i) seconds.push_back(seconds_of(all));
  out["others_load"] = watch.others();
  out["seconds"] = seconds_json(seconds);
  out["images_per_second"] = options.images / median(seconds);
  std::printf("%s\n", out.dump(2).c_str());
}

void run(const Options& options) {
  constexpr std::string_view plain = "-plain";
  const bool is_plain = options.views.ends_with(plain);
  const std::string_view kind =
      std::string_view(options.views).substr(0, options.views.size() - (is_plain ? plain.size() : 0));
  if (kind == "boxes") return run(options, MultiCrop<>(options_of(false, is_plain)));
  if (kind == "homographies") return run(options, Warped<MultiCrop<>>(options_of(true, is_plain)));
  throw OptionError("views", options.views, "boxes or homographies, with -plain or without");
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Times the 2 + 4 published views of images of 480 x 360 pixels, on one thread, and prints JSON.",
               "dssl-view-sets"};
  Options options;
  app.add_option("--views", options.views,
                 "boxes, or homographies (turned by up to 30 degrees, at an angle); with -plain their colours stay")
      ->capture_default_str();
  app.add_option("--images", options.images, "a run")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--runs", options.runs, "timed runs")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--warm-up", options.warm_up, "runs before them")->capture_default_str();
  app.add_flag("--serve", options.serve, "make the views once for each line 'step' on stdin");
  app.add_option("--write-start", options.write_start, "write the image and what is done to it for a peer, no more");
  return run_measurement(app, argc, argv, [&] { run(options); });
}
