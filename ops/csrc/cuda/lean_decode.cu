// Four warps of a block share the keys of a segment, 32 at a time, one a lane; then lanes own channels of the values.
#include "lean_decode.hpp"

#include <type_traits>

#include "common/bfloat16.hpp"
#include "common/float16.hpp"
#include "common/softmax_part.hpp"
#include "device.hpp"
#include "grid.hpp"
#include "online_softmax.hpp"
#include "workspace.hpp"

namespace perception::cuda {
namespace {

constexpr int warps = 4, lanes = 32, rows_at_once = 4;
constexpr unsigned all_lanes = 0xFFFFFFFFu;

// The parts of all segments, numbered by worker + group; each has rows x (top, total, width values).
struct DecodeParts {
    float *tops, *totals, *mixed;
    int64_t rows, width;
    size_t bytes;

    DecodeParts(Workspace space, int64_t slots, int64_t rows_of_part, int64_t width_of_row)
        : tops(space.take<float>(slots * rows_of_part)), totals(space.take<float>(slots * rows_of_part)),
          mixed(space.take<float>(slots * rows_of_part * width_of_row)), rows(rows_of_part), width(width_of_row),
          bytes(space.bytes()) {}

    __device__ int64_t at(int64_t slot, int64_t row) const { return slot * rows + row; }
};

// Sums of one warp over its keys; lane l has channels l, l + 32, ...
template <int Slices>
struct WarpSums {
    OnlineSoftmax softmax[rows_at_once];
    float mixed[rows_at_once][Slices];

    __device__ void clear() {
#pragma unroll
        for (int r = 0; r < rows_at_once; ++r) {
            softmax[r] = OnlineSoftmax();
#pragma unroll
            for (int s = 0; s < Slices; ++s) mixed[r][s] = 0.0f;
        }
    }
};

__device__ inline float warp_largest(float value) {
    for (int flip = lanes / 2; flip > 0; flip /= 2) value = fmaxf(value, __shfl_xor_sync(all_lanes, value, flip));
    return value;
}

__device__ inline float warp_sum(float value) {
    for (int flip = lanes / 2; flip > 0; flip /= 2) value += __shfl_xor_sync(all_lanes, value, flip);
    return value;
}

// Products of a lane's key with the rows: keys pass through shared memory, 32 channels at a time, so that they are read
// along their rows. query (rows, width padded) and staged (32, 33) lie there.
template <typename T, int Slices>
__device__ void multiply_keys(const DecodeInput<T>& in, const T* keys, int count, const float* query, float* staged,
                              float (&logits)[rows_at_once]) {
    const int lane = static_cast<int>(threadIdx.x) % lanes;
    for (int r = 0; r < rows_at_once; ++r) logits[r] = 0.0f;
    for (int first = 0; first < in.width; first += lanes) {
        for (int i = 0; i < lanes; ++i) {
            const bool is_there = i < count && first + lane < in.width;
            staged[i * (lanes + 1) + lane] = is_there ? widen(keys[i * in.k.row_stride + first + lane]) : 0.0f;
        }
        __syncwarp();
        for (int c = 0; c < lanes; ++c) {
            const float key = staged[lane * (lanes + 1) + c];
#pragma unroll
            for (int r = 0; r < rows_at_once; ++r) {
                logits[r] = fmaf(query[r * Slices * lanes + first + c], key, logits[r]);
            }
        }
        __syncwarp();
    }
}

// Logits become weights; what was summed up so far shrinks.
template <int Slices>
__device__ void weigh(float (&logits)[rows_at_once], WarpSums<Slices>& sums) {
#pragma unroll
    for (int r = 0; r < rows_at_once; ++r) {
        const float shrink = sums.softmax[r].raise(warp_largest(logits[r]));
        logits[r] = exp2_fast(logits[r] - sums.softmax[r].offset());
        sums.softmax[r].total += warp_sum(logits[r]);
#pragma unroll
        for (int s = 0; s < Slices; ++s) sums.mixed[r][s] *= shrink;
    }
}

template <typename T, int Slices>
__device__ void add_values(const DecodeInput<T>& in, const T* values, int count, const float (&weights)[rows_at_once],
                           WarpSums<Slices>& sums) {
    const int lane = static_cast<int>(threadIdx.x) % lanes;
    for (int i = 0; i < count; ++i) {
        float weight[rows_at_once];
#pragma unroll
        for (int r = 0; r < rows_at_once; ++r) weight[r] = __shfl_sync(all_lanes, weights[r], i);
#pragma unroll
        for (int s = 0; s < Slices; ++s) {
            const int channel = s * lanes + lane;
            const float value = channel < in.width ? widen(values[i * in.v.row_stride + channel]) : 0.0f;
#pragma unroll
            for (int r = 0; r < rows_at_once; ++r) sums.mixed[r][s] = fmaf(weight[r], value, sums.mixed[r][s]);
        }
    }
}

// The sums of the block's warps, joined in their order, become the part of a segment.
template <int Slices>
__device__ void store_part(const WarpSums<Slices>& sums, float* shared, int64_t slot, int64_t first_row,
                           const DecodeParts& parts) {
    constexpr int wide = Slices * lanes, floats = rows_at_once * (wide + 2);
    const int lane = static_cast<int>(threadIdx.x) % lanes, warp = static_cast<int>(threadIdx.x) / lanes;
#pragma unroll
    for (int r = 0; r < rows_at_once; ++r) {
        float* own = shared + warp * floats + r * (wide + 2);
#pragma unroll
        for (int s = 0; s < Slices; ++s) own[s * lanes + lane] = sums.mixed[r][s];
        if (lane == 0) {
            own[wide] = sums.softmax[r].top;
            own[wide + 1] = sums.softmax[r].total;
        }
    }
    __syncthreads();
    for (int item = static_cast<int>(threadIdx.x); item < rows_at_once * wide; item += warps * lanes) {
        const int row = item / wide, channel = item % wide;
        if (first_row + row >= parts.rows || channel >= parts.width) continue;
        SoftmaxPart whole;
        float mixed = 0.0f;
        for (int w = 0; w < warps; ++w) {
            const float* other = shared + w * floats + row * (wide + 2);
            float own_factor, other_factor;
            whole.join(other[wide], other[wide + 1], own_factor, other_factor);
            mixed = own_factor * mixed + other_factor * other[channel];
        }
        const int64_t at = parts.at(slot, first_row + row);
        parts.mixed[at * parts.width + channel] = mixed;
        if (channel == 0) {
            parts.tops[at] = whole.top;
            parts.totals[at] = whole.total;
        }
    }
    __syncthreads();
}

template <typename T, int Slices>
__device__ void bring_queries(const DecodeInput<T>& in, int64_t group, int64_t first_row, float* query) {
    constexpr int wide = Slices * lanes;
    for (int item = static_cast<int>(threadIdx.x); item < rows_at_once * wide; item += warps * lanes) {
        const int row = item / wide, channel = item % wide;
        const bool is_there = first_row + row < in.rows() && channel < in.width;
        query[item] = is_there ? widen(in.query(group, first_row + row)[channel]) * in.scale : 0.0f;
    }
    __syncthreads();
}

// Block w + workers * b is worker w of the rows from rows_at_once * b on.
template <typename T, int Slices>
__global__ void __launch_bounds__(warps * lanes, 1)
    attend(DecodeInput<T> in, TileLine line, int64_t workers, int64_t tile, DecodeParts parts) {
    constexpr int wide = Slices * lanes;
    PERCEPTION_SHARED(float, query, rows_at_once * wide);
    PERCEPTION_SHARED(float, staged, warps * lanes * (lanes + 1));
    PERCEPTION_SHARED(float, joined, warps * rows_at_once * (wide + 2));
    const TileShares shares(line.total(), workers);
    const int64_t worker = blockIdx.x % workers, first_row = blockIdx.x / workers * rows_at_once;
    const int lane = static_cast<int>(threadIdx.x) % lanes, warp = static_cast<int>(threadIdx.x) / lanes;
    if (worker >= shares.workers) return;
    for (SegmentWalk walk(shares, worker); walk.has_next();) {
        const TileSegment of = walk.next(line);
        const int64_t batch = of.group / in.key_heads, head = of.group % in.key_heads;
        const int64_t length = in.length(of.group), end = of.end * tile < length ? of.end * tile : length;
        bring_queries<T, Slices>(in, of.group, first_row, query);
        WarpSums<Slices> sums;
        sums.clear();
        for (int64_t key = of.first * tile + warp * lanes; key < end; key += warps * lanes) {
            const int count = end - key < lanes ? static_cast<int>(end - key) : lanes;
            float logits[rows_at_once];
            multiply_keys<T, Slices>(in, in.k.row(batch, head, key), count, query,
                                     staged + warp * lanes * (lanes + 1), logits);
            for (int r = 0; r < rows_at_once; ++r) {
                const bool is_row = first_row + r < in.rows();
                if (lane >= count || (is_row && !in.sees(of.group, first_row + r, key + lane))) logits[r] = -INFINITY;
            }
            weigh(logits, sums);
            add_values(in, in.v.row(batch, head, key), count, logits, sums);
        }
        store_part(sums, joined, worker + of.group, first_row, parts);
    }
}

// One thread a channel of a row: the parts of its group, first to last.
template <typename T>
__global__ void join_parts(TileLine line, int64_t workers, DecodeParts parts, T* out, float* lse) {
    const int64_t thread = thread_number(), row = thread / parts.width, channel = thread % parts.width;
    const int64_t group = row / parts.rows;
    if (group >= line.groups()) return;
    SoftmaxPart whole;
    float mixed = 0.0f;
    if (line.tiles(group) > 0) {
        const TileShares shares(line.total(), workers);
        const int64_t begin = line.begin(group), last = shares.worker_of(begin + line.tiles(group) - 1);
        for (int64_t worker = shares.worker_of(begin); worker <= last; ++worker) {
            const int64_t at = parts.at(worker + group, row % parts.rows);
            float own_factor, other_factor;
            whole.join(parts.tops[at], parts.totals[at], own_factor, other_factor);
            mixed = own_factor * mixed + other_factor * parts.mixed[at * parts.width + channel];
        }
    }
    narrow(mixed * whole.share(), out[thread]);
    if (channel == 0) lse[row] = whole.log_sum();
}

DecodeParts parts_of(Workspace space, int64_t workers, int64_t groups, int64_t rows, int64_t width) {
    return DecodeParts(space, workers + groups, rows, width);
}

}  // namespace

size_t lean_decode_workspace(int64_t workers, int64_t groups, int64_t rows, int64_t width) {
    return parts_of(Workspace(), workers, groups, rows, width).bytes;
}

template <typename T>
void lean_decode(const DecodeInput<T>& in, const TileLine& line, int64_t workers, int64_t tile, T* out, float* lse,
                 void* workspace, Stream stream) {
    const DecodeParts parts = parts_of(Workspace(workspace), workers, line.groups(), in.rows(), in.width);
    const int64_t blocks = workers * ((in.rows() + rows_at_once - 1) / rows_at_once);
    const auto launch_with = [&](auto slices) {
        launch<attend<T, slices>>(blocks_for(blocks, 1), dim3(warps * lanes), 0, stream, in, line, workers, tile, parts);
    };
    if (in.width <= 64) {
        launch_with(std::integral_constant<int, 2>{});
    } else if (in.width <= 128) {
        launch_with(std::integral_constant<int, 4>{});
    } else {
        launch_with(std::integral_constant<int, 8>{});
    }
    launch<join_parts<T>>(blocks_for(line.groups() * in.rows() * in.width), block_threads, 0, stream, line, workers,
                          parts, out, lse);
}

template void lean_decode(const DecodeInput<float>&, const TileLine&, int64_t, int64_t, float*, float*, void*, Stream);
template void lean_decode(const DecodeInput<Bfloat16>&, const TileLine&, int64_t, int64_t, Bfloat16*, float*, void*,
                          Stream);
template void lean_decode(const DecodeInput<Float16>&, const TileLine&, int64_t, int64_t, Float16*, float*, void*,
                          Stream);

}  // namespace perception::cuda
