#include "cpu/lif_scan.hpp"

#include <algorithm>

#include "cpu/simd.hpp"

namespace perception::cpu {
namespace {

constexpr int64_t few_numbers = 1 << 14;  // below this, waking the threads takes longer than the work
constexpr int64_t most_channels = 64;     // of a block: its membranes stay in registers or close by

// A run of channels of a sample.
struct Block {
    int64_t sample, channel, count;
};

// Calls work(block) for all of them, by several threads if it is worth it.
template <typename Work>
void for_each_block(const LifSequences& in, [[maybe_unused]] int threads, Work work) {
    const int64_t runs = (in.channels + most_channels - 1) / most_channels, blocks = in.samples * runs;
    const bool is_much [[maybe_unused]] = blocks > 1 && in.neurons() * in.steps > few_numbers;
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1 && is_much)
    for (int64_t block = 0; block < blocks; ++block) {
        const int64_t channel = block % runs * most_channels;
        work(Block{block / runs, channel, std::min(most_channels, in.channels - channel)});
    }
}

// Takes membranes through all steps; `visit(where, reached)` is told what each reaches before a reset.
template <typename Visit>
[[gnu::always_inline]] inline void run(const LifSequences& in, Block block, float* __restrict membrane, Visit visit) {
    std::copy_n(in.membrane + block.sample * in.channels + block.channel, block.count, membrane);
    int64_t at = in.first(block.sample, block.channel);
    for (int64_t step = 0; step < in.steps; ++step, at += in.channels) {
        for (int64_t c = 0; c < block.count; ++c) {
            const float reached = lif_reached(membrane[c], in.x[at + c]);
            visit(at + c, reached);
            membrane[c] = reached >= in.threshold ? 0.0f : reached;
        }
    }
}

PERCEPTION_SIMD_CLONES void fire(const LifSequences& in, Block block, float* __restrict spikes,
                                 float* __restrict last) {
    float membrane[most_channels];
    run(in, block, membrane, [=, threshold = in.threshold](int64_t where, float reached) {
        spikes[where] = reached >= threshold ? 1.0f : 0.0f;
    });
    std::copy_n(membrane, block.count, last + block.sample * in.channels + block.channel);
}

PERCEPTION_SIMD_CLONES void reach(const LifSequences& in, Block block, float* __restrict reached_at) {
    float membrane[most_channels];
    run(in, block, membrane, [=](int64_t where, float reached) { reached_at[where] = reached; });
}

// From the last step to the first; `x` holds what was reached, and then the gradient.
PERCEPTION_SIMD_CLONES void send_back(const LifSequences& in, Block block, const float* grad_spikes,
                                      const float* grad_last, float* __restrict x, float* __restrict membrane) {
    float kept[most_channels];
    const int64_t neuron = block.sample * in.channels + block.channel;
    std::copy_n(grad_last + neuron, block.count, kept);
    int64_t at = in.first(block.sample, block.channel) + in.steps * in.channels;
    for (int64_t step = in.steps; step > 0; --step) {
        at -= in.channels;
        for (int64_t c = 0; c < block.count; ++c) {
            const float given = lif_reached_gradient(grad_spikes[at + c], kept[c], x[at + c], in.threshold);
            x[at + c] = given * lif_leak;
            kept[c] = given * (1.0f - lif_leak);
        }
    }
    std::copy_n(kept, block.count, membrane + neuron);
}

}  // namespace

void lif_scan(const LifSequences& in, float* spikes, float* last, int threads) {
    for_each_block(in, threads, [&](Block block) { fire(in, block, spikes, last); });
}

void lif_scan_backward(const LifSequences& in, const float* grad_spikes, const float* grad_last,
                       const LifGradients& out, int threads) {
    for_each_block(in, threads, [&](Block block) {
        reach(in, block, out.x);
        send_back(in, block, grad_spikes, grad_last, out.x, out.membrane);
    });
}

}  // namespace perception::cpu
