// The command line of dssl-classify.
#pragma once

#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include <dssl/core/tensor_view.hpp>

#include "common/backbone.hpp"
#include "common/tuning_steps.hpp"

namespace dssl::programs {

struct ClassifySettings {
  BackboneSettings backbone;
  std::vector<std::string> train, test;
  std::string images;
  std::string out;
  std::vector<std::string> by{"knn", "linear"};
  std::string token = "class";
  Index labels = 0;

  std::vector<Index> neighbours{10, 20, 100, 200};
  double temperature = 0.07;
  bool keep_neighbours = false;

  std::vector<double> rates{1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5};
  Index epochs = 100;
  Index batch = 256;
  bool standardise = false;
  double hold_out = 0.1;

  TuningSteps tuning;

  [[nodiscard]] bool measures(const std::string& way) const;
  [[nodiscard]] nlohmann::ordered_json json() const;
};

/// Adds all options, with their help, to the program.
void add_options(CLI::App& app, ClassifySettings& settings);

}  // namespace dssl::programs
