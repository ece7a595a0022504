// The main function of every test program, compiled once, and where the fixtures lie.
#include <string>

namespace dssl::test {
std::string own_fixture_folder() { return DSSL_TEST_FIXTURES; }
}  // namespace dssl::test

#if __has_include(<catch2/catch_session.hpp>)
#include <catch2/catch_session.hpp>

int main(int argc, char** argv) { return Catch::Session().run(argc, argv); }
#else
#define CATCH_CONFIG_MAIN
#include <catch2/catch.hpp>
#endif
