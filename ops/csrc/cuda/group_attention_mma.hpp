#pragma once

#include "group_attention_work.hpp"

namespace perception::cuda {

// Heads of half precision up to this width go through tensor cores.
inline constexpr int64_t widest_mma_head = 128;

template <typename T>
void attend_with_mma(const AttentionInput<T>& in, T* out, Stream stream);

// All but the shares of copies, which are left in to.copies.
template <typename T>
void attend_backward_with_mma(const AttentionInput<T>& in, const AttentionGradient<T>& to, Stream stream);

}  // namespace perception::cuda
