// Attention forward and backward under relations that the table of primitives does not have.
#pragma once

#include <string>
#include <vector>

#include <dssl/core/sequence.hpp>

#include "cuda/test_instances.hpp"

namespace dssl::test {

/// Sequences, and the heads that attend over them.
struct RelationShape {
  std::vector<Sequence> sequences;
  Index heads, d;
};

template <AttentionRelation R, class Held>
void relation_case(Held&& held, const std::string& name, const RelationShape& shape, GroupSet queries) {
  held(name, [shape, queries](const auto& b, auto& board) {
    const SequenceBatch batch = board.sequences(shape.sequences);
    const Index width = shape.heads * shape.d;
    const auto d_qkv = board.output(batch.rows, 3 * width);
    const auto out = board.sum(batch.rows, width);
    const auto log_sum = board.sum(batch.rows, shape.heads);
    const auto qkv = board.matrix(batch.rows, 3 * width, 1.5);
    b.template attention_forward<R>(out, log_sum, qkv, batch, shape.heads, queries);
    b.template attention_backward<R>(d_qkv, board.matrix(batch.rows, width), out, log_sum, qkv, batch,
                                     shape.heads, queries);
  });
}

template <class Held>
void relation_cases(Held&& held, const RelationShape& shape, const std::string& name) {
  relation_case<private_relation>(held, name + ", private", shape, all_groups);
  relation_case<all_query_relation>(held, name + ", all-query, references and patches", shape,
                                    {.reference = true, .patch = true});
  for (const GroupSet queries :
       {all_groups, GroupSet{.class_token = true, .patch = true}, GroupSet{.reference = true}}) {
    relation_case<gap_relation>(held, name + ", gap", shape, queries);
    relation_case<lonely_relation>(held, name + ", lonely", shape, queries);
  }
}

}  // namespace dssl::test
