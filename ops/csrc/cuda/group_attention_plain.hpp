#pragma once

#include "group_attention_work.hpp"

namespace perception::cuda {

template <typename T>
void attend_plainly(const AttentionInput<T>& in, T* out, Stream stream);

// All but the shares of copies, which are left in to.copies.
template <typename T>
void attend_backward_plainly(const AttentionInput<T>& in, const AttentionGradient<T>& to, Stream stream);

}  // namespace perception::cuda
