#pragma once

#include <cstdint>

#include "common/bfloat16.hpp"

namespace perception::cpu {

// Rows of BEV cells: coords (M, 4) as (batch, z, y, x), all inside the map; z is ignored.
struct BevRows {
    const int32_t* coords;
    int64_t rows;
};

// A map (B, C, ny, nx) in any memory order, by the distances between neighbours.
struct MapStrides {
    int64_t batch, channel, y, x;
};

// Tables are row-major with C channels. O(M C) time, no memory.

// features (M, C) are added to the map, which the caller has zeroed. Threads share blocks of channels, so that rows of one
// cell meet in row order whatever the number of threads.
void bev_scatter(const float* features, const BevRows& rows, int64_t channels, const MapStrides& at, float* map,
                 int threads);

// The other way: each row of out (M, C) reads its cell. T is float or Bfloat16. Threads share the rows.
template <typename T>
void bev_gather(const T* map, const BevRows& rows, int64_t channels, const MapStrides& at, T* out, int threads);

}  // namespace perception::cpu
