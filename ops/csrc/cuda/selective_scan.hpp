#pragma once

#include <cstddef>

#include "common/selective_scan.hpp"
#include "stream.hpp"

namespace perception::cuda {

// y (samples, channels, length) and last (samples, channels, state), the state behind the last step. A block takes a
// channel of a sample through the sequence in pieces, scanned in logarithmic depth. O(samples channels length state)
// work, no workspace, deterministic.
void selective_scan(const ScanInput& in, float* y, float* last, Stream stream);

size_t selective_scan_backward_workspace(const ScanSizes& of);

// grad_y as y, grad_last as last -> out. A block takes up to eight channels of a group through the sequence, forwards
// for the states that begin each piece, then backwards with the others computed anew; its shares of the gradients of B
// and C are summed up in order by a second kernel, so that results repeat.
void selective_scan_backward(const ScanInput& in, const float* grad_y, const float* grad_last,
                             const ScanGradients& out, void* workspace, Stream stream);

}  // namespace perception::cuda
