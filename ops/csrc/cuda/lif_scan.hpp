#pragma once

#include "common/lif.hpp"
#include "stream.hpp"

namespace perception::cuda {

// spikes as x, each 0 or 1, and last (samples, channels), the membranes behind the last step. A thread takes a neuron
// through all steps, neighbours read neighbouring channels; no workspace, and the CPU's very numbers.
void lif_scan(const LifSequences& in, float* spikes, float* last, Stream stream);

// grad_spikes as x, grad_last as last -> out. What the membranes reached is computed anew, in the place of out.x.
void lif_scan_backward(const LifSequences& in, const float* grad_spikes, const float* grad_last,
                       const LifGradients& out, Stream stream);

}  // namespace perception::cuda
