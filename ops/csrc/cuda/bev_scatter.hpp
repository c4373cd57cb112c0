#pragma once

#include <cstddef>
#include <cstdint>

#include "stream.hpp"

namespace perception::cuda {

// Rows of BEV cells: coords (M, 4) as (batch, z, y, x); z is ignored. M < 2^31. A cell outside the map ends the launch
// with an error, as torch's own scatters do.
struct BevRows {
    const int32_t* coords;
    int64_t rows;
};

// A map (B, C, ny, nx) in any memory order, by the distances between neighbours; B ny nx < 2^32.
struct BevMap {
    int64_t samples, channels, ny, nx;
    int64_t batch, channel, y, x;  // strides
};

// T is float, Bfloat16 or Float16; tables are row-major with C channels. O(M C) work.

// The workspace holds four 32-bit numbers a row.
size_t bev_workspace(int64_t rows, const BevMap& at);

// features (M, C) are added to the map, which the caller has zeroed. Rows are sorted by cell (stable); the first row of a
// cell adds those that follow, in row order and rounded to T each time as on the CPU, so that no number is written twice
// and every run gives the same. Where channels are neighbours in memory, one thread takes up to four of a row; otherwise a
// block turns 32 rows and 32 channels in shared memory, reading along channels and writing along the sorted cells.
template <typename T>
void bev_scatter(const T* features, const BevRows& rows, const BevMap& at, T* map, void* workspace, Stream stream);

// The other way: each row of out (M, C) reads its cell.
template <typename T>
void bev_gather(const T* map, const BevRows& rows, const BevMap& at, T* out, Stream stream);

}  // namespace perception::cuda
