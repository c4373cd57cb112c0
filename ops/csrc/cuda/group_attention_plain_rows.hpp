// Building blocks of attention with scalar arithmetic in float. A row, query or key, belongs to 1 to 32 neighbouring
// threads ("lanes"), each of which keeps up to 16 of its channels in registers; the rows of the other side come from
// shared memory, the same for all rows of a warp.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <type_traits>

#include "common/bfloat16.hpp"
#include "common/float16.hpp"
#include "device.hpp"
#include "group_attention_work.hpp"

namespace perception::cuda {

inline constexpr int most_plain_threads = 256, keys_at_once = 8;

// Four channels a quad; lane l of a row has the quads l, l + lanes, l + 2 lanes, so that lanes read side by side.
template <int Quads>
struct RowPart {
    float values[Quads][4];

    __device__ void clear() {
#pragma unroll
        for (int i = 0; i < 4 * Quads; ++i) values[i / 4][i % 4] = 0.0f;
    }

    template <typename Rows>
    __device__ void load(const Rows& from, int32_t token, int lane, int lanes) {
#pragma unroll
        for (int q = 0; q < Quads; ++q) {
            const auto quad = from.load(token, 4 * (q * lanes + lane));
#pragma unroll
            for (int i = 0; i < 4; ++i) values[q][i] = widen(quad.values[i]);
        }
    }

    template <typename Rows>
    __device__ void store(float factor, const Rows& to, int32_t token, int lane, int lanes) const {
#pragma unroll
        for (int q = 0; q < Quads; ++q) {
            Pack<typename Rows::Element, 4> quad;
#pragma unroll
            for (int i = 0; i < 4; ++i) narrow(values[q][i] * factor, quad.values[i]);
            to.store(quad, token, 4 * (q * lanes + lane));
        }
    }

    __device__ void multiply(float factor) {
#pragma unroll
        for (int i = 0; i < 4 * Quads; ++i) values[i / 4][i % 4] *= factor;
    }

    // += weight times a row in shared memory.
    __device__ void add(float weight, const float* row, int lane, int lanes) {
#pragma unroll
        for (int q = 0; q < Quads; ++q) {
            const auto quad = load_pack<4>(row + 4 * (q * lanes + lane));
#pragma unroll
            for (int i = 0; i < 4; ++i) values[q][i] = fmaf(weight, quad.values[i], values[q][i]);
        }
    }

    // The product with a row in shared memory, the same in all lanes of the own row.
    __device__ float dot(const float* row, int lane, int lanes) const {
        float total = 0.0f;
#pragma unroll
        for (int q = 0; q < Quads; ++q) {
            const auto quad = load_pack<4>(row + 4 * (q * lanes + lane));
#pragma unroll
            for (int i = 0; i < 4; ++i) total = fmaf(values[q][i], quad.values[i], total);
        }
        for (int flip = lanes / 2; flip > 0; flip /= 2) total += __shfl_xor_sync(all_lanes, total, flip);
        return total;
    }
};

struct PlainCut : AttentionCut {
    int lanes, wide;  // threads of a row, its padded width

    PlainCut(int64_t size, int quads, int lanes_of_row)
        : AttentionCut(size, std::max(1, 32 / lanes_of_row), most_plain_threads / lanes_of_row, keys_at_once,
                       std::max<int64_t>(1, (48 << 10) / bytes_of_other(4 * quads * lanes_of_row) / keys_at_once) *
                           keys_at_once),
          lanes(lanes_of_row), wide(4 * quads * lanes_of_row) {}

    dim3 block() const { return dim3(static_cast<unsigned>(rows * lanes)); }
    size_t shared_bytes() const { return static_cast<size_t>(chunk * bytes_of_other(wide)); }

    static int64_t bytes_of_other(int64_t width) {
        return 2 * width * static_cast<int64_t>(sizeof(float)) + static_cast<int64_t>(sizeof(int32_t)) +
               static_cast<int64_t>(sizeof(RowStatistics));
    }
};

// Two tables of the other side, with tokens and statistics.
struct PlainShared {
    float* tables[2];
    int32_t* tokens;
    RowStatistics* statistics;

    __device__ PlainShared(float* memory, const PlainCut& cut)
        : tables{memory, memory + cut.chunk * cut.wide},
          tokens(reinterpret_cast<int32_t*>(memory + 2 * cut.chunk * cut.wide)),
          statistics(reinterpret_cast<RowStatistics*>(tokens + cut.chunk)) {}

    // The rows of the other side that there are, rounded up to keys_at_once.
    __device__ static int count(const PlainCut& cut, int64_t left) {
        return static_cast<int>(left < cut.chunk ? (left + keys_at_once - 1) / keys_at_once * keys_at_once : cut.chunk);
    }

    template <typename Rows>
    __device__ void gather(const Rows& from, const PlainCut& cut, float* to) const {
        const int quads = cut.wide / 4;
        for (int i = static_cast<int>(threadIdx.x); i < cut.chunk * quads; i += static_cast<int>(blockDim.x)) {
            const auto quad = from.load(tokens[i / quads], i % quads * 4);
            Pack<float, 4> wide;
#pragma unroll
            for (int k = 0; k < 4; ++k) wide.values[k] = widen(quad.values[k]);
            store_pack(wide, to + 4 * i);
        }
    }

    // Keys and values of rows first, first + 1 .. of the group.
    template <typename T>
    __device__ void bring_keys(const AttentionInput<T>& in, const AttentionPlace& place, const PlainCut& cut,
                               int64_t first) const {
        __syncthreads();
        name_rows<Side::keys>(in.of, place.group, first, cut.chunk, tokens);
        __syncthreads();
        gather(key_rows<4>(in.qk, in.heads, place.head), cut, tables[0]);
        gather(value_rows<4>(in.v, in.heads, place.head), cut, tables[1]);
        __syncthreads();
    }
};

// Calls launch_with(std::integral_constant<int, Quads>, lanes). Narrow heads of half precision don't come here.
template <typename T, typename LaunchWith>
void with_lanes(int64_t width, LaunchWith launch_with) {
    if constexpr (std::is_same_v<T, float>) {
        if (width <= 8) return launch_with(std::integral_constant<int, 2>{}, 1);
    }
    const auto lanes = std::bit_ceil(static_cast<unsigned>(ceil_div(width, 16)));
    launch_with(std::integral_constant<int, 4>{}, static_cast<int>(lanes));
}

}  // namespace perception::cuda
