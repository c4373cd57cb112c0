// Softmax of a row whose logits come piece by piece (Milakov and Gimelshein, "Online normalizer calculation for
// softmax", 2018). Logits are in units of log 2.
#pragma once

#include <cmath>

#include "device.hpp"

namespace perception::cuda {

struct OnlineSoftmax {
    float top = -INFINITY;  // the largest logit so far
    float total = 0.0f;     // of the weights 2^(logit - offset())

    // What weights are taken relative to; a row that has seen no key must not subtract infinities.
    __device__ float offset() const { return top == -INFINITY ? 0.0f : top; }

    // Takes the largest of further logits. The result is what every sum of earlier weights has to be multiplied with,
    // as the total is here.
    __device__ float raise(float largest) {
        const float before = top;
        top = fmaxf(top, largest);
        const float shrink = exp2_fast(before - offset());
        total *= shrink;
        return shrink;
    }

    // 1 / total, or 0 for a row without a key.
    __device__ float share() const { return total == 0.0f ? 0.0f : 1.0f / total; }

    // 2^(logit - normalizer()) is the softmax itself.
    __device__ float normalizer() const { return total == 0.0f ? 0.0f : offset() + log2f(total); }
};

}  // namespace perception::cuda
