// dssl::cpu: attention in float under the published relations.
#include <dssl/backend/cpu.hpp>
#include <dssl/backend/cpu/definitions.hpp>

template struct dssl::cpu::AttentionUnder<float, dssl::open_relation>;
template struct dssl::cpu::AttentionUnder<float, dssl::hidden_relation>;
template struct dssl::cpu::AttentionUnder<float, dssl::hidden_no_class_relation>;
template struct dssl::cpu::AttentionUnder<float, dssl::private_relation>;
template struct dssl::cpu::AttentionUnder<float, dssl::all_query_relation>;
