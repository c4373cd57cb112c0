// Tensor-core building blocks: rows of a head in shared memory, and products of a warp's 16 rows with 16 others.
//
// A head is padded with zeros to 16 * Steps channels. In shared memory, rows are eight elements further apart, so that
// the eight rows of 16 bytes which one matrix load takes fall into different banks. With g = lane / 4 and t = lane % 4,
// a lane of a 16 x 8 result holds rows g and g + 8 ("half" 0 and 1), columns 2t and 2t + 1; two such results side by
// side are, as pairs, the left operand of the next product, with no detour through shared memory.
#pragma once

#include <cstdint>

#include "device.hpp"
#include "group_attention_work.hpp"

namespace perception::cuda {

inline constexpr int tile = 16;  // rows of a warp, and of the other side at a time

template <int Steps>
inline constexpr int row_step = 16 * Steps + 8;

// Warps of a block at most: nine have the 144 rows of the published groups, and up to 168 registers a thread. Wider
// heads need more of those, or fill the shared memory.
template <int Steps>
inline constexpr int most_warps = Steps <= 2 ? 9 : (Steps <= 4 ? 8 : 4);
template <int Steps>
inline constexpr int most_threads = 32 * most_warps<Steps>;
template <int Steps>
inline constexpr int least_blocks = Steps == 1 ? 2 : 1;  // that a multiprocessor has room for

// The shared memory of a block: `Own` tables of its own rows, two of the other side's, their tokens and statistics.
template <typename T, int Steps, int Own>
struct SharedTables {
    T *own[Own], *others[2];
    int32_t *own_tokens, *other_tokens;
    RowStatistics* statistics;

    __device__ SharedTables(T* memory, const AttentionCut& cut) {
        for (int i = 0; i < Own; ++i) own[i] = memory + i * cut.rows * row_step<Steps>;
        for (int i = 0; i < 2; ++i) others[i] = memory + (Own * cut.rows + i * cut.chunk) * row_step<Steps>;
        own_tokens = reinterpret_cast<int32_t*>(others[1] + cut.chunk * row_step<Steps>);
        other_tokens = own_tokens + cut.rows;
        statistics = reinterpret_cast<RowStatistics*>(other_tokens + cut.chunk);
    }

    static constexpr int64_t bytes_of_row = row_step<Steps> * sizeof(T);
    static constexpr int64_t bytes_of_other = 2 * bytes_of_row + sizeof(int32_t) + sizeof(RowStatistics);
    static constexpr int64_t bytes_of_chunk = 48 << 10;  // at most: within 99 KiB beside the own rows

    static size_t bytes(const AttentionCut& cut) {
        return cut.rows * (Own * bytes_of_row + sizeof(int32_t)) + cut.chunk * static_cast<size_t>(bytes_of_other);
    }
    static AttentionCut cut(int64_t size) {
        return {size, tile, tile * most_warps<Steps>, tile, bytes_of_chunk / bytes_of_other / tile * tile};
    }
};

__device__ inline int lane_of_warp() { return static_cast<int>(threadIdx.x % 32); }
__device__ inline int warp_of_block() { return static_cast<int>(threadIdx.x / 32); }

// Rows of tokens -> (count, row_step), by the whole block; absent ones are 0. See await_rows.
template <int Steps, typename T>
__device__ void gather_rows(const HeadRows<const T, 8>& from, const int32_t* tokens, int count, T* to) {
    constexpr int packs = 2 * Steps;
    for (int i = static_cast<int>(threadIdx.x); i < count * packs; i += static_cast<int>(blockDim.x)) {
        const int row = i / packs, channel = i % packs * 8;
        T* target = to + row * row_step<Steps> + channel;
        if (from.is_packed) {
            const int bytes = from.left(tokens[row], channel) * static_cast<int>(sizeof(T));
            copy_async(target, bytes > 0 ? from.at(tokens[row], channel) : from.rows, bytes);
        } else {
            store_pack(from.load(tokens[row], channel), target);
        }
    }
}

// Rows of the same tokens of two tables.
template <int Steps, typename T>
__device__ void gather_rows(const HeadRows<const T, 8>& from, const HeadRows<const T, 8>& beside, const int32_t* tokens,
                            int count, T* const (&to)[2]) {
    gather_rows<Steps>(from, tokens, count, to[0]);
    gather_rows<Steps>(beside, tokens, count, to[1]);
}

// Waits for all rows that the block has gathered.
__device__ inline void await_rows() {
    copy_async_close();
    copy_async_wait<0>();
    __syncthreads();
}

// A warp's 16 rows in shared memory -> their tokens' rows in a table; absent ones are skipped.
template <int Steps, typename T>
__device__ void scatter_rows(const T* from, const int32_t* tokens, const HeadRows<T, 8>& to) {
    constexpr int packs = 2 * Steps;
    for (int i = lane_of_warp(); i < tile * packs; i += 32) {
        const int row = i / packs, channel = i % packs * 8;
        to.store(load_pack<8>(from + row * row_step<Steps> + channel), tokens[row], channel);
    }
}

// A warp's sums (16, 16 Steps), row by row times a factor, -> shared memory.
template <int Steps, typename T>
__device__ void lay_down(const float (&sums)[2 * Steps][4], float factor_of_first, float factor_of_second, T* to) {
    const int g = lane_of_warp() / 4, t = lane_of_warp() % 4;
#pragma unroll
    for (int n = 0; n < 2 * Steps; ++n) {
        T* first = to + g * row_step<Steps> + 8 * n + 2 * t;
        *reinterpret_cast<uint32_t*>(first) = pack_pair<T>(sums[n][0] * factor_of_first, sums[n][1] * factor_of_first);
        *reinterpret_cast<uint32_t*>(first + 8 * row_step<Steps>) =
            pack_pair<T>(sums[n][2] * factor_of_second, sums[n][3] * factor_of_second);
    }
}

// A warp's own 16 rows as left operands: in registers, or, if they are too wide for that, read again each time.
template <typename T, int Steps>
class OwnTile {
public:
    __device__ void take(const T* rows) {
        rows_ = rows;
        if constexpr (is_kept) {
#pragma unroll
            for (int k = 0; k < Steps; ++k) read(kept_[k], k);
        }
    }

    // d (16, 16) += own rows times the transposed 16 rows of the other side.
    __device__ void multiply_transposed(const T* others, float (&d)[2][4]) const {
        const int lane = lane_of_warp();
        const T* row = others + (lane % 8 + lane / 16 * 8) * row_step<Steps> + lane / 8 % 2 * 8;
#pragma unroll
        for (int k = 0; k < Steps; ++k) {
            uint32_t right[4];
            load_matrices(right, row + 16 * k);
            if constexpr (is_kept) {
                mma_m16n8k16<T>(d[0], kept_[k], {right[0], right[1]});
                mma_m16n8k16<T>(d[1], kept_[k], {right[2], right[3]});
            } else {
                uint32_t left[4];
                read(left, k);
                mma_m16n8k16<T>(d[0], left, {right[0], right[1]});
                mma_m16n8k16<T>(d[1], left, {right[2], right[3]});
            }
        }
    }

private:
    static constexpr bool is_kept = Steps <= 4;

    __device__ void read(uint32_t (&left)[4], int k) const {
        const int lane = lane_of_warp();
        load_matrices(left, rows_ + lane % 16 * row_step<Steps> + lane / 16 * 8 + 16 * k);
    }

    const T* rows_;
    uint32_t kept_[is_kept ? Steps : 1][4];
};

// d (16, 16 Steps) += weights (16, 16) times 16 rows of the other side.
template <int Steps, typename T>
__device__ void multiply(const float (&weights)[2][4], const T* others, float (&d)[2 * Steps][4]) {
    const int lane = lane_of_warp();
    const T* row = others + lane % 16 * row_step<Steps> + lane / 16 * 8;
    const uint32_t left[4] = {pack_pair<T>(weights[0][0], weights[0][1]), pack_pair<T>(weights[0][2], weights[0][3]),
                              pack_pair<T>(weights[1][0], weights[1][1]), pack_pair<T>(weights[1][2], weights[1][3])};
#pragma unroll
    for (int k = 0; k < Steps; ++k) {
        uint32_t right[4];
        load_matrices_transposed(right, row + 16 * k);
        mma_m16n8k16<T>(d[2 * k], left, {right[0], right[1]});
        mma_m16n8k16<T>(d[2 * k + 1], left, {right[2], right[3]});
    }
}

__device__ inline void clear(float (&sums)[2][4]) {
#pragma unroll
    for (int i = 0; i < 8; ++i) sums[i / 4][i % 4] = 0.0f;
}

// Which of 16 rows there are, by bits; whole warp.
__device__ inline uint32_t present_rows(const int32_t* tokens) {
    return __ballot_sync(all_lanes, tokens[lane_of_warp() % 16] != absent) & 0xFFFFu;
}

// logits (16, 16) of absent columns become minus infinity.
__device__ inline void hide_columns(uint32_t present, float (&logits)[2][4]) {
    if (present == 0xFFFFu) return;
    const int t = lane_of_warp() % 4;
#pragma unroll
    for (int n = 0; n < 2; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            if ((present >> (8 * n + 2 * t + i % 2) & 1) == 0) logits[n][i] = -INFINITY;
        }
    }
}

// Calls launch_with(std::integral_constant<int, Steps>) with the padded width of a head.
template <typename LaunchWith>
void with_steps(int64_t width, LaunchWith launch_with) {
    if (width <= 16) {
        launch_with(std::integral_constant<int, 1>{});
    } else if (width <= 32) {
        launch_with(std::integral_constant<int, 2>{});
    } else if (width <= 64) {
        launch_with(std::integral_constant<int, 4>{});
    } else {
        launch_with(std::integral_constant<int, 8>{});
    }
}

// Over the four lanes that share a row.
__device__ inline float largest_of_row(float value) {
    value = fmaxf(value, __shfl_xor_sync(all_lanes, value, 1));
    return fmaxf(value, __shfl_xor_sync(all_lanes, value, 2));
}
__device__ inline float sum_of_row(float value) {
    value += __shfl_xor_sync(all_lanes, value, 1);
    return value + __shfl_xor_sync(all_lanes, value, 2);
}

}  // namespace perception::cuda
