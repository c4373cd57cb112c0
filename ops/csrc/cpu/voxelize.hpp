#pragma once

#include <cstdint>

#include "common/voxel_grid.hpp"

namespace perception::cpu {

// A batch of point clouds: xyz (N, 3) and the sample of each point, batch (N,), in any order.
struct Points {
    const float* xyz;
    const int64_t* batch;
    int64_t number;
};

// How many samples the points name: the largest batch index plus one; -1 if an index is negative or a coordinate is not
// finite.
int64_t count_samples(const Points& points, int threads);

// Both ways give the M non-empty cells in the order (batch, z, y, x): coords (M, 4), counts (M,), and for each point its
// cell, inverse (N,); `threads` changes nothing about them. Every axis has at most 2^24 cells.

// For grids with few cells a point: a bit for each cell of the batch, `bits` (words), zeroed by the caller; the rank of a
// cell is the number of bits before it. O(N + words) time, 4 M bytes a thread.
// First step: inverse takes the points' keys, `bits` their marks and, in `ranks` (words), the marks before each word.
// Gives M, so that the caller can bring coords and counts for the second.
int64_t mark_cells(const Points& points, const VoxelGrid& grid, int64_t words, uint64_t* bits, int32_t* ranks,
                   int64_t* inverse, int threads);
void list_cells(const VoxelGrid& grid, int64_t points, int64_t words, const uint64_t* bits, const int32_t* ranks,
                int64_t cells, int32_t* coords, int64_t* inverse, int64_t* counts, int threads);

// For any grid: one radix sort of the keys brings equal ones together. coords and counts have room for N. O(N) time,
// 32 N bytes. Gives M.
int64_t sort_cells(const Points& points, const VoxelGrid& grid, int32_t* coords, int64_t* inverse, int64_t* counts,
                   int threads);

}  // namespace perception::cpu
