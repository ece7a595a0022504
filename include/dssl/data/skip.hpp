// What happens to images that cannot be read: replaced, reported, counted, and too many of them end the run.
#pragma once

#include <algorithm>
#include <functional>
#include <optional>
#include <set>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <dssl/core/error.hpp>
#include <dssl/core/tensor_view.hpp>
#include <dssl/data/loader.hpp>
#include <dssl/data/source.hpp>
#include <dssl/views/image.hpp>

namespace dssl {

/// How many unreadable images a run bears. It ends when more than `min_bad` of those asked for so far, and
/// more than the share `max_bad_share` of them, were unreadable; a share of 0 bears none. Where several samples are of one
/// image (`SamplesOfImages`) samples are counted, of each unreadable image those that were asked for: see `of_samples`.
struct SkipPolicy {
  double max_bad_share = 0.1;  ///< 0 to 1
  Index min_bad = 10;          ///< this many never end the run, unless the share is 0
  Index max_tries = 64;        ///< images in a row that are tried in place of an unreadable one
  std::string_view counted = "images";  ///< what is counted, for messages

  /// Whether a run goes on with so many unreadable ones of those that were asked for.
  [[nodiscard]] bool bears(Index bad, Index asked) const {
    if (max_bad_share == 0) return bad == 0;
    return bad <= min_bad || static_cast<double>(bad) <= max_bad_share * static_cast<double>(asked);
  }

  /// The same where so many samples are counted of so many images: `min_bad` is as many as that many images have on average,
  /// rounded up.
  [[nodiscard]] SkipPolicy of_samples(Index samples, Index images) const {
    SkipPolicy out = *this;
    if (samples == images) return out;
    out.min_bad = (min_bad * samples + images - 1) / images;
    out.counted = "samples";
    return out;
  }

  /// Throws `OptionError` naming the field.
  void validate() const {
    if (!(max_bad_share >= 0 && max_bad_share <= 1))
      throw OptionError("max_bad_share", max_bad_share, "0 to 1");
    if (min_bad < 0) throw OptionError("min_bad", min_bad, "0 or more");
    if (max_tries < 1) throw OptionError("max_tries", max_tries, "at least 1");
  }
};

/// An image that was passed over, and why; where several samples are of it, for one of them.
struct SkippedImage {
  Index index = 0;
  std::string name;
  std::string message;
  bool label = false;  ///< the image can be read, but not its mask or label (`LabelError`)
};

/// An image that was passed over for this error.
[[nodiscard]] inline SkippedImage skipped_image(Index index, std::string name, const ImageError& error) {
  return {index, std::move(name), error.what(), dynamic_cast<const LabelError*>(&error) != nullptr};
}

namespace detail {

/// "", " (all for their masks or labels)" or " (3 of them for their masks or labels)".
[[nodiscard]] inline std::string label_share_text(Index labels, Index all) {
  if (labels == 0) return {};
  return labels == all ? std::string(" (all for their masks or labels)")
                       : join(" (", labels, " of them for their masks or labels)");
}

}  // namespace detail

/// Sample i of a source, or the first readable one behind it: i, i + 1, i + 2, ... modulo the size; where several samples are of
/// one image, the one of the same number of the next image, of the one after that, ..., counted round where one has fewer.
///
/// Which sample stands in depends on the files alone, so runs stay the same for any number of threads.
/// Unreadable ones are appended to `skipped`; `used` becomes the index of the sample that was loaded. Safe to
/// call by several threads. Throws `DataError` after `policy.max_tries` unreadable ones, or as many as there are images; other
/// exceptions than `ImageError` pass through.
template <NamedSamples Source>
[[nodiscard]] auto load_readable(std::vector<SkippedImage>& skipped, Index& used, const Source& source,
                                 Index i, const SkipPolicy& policy = {}) {
  Index labels = 0, number = 0;
  used = i % source.size();
  for (Index tries = 1;; ++tries) {
    try {
      return source.load(used);
    } catch (const ImageError& error) {
      const ImageOfSample image = image_of_sample(source, used);
      if (tries == 1) number = image.number;
      skipped.push_back(skipped_image(image.image, image.name, error));
      if (image.samples > 1) skipped.back().message += join("; its ", image.samples, " samples are passed over");
      labels += skipped.back().label ? 1 : 0;
      if (tries == std::min(policy.max_tries, image.images)) {
        throw DataError(join(tries, " images in a row cannot be read, out of ", image.images, detail::label_share_text(labels, tries),
                             "; the last: ", skipped.back().message));
      }
      used = image.next + number % image.next_samples;
    }
  }
}

/// Counts skipped images in the order of use, reports each file once, and ends the run when they are too
/// many.
///
/// For one thread: feed it from the consumer's side, in order, and it ends every run at the same sample.
class SkipCounter {
 public:
  /// Called with the name and the problem of each unreadable image the first time it is met.
  using Warn = std::function<void(std::string_view name, std::string_view message)>;

  /// Throws `OptionError`.
  explicit SkipCounter(const SkipPolicy& policy = {}, Warn warn = {})
      : x_policy(policy), x_warn(std::move(warn)) {
    x_policy.validate();
  }

  /// Goes on from the counts of an earlier run: images asked for, and those of them that were skipped.
  void resume(Index asked, Index skipped) {
    x_asked = asked;
    x_skipped = skipped;
  }

  /// Counts one delivered sample and what was skipped on the way to it.
  /// Throws `DataError` naming the counts and the last file when the policy is exceeded.
  void count(std::span<const SkippedImage> skipped) {
    meet(skipped);
    if (!skipped.empty() && !borne()) throw too_many(x_last);
  }

  /// Counts and reports as `count`, and leaves it to the caller to look at `borne`.
  void meet(std::span<const SkippedImage> skipped) {
    ++x_asked;
    if (!skipped.empty()) x_last = skipped.back().message;
    for (const SkippedImage& image : skipped) {
      ++x_asked;
      ++x_skipped;
      x_skipped_labels += image.label ? 1 : 0;
      if (!x_met.insert(image.index).second) continue;
      x_labels += image.label ? 1 : 0;
      if (x_warn) x_warn(image.name, image.message);
    }
  }

  /// Counts what others met who load other samples of the same run; for which of them a mask or label is to blame is not
  /// known, and not said any more.
  void count_elsewhere(Index asked, Index skipped) {
    x_asked += asked;
    x_skipped += skipped;
    x_elsewhere = true;
  }

  /// Whether the policy bears what was counted so far.
  [[nodiscard]] bool borne() const { return x_policy.bears(x_skipped, x_asked); }
  /// What was said of the last unreadable image that was met here; empty before one was.
  [[nodiscard]] const std::string& last() const { return x_last; }
  /// The error of a policy that is exceeded: the counts, and what was said of the last file.
  [[nodiscard]] DataError too_many(std::string_view last) const {
    return DataError(join(x_skipped, " of ", x_asked, " ", x_policy.counted, " cannot be read",
                          x_elsewhere ? std::string() : detail::label_share_text(x_skipped_labels, x_skipped),
                          "; expected at most ", 100 * x_policy.max_bad_share, " %; the last: ", last));
  }

  /// Images (or samples of them) asked for so far, stand-ins among them.
  [[nodiscard]] Index asked() const { return x_asked; }
  /// Times an unreadable image, or a sample of one, was passed over; a file met again in a later epoch counts again.
  [[nodiscard]] Index skipped() const { return x_skipped; }

  /// Different unreadable images met.
  [[nodiscard]] Index unreadable() const { return static_cast<Index>(x_met.size()); }
  /// Those of them whose mask or label alone cannot be read.
  [[nodiscard]] Index unreadable_labels() const { return x_labels; }

 private:
  SkipPolicy x_policy;
  Warn x_warn;
  std::set<Index> x_met;
  Index x_labels = 0;
  Index x_asked = 0;
  Index x_skipped = 0;
  Index x_skipped_labels = 0;
  bool x_elsewhere = false;
  std::string x_last;
};

/// Loads samples of a source ahead of their use, in a given order, passing over unreadable ones.
///
/// `Sample` is what the source's `load` gives: an `AnyImage`, an `AnyImageView` or a `LabelledImage`.
/// Test: tests/data/skip.cpp.
template <NamedSamples Source>
class SampleLoader {
 public:
  using Sample = std::remove_cvref_t<decltype(std::declval<const Source&>().load(Index{}))>;

  struct Loaded {
    Index index = 0;  ///< of the sample that was used; not the one asked for where that was unreadable
    Sample sample;
    std::vector<SkippedImage> skipped;
  };

  /// Loads sample `order(n)` as the n-th, n < count. `source` must outlive the loader.
  SampleLoader(const Source& source, Index count, std::function<Index(Index)> order,
               const SkipPolicy& policy = {}, SkipCounter::Warn warn = {}, LoaderOptions options = {},
               std::stop_token token = {})
      : x_counter(policy, std::move(warn)),
        x_loader(
            count,
            [&source, policy, order = std::move(order)](Index n) -> std::optional<Loaded> {
              std::vector<SkippedImage> skipped;
              Index used = 0;
              auto sample = load_readable(skipped, used, source, order ? order(n) : n, policy);
              return Loaded{used, std::move(sample), std::move(skipped)};
            },
            options, std::move(token)) {}

  /// The next sample; nothing after the last or after a stop request. Throws as `load_readable` and
  /// `SkipCounter`.
  [[nodiscard]] std::optional<Loaded> next() {
    std::optional<Loaded> loaded = x_loader.next();
    if (loaded) x_counter.count(loaded->skipped);
    return loaded;
  }

  [[nodiscard]] double wait_seconds() const { return x_loader.wait_seconds(); }
  [[nodiscard]] const SkipCounter& skips() const { return x_counter; }

 private:
  SkipCounter x_counter;
  OrderedLoader<Loaded> x_loader;
};

}  // namespace dssl
