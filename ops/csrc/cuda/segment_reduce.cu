#include "segment_reduce.hpp"

#include "common/bfloat16.hpp"
#include "common/float16.hpp"
#include "common/segment.hpp"
#include "device.hpp"
#include "grid.hpp"
#include "pack.hpp"
#include "segment_order.hpp"

namespace perception::cuda {
namespace {

constexpr int strands = 8;                   // threads that share the rows of a long segment
constexpr int packs_of_a_block = 32;         // beside them, one warp wide
constexpr int64_t rows_of_long_segments = 32;

// One thread a row.
__global__ void number_rows(RowSegments of, uint32_t* keys, int32_t* rows) {
    const int64_t i = thread_number();
    if (i >= of.rows) return;
    device_check(of.index[i] >= 0 && of.index[i] < of.segments);
    keys[i] = static_cast<uint32_t>(of.index[i]);
    rows[i] = static_cast<int32_t>(i);
}

SegmentOrder sort_rows(const RowSegments& of, void* workspace, Stream stream) {
    const SegmentOrder order(Workspace(workspace), of.rows, of.segments);
    launch<number_rows>(blocks_for(of.rows), block_threads, 0, stream, of, order.sorted.keys, order.sorted.rows);
    order.sort(stream);
    return order;
}

// What one channel of a segment comes to. Rows are taken upwards; merge() joins two strands.

struct Maximum {
    float best;
    int32_t row;  // -1: none yet

    __device__ static Maximum of_none() { return {0.0f, -1}; }

    __device__ void take(float value, int32_t number) {
        if (row >= 0 && !beats(value, best)) return;
        best = value;
        row = number;
    }

    __device__ void merge(const Maximum& other) {
        if (other.row < 0) return;
        const bool is_equal = other.best == best || (other.best != other.best && best != best);
        if (row >= 0 && !(is_equal ? other.row < row : beats(other.best, best))) return;
        *this = other;
    }
};

struct Sum {
    float total;

    __device__ static Sum of_none() { return {0.0f}; }

    __device__ void take(float value, int32_t) { total += value; }
    __device__ void merge(const Sum& other) { total += other.total; }
};

template <typename T>
struct MaximumTables {
    T* out;
    int32_t* argmax;  // or null

    template <int Width>
    __device__ void store(const Maximum (&found)[Width], int32_t, int32_t rows, int64_t at) const {
        Pack<T, Width> top;
        Pack<int32_t, Width> top_row;
        for (int i = 0; i < Width; ++i) {
            narrow(found[i].best, top.values[i]);
            top_row.values[i] = found[i].row < 0 ? rows : found[i].row;
        }
        store_pack(top, out + at);
        if (argmax != nullptr) store_pack(top_row, argmax + at);
    }
};

template <typename T>
struct SumTable {
    T* out;
    bool is_mean;

    template <int Width>
    __device__ void store(const Sum (&found)[Width], int32_t count, int32_t, int64_t at) const {
        const float divisor = is_mean && count > 0 ? static_cast<float>(count) : 1.0f;
        Pack<T, Width> result;
        for (int i = 0; i < Width; ++i) narrow(found[i].total / divisor, result.values[i]);
        store_pack(result, out + at);
    }
};

template <typename T>
struct SegmentRows {
    const T* features;
    const int32_t *order, *starts;
    int32_t rows;
    int64_t segments, channels;
};

// Every step-th row of a segment from its row `first` on.
template <typename T, int Width, typename Reduction>
__device__ void take_rows(const SegmentRows<T>& of, int64_t segment, int64_t channel, int first, int step,
                          Reduction (&found)[Width]) {
    for (int i = 0; i < Width; ++i) found[i] = Reduction::of_none();
    const int32_t end = of.starts[segment + 1];
    for (int32_t at = of.starts[segment] + first; at < end; at += step) {
        const int32_t row = of.order[at];
        const auto pack = load_pack<Width>(of.features + row * of.channels + channel);
        for (int i = 0; i < Width; ++i) found[i].take(widen(pack.values[i]), row);
    }
}

// One thread a pack of channels of a segment; neighbouring threads take neighbouring channels, so loads coalesce.
template <typename T, int Width, typename Reduction, typename Tables>
__global__ void reduce_segments(SegmentRows<T> of, Tables tables) {
    const int64_t packs = of.channels / Width, thread = thread_number();
    const int64_t segment = thread / packs, channel = thread % packs * Width;
    if (segment >= of.segments) return;
    Reduction found[Width];
    take_rows(of, segment, channel, 0, 1, found);
    tables.store(found, of.starts[segment + 1] - of.starts[segment], of.rows, segment * of.channels + channel);
}

// Likewise with eight threads a pack, each with every eighth row; a block has one segment and up to 32 packs.
template <typename T, int Width, typename Reduction, typename Tables>
__global__ void reduce_long_segments(SegmentRows<T> of, Tables tables) {
    using Strand = Reduction[Width];
    PERCEPTION_SHARED(Strand, shared, strands * packs_of_a_block);
    const int64_t packs = of.channels / Width, blocks = (packs + packs_of_a_block - 1) / packs_of_a_block;
    const int64_t segment = blockIdx.x / blocks, pack = blockIdx.x % blocks * packs_of_a_block + threadIdx.x;
    Reduction found[Width];
    if (pack < packs) {
        take_rows(of, segment, pack * Width, static_cast<int>(threadIdx.y), strands, found);
        for (int i = 0; i < Width; ++i) shared[threadIdx.y * packs_of_a_block + threadIdx.x][i] = found[i];
    }
    __syncthreads();
    if (threadIdx.y > 0 || pack >= packs) return;
    for (int strand = 1; strand < strands; ++strand) {
        for (int i = 0; i < Width; ++i) found[i].merge(shared[strand * packs_of_a_block + threadIdx.x][i]);
    }
    tables.store(found, of.starts[segment + 1] - of.starts[segment], of.rows, segment * of.channels + pack * Width);
}

template <typename Reduction, int Width, typename T, typename Tables>
void reduce(const SegmentRows<T>& of, const Tables& tables, Stream stream) {
    const int64_t packs = of.channels / Width;
    if (of.rows > rows_of_long_segments * of.segments) {
        const int64_t blocks = of.segments * ((packs + packs_of_a_block - 1) / packs_of_a_block);
        launch<reduce_long_segments<T, Width, Reduction, Tables>>(blocks_for(blocks, 1), dim3(packs_of_a_block, strands),
                                                                  0, stream, of, tables);
    } else {
        launch<reduce_segments<T, Width, Reduction, Tables>>(blocks_for(of.segments * packs), block_threads, 0, stream,
                                                             of, tables);
    }
}

// One thread a pack of channels of a row.
template <typename T, int Width>
__global__ void take_won(const T* grad, const int32_t* argmax, RowSegments of, int64_t channels, T* out) {
    const int64_t packs = channels / Width, thread = thread_number(), row = thread / packs;
    if (row >= of.rows) return;
    const int64_t channel = thread % packs * Width, at = of.index[row] * channels + channel;
    const auto given = load_pack<Width>(grad + at);
    const auto winner = load_pack<Width>(argmax + at);
    Pack<T, Width> taken;
    for (int i = 0; i < Width; ++i) taken.values[i] = winner.values[i] == row ? given.values[i] : T{};
    store_pack(taken, out + row * channels + channel);
}

template <typename T>
SegmentRows<T> rows_of(const T* features, const RowSegments& of, int64_t channels, const SegmentOrder& order) {
    return {features, order.sorted.sorted_rows, order.starts, static_cast<int32_t>(of.rows), of.segments, channels};
}

}  // namespace

size_t segment_workspace(int64_t rows, int64_t segments) { return SegmentOrder(Workspace(), rows, segments).bytes; }

template <typename T>
void segment_max(const T* features, const RowSegments& of, int64_t channels, T* out, int32_t* argmax, void* workspace,
                 Stream stream) {
    const auto rows = rows_of(features, of, channels, sort_rows(of, workspace, stream));
    if (channels == 0) return;
    const auto launch_with = [&](auto width) { reduce<Maximum, width>(rows, MaximumTables<T>{out, argmax}, stream); };
    with_pack_width(channels, launch_with, features, out, argmax);
}

template <typename T>
void segment_sum(const T* features, const RowSegments& of, int64_t channels, bool is_mean, T* out, void* workspace,
                 Stream stream) {
    const auto rows = rows_of(features, of, channels, sort_rows(of, workspace, stream));
    if (channels == 0) return;
    const auto launch_with = [&](auto width) { reduce<Sum, width>(rows, SumTable<T>{out, is_mean}, stream); };
    with_pack_width(channels, launch_with, features, out);
}

template <typename T>
void segment_max_backward(const T* grad, const int32_t* argmax, const RowSegments& of, int64_t channels, T* out,
                          Stream stream) {
    if (channels == 0) return;
    const auto launch_with = [&](auto width) {
        launch<take_won<T, width>>(blocks_for(of.rows * (channels / width)), block_threads, 0, stream, grad, argmax, of,
                                   channels, out);
    };
    with_pack_width(channels, launch_with, grad, argmax, out);
}

#define PERCEPTION_INSTANTIATE(T)                                                                                     \
    template void segment_max(const T*, const RowSegments&, int64_t, T*, int32_t*, void*, Stream);                    \
    template void segment_sum(const T*, const RowSegments&, int64_t, bool, T*, void*, Stream);                        \
    template void segment_max_backward(const T*, const int32_t*, const RowSegments&, int64_t, T*, Stream);
PERCEPTION_INSTANTIATE(float)
PERCEPTION_INSTANTIATE(Bfloat16)
PERCEPTION_INSTANTIATE(Float16)
#undef PERCEPTION_INSTANTIATE

}  // namespace perception::cuda
