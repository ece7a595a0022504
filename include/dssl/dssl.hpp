// What a program that trains needs: recipes, backends, data, training, saving weights. What is done with
// features lies in rooms beside it, each with a header that names its parts: <dssl/features.hpp>,
// <dssl/search.hpp>, <dssl/metrics.hpp>, <dssl/probe.hpp>, <dssl/monitor.hpp>, <dssl/defects.hpp>,
// <dssl/pictures.hpp>.
//
// Needs Eigen and oneTBB. Cuda is declared only: backend/cuda.hpp says what nvcc compiles besides. Folders of image
// files need libpng and libjpeg too: the CMake target dssl::codecs brings them and defines DSSL_WITH_CODECS.
#pragma once

#include <dssl/version.hpp>

#include <dssl/backend/cpu.hpp>
#include <dssl/backend/cuda.hpp>
#include <dssl/backend/reference.hpp>
#include <dssl/concepts.hpp>
#include <dssl/data/camera_images.hpp>
#include <dssl/data/image_pairs.hpp>
#include <dssl/data/source.hpp>
#include <dssl/data/synthetic.hpp>
#ifdef DSSL_WITH_CODECS
#include <dssl/data/image_folder.hpp>
#include <dssl/data/synthetic_voc.hpp>
#include <dssl/data/voc.hpp>
#else
namespace dssl {  // declared alone, for the sentence that compilers then show
class ImageFolder;  // reads PNG and JPEG: link dssl::codecs, which defines DSSL_WITH_CODECS
class ImageList;    // reads PNG and JPEG: link dssl::codecs, which defines DSSL_WITH_CODECS
class VocFolder;    // reads PNG and JPEG: link dssl::codecs, which defines DSSL_WITH_CODECS
}  // namespace dssl
#endif
#include <dssl/instances.hpp>
#include <dssl/io/weights.hpp>
#include <dssl/points/any_sampler.hpp>
#include <dssl/points/even_points.hpp>
#include <dssl/points/grid_points.hpp>
#include <dssl/points/jittered_grid.hpp>
#include <dssl/points/mixed_points.hpp>
#include <dssl/points/random_points.hpp>
#include <dssl/points/salient_points.hpp>
#include <dssl/points/teacher_points.hpp>
#include <dssl/points/weighted_points.hpp>
#include <dssl/tokens/schemes.hpp>
#include <dssl/train/recipe.hpp>
#include <dssl/train/trainer.hpp>
#include <dssl/views/multi_crop.hpp>
#include <dssl/views/paired_views.hpp>
#include <dssl/views/view_presets.hpp>
#include <dssl/views/warped_views.hpp>
