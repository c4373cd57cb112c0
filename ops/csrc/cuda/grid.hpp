// One thread an item over a grid of one dimension; 64-bit numbers, since rows times channels may pass 2^31.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "device.hpp"

namespace perception::cuda {

inline constexpr unsigned block_threads = 256;

inline dim3 blocks_for(int64_t items, int64_t items_of_a_block = block_threads) {
    const int64_t blocks = (items + items_of_a_block - 1) / items_of_a_block;
    if (blocks > 0x7FFFFFFF) throw std::length_error("a grid has 2^31 - 1 blocks at most, wanted " + std::to_string(blocks));
    return dim3(static_cast<unsigned>(blocks));
}

__device__ inline int64_t thread_number() { return static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x; }

}  // namespace perception::cuda
