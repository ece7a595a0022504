// Banks of normal patches and of fixed filters: one that is read gives scores, and comes back as it was written.
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <dssl/backend/reference.hpp>
#include <dssl/defects/defect_bank_file.hpp>
#include <dssl/defects/filter_bank_file.hpp>

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
  fuzz::parses<FileError>([&] {
    const FilterProbe probe = load_filter_bank(SafetensorsFile::open(path));
    fuzz::require(probe.learned() >= 2, "filters learned from two patches or more");
    const std::string again = fuzz::scratch() / "out.safetensors";
    save_filter_bank(again, probe);
    const FilterProbe same = load_filter_bank(SafetensorsFile::open(again));
    fuzz::require(std::ranges::equal(same.normal()->factor(), probe.normal()->factor()) && same.size_trend() == probe.size_trend() &&
                      same.labels().has_value() == probe.labels().has_value(),
                  "filters come back as they were written");
    if (!probe.labels()) return;
    fuzz::require(same.labels()->trees.numbers() == probe.labels()->trees.numbers() && same.labels()->scales == probe.labels()->scales,
                  "trees come back as they were written");
    const std::vector<float> row(static_cast<std::size_t>(probe.labels()->trees.width()));
    fuzz::require(std::isfinite(probe.labels()->trees.logit(row)), "trees give a logit");
  });
  return 0;
}
