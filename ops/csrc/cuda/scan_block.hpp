// A block of threads scans a piece of a sequence, some steps in a row a thread.
#pragma once

#include <cstdint>

#include "common/selective_scan.hpp"
#include "device.hpp"

namespace perception::cuda {

inline constexpr int scan_threads = 64, scan_warps = scan_threads / 32, scan_items = 4;
inline constexpr int64_t scan_piece = scan_threads * scan_items;
inline constexpr unsigned whole_warp = 0xFFFFFFFFu;

inline int64_t scan_pieces(const ScanSizes& of) { return (of.length + scan_piece - 1) / scan_piece; }

enum class Way { ahead, back };

// How many threads of a section of `size` come before the one at `place`.
template <Way way>
__device__ int before_it(int place, int size) {
    return way == Way::ahead ? place : size - 1 - place;
}

template <Way way>
__device__ float earlier(float value, int reach) {
    return way == Way::ahead ? __shfl_up_sync(whole_warp, value, reach) : __shfl_down_sync(whole_warp, value, reach);
}

// What the steps of all threads before the calling one do together, given what its own do. `totals` (scan_warps) is
// shared; all threads meet once inside, and must have met since it was last in use.
template <Way way>
__device__ ScanStep steps_before(ScanStep own, ScanStep* totals) {
    const int thread = static_cast<int>(threadIdx.x), rank = before_it<way>(thread % 32, 32);
    for (int reach = 1; reach < 32; reach *= 2) {
        const ScanStep other{earlier<way>(own.decay, reach), earlier<way>(own.input, reach)};
        if (rank >= reach) own = then(other, own);
    }
    if (rank == 31) totals[thread / 32] = own;
    const ScanStep other{earlier<way>(own.decay, 1), earlier<way>(own.input, 1)};
    __syncthreads();
    ScanStep all{1.0f, 0.0f};
    for (int i = 0; i < before_it<way>(thread / 32, scan_warps); ++i) {
        all = then(all, totals[before_it<way>(i, scan_warps)]);
    }
    return rank == 0 ? all : then(all, other);
}

// Numbers of the calling thread's steps out of a row of the sequence, 0 behind its end.
struct Items {
    float at[scan_items];

    __device__ static int64_t first(int64_t start) { return start + static_cast<int64_t>(threadIdx.x) * scan_items; }

    __device__ void load(const float* row, int64_t start, int64_t length) {
#pragma unroll
        for (int i = 0; i < scan_items; ++i) at[i] = first(start) + i < length ? row[first(start) + i] : 0.0f;
    }

    __device__ void store(float* row, int64_t start, int64_t length) const {
#pragma unroll
        for (int i = 0; i < scan_items; ++i) {
            if (first(start) + i < length) row[first(start) + i] = at[i];
        }
    }

    __device__ void clear() {
#pragma unroll
        for (int i = 0; i < scan_items; ++i) at[i] = 0.0f;
    }
};

// Step sizes from the row of delta of a channel; 0 behind the end.
__device__ inline Items step_sizes(const ScanInput& in, const float* row, int64_t channel, int64_t start) {
    Items dt;
    dt.load(row, start, in.of.length);
#pragma unroll
    for (int i = 0; i < scan_items; ++i) {
        if (Items::first(start) + i >= in.of.length) continue;
        const float given = dt.at[i] + in.bias_of(channel);
        dt.at[i] = in.softplus ? softplus_of(given) : given;
    }
    return dt;
}

// The calling thread's steps of one state; dt = 0 behind the end, where no state changes.
struct Steps {
    ScanStep at[scan_items];

    __device__ void set(const Items& u, const Items& dt, float a, const Items& b) {
#pragma unroll
        for (int i = 0; i < scan_items; ++i) {
            at[i] = {exp2_fast(dt.at[i] * (a * log2_of_e)), dt.at[i] * b.at[i] * u.at[i]};
        }
    }

    __device__ ScanStep together() const {
        ScanStep all = at[0];
#pragma unroll
        for (int i = 1; i < scan_items; ++i) all = then(all, at[i]);
        return all;
    }
};

}  // namespace perception::cuda
