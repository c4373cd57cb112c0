#include "selective_scan.hpp"

#include "device.hpp"
#include "grid.hpp"
#include "scan_block.hpp"

namespace perception::cuda {
namespace {

// One block a channel of a sample.
__global__ void __launch_bounds__(scan_threads) scan_channel(ScanInput in, float* y, float* last) {
    PERCEPTION_DYNAMIC_SHARED(float, carried);  // (state), behind the pieces so far
    PERCEPTION_SHARED(ScanStep, totals, scan_warps);
    const int64_t row = blockIdx.x, sample = row / in.of.channels, channel = row % in.of.channels;
    const int64_t length = in.of.length, states = in.of.state;
    for (int64_t n = threadIdx.x; n < states; n += scan_threads) carried[n] = in.initial[row * states + n];
    for (int64_t start = 0; start < length; start += scan_piece) {
        Items u, b, c, sums;
        u.load(in.u + row * length, start, length);
        const Items dt = step_sizes(in, in.delta + row * length, channel, start);
        sums.clear();
        for (int64_t n = 0; n < states; ++n) {
            const int64_t group_row = in.of.group_row(sample, channel, n);
            b.load(in.b + group_row, start, length);
            c.load(in.c + group_row, start, length);
            Steps steps;
            steps.set(u, dt, in.a[channel * states + n], b);
            __syncthreads();
            const float begin = carried[n];
            float state = steps_before<Way::ahead>(steps.together(), totals).apply(begin);
#pragma unroll
            for (int i = 0; i < scan_items; ++i) {
                state = steps.at[i].apply(state);
                sums.at[i] += c.at[i] * state;
            }
            if (threadIdx.x == scan_threads - 1) carried[n] = state;
        }
        sums.store(y + row * length, start, length);
    }
    __syncthreads();
    for (int64_t n = threadIdx.x; n < states; n += scan_threads) last[row * states + n] = carried[n];
}

}  // namespace

void selective_scan(const ScanInput& in, float* y, float* last, Stream stream) {
    const size_t shared = static_cast<size_t>(in.of.state) * sizeof(float);
    launch<scan_channel>(blocks_for(in.of.samples * in.of.channels, 1), scan_threads, shared, stream, in, y, last);
}

}  // namespace perception::cuda
