#pragma once

#include <cstddef>
#include <cstdint>

#include "common/voxel_grid.hpp"
#include "stream.hpp"

namespace perception::cuda {

// xyz (N, 3) finite, batch (N,) in [0, samples), N < 2^31, samples times cells < 2^63.
struct CloudPoints {
    const float* xyz;
    const int64_t* batch;
    int64_t points;
    int64_t samples;
};

// The workspace holds two 64-bit and five 32-bit numbers a point.
size_t voxelize_workspace(int64_t points, int64_t samples, const VoxelGrid& grid);

// -> the M non-empty cells in the order (batch, z, y, x): coords (M, 4), counts (M,), and for each point its cell, inverse
// (N,); coords and counts have room for N, and M itself goes to num_cells (1,), in device memory like the rest. One thread
// a point; a radix sort brings equal keys together, a prefix sum over the first of each numbers the cells. O(N) work for
// every 8 bits of samples times cells; deterministic.
void voxelize(const CloudPoints& cloud, const VoxelGrid& grid, int32_t* coords, int64_t* inverse, int64_t* counts,
              int64_t* num_cells, void* workspace, Stream stream);

}  // namespace perception::cuda
