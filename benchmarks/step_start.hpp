// Where a measured step begins, as a file that a peer reads too.
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include <common/measured_step.hpp>
#include <dssl/core/point.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/train/view_batch.hpp>

namespace dssl::benchmarks {

using programs::drawn_start;
using programs::Numbers;
using programs::Start;

[[nodiscard]] inline std::vector<float> floats_of(const std::vector<Point>& points) {
  std::vector<float> out;
  for (const Point& p : points) {
    out.push_back(static_cast<float>(p.x));
    out.push_back(static_cast<float>(p.y));
  }
  return out;
}

[[nodiscard]] inline std::vector<Point> points_of(std::span<const float> xy) {
  std::vector<Point> out;
  for (std::size_t i = 0; i < xy.size(); i += 2) {
    out.push_back({static_cast<double>(xy[i]), static_cast<double>(xy[i + 1])});
  }
  return out;
}

/// (V,depth*2,B) to (depth*2,V,B), or back with the first two extents exchanged.
[[nodiscard]] inline std::vector<float> first_two_exchanged(std::span<const float> from, Index first, Index second,
                                                             Index last) {
  std::vector<float> out(from.size());
  for (Index i = 0; i < first; ++i) {
    for (Index j = 0; j < second; ++j) {
      std::copy_n(from.begin() + (i * second + j) * last, last, out.begin() + (j * first + i) * last);
    }
  }
  return out;
}

/// The weights that student and teacher begin with: of a file, or drawn where there is none. The file is opened anew for
/// each tensor, and no copy of all weights made: what lies in memory here would count as the step's. Throws
/// `FileError`, `CheckpointError`.
template <class Step>
void load_weights(const Step& step, const std::string& path) {
  if (path.empty()) {
    programs::draw_weights(step);
    return;
  }
  for (const auto& spec : step.layout().specs()) {
    std::vector<float> values(static_cast<std::size_t>(spec.size));
    SafetensorsFile::open(path).read_into(std::span<float>(values), "weight." + std::string(spec.name.view()));
    step.backend().upload(step.student().data() + spec.offset, std::span<const float>(values));
  }
  step.backend().copy(step.teacher(), step.student());
}

/// Those of a file that `write_start` wrote. Throws `FileError`, `CheckpointError`.
template <class Step>
[[nodiscard]] Start read_start(const Step& step, const std::string& path) {
  const auto file = SafetensorsFile::open(path);
  Start start = drawn_start(step);
  const BatchShape& shape = step.options().shape;
  for (std::size_t v = 0; v < start.batch.images.size(); ++v) {
    file.read_into(std::span<float>(start.batch.images[v]), "view" + std::to_string(v));
  }
  start.batch.teacher_points = points_of(file.read<float>("teacher_points"));
  start.batch.student_points = points_of(file.read<float>("student_points"));
  start.keep = first_two_exchanged(file.read<float>("keep"), shape.view_count(),
                                   2 * step.config().backbone.depth, shape.batch);
  return start;
}

/// The sizes and numbers of the step, in the words of the fixtures.
template <class Step>
[[nodiscard]] nlohmann::json config_of(const Step& step, const Numbers& numbers) {
  const auto& options = step.options();
  const auto& backbone = step.config().backbone;
  const auto& head = step.config().head;
  nlohmann::json sizes = nlohmann::json::array();
  for (const ViewSize& view : options.shape.views) sizes.push_back(view.height);
  return {{"batch", options.shape.batch},
          {"points", options.shape.points},
          {"sizes", sizes},
          {"relation", "all2pos_pos2cls_eye"},
          {"vit_image", backbone.image},
          {"vit_patch", backbone.patch},
          {"vit_channels", backbone.channels},
          {"vit_dim", backbone.width},
          {"vit_depth", backbone.depth},
          {"vit_heads", backbone.heads},
          {"vit_ratio", backbone.mlp_ratio},
          {"head_hidden", head.hidden},
          {"head_bottleneck", head.bottleneck},
          {"head_prototypes", head.prototypes},
          {"stochastic_depth", options.stochastic_depth},
          {"alpha", options.loss.alpha},
          {"student_temp", options.loss.student_temperature},
          {"center_momentum", options.loss.centre_momentum},
          {"optimizer", "adamw"},
          {"clip", options.optimiser.clip},
          {"learning_rate", numbers.learning_rate},
          {"weight_decay", numbers.weight_decay},
          {"momentum", numbers.momentum},
          {"teacher_temp", numbers.temperature}};
}

/// Writes what a step begins with, for another program and for a peer.
template <class Step>
void write_start(const Step& step, const Start& start, const Numbers& numbers, const std::string& path) {
  const BatchShape& shape = step.options().shape;
  const Index depth = step.config().backbone.depth;
  const Index views = shape.view_count();
  const Index batch = shape.batch;
  std::vector<float> weights(static_cast<std::size_t>(step.layout().total()));
  step.backend().download(std::span<float>(weights), static_cast<const float*>(step.student().data()));
  SafetensorsWriter writer;
  writer.metadata("config", config_of(step, numbers).dump());
  for (const auto& spec : step.layout().specs()) {
    writer.add("weight." + std::string(spec.name.view()), spec.shape(),
               std::span<const float>(weights)
                   .subspan(static_cast<std::size_t>(spec.offset), static_cast<std::size_t>(spec.size)));
  }
  for (std::size_t v = 0; v < start.batch.images.size(); ++v) {
    writer.add("view" + std::to_string(v),
               {batch, shape.channels, shape.views[v].height, shape.views[v].width},
               std::span<const float>(start.batch.images[v]));
  }
  const auto teacher = floats_of(start.batch.teacher_points);
  const auto student = floats_of(start.batch.student_points);
  const auto keep = first_two_exchanged(start.keep, 2 * depth, views, batch);
  writer.add("teacher_points", {2, batch, views, shape.points, 2}, std::span<const float>(teacher));
  writer.add("student_points", {views, batch, 2, shape.points, 2}, std::span<const float>(student));
  writer.add("keep", {views, depth, 2, batch}, std::span<const float>(keep));
  writer.write(path);
}

}  // namespace dssl::benchmarks
