#pragma once

#include <cstdint>

#include "common/voxel_grid.hpp"

namespace perception::cpu {

// xyz (N, 3) finite, batch (N,) >= 0 -> the M non-empty cells in the order (batch, z, y, x): coords (M, 4), counts
// (M,), and for each point its cell, inverse (N,). coords and counts are the caller's and have room for N. Returns M.
// Threads share the points' keys; one radix sort then brings equal keys together. O(N) time, 32 N bytes.
int64_t voxelize(const float* xyz, const int64_t* batch, int64_t points, const VoxelGrid& grid, int32_t* coords,
                 int64_t* inverse, int64_t* counts, int threads);

}  // namespace perception::cpu
