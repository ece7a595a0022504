// dssl::cpu: attention in float under the published relations.
#include <dssl/backend/cpu.hpp>
#include <dssl/backend/cpu/definitions.hpp>

#define DSSL_UNDER(relation) template struct dssl::cpu::AttentionUnder<float, relation>;
#include <dssl/core/published_relations.hpp>
