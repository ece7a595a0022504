// Prints a value of a JSON file: json_value FILE [KEY...]; a key of an array is a number.
#include <cstdio>
#include <exception>
#include <fstream>
#include <string>

#include <nlohmann/json.hpp>

int main(int argc, char** argv) try {
  std::ifstream file(argv[argc > 1 ? 1 : 0]);
  nlohmann::json value = nlohmann::json::parse(file);
  for (int i = 2; i < argc; ++i) {
    value = nlohmann::json(value.is_array() ? value.at(std::stoul(argv[i])) : value.at(argv[i]));
  }
  std::printf("%s\n", value.dump().c_str());
  return 0;
} catch (const std::exception& error) {
  std::fprintf(stderr, "json_value: %s\n", error.what());
  return 1;
}
