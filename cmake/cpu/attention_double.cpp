// dssl::cpu: attention in double under the published relations.
#include <dssl/backend/cpu.hpp>
#include <dssl/backend/cpu/definitions.hpp>

template struct dssl::cpu::AttentionUnder<double, dssl::open_relation>;
template struct dssl::cpu::AttentionUnder<double, dssl::hidden_relation>;
template struct dssl::cpu::AttentionUnder<double, dssl::hidden_no_class_relation>;
template struct dssl::cpu::AttentionUnder<double, dssl::private_relation>;
template struct dssl::cpu::AttentionUnder<double, dssl::all_query_relation>;
