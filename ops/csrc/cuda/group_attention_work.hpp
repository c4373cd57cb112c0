// What the attention kernels share: how the work is cut into blocks, and the rows of tables that belong to a head.
//
// A block owns up to `rows` rows of one group for one head, queries or, where gradients of keys and values are made,
// keys. The rows of the other side pass through shared memory in chunks. Blocks of one group are neighbours, so that
// the sectors that heads share are read while they are in cache.
#pragma once

#include <cstdint>
#include <type_traits>

#include "common/attention_groups.hpp"
#include "device.hpp"
#include "grid.hpp"
#include "pack.hpp"

namespace perception::cuda {

inline constexpr int32_t absent = -1;  // no token: its row counts as 0
inline constexpr unsigned all_lanes = 0xFFFFFFFFu;

template <typename T>
struct AttentionInput {
    const T *qk, *v;
    Groups of;
    Heads heads;
};

struct RowStatistics {
    float normalizer;  // of the softmax, see OnlineSoftmax
    float mean;        // of the gradient of the weights, over the keys by weight
};

template <typename T>
struct AttentionGradient {
    const T* grad;
    T *grad_qk, *grad_v;
    RowStatistics* statistics;    // (heads, P); rows of copies stay unwritten
    const int32_t* copy_numbers;  // (P,) copies before each slot
    float* copies;                // (copies, 2C) gradients of their keys and values
};

inline int64_t ceil_div(int64_t count, int64_t by) { return (count + by - 1) / by; }
inline int64_t round_up(int64_t count, int64_t multiple) { return ceil_div(count, multiple) * multiple; }

struct AttentionCut {
    int rows;        // that a block owns
    int chunk;       // rows of the other side in shared memory at once
    unsigned parts;  // blocks that share the rows of a group

    // Equal shares in multiples of tiles, as are the limits.
    AttentionCut(int64_t size, int64_t own_tile, int64_t most_rows, int64_t other_tile, int64_t most_chunk)
        : rows(static_cast<int>(round_up(ceil_div(size, ceil_div(size, most_rows)), own_tile))),
          chunk(static_cast<int>(round_up(ceil_div(size, ceil_div(size, most_chunk)), other_tile))),
          parts(static_cast<unsigned>(ceil_div(size, rows))) {}

    dim3 grid(const Groups& of, Heads heads) const { return blocks_for(of.groups * parts * heads.number, 1); }
};

// Where a block stands.
struct AttentionPlace {
    int64_t head, group, first;  // the first own row, counted within the group

    __device__ AttentionPlace(const AttentionCut& cut, Heads heads) {
        const unsigned number = static_cast<unsigned>(heads.number), part = blockIdx.x / number;
        head = blockIdx.x % number;
        group = part / cut.parts;
        first = static_cast<int64_t>(part % cut.parts) * cut.rows;
    }
};

__device__ inline int32_t checked_token(const Groups& of, int64_t slot) {
    const int64_t token = of.slots[slot];
    device_check(token >= 0 && token < of.tokens);
    return static_cast<int32_t>(token);
}

enum class Side { queries, keys };

// The token of a row of a group that asks, which copies do not, or that is looked at; else none.
template <Side side>
__device__ int32_t row_token(const Groups& of, int64_t group, int64_t row) {
    if (row >= of.size) return absent;
    const int64_t slot = group * of.size + row;
    const int32_t token = checked_token(of, slot);
    return (side == Side::queries ? of.back[token] == slot : of.is_key(slot)) ? token : absent;
}

// Tokens of the rows first .. first + count - 1, by the whole block.
template <Side side>
__device__ void name_rows(const Groups& of, int64_t group, int64_t first, int count, int32_t* tokens) {
    for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) {
        tokens[i] = row_token<side>(of, group, first + i);
    }
}

// Statistics of the rows of those tokens, by the whole block; 0 where there is none.
__device__ inline void gather_statistics(const RowStatistics* from, const int32_t* tokens, int count,
                                         RowStatistics* to) {
    for (int i = static_cast<int>(threadIdx.x); i < count; i += static_cast<int>(blockDim.x)) {
        to[i] = tokens[i] == absent ? RowStatistics{} : from[i];
    }
}

// Every token gets its output: the first N threads of the grid look at one each. There are enough, P >= N in all.
__device__ inline void check_back(const Groups& of) {
    const int64_t token = thread_number();
    if (token >= of.tokens) return;
    const int64_t slot = of.back[token];
    device_check(slot >= 0 && slot < of.groups * of.size && of.slots[slot] == token);
}

// A head's part of the rows of a table, read and written in packs of Width channels; T is const where it is only read.
template <typename T, int Width>
struct HeadRows {
    using Element = std::remove_const_t<T>;

    T* rows;
    int64_t step;  // between tokens
    int width;
    bool is_packed;

    __device__ HeadRows(T* table, int64_t row_step, int64_t first_channel, int64_t head_width)
        : rows(table + first_channel), step(row_step), width(static_cast<int>(head_width)),
          is_packed(width % Width == 0 && step % Width == 0 &&
                    reinterpret_cast<uintptr_t>(rows) % (Width * sizeof(T)) == 0) {}

    __device__ T* at(int32_t token, int channel) const { return rows + token * step + channel; }

    // Channels from `channel` on that there are.
    __device__ int left(int32_t token, int channel) const {
        return token == absent || channel >= width ? 0 : (width - channel < Width ? width - channel : Width);
    }

    __device__ Pack<Element, Width> load(int32_t token, int channel) const {
        const int count = left(token, channel);
        if (is_packed && count > 0) return load_pack<Width>(at(token, channel));
        Pack<Element, Width> pack;
#pragma unroll
        for (int i = 0; i < Width; ++i) pack.values[i] = i < count ? *at(token, channel + i) : Element{};
        return pack;
    }

    __device__ void store(const Pack<Element, Width>& pack, int32_t token, int channel) const {
        const int count = left(token, channel);
        if (is_packed && count > 0) {
            store_pack(pack, at(token, channel));
            return;
        }
#pragma unroll
        for (int i = 0; i < Width; ++i) {
            if (i < count) *at(token, channel + i) = pack.values[i];
        }
    }
};

// The four tables that a head reads; the gradients have the shapes of qk and v.
template <int Width, typename T>
__device__ HeadRows<T, Width> query_rows(T* qk, Heads heads, int64_t head) {
    return {qk, 2 * heads.channels(), head * heads.width, heads.width};
}
template <int Width, typename T>
__device__ HeadRows<T, Width> key_rows(T* qk, Heads heads, int64_t head) {
    return {qk, 2 * heads.channels(), heads.channels() + head * heads.width, heads.width};
}
template <int Width, typename T>
__device__ HeadRows<T, Width> value_rows(T* v, Heads heads, int64_t head) {
    return {v, heads.channels(), head * heads.width, heads.width};
}

// 1 / sqrt(width), and the same for logits in units of log 2.
__device__ inline float logit_scale(Heads heads) { return 1.0f / sqrtf(static_cast<float>(heads.width)); }
__device__ inline float logit_scale_in_log2(Heads heads) { return 1.44269504f * logit_scale(heads); }

}  // namespace perception::cuda
