#include "cpu/selective_scan.hpp"

#include <algorithm>
#include <vector>

#include "cpu/aligned_space.hpp"
#include "cpu/selective_scan_kernel.hpp"

namespace perception::cpu {
namespace {

constexpr int64_t few_steps = 1 << 12;            // below this, waking the threads takes longer than the work
constexpr int64_t channels_of_a_span = 8 * scan_rows;

// Cuts each group of each sample into runs of `most` channels.
std::vector<ScanBlock> cut(const ScanSizes& of, int64_t most) {
    std::vector<ScanBlock> blocks;
    for (int64_t sample = 0; sample < of.samples; ++sample)
        for (int64_t group = 0; group < of.groups; ++group)
            for (int64_t from = 0; from < of.group_channels(); from += most)
                blocks.push_back({sample, group * of.group_channels() + from, std::min(most, of.group_channels() - from)});
    return blocks;
}

bool is_worth_threads(const ScanSizes& of, size_t blocks) {
    return blocks > 1 && of.samples * of.channels * of.state * of.length > few_steps;
}

}  // namespace

void selective_scan(const ScanInput& in, float* y, float* last, [[maybe_unused]] int threads) {
    const ScanKernels& kernels = PERCEPTION_KERNELS(scan_kernels);
    const std::vector<ScanBlock> blocks = cut(in.of, scan_rows);
#pragma omp parallel num_threads(threads) if (threads > 1 && is_worth_threads(in.of, blocks.size()))
    {
        const AlignedSpace space(kernels.forward_floats(in.of));
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < blocks.size(); ++i) kernels.forward(in, blocks[i], y, last, space.get());
    }
}

void selective_scan_backward(const ScanInput& in, const float* grad_y, const float* grad_last,
                             const ScanGradients& out, [[maybe_unused]] int threads) {
    const ScanKernels& kernels = PERCEPTION_KERNELS(scan_kernels);
    const std::vector<ScanBlock> spans = cut(in.of, channels_of_a_span);
    const int64_t table = in.of.state * in.of.length;
    std::vector<float> shares(spans.size() * 2 * static_cast<size_t>(table));
#pragma omp parallel num_threads(threads) if (threads > 1 && is_worth_threads(in.of, spans.size()))
    {
        const AlignedSpace space(kernels.backward_floats(in.of));
#pragma omp for schedule(dynamic)
        for (size_t i = 0; i < spans.size(); ++i) {
            float* own = shares.data() + i * 2 * static_cast<size_t>(table);
            for (int64_t from = 0; from < spans[i].count; from += scan_rows) {
                const ScanBlock block{spans[i].sample, spans[i].first + from,
                                      std::min(scan_rows, spans[i].count - from)};
                kernels.backward(in, block, grad_y, grad_last, out, {own, own + table}, space.get());
            }
        }
    }
    std::fill_n(out.b, in.of.samples * in.of.groups * table, 0.0f);
    std::fill_n(out.c, in.of.samples * in.of.groups * table, 0.0f);
    for (size_t i = 0; i < spans.size(); ++i) {
        const int64_t row = in.of.group_row(spans[i].sample, spans[i].first, 0);
        const float* own = shares.data() + i * 2 * static_cast<size_t>(table);
        for (int64_t at = 0; at < table; ++at) out.b[row + at] += own[at];
        for (int64_t at = 0; at < table; ++at) out.c[row + at] += own[table + at];
    }
}

}  // namespace perception::cpu
