// The images dssl-defects looks at, and what is known of their defects.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <dssl/data/defect_files.hpp>
#include <dssl/data/source.hpp>

namespace dssl::programs {

enum class Truth : std::uint8_t { unknown, normal, defect };

/// Defect files that remember of each image they load whether it has a defect: in its mask as it lies in the
/// file, however small the input is; without masks, by its label.
class Inspected {
 public:
  Inspected(DefectFiles files, std::vector<std::string> good)
      : x_files(std::move(files)),
        x_good(std::move(good)),
        x_truth(
            std::make_shared<std::vector<std::atomic<Truth>>>(static_cast<std::size_t>(x_files.size()))) {
    if (x_files.has_truth()) return;
    const auto is_good = [&](Index i) {
      return std::find(x_good.begin(), x_good.end(), x_files.files().label(i)) != x_good.end();
    };
    bool any = false;
    for (Index i = 0; i < size(); ++i) any = any || is_good(i);
    if (!any) return;  // labels that say nothing of what is normal
    for (Index i = 0; i < size(); ++i)
      (*x_truth)[static_cast<std::size_t>(i)] = is_good(i) ? Truth::normal : Truth::defect;
  }

  [[nodiscard]] const DefectFiles& files() const { return x_files; }
  [[nodiscard]] Index size() const { return x_files.size(); }
  [[nodiscard]] std::string name(Index i) const { return x_files.name(i); }
  [[nodiscard]] const std::string& id(Index i) const { return x_files.files().id(i); }
  [[nodiscard]] const std::string& label(Index i) const { return x_files.files().label(i); }
  /// What is known of image i; by masks, once it was loaded.
  [[nodiscard]] Truth truth(Index i) const { return (*x_truth)[static_cast<std::size_t>(i)]; }
  [[nodiscard]] bool has_masks() const { return x_files.has_truth(); }

  [[nodiscard]] LabelledImage load(Index i) const {
    LabelledImage out = x_files.load(i);
    if (x_files.has_truth()) {
      const auto pixels = out.mask.pixels();
      const bool defect = std::any_of(pixels.begin(), pixels.end(), [](std::uint8_t id) { return id != 0; });
      // Crops of one image, or defects pasted on it, are made by several threads at once.
      (*x_truth)[static_cast<std::size_t>(i)] = defect ? Truth::defect : Truth::normal;
    }
    return out;
  }
  [[nodiscard]] AnyImage load_image(Index i) const { return x_files.load_image(i); }
  [[nodiscard]] AnyImage load_template(Index i) const { return x_files.load_template(i); }

 private:
  DefectFiles x_files;
  std::vector<std::string> x_good;
  std::shared_ptr<std::vector<std::atomic<Truth>>> x_truth;  // of each image, by threads that load
};

/// Some of them, with their templates.
class InspectedPart : public ChosenSamples<Inspected> {
 public:
  /// `all` must outlive this.
  InspectedPart(const Inspected& all, const ChosenSamples<Inspected>& part) : ChosenSamples<Inspected>(part), x_all(all) {}
  [[nodiscard]] AnyImage load_image(Index i) const { return x_all.load_image(number(i)); }
  [[nodiscard]] AnyImage load_template(Index i) const { return x_all.load_template(number(i)); }

 private:
  const Inspected& x_all;
};

}  // namespace dssl::programs
