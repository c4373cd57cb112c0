#include "hash_lookup.hpp"

#include "common/bfloat16.hpp"
#include "common/float16.hpp"
#include "device.hpp"
#include "grid.hpp"
#include "pack.hpp"
#include "segment_order.hpp"

namespace perception::cuda {
namespace {

constexpr int64_t warp_lanes = 32;
constexpr unsigned all_lanes = 0xFFFFFFFFu;

// One thread a pack of channels of a token; neighbouring threads read neighbouring channels of one row.
template <typename T, int Width>
__global__ void read_rows(HashHits<T> hits, HashTables<T> tables, T* out) {
    const int64_t packs = tables.channels / Width, thread = thread_number(), token = thread / packs;
    if (token >= hits.tokens) return;
    const int64_t channel = thread % packs * Width;
    float total[Width] = {};
    for (int64_t j = 0; j < hits.tables; ++j) {
        const int64_t hit = token * hits.tables + j, code = hits.codes[hit];
        device_check(code >= 0 && code < tables.each);
        const float score = widen(hits.scores[hit]);
        const auto row = load_pack<Width>(tables.at(j, code) + channel);
        for (int i = 0; i < Width; ++i) total[i] += score * widen(row.values[i]);
    }
    Pack<T, Width> sum;
    for (int i = 0; i < Width; ++i) narrow(total[i], sum.values[i]);
    store_pack(sum, out + token * tables.channels + channel);
}

// One warp a hit: the product of its row with the token's gradient.
template <typename T>
__global__ void score_slopes(const T* grad, HashHits<T> hits, HashTables<T> tables, T* grad_scores) {
    const int64_t hit = thread_number() / warp_lanes, lane = thread_number() % warp_lanes;
    if (hit >= hits.count()) return;  // all lanes of a warp alike
    const int64_t code = hits.codes[hit];
    device_check(code >= 0 && code < tables.each);
    const T* row = tables.at(hit % hits.tables, code);
    const T* given = grad + hit / hits.tables * tables.channels;
    float total = 0.0f;
    for (int64_t c = lane; c < tables.channels; c += warp_lanes) total += widen(row[c]) * widen(given[c]);
    for (int flip = 16; flip > 0; flip /= 2) total += __shfl_xor_sync(all_lanes, total, flip);
    if (lane == 0) narrow(total, grad_scores[hit]);
}

// One thread a hit.
template <typename T>
__global__ void number_hits(HashHits<T> hits, int64_t each, uint32_t* keys, int32_t* rows) {
    const int64_t hit = thread_number();
    if (hit >= hits.count()) return;
    device_check(hits.codes[hit] >= 0 && hits.codes[hit] < each);
    keys[hit] = static_cast<uint32_t>(hit % hits.tables * each + hits.codes[hit]);
    rows[hit] = static_cast<int32_t>(hit);
}

// One thread a pack of channels of a table row: its hits, upwards.
template <typename T, int Width>
__global__ void add_hits(const T* grad, HashHits<T> hits, HashTables<T> tables, const int32_t* order,
                         const int32_t* starts, T* grad_tables) {
    const int64_t packs = tables.channels / Width, thread = thread_number(), row = thread / packs;
    if (row >= hits.tables * tables.each) return;
    const int64_t channel = thread % packs * Width;
    float total[Width] = {};
    for (int32_t at = starts[row]; at < starts[row + 1]; ++at) {
        const int64_t hit = order[at];
        const float score = widen(hits.scores[hit]);
        const auto given = load_pack<Width>(grad + hit / hits.tables * tables.channels + channel);
        for (int i = 0; i < Width; ++i) total[i] += score * widen(given.values[i]);
    }
    Pack<T, Width> sum;
    for (int i = 0; i < Width; ++i) narrow(total[i], sum.values[i]);
    store_pack(sum, grad_tables + row * tables.channels + channel);
}

}  // namespace

template <typename T>
void hash_lookup(const HashHits<T>& hits, const HashTables<T>& tables, T* out, Stream stream) {
    const auto launch_with = [&](auto width) {
        launch<read_rows<T, width>>(blocks_for(hits.tokens * (tables.channels / width)), block_threads, 0, stream, hits,
                                    tables, out);
    };
    if (tables.channels > 0) with_pack_width(tables.channels, launch_with, tables.data, out);
}

size_t hash_lookup_backward_workspace(int64_t hits, int64_t rows) { return SegmentOrder(Workspace(), hits, rows).bytes; }

template <typename T>
void hash_lookup_backward(const T* grad, const HashHits<T>& hits, const HashTables<T>& tables, T* grad_scores,
                          T* grad_tables, void* workspace, Stream stream) {
    launch<score_slopes<T>>(blocks_for(hits.count() * warp_lanes), block_threads, 0, stream, grad, hits, tables,
                            grad_scores);
    const SegmentOrder order(Workspace(workspace), hits.count(), hits.tables * tables.each);
    launch<number_hits<T>>(blocks_for(hits.count()), block_threads, 0, stream, hits, tables.each, order.sorted.keys,
                           order.sorted.rows);
    order.sort(stream);
    const auto launch_with = [&](auto width) {
        launch<add_hits<T, width>>(blocks_for(order.segments * (tables.channels / width)), block_threads, 0, stream,
                                   grad, hits, tables, order.sorted.sorted_rows, order.starts, grad_tables);
    };
    if (tables.channels > 0) with_pack_width(tables.channels, launch_with, grad, grad_tables);
}

#define PERCEPTION_INSTANTIATE(T)                                                                \
    template void hash_lookup(const HashHits<T>&, const HashTables<T>&, T*, Stream);             \
    template void hash_lookup_backward(const T*, const HashHits<T>&, const HashTables<T>&, T*, T*, void*, Stream);
PERCEPTION_INSTANTIATE(float)
PERCEPTION_INSTANTIATE(Bfloat16)
PERCEPTION_INSTANTIATE(Float16)
#undef PERCEPTION_INSTANTIATE

}  // namespace perception::cuda
