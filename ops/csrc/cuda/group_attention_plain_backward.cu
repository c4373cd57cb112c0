// Gradients of attention for float32, and for heads too wide for the tensor cores: in two kernels, since those of the
// queries are sums over keys and the others sums over queries.
#include "group_attention_plain.hpp"

#include "device.hpp"
#include "group_attention_plain_rows.hpp"
#include "online_softmax.hpp"

namespace perception::cuda {
namespace {

// Gradients of queries, and the statistics that those of the keys need.
template <typename T, int Quads>
__global__ void __launch_bounds__(most_plain_threads, 1)
    attention_plain_grad_queries(AttentionInput<T> in, AttentionGradient<T> to, PlainCut cut) {
    PERCEPTION_DYNAMIC_SHARED(float, memory);
    const PlainShared shared(memory, cut);
    const AttentionPlace place(cut, in.heads);
    const int lanes = cut.lanes, lane = static_cast<int>(threadIdx.x) % lanes;
    const int64_t row = place.first + static_cast<int>(threadIdx.x) / lanes;
    const int32_t token = row_token<Side::queries>(in.of, place.group, row);
    const float scale = logit_scale_in_log2(in.heads);
    check_back(in.of);
    RowPart<Quads> query, grad, grad_q;
    query.load(query_rows<4>(in.qk, in.heads, place.head), token, lane, lanes);
    grad.load(value_rows<4>(to.grad, in.heads, place.head), token, lane, lanes);
    grad_q.clear();
    OnlineSoftmax softmax;
    float mean = 0.0f;
    for (int64_t first = 0; first < in.of.size; first += cut.chunk) {
        shared.bring_keys(in, place, cut, first);
        for (int key = 0; key < shared.count(cut, in.of.size - first); key += keys_at_once) {
            float logits[keys_at_once], slopes[keys_at_once], largest = -INFINITY;
#pragma unroll
            for (int j = 0; j < keys_at_once; ++j) {
                const float product = query.dot(shared.tables[0] + (key + j) * cut.wide, lane, lanes);
                slopes[j] = grad.dot(shared.tables[1] + (key + j) * cut.wide, lane, lanes);
                logits[j] = shared.tokens[key + j] == absent ? -INFINITY : product * scale;
                largest = fmaxf(largest, logits[j]);
            }
            mean *= softmax.raise(largest);
#pragma unroll
            for (int j = 0; j < keys_at_once; ++j) {
                const float weight = exp2_fast(logits[j] - softmax.offset());
                softmax.total += weight;
                mean = fmaf(weight, slopes[j], mean);
            }
        }
    }
    const RowStatistics statistics{softmax.normalizer(), mean * softmax.share()};
    for (int64_t first = 0; first < in.of.size; first += cut.chunk) {
        if (cut.chunk < in.of.size) shared.bring_keys(in, place, cut, first);
        for (int key = 0; key < shared.count(cut, in.of.size - first); ++key) {
            const float product = query.dot(shared.tables[0] + key * cut.wide, lane, lanes);
            const float slope = grad.dot(shared.tables[1] + key * cut.wide, lane, lanes);
            if (shared.tokens[key] == absent) continue;
            const float weight = exp2_fast(fmaf(product, scale, -statistics.normalizer));
            grad_q.add(weight * (slope - statistics.mean), shared.tables[0] + key * cut.wide, lane, lanes);
        }
    }
    if (token == absent) return;
    if (lane == 0) to.statistics[(place.head * in.of.groups + place.group) * in.of.size + row] = statistics;
    grad_q.store(logit_scale(in.heads), query_rows<4>(to.grad_qk, in.heads, place.head), token, lane, lanes);
}

// Gradients of keys and their values.
template <typename T, int Quads>
__global__ void __launch_bounds__(most_plain_threads, 1)
    attention_plain_grad_keys(AttentionInput<T> in, AttentionGradient<T> to, PlainCut cut) {
    PERCEPTION_DYNAMIC_SHARED(float, memory);
    const PlainShared shared(memory, cut);
    const AttentionPlace place(cut, in.heads);
    const int lanes = cut.lanes, lane = static_cast<int>(threadIdx.x) % lanes;
    const int64_t row = place.first + static_cast<int>(threadIdx.x) / lanes, slot = place.group * in.of.size + row;
    const int32_t token = row_token<Side::keys>(in.of, place.group, row);
    const float scale = logit_scale_in_log2(in.heads);
    RowPart<Quads> key, value, grad_k, grad_v;
    key.load(key_rows<4>(in.qk, in.heads, place.head), token, lane, lanes);
    value.load(value_rows<4>(in.v, in.heads, place.head), token, lane, lanes);
    grad_k.clear();
    grad_v.clear();
    for (int64_t first = 0; first < in.of.size; first += cut.chunk) {
        __syncthreads();
        name_rows<Side::queries>(in.of, place.group, first, cut.chunk, shared.tokens);
        __syncthreads();
        shared.gather(query_rows<4>(in.qk, in.heads, place.head), cut, shared.tables[0]);
        shared.gather(value_rows<4>(to.grad, in.heads, place.head), cut, shared.tables[1]);
        gather_statistics(to.statistics + (place.head * in.of.groups + place.group) * in.of.size + first, shared.tokens,
                          cut.chunk, shared.statistics);
        __syncthreads();
        for (int query = 0; query < shared.count(cut, in.of.size - first); ++query) {
            const float *from = shared.tables[0] + query * cut.wide, *given = shared.tables[1] + query * cut.wide;
            const float product = key.dot(from, lane, lanes), slope = value.dot(given, lane, lanes);
            if (token == absent) continue;
            const RowStatistics statistics = shared.statistics[query];
            const float weight = exp2_fast(fmaf(product, scale, -statistics.normalizer));
            grad_v.add(weight, given, lane, lanes);
            grad_k.add(weight * (slope - statistics.mean), from, lane, lanes);
        }
    }
    if (row >= in.of.size) return;
    const float factor = logit_scale(in.heads);
    if (in.of.is_copy(slot)) {
        const int64_t channels = in.heads.channels();
        float* share = to.copies + to.copy_numbers[slot] * 2 * channels;
        grad_k.store(factor, value_rows<4>(share, in.heads, place.head), 0, lane, lanes);
        grad_v.store(1.0f, value_rows<4>(share + channels, in.heads, place.head), 0, lane, lanes);
    } else {
        const int32_t owner = checked_token(in.of, slot);
        grad_k.store(factor, key_rows<4>(to.grad_qk, in.heads, place.head), owner, lane, lanes);
        grad_v.store(1.0f, value_rows<4>(to.grad_v, in.heads, place.head), owner, lane, lanes);
    }
}

}  // namespace

template <typename T>
void attend_backward_plainly(const AttentionInput<T>& in, const AttentionGradient<T>& to, Stream stream) {
    with_lanes<T>(in.heads.width, [&](auto quads, int lanes) {
        const PlainCut cut(in.of.size, quads, lanes);
        const dim3 grid = cut.grid(in.of, in.heads);
        launch<attention_plain_grad_queries<T, quads>>(grid, cut.block(), cut.shared_bytes(), stream, in, to, cut);
        launch<attention_plain_grad_keys<T, quads>>(grid, cut.block(), cut.shared_bytes(), stream, in, to, cut);
    });
}

template void attend_backward_plainly(const AttentionInput<float>&, const AttentionGradient<float>&, Stream);
template void attend_backward_plainly(const AttentionInput<Bfloat16>&, const AttentionGradient<Bfloat16>&, Stream);
template void attend_backward_plainly(const AttentionInput<Float16>&, const AttentionGradient<Float16>&, Stream);

}  // namespace perception::cuda
