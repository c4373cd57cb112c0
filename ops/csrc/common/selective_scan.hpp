// One step of a selective state space (Mamba, Gu & Dao 2023, algorithm 2): h <- exp(dt A) h + dt B u, and how steps join.
// The input's factor is dt B (Euler), not that of the exact zero-order hold; released weights depend on it.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/host_device.hpp"

namespace perception {

constexpr float log2_of_e = 1.44269504f;

// u and delta (samples, channels, length), A (channels, state), B and C (samples, groups, state, length): consecutive
// channels share a group. All row-major.
struct ScanSizes {
    int64_t samples, channels, groups, state, length;

    PERCEPTION_HD int64_t group_channels() const { return channels / groups; }
    // Where the row of B and C begins that a channel of a sample reads for the state n.
    PERCEPTION_HD int64_t group_row(int64_t sample, int64_t channel, int64_t n) const {
        return ((sample * groups + channel / group_channels()) * state + n) * length;
    }
};

struct ScanInput {
    const float *u, *delta, *a, *b, *c;
    const float* initial;  // (samples, channels, state), the state before the first step
    const float* bias;     // (channels), added to delta, or null
    bool softplus;         // step sizes are softplus(delta + bias)
    ScanSizes of;

    PERCEPTION_HD float bias_of(int64_t channel) const { return bias == nullptr ? 0.0f : bias[channel]; }
};

// All are written; `a` is (samples, channels, state): the caller sums over samples, and those of delta for the bias.
struct ScanGradients {
    float *u, *delta, *a, *b, *c, *initial;
};

PERCEPTION_HD inline float softplus_of(float x) { return fmaxf(x, 0.0f) + log1pf(expf(-fabsf(x))); }
PERCEPTION_HD inline float softplus_slope(float x) { return 1.0f / (1.0f + expf(-x)); }

// The map h -> decay * h + input of one step, or of several that follow each other.
struct ScanStep {
    float decay, input;

    PERCEPTION_HD float apply(float state) const { return decay * state + input; }
};

PERCEPTION_HD inline ScanStep then(ScanStep first, ScanStep second) {
    return {first.decay * second.decay, second.apply(first.input)};
}

// What a step sends back, given the gradient dh of the state behind it; that of the state before it is decay * dh.
struct StepGradient {
    float u, dt, a, b;
};

PERCEPTION_HD inline StepGradient step_gradient(float dh, float before, float decay, float u, float dt, float a,
                                                float b) {
    const float exponent = dh * before * decay, driven = dh * b;
    return {driven * dt, exponent * a + driven * u, exponent * dt, dh * dt * u};
}

}  // namespace perception
