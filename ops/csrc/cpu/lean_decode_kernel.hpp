// Attention to a run of keys, as the kernel file that is compiled for each instruction set offers it.
#pragma once

#include "cpu/instruction_set.hpp"
#include "cpu/lean_decode.hpp"

namespace perception::cpu {

// Where the sums of one run go: tops and totals (rows,), mixed (rows, wide) with wide a multiple of 16 not below d.
struct DecodePart {
    float *tops, *totals, *mixed;
    int64_t wide;
};

// `space` is a thread's own, of `floats` floats, aligned to 64 bytes.
template <typename T>
struct DecodeKernels {
    int64_t (*floats)(int64_t rows, int64_t wide);
    void (*attend)(const DecodeInput<T>&, int64_t group, int64_t first_key, int64_t end_key, const DecodePart& part,
                   float* space);
};

PERCEPTION_DECLARE_KERNELS(DecodeKernels<float>, decode_float);
PERCEPTION_DECLARE_KERNELS(DecodeKernels<Bfloat16>, decode_bfloat16);

}  // namespace perception::cpu
