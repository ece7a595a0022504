// The images of one camera.
// Tests: tests/data/memory_images.cpp.
#pragma once

#include <string>
#include <utility>

#include <dssl/core/camera.hpp>
#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/source.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// Throws `ImageError` for an image that is not of a camera's size.
inline void require_size_of(const Camera& camera, const AnyImageView& image, const std::string& name) {
  if (height(image) == camera.height && width(image) == camera.width) return;
  throw ImageError(name, join("has ", height(image), " x ", width(image), " pixels; expected the camera's ",
                              camera.height, " x ", camera.width));
}

/// A source whose images are a camera's: one of another size is an `ImageError`, and so passed over as an unreadable one is;
/// `Warped` views through a camera (`MultiCropOptions::camera`) take no other. Test: tests/data/memory_images.cpp.
class CameraImages {
 public:
  CameraImages(SourceView source, const Camera& camera) : x_source(std::move(source)), x_camera(camera) {}

  [[nodiscard]] Index size() const { return x_source.size(); }
  [[nodiscard]] std::string name(Index i) const { return x_source.name(i); }
  [[nodiscard]] Index bytes(Index i) const { return x_source.bytes(i); }
  [[nodiscard]] AnyImage load(Index i) const {
    AnyImage image = x_source.load(i);
    require_size_of(x_camera, image, name(i));
    return image;
  }

 private:
  SourceView x_source;
  Camera x_camera;
};

}  // namespace dssl
