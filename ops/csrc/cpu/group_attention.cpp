#include "cpu/group_attention.hpp"

#include <algorithm>
#include <iterator>
#include <utility>
#include <vector>

#include "cpu/aligned_space.hpp"
#include "cpu/group_attention_kernel.hpp"
#include "cpu/instruction_set.hpp"

namespace perception::cpu {
namespace {

const AttentionKernels<float>& kernels_for(const float*) { return PERCEPTION_KERNELS(attention_float); }
const AttentionKernels<Bfloat16>& kernels_for(const Bfloat16*) { return PERCEPTION_KERNELS(attention_bfloat16); }

// Adds the shares of all copies to their tokens; those of one token are summed up first, since each sum in T is rounded.
template <typename T>
void add_copies(const Groups& of, int64_t channels, std::vector<float>& copies, T* grad_qk, T* grad_v) {
    std::vector<std::pair<int64_t, float*>> shares;  // of each copy: its token, its 2C numbers
    for (int64_t p = 0; p < of.groups * of.size; ++p) {
        if (of.is_copy(p)) shares.emplace_back(of.slots[p], copies.data() + 2 * channels * std::ssize(shares));
    }
    std::stable_sort(shares.begin(), shares.end(), [](auto& a, auto& b) { return a.first < b.first; });
    for (size_t first = 0, next = 0; first < shares.size(); first = next) {
        auto [token, total] = shares[first];
        for (next = first + 1; next < shares.size() && shares[next].first == token; ++next)
            for (int64_t c = 0; c < 2 * channels; ++c) total[c] += shares[next].second[c];
        T* to_k = grad_qk + token * 2 * channels + channels;
        T* to_v = grad_v + token * channels;
        for (int64_t c = 0; c < channels; ++c) {
            narrow(widen(to_k[c]) + total[c], to_k[c]);
            narrow(widen(to_v[c]) + total[channels + c], to_v[c]);
        }
    }
}

}  // namespace

template <typename T>
void group_attention(const T* qk, const T* v, const Groups& of, Heads heads, T* out,
                     [[maybe_unused]] int threads) {
    if (of.groups == 0) return;  // a size that no group has asks for no memory
    const AttentionKernels<T>& kernels = kernels_for(v);
    const AttentionInput<T> in{qk, v, of, heads};
#pragma omp parallel num_threads(threads) if (threads > 1 && of.groups > 1)
    {
        const AlignedSpace space(kernels.forward_floats(of.size, heads));
#pragma omp for schedule(dynamic)
        for (int64_t g = 0; g < of.groups; ++g) kernels.forward(in, g, out, space.get());
    }
}

template <typename T>
void group_attention_backward(const T* grad, const T* qk, const T* v, const Groups& of, Heads heads,
                              T* grad_qk, T* grad_v, [[maybe_unused]] int threads) {
    if (of.groups == 0) return;  // a size that no group has asks for no memory
    const AttentionKernels<T>& kernels = kernels_for(v);
    const AttentionInput<T> in{qk, v, of, heads};
    const int64_t channels = heads.channels();
    std::vector<int64_t> first_copy(static_cast<size_t>(of.groups) + 1);  // copies before each group
    for (int64_t g = 0; g < of.groups; ++g) {
        first_copy[g + 1] = first_copy[g];
        for (int64_t p = g * of.size; p < (g + 1) * of.size; ++p) first_copy[g + 1] += of.is_copy(p);
    }
    std::vector<float> copies(static_cast<size_t>(first_copy.back() * 2 * channels));
#pragma omp parallel num_threads(threads) if (threads > 1 && of.groups > 1)
    {
        const AlignedSpace space(kernels.backward_floats(of.size, heads));
#pragma omp for schedule(dynamic)
        for (int64_t g = 0; g < of.groups; ++g) {
            float* shares = copies.data() + first_copy[g] * 2 * channels;
            kernels.backward(in, {grad, grad_qk, grad_v, shares}, g, space.get());
        }
    }
    add_copies(of, channels, copies, grad_qk, grad_v);
}

template void group_attention(const float*, const float*, const Groups&, Heads, float*, int);
template void group_attention(const Bfloat16*, const Bfloat16*, const Groups&, Heads, Bfloat16*, int);
template void group_attention_backward(const float*, const float*, const float*, const Groups&, Heads, float*, float*,
                                       int);
template void group_attention_backward(const Bfloat16*, const Bfloat16*, const Bfloat16*, const Groups&, Heads,
                                       Bfloat16*, Bfloat16*, int);

bool agree(const Groups& of) {
    for (int64_t p = 0; p < of.groups * of.size; ++p)
        if (of.slots[p] < 0 || of.slots[p] >= of.tokens) return false;
    for (int64_t i = 0; i < of.tokens; ++i)
        if (of.back[i] < 0 || of.back[i] >= of.groups * of.size || of.slots[of.back[i]] != i) return false;
    return true;
}

}  // namespace perception::cpu
