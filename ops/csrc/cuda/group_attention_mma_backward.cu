// Gradients of attention on tensor cores, in two kernels: a warp owns 16 queries and passes over the keys, then a warp
// owns 16 keys and passes over the queries. Logits, weights and their gradients never leave the registers.
#include "common/bfloat16.hpp"
#include "common/float16.hpp"
#include "device.hpp"
#include "group_attention_mma.hpp"
#include "group_attention_tiles.hpp"
#include "online_softmax.hpp"

namespace perception::cuda {
namespace {

// Statistics of a warp's 16 queries over all keys, taken up tile by tile.
struct StatisticsOfTile {
    OnlineSoftmax softmax[2];
    float mean[2] = {};

    __device__ void take(const float (&logits)[2][4], const float (&slopes)[2][4], float scale) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float largest = -INFINITY;
#pragma unroll
            for (int i = 0; i < 4; ++i) largest = fmaxf(largest, logits[i / 2][2 * half + i % 2]);
            mean[half] *= softmax[half].raise(largest_of_row(largest) * scale);
            const float offset = softmax[half].offset();
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const float weight = exp2_fast(fmaf(logits[i / 2][2 * half + i % 2], scale, -offset));
                softmax[half].total += weight;
                mean[half] = fmaf(weight, slopes[i / 2][2 * half + i % 2], mean[half]);
            }
        }
    }

    __device__ RowStatistics of_row(int half) {
        softmax[half].total = sum_of_row(softmax[half].total);
        mean[half] = sum_of_row(mean[half]);
        return {softmax[half].normalizer(), mean[half] * softmax[half].share()};
    }
};

// Gradients of a warp's 16 queries, and the statistics that those of the keys need.
template <typename T, int Steps>
__global__ void __launch_bounds__(most_threads<Steps>, least_blocks<Steps>)
    attention_mma_grad_queries(AttentionInput<T> in, AttentionGradient<T> to, AttentionCut cut) {
    constexpr int step = row_step<Steps>;
    PERCEPTION_DYNAMIC_SHARED(T, memory);
    const SharedTables<T, Steps, 2> shared(memory, cut);
    const AttentionPlace place(cut, in.heads);
    const int size = static_cast<int>(in.of.size), first_own = warp_of_block() * tile;
    const int32_t* own_tokens = shared.own_tokens + first_own;
    T* own = shared.own[0] + first_own * step;
    const auto q_rows = query_rows<8>(in.qk, in.heads, place.head), k_rows = key_rows<8>(in.qk, in.heads, place.head);
    const auto v_rows = value_rows<8>(in.v, in.heads, place.head);
    const auto grad_rows = value_rows<8>(to.grad, in.heads, place.head);
    const float scale = logit_scale_in_log2(in.heads);
    check_back(in.of);
    name_rows<Side::queries>(in.of, place.group, place.first, cut.rows, shared.own_tokens);
    OwnTile<T, Steps> queries, grads;
    StatisticsOfTile found;
    RowStatistics statistics[2] = {};
    float grad_q[2 * Steps][4] = {};
    for (int pass = 0; pass < 2; ++pass) {
        const bool is_second = pass == 1;
        for (int first = 0; first < size; first += cut.chunk) {
            if (!is_second || cut.chunk < size) {
                __syncthreads();
                name_rows<Side::keys>(in.of, place.group, first, cut.chunk, shared.other_tokens);
                __syncthreads();
                if (!is_second && first == 0) {
                    gather_rows<Steps>(q_rows, grad_rows, shared.own_tokens, cut.rows, shared.own);
                }
                gather_rows<Steps>(k_rows, v_rows, shared.other_tokens, cut.chunk, shared.others);
                await_rows();
            }
            if (!is_second && first == 0) {
                queries.take(own);
                grads.take(shared.own[1] + first_own * step);
            }
            const bool is_asking = present_rows(own_tokens) != 0;
            for (int row = 0; row < cut.chunk && is_asking; row += tile) {
                const uint32_t present = present_rows(shared.other_tokens + row);
                if (present == 0) continue;
                float logits[2][4] = {}, slopes[2][4] = {};
                queries.multiply_transposed(shared.others[0] + row * step, logits);
                grads.multiply_transposed(shared.others[1] + row * step, slopes);
                hide_columns(present, logits);
                if (!is_second) {
                    found.take(logits, slopes, scale);
                    continue;
                }
#pragma unroll
                for (int i = 0; i < 8; ++i) {
                    const RowStatistics& of_row = statistics[i % 4 / 2];
                    const float weight = exp2_fast(fmaf(logits[i / 4][i % 4], scale, -of_row.normalizer));
                    slopes[i / 4][i % 4] = weight * (slopes[i / 4][i % 4] - of_row.mean);
                }
                multiply<Steps>(slopes, shared.others[0] + row * step, grad_q);
            }
        }
        if (!is_second) {
#pragma unroll
            for (int half = 0; half < 2; ++half) statistics[half] = found.of_row(half);
        }
    }
    const int64_t slots = in.of.groups * in.of.size, first_slot = place.group * in.of.size + place.first + first_own;
    for (int half = 0; half < 2; ++half) {
        const int row = lane_of_warp() / 4 + 8 * half;
        if (lane_of_warp() % 4 != 0 || own_tokens[row] == absent) continue;
        to.statistics[place.head * slots + first_slot + row] = statistics[half];
    }
    __syncwarp();
    lay_down<Steps>(grad_q, logit_scale(in.heads), logit_scale(in.heads), own);
    __syncwarp();
    scatter_rows<Steps>(own, own_tokens, query_rows<8>(to.grad_qk, in.heads, place.head));
}

// The shares of a copy's key and value, from a warp's sums for 16 keys.
template <int Steps>
__device__ void store_share(const float (&grad_k)[2 * Steps][4], const float (&grad_v)[2 * Steps][4], int half,
                            float scale, int width, float* share_k, float* share_v) {
#pragma unroll
    for (int n = 0; n < 2 * Steps; ++n) {
#pragma unroll
        for (int i = 0; i < 2; ++i) {
            const int channel = 8 * n + 2 * (lane_of_warp() % 4) + i;
            if (channel >= width) continue;
            share_k[channel] = grad_k[n][2 * half + i] * scale;
            share_v[channel] = grad_v[n][2 * half + i];
        }
    }
}

// Gradients of a warp's 16 keys and their values.
template <typename T, int Steps>
__global__ void __launch_bounds__(most_threads<Steps>, least_blocks<Steps>)
    attention_mma_grad_keys(AttentionInput<T> in, AttentionGradient<T> to, AttentionCut cut) {
    constexpr int step = row_step<Steps>;
    PERCEPTION_DYNAMIC_SHARED(T, memory);
    const SharedTables<T, Steps, 2> shared(memory, cut);
    const AttentionPlace place(cut, in.heads);
    const int size = static_cast<int>(in.of.size), first_own = warp_of_block() * tile, lane = lane_of_warp();
    T *own_k = shared.own[0] + first_own * step, *own_v = shared.own[1] + first_own * step;
    int32_t* own_tokens = shared.own_tokens + first_own;
    const auto q_rows = query_rows<8>(in.qk, in.heads, place.head), k_rows = key_rows<8>(in.qk, in.heads, place.head);
    const auto v_rows = value_rows<8>(in.v, in.heads, place.head);
    const auto grad_rows = value_rows<8>(to.grad, in.heads, place.head);
    const float scale = logit_scale_in_log2(in.heads);
    const int64_t first_slot = place.group * in.of.size;
    name_rows<Side::keys>(in.of, place.group, place.first, cut.rows, shared.own_tokens);
    OwnTile<T, Steps> keys, values;
    uint32_t present_own = 0;
    float grad_k[2 * Steps][4] = {}, grad_v[2 * Steps][4] = {};
    for (int first = 0; first < size; first += cut.chunk) {
        if (first > 0) __syncthreads();
        name_rows<Side::queries>(in.of, place.group, first, cut.chunk, shared.other_tokens);
        __syncthreads();
        if (first == 0) gather_rows<Steps>(k_rows, v_rows, shared.own_tokens, cut.rows, shared.own);
        gather_rows<Steps>(q_rows, grad_rows, shared.other_tokens, cut.chunk, shared.others);
        gather_statistics(to.statistics + place.head * in.of.groups * in.of.size + first_slot + first,
                          shared.other_tokens, cut.chunk, shared.statistics);
        await_rows();
        if (first == 0) {
            keys.take(own_k);
            values.take(own_v);
            present_own = present_rows(own_tokens);
        }
        for (int row = 0; row < cut.chunk && present_own != 0; row += tile) {
            if (present_rows(shared.other_tokens + row) == 0) continue;
            float weights[2][4] = {}, slopes[2][4] = {};
            keys.multiply_transposed(shared.others[0] + row * step, weights);
            values.multiply_transposed(shared.others[1] + row * step, slopes);
#pragma unroll
            for (int i = 0; i < 8; ++i) {
                const RowStatistics of_query = shared.statistics[row + i / 4 * 8 + 2 * (lane % 4) + i % 2];
                const bool is_key = present_own >> (lane / 4 + i % 4 / 2 * 8) & 1;
                float& weight = weights[i / 4][i % 4];
                weight = is_key ? exp2_fast(fmaf(weight, scale, -of_query.normalizer)) : 0.0f;
                slopes[i / 4][i % 4] = weight * (slopes[i / 4][i % 4] - of_query.mean);
            }
            multiply<Steps>(weights, shared.others[1] + row * step, grad_v);
            multiply<Steps>(slopes, shared.others[0] + row * step, grad_k);
        }
    }
    const float factor = logit_scale(in.heads);
    __syncwarp();
    for (int half = 0; half < 2; ++half) {
        const int64_t row = place.first + first_own + lane / 4 + 8 * half;
        if (row >= in.of.size || !in.of.is_copy(first_slot + row)) continue;
        float* share = to.copies + to.copy_numbers[first_slot + row] * 2 * in.heads.channels() +
                       place.head * in.heads.width;
        store_share<Steps>(grad_k, grad_v, half, factor, static_cast<int>(in.heads.width), share,
                           share + in.heads.channels());
    }
    if (lane < tile) own_tokens[lane] = row_token<Side::queries>(in.of, place.group, place.first + first_own + lane);
    lay_down<Steps>(grad_k, factor, factor, own_k);
    lay_down<Steps>(grad_v, 1.0f, 1.0f, own_v);
    __syncwarp();
    scatter_rows<Steps>(own_k, own_tokens, key_rows<8>(to.grad_qk, in.heads, place.head));
    scatter_rows<Steps>(own_v, own_tokens, value_rows<8>(to.grad_v, in.heads, place.head));
}

}  // namespace

template <typename T>
void attend_backward_with_mma(const AttentionInput<T>& in, const AttentionGradient<T>& to, Stream stream) {
    with_steps(in.heads.width, [&](auto steps) {
        using Shared = SharedTables<T, steps, 2>;
        const AttentionCut cut = Shared::cut(in.of.size);
        const dim3 grid = cut.grid(in.of, in.heads), block(2 * cut.rows);
        launch<attention_mma_grad_queries<T, steps>>(grid, block, Shared::bytes(cut), stream, in, to, cut);
        launch<attention_mma_grad_keys<T, steps>>(grid, block, Shared::bytes(cut), stream, in, to, cut);
    });
}

template void attend_backward_with_mma(const AttentionInput<Bfloat16>&, const AttentionGradient<Bfloat16>&, Stream);
template void attend_backward_with_mma(const AttentionInput<Float16>&, const AttentionGradient<Float16>&, Stream);

}  // namespace perception::cuda
