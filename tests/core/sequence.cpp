// Relations between token groups against the published table; where tokens lie in a sequence.
#include <array>
#include <cstddef>
#include <string>
#include <string_view>
#include <type_traits>

#include "catch.hpp"

#include <dssl/core/sequence.hpp>

using namespace dssl;

namespace {

/// A relation as the method's table states it: three rows (class, reference, patch) of three columns in the
/// same order.
struct Stated {
  std::string_view name;
  std::string_view published_name;
  std::array<std::string_view, 3> rows;
};

constexpr std::array<Stated, 5> table{{
    {"open", "020", {"full full full", "full full full", "full full full"}},
    {"hidden", "all2pos", {"full none full", "full none full", "full none full"}},
    {"hidden-no-class", "all2pos_pos2cls", {"full none full", "none none full", "full none full"}},
    {"private", "all2pos_pos2cls_eye", {"full none full", "none self full", "full none full"}},
    {"all-query", "all_query", {"self none full", "none self full", "none none full"}},
}};

constexpr std::array<TokenGroup, 3> groups{TokenGroup::class_token, TokenGroup::reference, TokenGroup::patch};

std::string_view word_for(Sees sees) {
  return sees == Sees::none ? "none" : sees == Sees::self ? "self" : "full";
}

template <AttentionRelation R>
struct Tag {};

}  // namespace

TEST_CASE("the five relations are those of the method's table") {
  REQUIRE(named_relations.size() == table.size());
  for (std::size_t i = 0; i < table.size(); ++i) {
    INFO(table[i].name);
    CHECK(named_relations[i].name == table[i].name);
    CHECK(named_relations[i].published_name == table[i].published_name);
    for (std::size_t row = 0; row < 3; ++row) {
      std::string words;
      for (const TokenGroup column : groups) {
        words += words.empty() ? "" : " ";
        words += word_for(named_relations[i].relation.sees(groups[row], column));
      }
      CHECK(words == table[i].rows[row]);
    }
  }
}

TEST_CASE("relations are told apart by the compiler") {
  static_assert(named_relations[3].relation == private_relation);
  static_assert(std::is_same_v<Tag<private_relation>, Tag<named_relations[3].relation>>);
  static_assert(!std::is_same_v<Tag<private_relation>, Tag<hidden_no_class_relation>>);
  for (std::size_t i = 0; i < named_relations.size(); ++i) {
    for (std::size_t j = 0; j < named_relations.size(); ++j) {
      CHECK((named_relations[i].relation == named_relations[j].relation) == (i == j));
    }
  }
  constexpr AttentionRelation mine{{Sees::self, Sees::full, Sees::none},
                                   {Sees::full, Sees::self, Sees::none},
                                   {Sees::none, Sees::self, Sees::full}};
  static_assert(mine.sees(TokenGroup::class_token, TokenGroup::class_token) == Sees::self);
  static_assert(mine.sees(TokenGroup::class_token, TokenGroup::reference) == Sees::full);
  static_assert(mine.sees(TokenGroup::class_token, TokenGroup::patch) == Sees::none);
  static_assert(mine.sees(TokenGroup::reference, TokenGroup::class_token) == Sees::full);
  static_assert(mine.sees(TokenGroup::reference, TokenGroup::reference) == Sees::self);
  static_assert(mine.sees(TokenGroup::patch, TokenGroup::class_token) == Sees::none);
  static_assert(mine.sees(TokenGroup::patch, TokenGroup::reference) == Sees::self);
  static_assert(mine.sees(TokenGroup::patch, TokenGroup::patch) == Sees::full);
}

TEST_CASE("a sequence is class, patches, references") {
  for (const Index references : {0, 3}) {
    const Sequence s{.first = 40, .patches = 6, .references = references};
    CHECK(s.tokens() == 7 + references);
    CHECK(s.begin(TokenGroup::class_token) == 0);
    CHECK(s.begin(TokenGroup::patch) == 1);
    CHECK(s.begin(TokenGroup::reference) == 7);
    CHECK(s.count(TokenGroup::class_token) == 1);
    CHECK(s.count(TokenGroup::patch) == 6);
    CHECK(s.count(TokenGroup::reference) == references);
  }
}

TEST_CASE("a set of groups knows its members") {
  constexpr GroupSet some{.class_token = true, .patch = true};
  static_assert(some.has(TokenGroup::class_token) && !some.has(TokenGroup::reference) && some.has(TokenGroup::patch));
  for (const TokenGroup group : groups) {
    CHECK(all_groups.has(group));
    CHECK_FALSE(GroupSet{}.has(group));
  }
  CHECK(some == GroupSet{.class_token = true, .reference = false, .patch = true});
  CHECK_FALSE(some == all_groups);
}
