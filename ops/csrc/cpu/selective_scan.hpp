#pragma once

#include <cstdint>

#include "common/selective_scan.hpp"

namespace perception::cpu {

// y (samples, channels, length) and last (samples, channels, state), the state behind the last step. Threads share
// blocks of channels, which go through the sequence piece by piece; O(samples channels length state) time, and results
// do not depend on the number of threads.
void selective_scan(const ScanInput& in, float* y, float* last, int threads);

// grad_y as y, grad_last as last -> out. States are computed anew from those that begin each piece: a thread holds
// O(state length) numbers. Shares of B and C of `channels_of_a_span` channels are summed up in order at the end.
void selective_scan_backward(const ScanInput& in, const float* grad_y, const float* grad_last,
                             const ScanGradients& out, int threads);

}  // namespace perception::cpu
