#include "cpu/group_layer.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "cpu/aligned_space.hpp"
#include "cpu/group_layer_kernel.hpp"

namespace perception::cpu {
namespace {

constexpr int64_t slots_at_once = 144;  // their tables and a panel of weights fit the cache of a core

}  // namespace

void group_layer(const float* tokens, const float* position, const Groups& of, int64_t heads,
                 const LayerWeights& weights, float* out, [[maybe_unused]] int threads) {
    if (of.groups == 0) return;  // a size that no group has asks for no memory
    const GroupLayerKernels& kernels = PERCEPTION_KERNELS(group_layer_kernels);
    const AlignedSpace packed(kernels.packed_floats(weights));
    kernels.pack(weights, packed.get());
    std::vector<int64_t> own(static_cast<size_t>(of.size));
    std::iota(own.begin(), own.end(), 0);
    const LayerInput in{tokens, position, of, {heads, weights.v.out / heads}, weights, packed.get(), own.data()};
    const int64_t step = std::max<int64_t>(slots_at_once / of.size, 1);  // groups
#pragma omp parallel num_threads(threads) if (threads > 1 && of.groups > step)
    {
        const AlignedSpace space(kernels.space_floats(in, step));
#pragma omp for schedule(dynamic)
        for (int64_t first = 0; first < of.groups; first += step)
            kernels.forward(in, first, std::min(first + step, of.groups), out, space.get());
    }
}

}  // namespace perception::cpu
