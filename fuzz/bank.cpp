// Banks of normal patches: one that is read gives scores, and comes back as it was written.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <dssl/backend/reference.hpp>
#include <dssl/defects/defect_bank_file.hpp>

#include "fuzz.hpp"

using namespace dssl;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using B = Reference<float>;
  const std::string path = fuzz::file_of("in.safetensors", fuzz::bytes_of(data, size));
  const B backend;
  fuzz::parses<FileError>([&] {
    auto bank = load_defect_bank(backend, SafetensorsFile::open(path));
    const MatrixView<const float> rows = bank.rows();
    fuzz::require(bank.size() >= 1 && rows.cols() == bank.options().width && rows.cols() >= 1, "a bank has rows");
    fuzz::require(bank.radius() >= 0 && std::isfinite(bank.radius()), "a radius is a length");
    const std::string again = fuzz::scratch() / "out.safetensors";
    save_defect_bank(again, bank);
    auto same = load_defect_bank(backend, SafetensorsFile::open(again));
    fuzz::require(std::ranges::equal(same.rows().flat(), rows.flat()) && same.radius() == bank.radius() &&
                      same.options().reweighting == bank.options().reweighting,
                  "a bank comes back as it was written");
    std::vector<float> scores(1);
    const double score = bank.score(scores, MatrixView<const float>(rows.data(), 1, rows.cols()));
    fuzz::require(score == same.score(scores, MatrixView<const float>(rows.data(), 1, rows.cols())) || std::isnan(score),
                  "both banks give the same score");
  });
  return 0;
}
