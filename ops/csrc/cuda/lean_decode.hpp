#pragma once

#include <cstddef>
#include <cstdint>

#include "common/decode_input.hpp"
#include "common/stream_k.hpp"
#include "stream.hpp"

namespace perception::cuda {

inline constexpr int64_t widest_decode_head = 256;

// Exact attention with the keys cut among `workers` persistent blocks for each four query rows; T is float, Bfloat16 or
// Float16, sums run in float. Every segment of the line of tiles becomes one part in the workspace, and a second kernel
// joins a group's parts in ascending order: no block waits for another, so the grid need not be resident at once, and
// the result is the same in every run. out (B, H, S, d), 0 where a query sees no key; lse (B, H, S) the natural logarithm
// of the sum of exp(logit), -inf there.
size_t lean_decode_workspace(int64_t workers, int64_t groups, int64_t rows, int64_t width);

template <typename T>
void lean_decode(const DecodeInput<T>& in, const TileLine& line, int64_t workers, int64_t tile, T* out, float* lse,
                 void* workspace, Stream stream);

}  // namespace perception::cuda
