// Attention on tensor cores. A warp owns 16 queries of a head in registers; keys and values come from shared memory, 16
// at a time. Logits and weights never leave the registers.
#include "group_attention_mma.hpp"

#include "common/bfloat16.hpp"
#include "common/float16.hpp"
#include "device.hpp"
#include "group_attention_tiles.hpp"
#include "online_softmax.hpp"

namespace perception::cuda {
namespace {

// Tiles of keys that a warp weighs at once: the more, the fewer times its sums are rescaled.
template <int Steps>
constexpr int key_tiles = Steps <= 4 ? 4 : 3;

// Logits (16, 16 Keys) -> weights, after the sums over earlier keys have been brought to the same offset. Bit j of
// `tiles` says whether there are any in tile j.
template <int Keys, int Sums>
__device__ void weigh(float (&logits)[Keys][2][4], uint32_t tiles, float scale, OnlineSoftmax (&softmax)[2],
                      float (&mixed)[Sums][4]) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float largest = -INFINITY;
#pragma unroll
        for (int j = 0; j < Keys; ++j) {
            if ((tiles >> j & 1) == 0) continue;
#pragma unroll
            for (int i = 0; i < 4; ++i) largest = fmaxf(largest, logits[j][i / 2][2 * half + i % 2]);
        }
        const float shrink = softmax[half].raise(largest_of_row(largest) * scale);
#pragma unroll
        for (int n = 0; n < Sums; ++n) {
            mixed[n][2 * half] *= shrink;
            mixed[n][2 * half + 1] *= shrink;
        }
        const float offset = softmax[half].offset();
#pragma unroll
        for (int j = 0; j < Keys; ++j) {
            if ((tiles >> j & 1) == 0) continue;
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                float& weight = logits[j][i / 2][2 * half + i % 2];
                weight = exp2_fast(fmaf(weight, scale, -offset));
                softmax[half].total += weight;
            }
        }
    }
}

template <typename T, int Steps>
__global__ void __launch_bounds__(most_threads<Steps>, least_blocks<Steps>)
    attention_mma(AttentionInput<T> in, AttentionCut cut, T* out) {
    constexpr int Keys = key_tiles<Steps>, step = row_step<Steps>;
    PERCEPTION_DYNAMIC_SHARED(T, memory);
    const SharedTables<T, Steps, 1> shared(memory, cut);
    const AttentionPlace place(cut, in.heads);
    const int size = static_cast<int>(in.of.size), first_own = warp_of_block() * tile;
    T* own = shared.own[0] + first_own * step;
    const float scale = logit_scale_in_log2(in.heads);
    check_back(in.of);
    name_rows<Side::queries>(in.of, place.group, place.first, cut.rows, shared.own_tokens);
    OwnTile<T, Steps> queries;
    OnlineSoftmax softmax[2];
    float mixed[2 * Steps][4] = {};
    for (int first = 0; first < size; first += cut.chunk) {
        if (first > 0) __syncthreads();
        name_rows<Side::keys>(in.of, place.group, first, cut.chunk, shared.other_tokens);
        __syncthreads();
        if (first == 0) {
            gather_rows<Steps>(query_rows<8>(in.qk, in.heads, place.head), shared.own_tokens, cut.rows, shared.own[0]);
        }
        gather_rows<Steps>(key_rows<8>(in.qk, in.heads, place.head), value_rows<8>(in.v, in.heads, place.head),
                           shared.other_tokens, cut.chunk, shared.others);
        await_rows();
        if (first == 0) queries.take(own);
        const bool is_asking = present_rows(shared.own_tokens + first_own) != 0;
        for (int row = 0; row < cut.chunk && is_asking; row += Keys * tile) {
            float logits[Keys][2][4];
            uint32_t tiles = 0;  // with a key
#pragma unroll
            for (int j = 0; j < Keys; ++j) {
                const int at = row + j * tile;
                const uint32_t present = at < cut.chunk ? present_rows(shared.other_tokens + at) : 0;
                if (present == 0) continue;
                tiles |= 1u << j;
                clear(logits[j]);
                queries.multiply_transposed(shared.others[0] + at * step, logits[j]);
                hide_columns(present, logits[j]);
            }
            weigh(logits, tiles, scale, softmax, mixed);
#pragma unroll
            for (int j = 0; j < Keys; ++j) {
                if (tiles >> j & 1) multiply<Steps>(logits[j], shared.others[1] + (row + j * tile) * step, mixed);
            }
        }
    }
    for (OnlineSoftmax& row : softmax) row.total = sum_of_row(row.total);
    __syncwarp();
    lay_down<Steps>(mixed, softmax[0].share(), softmax[1].share(), own);
    __syncwarp();
    scatter_rows<Steps>(own, shared.own_tokens + first_own, value_rows<8>(out, in.heads, place.head));
}

}  // namespace

template <typename T>
void attend_with_mma(const AttentionInput<T>& in, T* out, Stream stream) {
    with_steps(in.heads.width, [&](auto steps) {
        using Shared = SharedTables<T, steps, 1>;
        const AttentionCut cut = Shared::cut(in.of.size);
        const dim3 grid = cut.grid(in.of, in.heads), block(2 * cut.rows);
        launch<attention_mma<T, steps>>(grid, block, Shared::bytes(cut), stream, in, cut, out);
    });
}

template void attend_with_mma(const AttentionInput<Bfloat16>&, Bfloat16*, Stream);
template void attend_with_mma(const AttentionInput<Float16>&, Float16*, Stream);

}  // namespace perception::cuda
