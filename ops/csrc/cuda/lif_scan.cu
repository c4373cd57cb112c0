#include "lif_scan.hpp"

#include "device.hpp"
#include "grid.hpp"

namespace perception::cuda {
namespace {

constexpr unsigned lif_threads = 32;  // of a block: few neurons, each a long way, are spread over many processors
constexpr int ahead = 8;              // steps whose numbers are read together, since they do not wait for each other

// A neuron's membrane through all steps; visit(where, reached) is told what it reaches before a reset.
template <typename Visit>
__device__ float run(const LifSequences& in, int64_t neuron, Visit visit) {
    float membrane = in.membrane[neuron];
    int64_t at = in.first(neuron / in.channels, neuron % in.channels);
    for (int64_t start = 0; start < in.steps; start += ahead) {
        float x[ahead];
#pragma unroll
        for (int i = 0; i < ahead; ++i) x[i] = start + i < in.steps ? in.x[at + i * in.channels] : 0.0f;
#pragma unroll
        for (int i = 0; i < ahead; ++i) {
            if (start + i >= in.steps) break;
            const float reached = lif_reached(membrane, x[i]);
            visit(at + i * in.channels, reached);
            membrane = reached >= in.threshold ? 0.0f : reached;
        }
        at += ahead * in.channels;
    }
    return membrane;
}

__global__ void __launch_bounds__(lif_threads) fire(LifSequences in, float* spikes, float* last) {
    const int64_t neuron = thread_number();
    if (neuron >= in.neurons()) return;
    last[neuron] = run(in, neuron, [&](int64_t where, float reached) {
        spikes[where] = reached >= in.threshold ? 1.0f : 0.0f;
    });
}

__global__ void __launch_bounds__(lif_threads) send_back(LifSequences in, const float* grad_spikes,
                                                         const float* grad_last, LifGradients out) {
    const int64_t neuron = thread_number();
    if (neuron >= in.neurons()) return;
    run(in, neuron, [&](int64_t where, float reached) { out.x[where] = reached; });
    float kept = grad_last[neuron];
    int64_t at = in.first(neuron / in.channels, neuron % in.channels) + in.steps * in.channels;
    for (int64_t left = in.steps; left > 0; left -= ahead) {
        float reached[ahead], given[ahead];
#pragma unroll
        for (int i = 0; i < ahead; ++i) {
            const int64_t where = at - (i + 1) * in.channels;
            reached[i] = i < left ? out.x[where] : 0.0f;
            given[i] = i < left ? grad_spikes[where] : 0.0f;
        }
#pragma unroll
        for (int i = 0; i < ahead; ++i) {
            if (i >= left) break;
            const float sent = lif_reached_gradient(given[i], kept, reached[i], in.threshold);
            out.x[at - (i + 1) * in.channels] = sent * lif_leak;
            kept = sent * (1.0f - lif_leak);
        }
        at -= ahead * in.channels;
    }
    out.membrane[neuron] = kept;
}

}  // namespace

void lif_scan(const LifSequences& in, float* spikes, float* last, Stream stream) {
    launch<fire>(blocks_for(in.neurons(), lif_threads), lif_threads, 0, stream, in, spikes, last);
}

void lif_scan_backward(const LifSequences& in, const float* grad_spikes, const float* grad_last,
                       const LifGradients& out, Stream stream) {
    launch<send_back>(blocks_for(in.neurons(), lif_threads), lif_threads, 0, stream, in, grad_spikes, grad_last, out);
}

}  // namespace perception::cuda
