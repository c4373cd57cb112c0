#pragma once

#include <cstdint>

#include "common/attention_groups.hpp"
#include "common/bfloat16.hpp"

namespace perception::cpu {

using perception::Groups;
using perception::Heads;

// Exact softmax attention within each group; T is float or Bfloat16, all sums run in float. qk (N, 2C) queries and keys,
// v (N, C) -> out (N, C), 0 in a group without a key. Threads share the groups; each keeps one head of one group in its
// cache. O(groups size^2 C) time.
template <typename T>
void group_attention(const T* qk, const T* v, const Groups& of, Heads heads, T* out, int threads);

// grad (N, C) -> grad_qk (N, 2C), grad_v (N, C); the softmax is computed again. The shares of copies are added at the
// end, in slot order, so that the result does not depend on the number of threads.
template <typename T>
void group_attention_backward(const T* grad, const T* qk, const T* v, const Groups& of, Heads heads, T* grad_qk,
                              T* grad_v, int threads);

// Whether slots lie in [0, tokens) and back[i] is a slot of token i.
bool agree(const Groups& of);

}  // namespace perception::cpu
