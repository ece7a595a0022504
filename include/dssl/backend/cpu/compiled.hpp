// What dssl::cpu holds compiled: a translation unit that links it compiles none of these.
#pragma once

#include <dssl/backend/cpu.hpp>

extern template class dssl::OwnProducts<float>;
extern template class dssl::BasicCpu<float>;
extern template struct dssl::cpu::AttentionUnder<float, dssl::open_relation>;
extern template struct dssl::cpu::AttentionUnder<float, dssl::hidden_relation>;
extern template struct dssl::cpu::AttentionUnder<float, dssl::hidden_no_class_relation>;
extern template struct dssl::cpu::AttentionUnder<float, dssl::private_relation>;
extern template struct dssl::cpu::AttentionUnder<float, dssl::all_query_relation>;
extern template class dssl::OwnProducts<double>;
extern template class dssl::BasicCpu<double>;
extern template struct dssl::cpu::AttentionUnder<double, dssl::open_relation>;
extern template struct dssl::cpu::AttentionUnder<double, dssl::hidden_relation>;
extern template struct dssl::cpu::AttentionUnder<double, dssl::hidden_no_class_relation>;
extern template struct dssl::cpu::AttentionUnder<double, dssl::private_relation>;
extern template struct dssl::cpu::AttentionUnder<double, dssl::all_query_relation>;
