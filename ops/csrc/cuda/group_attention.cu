#include "group_attention.hpp"

#include <type_traits>

#include "common/bfloat16.hpp"
#include "common/float16.hpp"
#include "group_attention_copies.hpp"
#include "group_attention_mma.hpp"
#include "group_attention_plain.hpp"
#include "workspace.hpp"

namespace perception::cuda {
namespace {

struct BackwardSpace {
    Workspace space;
    RowStatistics* statistics;
    AttentionCopies copies;

    BackwardSpace(void* memory, int64_t slots, int64_t tokens, Heads heads)
        : space(memory), statistics(space.take<RowStatistics>(slots * heads.number)),
          copies(space, slots, tokens, heads.channels()) {}
};

template <typename T>
bool fits_tensor_cores(Heads heads) {
    return !std::is_same_v<T, float> && heads.width <= widest_mma_head;
}

}  // namespace

template <typename T>
void group_attention(const T* qk, const T* v, const Groups& of, Heads heads, T* out, Stream stream) {
    if (of.groups == 0 || heads.width == 0) return;
    const AttentionInput<T> in{qk, v, of, heads};
    if constexpr (!std::is_same_v<T, float>) {
        if (fits_tensor_cores<T>(heads)) return attend_with_mma(in, out, stream);
    }
    attend_plainly(in, out, stream);
}

size_t group_attention_backward_workspace(int64_t slots, int64_t tokens, Heads heads) {
    return BackwardSpace(nullptr, slots, tokens, heads).space.bytes();
}

template <typename T>
void group_attention_backward(const T* grad, const T* qk, const T* v, const Groups& of, Heads heads, T* grad_qk,
                              T* grad_v, void* workspace, Stream stream) {
    if (of.groups == 0 || heads.width == 0) return;
    const BackwardSpace space(workspace, of.groups * of.size, of.tokens, heads);
    space.copies.number(of, stream);
    const AttentionInput<T> in{qk, v, of, heads};
    const AttentionGradient<T> to{grad, grad_qk, grad_v, space.statistics, space.copies.numbers(),
                                  space.copies.shares()};
    if constexpr (!std::is_same_v<T, float>) {
        if (fits_tensor_cores<T>(heads)) attend_backward_with_mma(in, to, stream);
    }
    if (!fits_tensor_cores<T>(heads)) attend_backward_plainly(in, to, stream);
    space.copies.add(of, grad_qk, grad_v, stream);
}

#define PERCEPTION_INSTANTIATE(T)                                                                            \
    template void group_attention(const T*, const T*, const Groups&, Heads, T*, Stream);                     \
    template void group_attention_backward(const T*, const T*, const T*, const Groups&, Heads, T*, T*, void*, Stream);
PERCEPTION_INSTANTIATE(float)
PERCEPTION_INSTANTIATE(Bfloat16)
PERCEPTION_INSTANTIATE(Float16)
#undef PERCEPTION_INSTANTIATE

}  // namespace perception::cuda
