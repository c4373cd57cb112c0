// Joining the softmax sums of two parts of the keys, exactly associative but for rounding. Logits are in units of log 2.
#pragma once

#include <cmath>

#include "common/host_device.hpp"

namespace perception {

// What weights 2^(logit - offset) are taken relative to: the largest logit, but 0 where there was none, lest infinities
// be subtracted.
PERCEPTION_HD inline float softmax_offset(float top) { return top == -INFINITY ? 0.0f : top; }

struct SoftmaxPart {
    float top = -INFINITY;  // the largest logit
    float total = 0.0f;     // of the weights

    // Takes another part; sums of values become own_factor * own + other_factor * other.
    PERCEPTION_HD void join(float other_top, float other_total, float& own_factor, float& other_factor) {
        const float highest = other_top > top ? other_top : top, offset = softmax_offset(highest);
        own_factor = exp2f(top - offset);
        other_factor = exp2f(other_top - offset);
        top = highest;
        total = own_factor * total + other_factor * other_total;
    }

    // 1 / total, or 0 for a row without a key.
    PERCEPTION_HD float share() const { return total == 0.0f ? 0.0f : 1.0f / total; }

    // The natural logarithm of the sum of all exp(logit), -inf without a key.
    PERCEPTION_HD float log_sum() const {
        return total == 0.0f ? -INFINITY : (softmax_offset(top) + log2f(total)) * 0.693147181f;
    }
};

}  // namespace perception
