// VICRegL's local criterion against its public code's numbers, and gradients against central differences.
#include <string>
#include <vector>

#include "catch.hpp"
#include "loss/term_check.hpp"

#include <dssl/loss/local_variance_covariance.hpp>

using namespace dssl;
using namespace dssl::test;

TEST_CASE("VICRegL's local criterion is the published one, with some matches and with all by features", "[loss]") {
  on_backends([](const auto& backend) {
    using B = std::decay_t<decltype(backend)>;
    using T = typename B::Scalar;
    const ObjectiveFixture fixture("vicregl_local");
    const auto& config = fixture.config();
    const Index images = fixture.extent("map.1", 0), patches = fixture.extent("map.1", 1);
    const auto matches = config.template get<std::vector<Index>>("matches");
    REQUIRE(matches.size() == 2);
    for (const bool all : {false, true}) {
      Memory<B> memory(backend);
      const auto first = memory.matrix(fixture.file(), "map.1"), second = memory.matrix(fixture.file(), "map.2");
      const auto places = [&](const char* name) { return memory.matrix(fixture.file(), name); };
      const auto buffers = memory.buffers([&](Arena& arena) {
        return LocalVarianceCovarianceBuffers<T>::take(backend, arena, images, patches, first.cols());
      });
      const auto value = memory.zeros(3);
      const auto d1 = memory.zeros(first.rows(), first.cols()), d2 = memory.zeros(first.rows(), first.cols());
      local_variance_covariance_loss(backend, buffers, value, d1, d2, first, second, places("location.1"),
                                     places("location.2"),
                                     {.slot = {.invariance = config.template get<double>("inv"),
                                               .variance = config.template get<double>("var"),
                                               .covariance = config.template get<double>("cov"),
                                               .epsilon = config.template get<double>("eps")},
                                      .first_matches = matches[0],
                                      .second_matches = matches[1],
                                      .all_feature_matches = all});
      const auto terms = memory.read(value);
      const std::string name = all ? "all_matches." : "";
      fixture.expect(name + "loss", std::vector<T>{terms[0] + terms[1] + terms[2], terms[0], terms[1], terms[2]});
      fixture.expect(name + "d_map.1", memory.read(d1));
      fixture.expect(name + "d_map.2", memory.read(d2));
    }
  });
}

TEST_CASE("gradients of VICRegL's local criterion, with maps of two sizes", "[loss][gradients]") {
  // Four images of 3 and 5 patches; several patches share a partner.
  const auto first_places = normal_values(24, 3), second_places = normal_values(40, 4);
  for (const bool both : {false, true}) {
    check_term_gradients({normal_values(60, 1, 0.8), normal_values(100, 2, 1.3)}, 5, 3, 0.6,
                         [&](const auto& backend, auto& memory, auto value, const auto& d, const auto& x) {
                           const auto buffers = memory.buffers([&](Arena& arena) {
                             return LocalVarianceCovarianceBuffers<double>::take(backend, arena, 4, 5, 5);
                           });
                           local_variance_covariance_loss(
                               backend, buffers, value, d[0], d[1], x[0], x[1], memory.matrix(first_places, 2),
                               memory.matrix(second_places, 2),
                               {.slot = {.invariance = 0.7, .variance = 3, .covariance = 1.3, .variance_share = 0.4},
                                .first_matches = 2,
                                .second_matches = both ? 0 : 4,
                                .all_feature_matches = false,
                                .both_orders = both},
                               0.6);
                         });
  }
}

TEST_CASE("maps, places and matches that do not fit are refused", "[loss]") {
  const Reference<double> backend;
  Memory<Reference<double>> memory(backend);
  const auto buffers = memory.buffers(
      [&](Arena& arena) { return LocalVarianceCovarianceBuffers<double>::take(backend, arena, 2, 3, 4); });
  const auto run = [&](Index rows, Index place_rows, Index matches) {
    local_variance_covariance_loss(backend, buffers, memory.zeros(3), memory.zeros(rows, 4), memory.zeros(6, 4),
                                   memory.zeros(rows, 4), memory.zeros(6, 4), memory.zeros(place_rows, 2),
                                   memory.zeros(6, 2), {.first_matches = matches, .second_matches = 0});
  };
  CHECK_NOTHROW(run(6, 6, 3));
  CHECK_THROWS_AS(run(5, 5, 1), ShapeError);
  CHECK_THROWS_AS(run(8, 8, 1), ShapeError);
  CHECK_THROWS_AS(run(6, 4, 1), ShapeError);
  CHECK_THROWS_AS(run(6, 6, 4), ShapeError);
  CHECK_THROWS_AS(run(6, 6, -1), ShapeError);
}
