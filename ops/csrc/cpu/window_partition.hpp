#pragma once

#include <cstdint>

#include "common/serpentine.hpp"

namespace perception::cpu {

// Inputs, all row-major: coords (N, 4) as (batch, z, y, x), rows ordered by batch; counts (B,) rows of each sample.
struct Tokens {
    const int32_t* coords;
    const int64_t* counts;
    int64_t rows;
    int64_t samples;
};

// counts (B,) from coords (N, 4); false, and counts are void, if a row lies outside the batch or the grid, or the rows
// are not ordered by batch.
bool count_samples(const int32_t* coords, int64_t rows, Axis x, Axis y, int64_t samples, int64_t* counts);

// orders (4, N): for x, x_shift, y, y_shift the rows in the order of their serpentine keys, sample after sample.
// One task sorts one sample for one order: O(N) time, 16 bytes a row of the largest sample and thread where keys and
// rows fit 32 bits. Deterministic; ties keep the row order.
void window_orders(const Tokens& tokens, Axis x, Axis y, int64_t* orders, int threads);

// flat2win (P,), win2flat (N,), valid (P,) with P = sum over samples of ceil(count / group_size) * group_size.
// A last group that is short repeats the previous group's tail; a sample below one group repeats its first row, masked.
void group_slots(const Tokens& tokens, int64_t group_size, int64_t* flat2win, int64_t* win2flat, bool* valid);

}  // namespace perception::cpu
