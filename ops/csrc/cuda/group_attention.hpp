#pragma once

#include <cstddef>
#include <cstdint>

#include "common/attention_groups.hpp"
#include "stream.hpp"

namespace perception::cuda {

// Exact softmax attention within each group: qk (N, 2C) queries and keys, v (N, C) -> out (N, C), 0 in a group without
// a key; all row-major. T is float, Bfloat16 or Float16, sums run in float; N and P below 2^31. Heads of half precision
// up to 128 wide run on tensor cores, other heads on plain arithmetic up to `widest_head`. Indices out of range, and a
// back[i] that is no slot of token i, end the launch with an error. O(P size C) time, no memory but the output.
//
// A block has one head and up to 144 queries of one group; keys and values are gathered straight from their tokens into
// shared memory, all at once or, in long groups, piece by piece. Every number is written by one thread and summed up in
// a fixed order: two runs give the same bits.
inline constexpr int64_t widest_head = 512;

template <typename T>
void group_attention(const T* qk, const T* v, const Groups& of, Heads heads, T* out, Stream stream);

// grad (N, C) -> grad_qk (N, 2C), grad_v (N, C). The softmax is computed again, once for the queries' gradients and
// once for those of keys and values, so that each is summed up where it is written. The workspace holds two floats for
// each slot and head and 2C floats for each copy; the shares of copies are added at the end, in slot order.
size_t group_attention_backward_workspace(int64_t slots, int64_t tokens, Heads heads);

template <typename T>
void group_attention_backward(const T* grad, const T* qk, const T* v, const Groups& of, Heads heads, T* grad_qk,
                              T* grad_v, void* workspace, Stream stream);

}  // namespace perception::cuda
