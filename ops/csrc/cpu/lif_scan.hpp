#pragma once

#include "common/lif.hpp"

namespace perception::cpu {

// spikes as x, each 0 or 1, and last (samples, channels), the membranes behind the last step. Threads share blocks of
// channels; results do not depend on their number.
void lif_scan(const LifSequences& in, float* spikes, float* last, int threads);

// grad_spikes as x, grad_last as last -> out. What the membranes reached is computed anew, in the place of out.x.
void lif_scan_backward(const LifSequences& in, const float* grad_spikes, const float* grad_last,
                       const LifGradients& out, int threads);

}  // namespace perception::cpu
