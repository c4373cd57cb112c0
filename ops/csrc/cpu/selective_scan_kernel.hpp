// What one block of channels costs, as the kernel file that is compiled for each instruction set offers it.
#pragma once

#include "cpu/instruction_set.hpp"
#include "cpu/selective_scan.hpp"

namespace perception::cpu {

constexpr int64_t scan_rows = 8;    // channels of a block: as many chains of dependent steps run side by side
constexpr int64_t scan_piece = 64;  // steps at a time, all in the first cache

// Channels first .. first + count - 1 of a sample, all of one group; count <= scan_rows.
struct ScanBlock {
    int64_t sample, first, count;
};

// Where a block adds its shares of the gradients of B and C, (state, length) each.
struct ScanShares {
    float *b, *c;
};

// `space` is a thread's own, of `forward_floats` or `backward_floats` floats, aligned to 64 bytes.
struct ScanKernels {
    int64_t (*forward_floats)(const ScanSizes&);
    int64_t (*backward_floats)(const ScanSizes&);
    void (*forward)(const ScanInput&, ScanBlock, float* y, float* last, float* space);
    void (*backward)(const ScanInput&, ScanBlock, const float* grad_y, const float* grad_last, const ScanGradients&,
                     ScanShares, float* space);
};

PERCEPTION_DECLARE_KERNELS(ScanKernels, scan_kernels);

}  // namespace perception::cpu
