// Pictures of a run's views and the points that pair them.
#pragma once

#include <string>

#include <dssl/data/voc.hpp>
#include <dssl/points/any_sampler.hpp>
#include <dssl/views/image.hpp>
#include <report/runs.hpp>

namespace dssl::programs {

/// The sampler of a run's points, for the images of a folder. Throws `FileError` where options.json does not tell it, and
/// `DataError` where it draws by maps of weights that cannot be opened any more.
[[nodiscard]] AnySampler sampler_of_run(const PretrainRun& run, const VocFolder& images);

/// A scene with the outlines of its views, and the views with their reference points, as HTML: what the run saw
/// of image `sample` in its first epoch. The points are those of the pairs with teacher view 0. Empty where the run's
/// camera takes pictures of another size. Throws `DataError` where the run is of pairs of images.
[[nodiscard]] std::string views_html(const PretrainRun& run, const AnySampler& sampler, const AnyImage& image, Index sample);

}  // namespace dssl::programs
