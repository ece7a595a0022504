// Links what reads PNG and JPEG, as a program does that takes its images from a folder.
#include <cstdio>
#include <string>

#include <dssl/data/image_folder.hpp>

#ifndef DSSL_WITH_CODECS
#error "dssl::codecs did not say that it is there"
#endif

int main() {
  try {
    return static_cast<int>(dssl::ImageFolder{"nowhere"}.size() + 1);
  } catch (const dssl::Error& error) {
    std::printf("%s\n", error.what());
    return std::string(error.what()).find("nowhere") != std::string::npos ? 0 : 1;
  }
}
