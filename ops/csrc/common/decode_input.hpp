// Few queries against a long memory: what the decode attention kernels read.
#pragma once

#include <cstdint>

#include "common/host_device.hpp"

namespace perception {

// Rows (B, heads, T, d) of numbers side by side; strides in numbers.
template <typename T>
struct MemoryRows {
    const T* data;
    int64_t batch_stride, head_stride, row_stride;

    PERCEPTION_HD const T* row(int64_t batch, int64_t head, int64_t key) const {
        return data + batch * batch_stride + head * head_stride + key * row_stride;
    }
};

// (B, H, S, T) bool in any memory order, or null: all is seen.
struct DecodeMask {
    const bool* data;
    int64_t strides[4];
};

// q (B, H, S, d) row-major; H = Hk * shared. The queries of the heads that share a key head are its rows, side by side.
template <typename T>
struct DecodeInput {
    const T* q;
    MemoryRows<T> k, v;
    const int64_t* lengths;  // (B,), or null: all keys
    DecodeMask mask;
    int64_t key_heads, shared, queries, keys, width;  // Hk, H / Hk, S, T, d
    float scale;                                      // of the products, times log2(e)

    PERCEPTION_HD int64_t rows() const { return shared * queries; }
    PERCEPTION_HD const T* query(int64_t group, int64_t row) const { return q + (group * rows() + row) * width; }
    PERCEPTION_HD int64_t length(int64_t group) const {
        if (lengths == nullptr) return keys;
        const int64_t length = lengths[group / key_heads];
        return length < 0 ? 0 : length > keys ? keys : length;
    }
    PERCEPTION_HD bool sees(int64_t group, int64_t row, int64_t key) const {
        if (mask.data == nullptr) return true;
        const int64_t head = group % key_heads * shared + row / queries;
        return mask.data[group / key_heads * mask.strides[0] + head * mask.strides[1] +
                         row % queries * mask.strides[2] + key * mask.strides[3]];
    }
};

}  // namespace perception
