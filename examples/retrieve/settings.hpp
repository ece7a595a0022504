// The command line of dssl-retrieve.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <dssl/core/tensor_view.hpp>

#include "common/backbone.hpp"
#include "common/labelled_set.hpp"
#include "common/ranks.hpp"

namespace dssl::programs {

struct RetrieveSettings {
  RetrieveSettings() { backbone.size = "448"; }

  BackboneSettings backbone;
  LabelledData set;
  std::string out;
  std::vector<std::string> by{"retrieval", "clusters"};

  Index memory = 1'024'000;
  std::string sampling = "balanced";
  Index neighbours = 30;
  double temperature = 0.02;
  Index overlays = 8;

  std::vector<Index> clusters{0, 300};
  Index patches = 100'000;
  Index iterations = 50;

  RankSettings processes;

  [[nodiscard]] bool measures(const std::string& way) const;
  [[nodiscard]] nlohmann::ordered_json json() const;
};

/// Adds all options, with their help, to the program.
void add_options(CLI::App& app, RetrieveSettings& settings);

}  // namespace dssl::programs
