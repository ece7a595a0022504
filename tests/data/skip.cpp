// Unreadable images: replaced by a fixed rule, reported once, counted, and too many end the run.
#include "catch.hpp"

#include <algorithm>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include <dssl/data/skip.hpp>

#include "thrown.hpp"

namespace {

using dssl::AnyImage;
using dssl::Index;
using dssl::test::contains;
using dssl::test::thrown_by;

/// Images whose only pixel is their index; the ones in `bad` cannot be read.
struct Numbered {
  Index count = 0;
  std::set<Index> bad;

  [[nodiscard]] Index size() const { return count; }
  [[nodiscard]] std::string name(Index i) const { return dssl::join("image", i); }
  [[nodiscard]] AnyImage load(Index i) const {
    if (bad.contains(i)) throw dssl::ImageError(name(i), "damaged");
    dssl::Image<float> image(1, 1, 1);
    image(0, 0, 0) = static_cast<float>(i);
    return image;
  }
};
static_assert(dssl::ImageSource<Numbered>);

using Warnings = std::vector<std::pair<std::string, std::string>>;

struct Outcome {
  std::vector<Index> used;
  Warnings warnings;
  std::string error;
  bool operator==(const Outcome&) const = default;
};

Outcome run(const Numbered& source, Index count, int threads, const dssl::SkipPolicy& policy = {}) {
  Outcome outcome;
  outcome.error = thrown_by<dssl::DataError>([&] {
    dssl::SampleLoader<Numbered> loader(
        source, count, [&](Index n) { return (n * 7) % source.size(); }, policy,
        [&](std::string_view name, std::string_view message) {
          outcome.warnings.emplace_back(name, message);
        },
        {.prefetch = 5, .threads = threads});
    while (const auto loaded = loader.next()) {
      REQUIRE(std::get<dssl::Image<float>>(loaded->sample)(0, 0, 0) == static_cast<float>(loaded->index));
      outcome.used.push_back(loaded->index);
    }
  });
  return outcome;
}

}  // namespace

TEST_CASE("the next readable image stands in for an unreadable one") {
  const Numbered source{10, {3, 4, 9}};
  std::vector<dssl::SkippedImage> skipped;
  Index used = -1;
  (void)dssl::load_readable(skipped, used, source, 3);
  REQUIRE(used == 5);
  REQUIRE(skipped.size() == 2);
  REQUIRE(skipped[0].name == "image3");
  REQUIRE(skipped[1].name == "image4");
  REQUIRE(skipped[1].message == "image4: damaged");

  skipped.clear();
  (void)dssl::load_readable(skipped, used, source, 9);
  REQUIRE(used == 0);

  skipped.clear();
  (void)dssl::load_readable(skipped, used, dssl::SourceView(source), 3);  // by the same rule
  REQUIRE(used == 5);
  REQUIRE(skipped[1].message == "image4: damaged");
}

TEST_CASE("skipping does not depend on the number of threads") {
  const Numbered source{50, {0, 7, 8, 21, 49}};
  const Outcome one = run(source, 150, 1, {.max_bad_share = 0.5});
  REQUIRE(one.used.size() == 150);
  REQUIRE(one.used == run(source, 150, 4, {.max_bad_share = 0.5}).used);
  REQUIRE(one == run(source, 150, 2, {.max_bad_share = 0.5}));
  REQUIRE(std::none_of(one.used.begin(), one.used.end(), [&](Index i) { return source.bad.contains(i); }));
  // Three epochs, but each file is reported once.
  REQUIRE(one.warnings.size() == 5);
}

TEST_CASE("too many unreadable images end the run with the count and the last file") {
  Numbered source{100, {}};
  for (Index i = 0; i < 100; i += 4) source.bad.insert(i);
  const Outcome outcome = run(source, 100, 2);
  REQUIRE(contains(outcome.error, "images cannot be read"));
  REQUIRE(contains(outcome.error, outcome.warnings.back().first));
  REQUIRE(contains(outcome.error, "11 of "));
  REQUIRE(outcome == run(source, 100, 4));
}

TEST_CASE("a few unreadable images among few are borne, but none with a share of 0") {
  const Numbered source{12, {1, 5}};
  REQUIRE(run(source, 12, 2).used.size() == 12);
  REQUIRE(contains(run(source, 12, 2, {.max_bad_share = 0}).error, "1 of "));
  REQUIRE(run(Numbered{12, {}}, 12, 2, {.max_bad_share = 0}).used.size() == 12);
}

TEST_CASE("masks that cannot be read are counted apart from images that cannot") {
  struct Pairs : Numbered {
    std::set<Index> masks;
    [[nodiscard]] AnyImage load(Index i) const {
      if (masks.contains(i)) throw dssl::LabelError(name(i), "a mask of colours");
      return Numbered::load(i);
    }
  };
  Pairs source;
  source.count = 20;
  source.bad.insert(3);
  source.masks = {4, 9};
  dssl::SampleLoader<Pairs> loader(source, 20, {});
  while (loader.next()) {
  }
  REQUIRE(loader.skips().unreadable() == 3);
  REQUIRE(loader.skips().unreadable_labels() == 2);
  dssl::SampleLoader<Pairs> strict(source, 20, {}, {.max_bad_share = 0.05, .min_bad = 2});
  REQUIRE(contains(thrown_by<dssl::DataError>([&] {
                     while (strict.next()) {
                     }
                   }),
                   "3 of "));
  Pairs without_masks;  // not `source`: the loaders above may still be reading it
  without_masks.count = 20;
  for (Index i = 0; i < 20; ++i) without_masks.masks.insert(i);
  dssl::SampleLoader<Pairs> none(without_masks, 20, {});
  REQUIRE(contains(thrown_by<dssl::DataError>([&] { (void)none.next(); }),
                   "20 images in a row cannot be read, out of 20 (all for their masks or labels)"));
}

TEST_CASE("a source without a readable image ends the run at once") {
  Numbered source{1000, {}};
  for (Index i = 0; i < 1000; ++i) source.bad.insert(i);
  const std::string error = run(source, 1000, 2).error;
  REQUIRE(contains(error, "64 images in a row"));
  REQUIRE(contains(error, "image63: damaged"));
  REQUIRE(contains(run(Numbered{1, {0}}, 1, 1).error, "1 images in a row"));
}

TEST_CASE("other exceptions than ImageError are not skipped") {
  struct Broken {
    [[nodiscard]] Index size() const { return 4; }
    [[nodiscard]] std::string name(Index) const { return "x"; }
    [[nodiscard]] AnyImage load(Index) const { throw dssl::DataError("mask of another size"); }
  };
  const Broken broken;
  dssl::SampleLoader<Broken> loader(broken, 4, {});
  REQUIRE(thrown_by<dssl::DataError>([&] { (void)loader.next(); }) == "mask of another size");
}

TEST_CASE("impossible skip policies are named") {
  REQUIRE(contains(thrown_by<dssl::OptionError>([] { dssl::SkipCounter({.max_bad_share = 1.5}); }),
                   "max_bad_share"));
  REQUIRE(contains(thrown_by<dssl::OptionError>([] { dssl::SkipCounter({.min_bad = -1}); }), "min_bad"));
  REQUIRE(contains(thrown_by<dssl::OptionError>([] { dssl::SkipCounter({.max_tries = 0}); }), "max_tries"));
}
