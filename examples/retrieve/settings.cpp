// The command line of dssl-retrieve: options, their help, their JSON.
#include "retrieve/settings.hpp"

#include <algorithm>

namespace dssl::programs {

bool RetrieveSettings::measures(const std::string& way) const {
  return std::find(by.begin(), by.end(), way) != by.end();
}

nlohmann::ordered_json RetrieveSettings::json() const {
  nlohmann::ordered_json object = backbone.json();
  object.update(set.json());
  object["by"] = by;
  if (measures("retrieval"))
    object.update(
        {{"memory", memory}, {"sampling", sampling}, {"k", neighbours}, {"temperature", temperature}});
  if (measures("clusters"))
    object.update({{"clusters", clusters}, {"patches", patches}, {"iterations", iterations}});
  return object;
}

void add_options(CLI::App& app, RetrieveSettings& s) {
  add_backbone_options(app, s.backbone);
  add_map_options(app, s.backbone.map, "Backbone");
  add_labelled_data_options(app, s.set, "Split whose patches are remembered, or clustered");
  app.add_option("--out", s.out, "Folder for result.json and overlays; made where it is missing")->required();
  app.add_option(
         "--by", s.by,
         "retrieval (labels of the nearest patches), clusters (k-means, named after classes), or both")
      ->delimiter(',')
      ->check(CLI::IsMember({"retrieval", "clusters"}))
      ->capture_default_str();

  const std::string retrieval = "Retrieval";
  app.add_option("--memory", s.memory, "Patches in the bank, at most, shared out evenly among the images")
      ->check(CLI::Range(Index{1}, Index{1} << 40))
      ->capture_default_str()
      ->group(retrieval);
  app.add_option("--sampling", s.sampling,
                 "balanced prefers patches of classes that are rare in their image; uniform")
      ->check(CLI::IsMember({"balanced", "uniform"}))
      ->capture_default_str()
      ->group(retrieval);
  app.add_option("--k", s.neighbours, "Neighbours whose labels are averaged")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(retrieval);
  app.add_option("--temperature", s.temperature, "A neighbour weighs exp(cosine / temperature)")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(retrieval);
  app.add_option("--overlays", s.overlays,
                 "Pictures of image, truth and prediction to write, spread over the split")
      ->check(CLI::Range(Index{0}, Index{1000000}))
      ->capture_default_str()
      ->group(retrieval);

  const std::string clusters = "Clusters";
  app.add_option(
         "--clusters", s.clusters,
         "Numbers of clusters, joined by commas; 0: as many as classes, matched one to one. Others are named "
         "after most of their pixels")
      ->delimiter(',')
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str()
      ->group(clusters);
  app.add_option("--patches", s.patches, "Patches that are clustered, at most")
      ->check(CLI::Range(Index{1}, Index{1} << 40))
      ->capture_default_str()
      ->group(clusters);
  app.add_option("--iterations", s.iterations, "Iterations of k-means, at most")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(clusters);
  add_rank_options(app, s.processes, "work", "Processes");
}

}  // namespace dssl::programs
