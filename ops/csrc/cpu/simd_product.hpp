// The inner part of matrix products: a block of rows times one or two vectors of columns, summed up in registers. Only
// files that are compiled once an instruction set include this, as simd_vector.hpp.
#pragma once

#include "cpu/simd_vector.hpp"

namespace {

constexpr int rows = registers == 32 ? 12 : 6;  // times two vectors: as many sums as the registers hold

inline int64_t padded(int64_t count, int64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

// A row-major table, `step` numbers from one row to the next.
template <typename Float>
struct Table {
    Float* at;
    int64_t step;

    Table from(int64_t column) const { return {at + column, step}; }
};
using Strided = Table<const float>;

// out (rows, Wide vectors) = a (rows, depth) b (depth, Wide vectors), plus `bias` (Wide vectors) unless null. With Top,
// the largest of each row and lane so far too.
template <int Wide, bool Top>
void product_tile(Strided a, int64_t depth, Strided b, const float* bias, Table<float> out, Vector* top) {
    Vector sums[rows][Wide];
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < Wide; ++v) sums[r][v] = bias != nullptr ? load(bias + v * lanes) : Vector{};
    for (int64_t i = 0; i < depth; ++i) {
        Vector wide[Wide];
#pragma GCC unroll 2
        for (int v = 0; v < Wide; ++v) wide[v] = load(b.at + i * b.step + v * lanes);
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r) {
            const Vector left = broadcast(a.at[r * a.step + i]);
#pragma GCC unroll 2
            for (int v = 0; v < Wide; ++v) sums[r][v] += left * wide[v];
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r) {
        if constexpr (Top) {
            Vector high = sums[r][0];
            if constexpr (Wide == 2) high = sums[r][1] > high ? sums[r][1] : high;
            top[r] = high > top[r] ? high : top[r];
        }
#pragma GCC unroll 2
        for (int v = 0; v < Wide; ++v) store(sums[r][v], out.at + r * out.step + v * lanes);
    }
}

}  // namespace
