#include <pretrain/locality.hpp>

#include <algorithm>
#include <cstddef>

#include <dssl/core/error.hpp>
#include <dssl/data/source.hpp>
#include <dssl/features/class_map.hpp>
#include <dssl/features/labelled_input.hpp>
#include <dssl/io/image_codec.hpp>

namespace dssl::programs {

std::vector<float> images_to_look_at(const Job& job, Index channels, Index most) {
  const ViewSize& size = job.options.views.global_size;
  const InputRenderer renderer({.height = size.height,
                                .width = size.width,
                                .channels = channels,
                                .mean = job.options.views.mean,
                                .deviation = job.options.views.deviation},
                               ClassMap({.classes = 1}));
  std::vector<float> out;
  const SourceView& source = job.looked_at ? *job.looked_at : *job.source;
  const Index all = source.size(), wanted = std::min(all, most);
  Index images = 0;
  for (Index i = 0; i < wanted; ++i) {
    const Index number = i * all / wanted;
    try {
      const HeldImage held = with_channels(source.hold(number), channels, source.name(number));
      const std::vector<float> one = renderer.render_image(held.view());
      out.insert(out.end(), one.begin(), one.end());
      ++images;
    } catch (const Error&) {  // the run itself counts what it cannot read, and says so
    }
  }
  if (images < 2) out.clear();
  return out;
}

Index locality_rhythm(const Job& job) {
  if (job.locality_every < 0) return 0;
  return job.locality_every > 0 ? job.locality_every : std::max<Index>(1, job.options.epochs / 20);
}

}  // namespace dssl::programs
