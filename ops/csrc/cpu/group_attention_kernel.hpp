// What one group costs, as the kernel files that are compiled for each instruction set offer it.
#pragma once

#include "cpu/group_attention.hpp"
#include "cpu/instruction_set.hpp"

namespace perception::cpu {

template <typename T>
struct AttentionInput {
    const T *qk, *v;
    Groups of;
    Heads heads;
};

template <typename T>
struct AttentionGradient {
    const T* grad;
    T *grad_qk, *grad_v;
    float* copies;  // (copies of the group, 2C) gradients of their keys and values, in slot order
};

// `space` is a thread's own, of `forward_floats` or `backward_floats` floats, aligned to 64 bytes.
template <typename T>
struct AttentionKernels {
    int64_t (*forward_floats)(int64_t size, Heads heads);
    int64_t (*backward_floats)(int64_t size, Heads heads);
    void (*forward)(const AttentionInput<T>&, int64_t group, T* out, float* space);
    void (*backward)(const AttentionInput<T>&, const AttentionGradient<T>&, int64_t group, float* space);
};

PERCEPTION_DECLARE_KERNELS(AttentionKernels<float>, attention_float);
PERCEPTION_DECLARE_KERNELS(AttentionKernels<Bfloat16>, attention_bfloat16);

}  // namespace perception::cpu
