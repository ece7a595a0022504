// For each patch of one picture, the patch of another that looks most like it to a trained backbone.
#include <cstdio>
#include <vector>

#include <dssl/dssl.hpp>
#include <dssl/features/features.hpp>
#include <dssl/search/nearest.hpp>

int main(int count, char** arguments) try {
  if (count != 4) return std::fprintf(stderr, "usage: dssl-nearest-two WEIGHTS PICTURE PICTURE (a ViT nano8)\n"), 2;
  dssl::FeatureExtractor<dssl::ViT<dssl::vit_nano8>, dssl::Cpu> extractor(dssl::Cpu(), {.height = 96, .width = 96});
  extractor.load(dssl::SafetensorsFile::open(arguments[1]));
  const auto first = extractor.features(dssl::read_image(arguments[2]));
  const auto second = extractor.features(dssl::read_image(arguments[3]));

  const dssl::Index patches = first.grid.size();
  const auto rows = [&](const auto& f) { return dssl::MatrixView<const float>(f.patches.data(), patches, extractor.width()); };
  dssl::NearestRows<dssl::Cpu> bank(extractor.backend(), {.width = extractor.width(), .capacity = patches});
  bank.add(rows(second));
  std::vector<dssl::Neighbour> nearest(static_cast<std::size_t>(patches));
  bank.find(nearest, rows(first), 1);
  for (dssl::Index i = 0; i < patches; ++i) {
    const dssl::Neighbour& n = nearest[static_cast<std::size_t>(i)];
    std::printf("row %2td column %2td: row %2td column %2td, cosine %.3f\n", i / first.grid.width, i % first.grid.width,
                n.row / first.grid.width, n.row % first.grid.width, n.nearness);
  }
} catch (const dssl::Error& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
