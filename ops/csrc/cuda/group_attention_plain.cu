// Attention with scalar arithmetic in float, for float32 and for heads too wide for the tensor cores. A row, query or key,
// belongs to 1 to 32 neighbouring threads ("lanes"), each of which keeps up to 16 of its channels in registers; the rows of
// the other side come from shared memory, the same for all rows of a warp.
#include "group_attention_plain.hpp"

#include <algorithm>
#include <bit>

#include "common/bfloat16.hpp"
#include "common/float16.hpp"
#include "device.hpp"
#include "online_softmax.hpp"

namespace perception::cuda {
namespace {

constexpr int most_threads = 256, keys_at_once = 8;

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
        : AttentionCut(size, std::max(1, 32 / lanes_of_row), most_threads / lanes_of_row, keys_at_once,
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
        return left >= cut.chunk ? cut.chunk : static_cast<int>((left + keys_at_once - 1) / keys_at_once * keys_at_once);
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

template <typename T, int Quads>
__global__ void __launch_bounds__(most_threads, 1)
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

// Gradients of queries, and the statistics that those of the keys need.
template <typename T, int Quads>
__global__ void __launch_bounds__(most_threads, 1)
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
__global__ void __launch_bounds__(most_threads, 1)
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

// Calls launch_with(std::integral_constant<int, Quads>, lanes). Narrow heads of half precision don't come here.
template <typename T, typename LaunchWith>
void with_lanes(int64_t width, LaunchWith launch_with) {
    if constexpr (std::is_same_v<T, float>) {
        if (width <= 8) return launch_with(std::integral_constant<int, 2>{}, 1);
    }
    const auto lanes = std::bit_ceil(static_cast<unsigned>(ceil_div(width, 16)));
    launch_with(std::integral_constant<int, 4>{}, static_cast<int>(lanes));
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

template <typename T>
void attend_backward_plainly(const AttentionInput<T>& in, const AttentionGradient<T>& to, Stream stream) {
    with_lanes<T>(in.heads.width, [&](auto quads, int lanes) {
        const PlainCut cut(in.of.size, quads, lanes);
        const dim3 grid = cut.grid(in.of, in.heads);
        launch<attention_plain_grad_queries<T, quads>>(grid, cut.block(), cut.shared_bytes(), stream, in, to, cut);
        launch<attention_plain_grad_keys<T, quads>>(grid, cut.block(), cut.shared_bytes(), stream, in, to, cut);
    });
}

#define PERCEPTION_INSTANTIATE(T)                                                  \
    template void attend_plainly(const AttentionInput<T>&, T*, Stream);                \
    template void attend_backward_plainly(const AttentionInput<T>&, const AttentionGradient<T>&, Stream);
PERCEPTION_INSTANTIATE(float)
PERCEPTION_INSTANTIATE(Bfloat16)
PERCEPTION_INSTANTIATE(Float16)
#undef PERCEPTION_INSTANTIATE

}  // namespace perception::cuda
