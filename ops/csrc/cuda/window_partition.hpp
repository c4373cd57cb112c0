#pragma once

#include <cstddef>
#include <cstdint>

#include "common/serpentine.hpp"
#include "stream.hpp"

namespace perception::cuda {

// Inputs, all row-major: coords (N, 4) as (batch, z, y, x), rows ordered by batch, N < 2^31; starts (B + 1,) and
// slot_starts (B + 1,), the rows and the slots before each sample and in all. 4 B serpentine_span(x, y) < 2^63.
struct Tokens {
    const int32_t* coords;
    const int64_t *starts, *slot_starts;
    int64_t rows;
    int64_t samples;
    int64_t slots;  // P
};

// The workspace holds three 64-bit numbers for each row and order.
size_t window_workspace(int64_t rows, int64_t samples, Axis x, Axis y);

// orders (4, N): for x, x_shift, y, y_shift the rows in the order of their serpentine keys, sample after sample. One
// thread makes the keys of a row; one radix sort takes all orders and samples, whose numbers are the keys' highest digits.
// O(N) work for every 8 bits of 4 B serpentine_span; deterministic, ties keep the row order.
void window_orders(const Tokens& tokens, Axis x, Axis y, int64_t* orders, void* workspace, Stream stream);

// flat2win (P,), win2flat (N,), valid (P,) with P = sum over samples of ceil(count / group_size) * group_size. One thread
// a slot, which finds its sample in log B steps.
void group_slots(const Tokens& tokens, int64_t group_size, int64_t* flat2win, int64_t* win2flat, bool* valid,
                 Stream stream);

}  // namespace perception::cuda
