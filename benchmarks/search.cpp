// dssl-search: times the nearest rows of a bank and the choice of a coreset, alone or in turn with a peer.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <dssl/core/random.hpp>
#include <dssl/io/safetensors.hpp>
#include <dssl/search/coreset.hpp>
#include <dssl/search/nearest.hpp>

#include "serve.hpp"

namespace {

using namespace dssl;
using namespace dssl::benchmarks;
using nlohmann::json;

struct Options {
  std::string search = "cosine";
  std::string precision = "f32";
  int threads = 0;
  Index rows = 100'000;
  Index width = 384;
  Index queries = 2048;
  Index neighbours = 30;
  Index coreset = 1000;
  int runs = 9;
  int warm_up = 1;
  bool serve = false;
  std::string start;
  std::string write_start;
  std::string features;
};

/// Rows of the bank (n,D), then queries (m,D): patch features that `dssl-features` wrote, in an order that is
/// drawn, or where there are none, normal numbers around 256 drawn centres, their deviation falling with the
/// channel.
std::vector<float> make_rows(const Options& options) {
  const Index count = options.rows + options.queries;
  const auto width = static_cast<std::size_t>(options.width);
  std::vector<float> rows(static_cast<std::size_t>(count) * width);
  RandomStream random({.seed = 1});
  if (!options.features.empty()) {
    const auto file = SafetensorsFile::open(options.features);
    const auto all = file.read<float>("patch");
    const Index stored = static_cast<Index>(all.size() / width);
    if (static_cast<std::size_t>(stored) * width != all.size() || stored < count)
      throw DataError(join(options.features, ": 'patch' has ", all.size(), " numbers; expected at least ",
                           count, " rows of ", width));
    std::vector<Index> order(static_cast<std::size_t>(stored));
    for (std::size_t i = 0; i < order.size(); ++i) {
      const auto j = static_cast<std::size_t>(random.below(static_cast<std::uint32_t>(i + 1)));
      order[i] = order[j];
      order[j] = static_cast<Index>(i);
    }
    for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i)
      std::copy_n(all.begin() + static_cast<std::ptrdiff_t>(static_cast<std::size_t>(order[i]) * width),
                  width, rows.begin() + static_cast<std::ptrdiff_t>(i * width));
    return rows;
  }
  std::vector<float> centres(256 * width);
  const auto spread = [&](std::size_t channel) {
    return 1 / (1 + 8 * static_cast<double>(channel) / static_cast<double>(width));
  };
  for (std::size_t i = 0; i < centres.size(); ++i)
    centres[i] = static_cast<float>(2 * spread(i % width) * random.normal());
  for (std::size_t i = 0; i < static_cast<std::size_t>(count); ++i) {
    const std::size_t centre = random.below(256);
    for (std::size_t d = 0; d < width; ++d)
      rows[i * width + d] = centres[centre * width + d] + static_cast<float>(spread(d) * random.normal());
  }
  return rows;
}

std::vector<float> read_start(const std::string& path) {
  const auto file = SafetensorsFile::open(path);
  std::vector<float> rows = file.read<float>("rows");
  const std::vector<float> queries = file.read<float>("queries");
  rows.insert(rows.end(), queries.begin(), queries.end());
  return rows;
}

/// Times one search, or answers a peer's runner.
template <class B, class Run, class Check>
void measure(const Options& options, const B& backend, std::size_t at_start, double flop, const Run& run,
             const Check& check) {
  json out{{"program", "dssl-search"},
           {"workload",
            {{"search", options.search},
             {"rows", options.rows},
             {"width", options.width},
             {"queries", options.queries},
             {"neighbours", options.neighbours},
             {"coreset", options.coreset}}},
           {"backend", backend.describe()},
           {"flop", flop},
           {"machine", machine_json()}};
  if (options.serve) return serve(out, at_start, run, check);
  for (int i = 0; i < options.warm_up; ++i) run();
  const LoadWatch watch;
  std::vector<double> seconds;
  for (int i = 0; i < options.runs; ++i) seconds.push_back(seconds_of(run));
  out["others_load"] = watch.others();
  out["seconds"] = seconds_json(seconds);
  out["flops"] = flop / median(seconds);
  std::printf("%s\n", out.dump(2).c_str());
}

void run(const Options& options) {
  if (!options.write_start.empty()) {
    const std::vector<float> all = make_rows(options);
    const auto bank = static_cast<std::size_t>(options.rows * options.width);
    const Cpu backend;
    const MatrixView<const float> rows(all.data(), options.rows, options.width);
    SafetensorsWriter writer;
    writer.metadata("config", json{{"neighbours", options.neighbours},
                                   {"coreset", options.coreset},
                                   {"first", greedy_coreset(backend, rows, {.size = 1}).rows.front()}}
                                  .dump());
    writer.add("rows", {options.rows, options.width}, std::span<const float>(all).first(bank));
    writer.add("queries", {options.queries, options.width}, std::span<const float>(all).subspan(bank));
    writer.write(options.write_start);
    return;
  }
  with_backend(options.precision, options.threads, [&](const auto& backend) {
    using B = std::remove_cvref_t<decltype(backend)>;
    const std::size_t at_start = resident_bytes("VmRSS");
    const std::vector<float> all = options.start.empty() ? make_rows(options) : read_start(options.start);
    const Buffer memory = backend.allocate(all.size() * sizeof(float));
    auto* const data = reinterpret_cast<float*>(memory.data());
    backend.upload(data, std::span<const float>(all));
    const MatrixView<const float> rows(data, options.rows, options.width);
    const MatrixView<const float> queries(data + rows.size(), options.queries, options.width);
    const double pair_flop = 2 * static_cast<double>(options.width * options.rows);
    if (options.search == "coreset") {
      const auto choose = [&] { return greedy_coreset(backend, rows, {.size = options.coreset}); };
      return measure(
          options, backend, at_start, pair_flop * static_cast<double>(options.coreset),
          [&] { static_cast<void>(choose()); },
          [&] {
            const Coreset found = choose();
            return std::vector<double>{found.radius, static_cast<double>(found.rows.front())};
          });
    }
    if (options.search != "cosine" && options.search != "distance")
      throw OptionError("search", options.search, "cosine, distance or coreset");
    NearestRows<B> bank(backend, {.width = options.width,
                                  .capacity = options.rows,
                                  .neighbours = options.neighbours,
                                  .by = options.search == "cosine" ? Nearness::cosine : Nearness::distance});
    bank.add(rows);
    std::vector<Neighbour> found(static_cast<std::size_t>(options.queries * options.neighbours));
    const auto find = [&] { bank.find(found, queries, options.neighbours); };
    measure(options, backend, at_start, pair_flop * static_cast<double>(options.queries), find, [&] {
      find();
      double sum = 0, first = 0;
      for (const Neighbour& n : found) sum += n.nearness / static_cast<double>(found.size());
      for (std::size_t i = 0; i < found.size(); i += static_cast<std::size_t>(options.neighbours))
        first += found[i].nearness / static_cast<double>(options.queries);
      return std::vector<double>{sum, first};
    });
  });
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app{"Times the nearest rows of a bank, or the choice of a coreset, and prints JSON.",
               "dssl-search"};
  Options options;
  app.add_option("--search", options.search, "cosine, distance, or coreset")->capture_default_str();
  app.add_option("--precision", options.precision, "f32, or f32-plain")->capture_default_str();
  app.add_option("--threads", options.threads, "0: as many as the process may use")->capture_default_str();
  app.add_option("--rows", options.rows, "of the bank")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--width", options.width, "of a row")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--queries", options.queries, "rows that are looked for")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  app.add_option("--neighbours", options.neighbours, "of each")->capture_default_str();
  app.add_option("--coreset", options.coreset, "rows that are chosen")->capture_default_str();
  app.add_option("--runs", options.runs, "timed runs")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--warm-up", options.warm_up, "runs before them")->capture_default_str();
  app.add_flag("--serve", options.serve, "search once for each line 'step' on stdin");
  app.add_option("--start", options.start, "take rows and queries from this file");
  app.add_option("--write-start", options.write_start,
                 "write rows and queries for --start and for a peer, no more");
  app.add_option("--features", options.features,
                 "patch features (dssl-features, .safetensors) in place of drawn rows");
  return run_measurement(app, argc, argv, [&] { run(options); });
}
