// What dssl::cpu holds compiled: a translation unit that links it compiles none of these.
#pragma once

#include <dssl/backend/cpu.hpp>

extern template class dssl::OwnProducts<float>;
extern template class dssl::BasicCpu<float>;
extern template class dssl::OwnProducts<double>;
extern template class dssl::BasicCpu<double>;

#define DSSL_UNDER(relation)                                             \
  extern template struct dssl::cpu::AttentionUnder<float, relation>; \
  extern template struct dssl::cpu::AttentionUnder<double, relation>;
#include <dssl/core/published_relations.hpp>
