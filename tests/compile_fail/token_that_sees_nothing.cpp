// expect: under this relation some token sees nothing
#include <dssl/backend/cpu.hpp>

#ifdef DSSL_MUST_COMPILE
constexpr dssl::AttentionRelation relation = dssl::private_relation;
#else
constexpr dssl::AttentionRelation relation{{dssl::Sees::full, dssl::Sees::none, dssl::Sees::full},
                                           {},
                                           {dssl::Sees::full, dssl::Sees::none, dssl::Sees::full}};
#endif

int main() {
  const dssl::Cpu cpu({.threads = 1});
  cpu.attention_forward<relation>({}, {}, {}, {}, 1, dssl::all_groups);
  return 0;
}
