// Attention for float32, and for heads too wide for the tensor cores.
#include "group_attention_plain.hpp"

#include "device.hpp"
#include "group_attention_plain_rows.hpp"
#include "online_softmax.hpp"

namespace perception::cuda {
namespace {

template <typename T, int Quads>
__global__ void __launch_bounds__(most_plain_threads, 1)
    attention_plain(AttentionInput<T> in, PlainCut cut, T* out) {
    PERCEPTION_DYNAMIC_SHARED(float, memory);
    const PlainShared shared(memory, cut);
    const AttentionPlace place(cut, in.heads);
    const int lanes = cut.lanes, lane = static_cast<int>(threadIdx.x) % lanes;
    const int32_t token = row_token<Side::queries>(in.of, place.group,
                                                   place.first + static_cast<int>(threadIdx.x) / lanes);
    const float scale = logit_scale_in_log2(in.heads);
    check_back(in.of);
    RowPart<Quads> query, mixed;
    query.load(query_rows<4>(in.qk, in.heads, place.head), token, lane, lanes);
    mixed.clear();
    OnlineSoftmax softmax;
    for (int64_t first = 0; first < in.of.size; first += cut.chunk) {
        shared.bring_keys(in, place, cut, first);
        for (int key = 0; key < shared.count(cut, in.of.size - first); key += keys_at_once) {
            float logits[keys_at_once], largest = -INFINITY;
#pragma unroll
            for (int j = 0; j < keys_at_once; ++j) {
                const float product = query.dot(shared.tables[0] + (key + j) * cut.wide, lane, lanes);
                logits[j] = shared.tokens[key + j] == absent ? -INFINITY : product * scale;
                largest = fmaxf(largest, logits[j]);
            }
            mixed.multiply(softmax.raise(largest));
#pragma unroll
            for (int j = 0; j < keys_at_once; ++j) {
                const float weight = exp2_fast(logits[j] - softmax.offset());
                softmax.total += weight;
                mixed.add(weight, shared.tables[1] + (key + j) * cut.wide, lane, lanes);
            }
        }
    }
    mixed.store(softmax.share(), value_rows<4>(out, in.heads, place.head), token, lane, lanes);
}

}  // namespace

template <typename T>
void attend_plainly(const AttentionInput<T>& in, T* out, Stream stream) {
    with_lanes<T>(in.heads.width, [&](auto quads, int lanes) {
        const PlainCut cut(in.of.size, quads, lanes);
        launch<attention_plain<T, quads>>(cut.grid(in.of, in.heads), cut.block(), cut.shared_bytes(), stream, in, cut,
                                          out);
    });
}

template void attend_plainly(const AttentionInput<float>&, float*, Stream);
template void attend_plainly(const AttentionInput<Bfloat16>&, Bfloat16*, Stream);
template void attend_plainly(const AttentionInput<Float16>&, Float16*, Stream);

}  // namespace perception::cuda
