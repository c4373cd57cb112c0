// What some groups cost, as the kernel files that are compiled for each instruction set offer it.
#pragma once

#include "cpu/group_layer.hpp"
#include "cpu/instruction_set.hpp"

namespace perception::cpu {

struct LayerInput {
    const float *tokens, *position;
    Groups of;
    Heads heads;
    const LayerWeights& weights;
    const float* packed;  // the weights, as pack() wrote them
    const int64_t* own;   // (size,) 0, 1, ...: within a group that has been gathered every slot is a token of its own
};

struct GroupLayerKernels {
    int64_t (*packed_floats)(const LayerWeights&);
    void (*pack)(const LayerWeights&, float* packed);
    int64_t (*space_floats)(const LayerInput&, int64_t groups);
    // Groups first .. last - 1; `space` is a thread's own, of space_floats(.., last - first), aligned to 64 bytes.
    void (*forward)(const LayerInput&, int64_t first, int64_t last, float* out, float* space);
};

PERCEPTION_DECLARE_KERNELS(GroupLayerKernels, group_layer_kernels);

}  // namespace perception::cpu
