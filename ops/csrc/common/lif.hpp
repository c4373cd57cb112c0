// Leaky integrate-and-fire neurons: what a membrane reaches, and the slope that stands for a spike's (LMUFormer, Liu et
// al. 2024, section 2.2). Halving is exact, so a fused multiply-add rounds as two operations do.
#pragma once

#include <cmath>
#include <cstdint>

#include "common/host_device.hpp"

namespace perception {

constexpr float lif_leak = 0.5f;   // share of the membrane that a step forgets: tau = 2
constexpr float lif_slope = 4.0f;  // of the sigmoid whose derivative stands for that of a spike

// x (samples, steps, channels), a neuron a channel of a sample; membrane (samples, channels) before the first step.
struct LifSequences {
    const float *x, *membrane;
    int64_t samples, steps, channels;
    float threshold;

    PERCEPTION_HD int64_t neurons() const { return samples * channels; }
    // Where a channel of a sample is at the first step; those that follow are `channels` apart.
    PERCEPTION_HD int64_t first(int64_t sample, int64_t channel) const { return sample * steps * channels + channel; }
};

struct LifGradients {
    float *x, *membrane;  // as x and membrane of the sequences
};

PERCEPTION_HD inline float lif_reached(float membrane, float x) { return membrane + (x - membrane) * lif_leak; }

// The gradient of what a membrane reached: of its spike, and of what it kept where it did not fire.
PERCEPTION_HD inline float lif_reached_gradient(float grad_spike, float grad_kept, float reached, float threshold) {
    const float soft = 1.0f / (1.0f + expf(-lif_slope * (reached - threshold)));
    return grad_spike * lif_slope * soft * (1.0f - soft) + (reached >= threshold ? 0.0f : grad_kept);
}

}  // namespace perception
