// expect: under this relation some token sees nothing
#include <dssl/backend/reference.hpp>

#ifdef DSSL_MUST_COMPILE
constexpr dssl::AttentionRelation relation = dssl::private_relation;
#else
constexpr dssl::AttentionRelation relation{{dssl::Sees::full, dssl::Sees::none, dssl::Sees::full},
                                           {},
                                           {dssl::Sees::full, dssl::Sees::none, dssl::Sees::full}};
#endif

int main() {
  const dssl::Reference<double> reference;
  reference.attention_forward<relation>({}, {}, {}, {}, 1, dssl::all_groups);
  return 0;
}
