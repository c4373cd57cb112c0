#pragma once

#include <cstdint>

#include "common/bfloat16.hpp"
#include "common/decode_input.hpp"
#include "common/stream_k.hpp"

namespace perception::cpu {

// Exact attention with the keys cut among workers, which threads run; T is float or Bfloat16, all sums run in float.
// out (B, H, S, d), 0 where a query sees no key; lse (B, H, S) the natural logarithm of the sum of exp(logit), -inf
// there. Every segment of the line of tiles becomes one part, and a group's parts are joined in ascending order, so that
// the result does not depend on the number of threads. (workers + B Hk) rows (d + 2) numbers of memory.
template <typename T>
void lean_decode(const DecodeInput<T>& in, const TileLine& line, int64_t workers, int64_t tile, T* out, float* lse,
                 int threads);

}  // namespace perception::cpu
