// Where the tests find their reference numbers, and what each set of them was made with.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <string>

#include <nlohmann/json.hpp>

#include <dssl/core/error.hpp>
#include <dssl/io/safetensors.hpp>

namespace dssl::test {

/// The source tree's own fixtures; defined beside the main function, so that no test's object depends on where the
/// tree lies.
std::string own_fixture_folder();

/// Path of a fixture: in the folder named by the environment variable DSSL_FIXTURES, else in the source tree.
inline std::string fixture_path(const std::string& name) {
  const char* const folder = std::getenv("DSSL_FIXTURES");
  return (folder != nullptr && *folder != '\0' ? std::string(folder) : own_fixture_folder()) + "/" + name;
}

/// Path of a fixture of another objective, or of a layer of one: in `objectives/` of that folder, or in the folder itself
/// where it holds these alone.
inline std::string objective_path(const std::string& name) {
  const std::string path = fixture_path("objectives/" + name);
  return std::filesystem::exists(path) ? path : fixture_path(name);
}

/// The configuration a fixture was made with: the JSON object in its metadata "config".
///
///   FixtureConfig config(file);
///   const auto heads = config.get<dssl::Index>("heads");
///   const auto sizes = config.get<std::vector<dssl::Index>>("sizes");
class FixtureConfig {
 public:
  explicit FixtureConfig(const SafetensorsFile& file) : x_path(file.path()) {
    const auto text = file.metadata().find("config");
    if (text == file.metadata().end()) throw Error(x_path + ": has no metadata 'config'");
    x_values = nlohmann::json::parse(text->second);
  }

  [[nodiscard]] bool contains(const std::string& key) const { return x_values.contains(key); }

  /// The value of a key as a number, string, bool or vector of them. Throws `Error` if the key is missing.
  template <class T>
  [[nodiscard]] T get(const std::string& key) const {
    return at(key).get<T>();
  }

  /// The value of a key, or `otherwise` if it is missing.
  template <class T>
  [[nodiscard]] T get(const std::string& key, const T& otherwise) const {
    return contains(key) ? x_values.at(key).get<T>() : otherwise;
  }

  /// The object stored under a key, as a configuration of its own.
  [[nodiscard]] FixtureConfig section(const std::string& key) const { return {x_path, at(key)}; }

  /// The whole configuration, for anything else.
  [[nodiscard]] const nlohmann::json& json() const { return x_values; }

 private:
  FixtureConfig(std::string path, nlohmann::json values)
      : x_path(std::move(path)), x_values(std::move(values)) {}

  [[nodiscard]] const nlohmann::json& at(const std::string& key) const {
    if (!contains(key)) throw Error(x_path + ": its config has no '" + key + "'");
    return x_values.at(key);
  }

  std::string x_path;
  nlohmann::json x_values;
};

}  // namespace dssl::test
