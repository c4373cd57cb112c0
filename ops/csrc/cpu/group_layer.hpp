#pragma once

#include <cstdint>

#include "cpu/group_attention.hpp"

namespace perception::cpu {

// A linear layer as torch keeps it: weight (out, in) row-major, bias (out,).
struct Linear {
    const float *weight, *bias;
    int64_t in, out;
};

struct LayerNorm {
    const float *weight, *bias;  // (C,)
    float eps;
};

// A transformer layer over groups: attention, in which the position code is added to what queries and keys are made of,
// and two linear layers with an exact GELU in between, each followed by the sum with its input and a normalisation.
// C and the hidden width are multiples of 32.
struct LayerWeights {
    Linear qk, v, proj;  // C -> 2C, C -> C, C -> C
    LayerNorm norm1;
    Linear fc1, fc2;  // C -> hidden -> C
    LayerNorm norm2;
};

// tokens, position (N, C) -> out (N, C). Threads share the groups; what is made of some groups' tokens on the way stays
// in their caches, so that a token is read and written once. The weights are packed at the start: 4 C (C + hidden) floats
// or so.
void group_layer(const float* tokens, const float* position, const Groups& of, int64_t heads,
                 const LayerWeights& weights, float* out, int threads);

}  // namespace perception::cpu
