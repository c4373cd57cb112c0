#include "device.hpp"
#include "grid.hpp"
#include "scan_block.hpp"
#include "selective_scan.hpp"
#include "workspace.hpp"

namespace perception::cuda {
namespace {

constexpr int64_t tile_channels = 8;  // of a block, one after the other

int64_t tiles_of(const ScanSizes& of) { return (of.group_channels() + tile_channels - 1) / tile_channels; }

struct BackwardSpace {
    int64_t tiles;       // of a group
    float* begins;       // (blocks, pieces, state): states of the channel in work
    float *b, *c;        // (blocks, state, length): shares of a tile
    size_t bytes;

    BackwardSpace(Workspace space, const ScanSizes& of) : tiles(tiles_of(of)) {
        const int64_t states = of.samples * of.groups * tiles * of.state;
        begins = space.take<float>(states * scan_pieces(of));
        b = space.take<float>(states * of.length);
        c = space.take<float>(states * of.length);
        bytes = space.bytes();
    }
};

struct Given {
    const float *y, *last;
};

// What a block works on: a channel, and its part of the workspace.
struct Channel {
    int64_t sample, channel, row;
    float *begins, *b, *c;
    bool is_first;  // of its tile

    __device__ int64_t length_row(const ScanSizes& of) const { return row * of.length; }
};

__device__ float sum_of_warp(float value) {
    for (int flip = 16; flip > 0; flip /= 2) value += __shfl_xor_sync(whole_warp, value, flip);
    return value;
}

// begins (pieces, state): the states that each piece begins with. All threads have met at the end.
__device__ void find_begins(const ScanInput& in, const Channel& at, ScanStep* totals) {
    const int64_t length = in.of.length, states = in.of.state;
    for (int64_t n = threadIdx.x; n < states; n += scan_threads) at.begins[n] = in.initial[at.row * states + n];
    for (int64_t start = 0, piece = 0; start + scan_piece < length; start += scan_piece, ++piece) {
        Items u, b;
        u.load(in.u + at.length_row(in.of), start, length);
        const Items dt = step_sizes(in, in.delta + at.length_row(in.of), at.channel, start);
        for (int64_t n = 0; n < states; ++n) {
            b.load(in.b + in.of.group_row(at.sample, at.channel, n), start, length);
            Steps steps;
            steps.set(u, dt, in.a[at.channel * states + n], b);
            __syncthreads();
            const ScanStep own = steps.together(), before = steps_before<Way::ahead>(own, totals);
            const float begin = at.begins[piece * states + n];
            if (threadIdx.x == scan_threads - 1) at.begins[(piece + 1) * states + n] = then(before, own).apply(begin);
        }
    }
    __syncthreads();
}

// One state of one piece, from its end: adds to the gradients of u and dt, gives that of A, and writes shares of B and C.
struct PieceBackward {
    Items u, dt, grad_y, grad_u, grad_dt;

    __device__ float state(const ScanInput& in, const Channel& at, int64_t start, int64_t n, float* sent,
                           ScanStep (*totals)[scan_warps]) {
        const int64_t length = in.of.length, group_row = in.of.group_row(at.sample, at.channel, n);
        const float a = in.a[at.channel * in.of.state + n];
        Items b, c;
        b.load(in.b + group_row, start, length);
        c.load(in.c + group_row, start, length);
        Steps steps, back;
        steps.set(u, dt, a, b);
#pragma unroll
        for (int i = 0; i < scan_items; ++i) {  // from the last step on
            const int from = scan_items - 1 - i;
            back.at[i] = {steps.at[from].decay, steps.at[from].decay * grad_y.at[from] * c.at[from]};
        }
        __syncthreads();
        const float begin = at.begins[start / scan_piece * in.of.state + n], arriving = sent[n];
        float state = steps_before<Way::ahead>(steps.together(), totals[0]).apply(begin);
        float behind = steps_before<Way::back>(back.together(), totals[1]).apply(arriving), grad_a = 0.0f;
        float before[scan_items], after[scan_items];
#pragma unroll
        for (int i = 0; i < scan_items; ++i) {
            before[i] = state;
            after[i] = state = steps.at[i].apply(state);
        }
        const int64_t first = Items::first(start);
#pragma unroll
        for (int i = scan_items - 1; i >= 0; --i) {
            const float decay = steps.at[i].decay;
            behind += grad_y.at[i] * c.at[i];
            const StepGradient g = step_gradient(behind, before[i], decay, u.at[i], dt.at[i], a, b.at[i]);
            grad_u.at[i] += g.u;
            grad_dt.at[i] += g.dt;
            grad_a += g.a;
            behind *= decay;
            if (first + i < length) {
                float &share_b = at.b[n * length + first + i], &share_c = at.c[n * length + first + i];
                share_b = (at.is_first ? 0.0f : share_b) + g.b;
                share_c = (at.is_first ? 0.0f : share_c) + grad_y.at[i] * after[i];
            }
        }
        if (threadIdx.x == 0) sent[n] = behind;
        return grad_a;
    }
};

// sent (state) and sums (scan_warps, state) are shared.
__device__ void go_back(const ScanInput& in, const Channel& at, const Given& grad, const ScanGradients& out,
                        float* sent, float* sums, ScanStep (*totals)[scan_warps]) {
    const int64_t length = in.of.length, states = in.of.state, row = at.length_row(in.of);
    const int warp = static_cast<int>(threadIdx.x) / 32;
    for (int64_t n = threadIdx.x; n < states; n += scan_threads) {
        sent[n] = grad.last[at.row * states + n];
        for (int i = 0; i < scan_warps; ++i) sums[i * states + n] = 0.0f;
    }
    for (int64_t piece = (length + scan_piece - 1) / scan_piece - 1; piece >= 0; --piece) {
        const int64_t start = piece * scan_piece;
        PieceBackward work;
        work.u.load(in.u + row, start, length);
        work.dt = step_sizes(in, in.delta + row, at.channel, start);
        work.grad_y.load(grad.y + row, start, length);
        work.grad_u.clear();
        work.grad_dt.clear();
        for (int64_t n = 0; n < states; ++n) {
            const float total = sum_of_warp(work.state(in, at, start, n, sent, totals));
            if (threadIdx.x % 32 == 0) sums[warp * states + n] += total;
        }
        work.grad_u.store(out.u + row, start, length);
        if (in.softplus) {
            Items delta;
            delta.load(in.delta + row, start, length);
#pragma unroll
            for (int i = 0; i < scan_items; ++i) {
                work.grad_dt.at[i] *= softplus_slope(delta.at[i] + in.bias_of(at.channel));
            }
        }
        work.grad_dt.store(out.delta + row, start, length);
    }
    __syncthreads();
    for (int64_t n = threadIdx.x; n < states; n += scan_threads) {
        float total = 0.0f;
        for (int i = 0; i < scan_warps; ++i) total += sums[i * states + n];
        out.a[at.row * states + n] = total;
        out.initial[at.row * states + n] = sent[n];
    }
    __syncthreads();
}

// One block a tile of channels.
__global__ void __launch_bounds__(scan_threads)
    scan_back(ScanInput in, Given grad, ScanGradients out, BackwardSpace space) {
    PERCEPTION_DYNAMIC_SHARED(float, shared);
    PERCEPTION_SHARED(ScanStep, totals, 2 * scan_warps);
    const int64_t block = blockIdx.x, group = block / space.tiles % in.of.groups;
    const int64_t states = in.of.state, begin = block % space.tiles * tile_channels;
    Channel at{block / space.tiles / in.of.groups, 0, 0, nullptr, nullptr, nullptr, true};
    at.begins = space.begins + block * ((in.of.length + scan_piece - 1) / scan_piece) * states;
    at.b = space.b + block * states * in.of.length;
    at.c = space.c + block * states * in.of.length;
    ScanStep(*both)[scan_warps] = reinterpret_cast<ScanStep(*)[scan_warps]>(&totals[0]);
    for (int64_t i = begin; i < begin + tile_channels && i < in.of.group_channels(); ++i) {
        at.channel = group * in.of.group_channels() + i;
        at.row = at.sample * in.of.channels + at.channel;
        if (in.of.length > 0) find_begins(in, at, both[0]);
        go_back(in, at, grad, out, shared, shared + states, both);
        at.is_first = false;
    }
}

// One thread a number of the gradients of B and C.
__global__ void add_shares(ScanSizes of, BackwardSpace space, float* grad_b, float* grad_c) {
    const int64_t table = of.state * of.length, i = thread_number();
    if (i >= of.samples * of.groups * table) return;
    const int64_t first = i / table * space.tiles * table + i % table;
    float b = 0.0f, c = 0.0f;
    for (int64_t tile = 0; tile < space.tiles; ++tile) {
        b += space.b[first + tile * table];
        c += space.c[first + tile * table];
    }
    grad_b[i] = b;
    grad_c[i] = c;
}

}  // namespace

size_t selective_scan_backward_workspace(const ScanSizes& of) { return BackwardSpace(Workspace(), of).bytes; }

void selective_scan_backward(const ScanInput& in, const float* grad_y, const float* grad_last,
                             const ScanGradients& out, void* workspace, Stream stream) {
    const BackwardSpace space(Workspace(workspace), in.of);
    const size_t shared = static_cast<size_t>((1 + scan_warps) * in.of.state) * sizeof(float);
    launch<scan_back>(blocks_for(in.of.samples * in.of.groups * space.tiles, 1), scan_threads, shared, stream, in,
                      Given{grad_y, grad_last}, out, space);
    launch<add_shares>(blocks_for(in.of.samples * in.of.groups * in.of.state * in.of.length), block_threads, 0, stream,
                       in.of, space, out.b, out.c);
}

}  // namespace perception::cuda
