// The command line of dssl-classify: options, their help, their JSON.
#include "classify/settings.hpp"

#include <algorithm>

namespace dssl::programs {

bool ClassifySettings::measures(const std::string& way) const {
  return std::find(by.begin(), by.end(), way) != by.end();
}

nlohmann::ordered_json ClassifySettings::json() const {
  nlohmann::ordered_json object{
      {"train", train}, {"test", test}, {"images", images}, {"by", by}, {"token", token}, {"labels", labels}};
  object.update(backbone.json());
  if (measures("knn")) object.update({{"k", neighbours}, {"temperature", temperature}});
  if (measures("linear")) {
    object.update({{"rates", rates},
                   {"epochs", epochs},
                   {"batch", batch},
                   {"standardise", standardise},
                   {"hold_out", hold_out}});
  }
  if (measures("tune")) object.update(tuning.json());
  return object;
}

void add_options(CLI::App& app, ClassifySettings& s) {
  add_backbone_options(app, s.backbone);
  app.add_option("--train", s.train,
                 "Labelled images to learn from: folders with a folder for each class, or text files with a "
                 "name and a "
                 "class a line")
      ->required();
  app.add_option("--test", s.test, "Labelled images to classify, likewise")->required();
  app.add_option("--images", s.images,
                 "Folder that names in lists are relative to (default: the list's own)");
  app.add_option("--out", s.out, "Folder for result.json, predictions.csv and the linear classifier, classifier.safetensors; made where it is missing")
      ->required();
  app.add_option(
         "--by", s.by,
         "knn (votes of the nearest training images), linear (a linear classifier), tune (the whole backbone is "
         "trained with a linear classifier on its class token, whatever --token, --blocks, --no-norm and --flips say), or "
         "several. Predictions and confusion are tune's, or else those of the linear classifier, or of the first k")
      ->delimiter(',')
      ->check(CLI::IsMember({"knn", "linear", "tune"}))
      ->capture_default_str();
  app.add_option("--token", s.token,
                 "What stands for an image: its class token, the mean of its patches, or both")
      ->check(CLI::IsMember({"class", "mean", "both"}))
      ->capture_default_str();
  app.add_option("--labels", s.labels,
                 "Training images of each class that are learned from, drawn by the seed, or as many as there are; 0: all")
      ->check(CLI::Range(Index{0}, Index{1000000000}))
      ->capture_default_str();
  const std::string knn = "Nearest neighbours";
  app.add_option("--k", s.neighbours,
                 "Neighbours that vote, joined by commas; those above the training set are left out")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(knn);
  app.add_option("--temperature", s.temperature, "A vote weighs exp(cosine / temperature)")
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(knn);
  app.add_flag("--keep-neighbours", s.keep_neighbours,
               "Write the training features with their classes too, neighbours.safetensors, for dssl-export --knn: 4 bytes a "
               "number of each image")
      ->group(knn);
  const std::string linear = "Linear classifier";
  app.add_option("--rates", s.rates,
                 "Learning rates, a classifier each, for a batch of 256; scaled with the batch. The one that "
                 "does best "
                 "on held-out training images is taken")
      ->delimiter(',')
      ->check(CLI::PositiveNumber)
      ->capture_default_str()
      ->group(linear);
  app.add_option("--epochs", s.epochs, "Passes over the training features; the rate falls to 0 by a cosine")
      ->check(CLI::Range(Index{1}, Index{1000000}))
      ->capture_default_str()
      ->group(linear);
  app.add_option("--batch", s.batch, "Features a step")
      ->check(CLI::Range(Index{1}, Index{1000000}))
      ->capture_default_str()
      ->group(linear);
  app.add_flag("--standardise", s.standardise, "Train on features of mean 0 and deviation 1 a channel")
      ->group(linear);
  app.add_option("--hold-out", s.hold_out, "Share of each class's training images that the rate is chosen on")
      ->check(CLI::Range(0.0, 0.9))
      ->capture_default_str()
      ->group(linear);
  add_tuning_steps(app, s.tuning,
                   {.group = "Training the whole backbone",
                    .crops = " of the images",
                    .batch = "Images a step",
                    .head = "classifier"});
}

}  // namespace dssl::programs
