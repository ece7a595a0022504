// The files behind --monitor, without a backbone: what they have in common with others.
#pragma once

#include <optional>
#include <string>

#include <dssl/core/tensor_view.hpp>
#include <dssl/data/image_files.hpp>
#include <dssl/data/source.hpp>
#include <dssl/data/voc.hpp>

#include <common/output_files.hpp>

namespace dssl::programs {

/// Whether a monitor's folder is read in VOC layout.
[[nodiscard]] bool in_voc_layout(const std::string& monitor);

/// What `--monitor` names. Test: tests/programs/monitor.sh, tests/programs/outputs.sh.
class MonitorFiles {
 public:
  /// Lists the images. Throws `DataError`.
  explicit MonitorFiles(std::string monitor);

  /// Throws `FileError` where an output is one of the files that the monitor reads.
  void require_apart(const OutputFiles& output) const;

  /// One line where images that are measured are among those trained on; empty where none is. Images of VOC's train are
  /// looked up alone, and may be.
  [[nodiscard]] std::string shared_warning(const SourceView& trained_on) const;

 private:
  std::string x_monitor;
  std::optional<VocFolder> x_train, x_val;  // in VOC layout
  std::optional<ImageFiles> x_images;       // otherwise
};

}  // namespace dssl::programs
