#pragma once

#include <cstdint>

namespace perception::cpu {

// Whether none of the numbers is NaN or infinite.
template <typename T>
bool are_finite(const T* numbers, int64_t count);

// scores (K,) float or double -> order (K,), their rows in descending score; equals keep their order. False, and order
// is void, if one is not finite. O(K), 32 K bytes; nothing is sorted if the scores come in order.
template <typename T>
bool best_first(const T* scores, int64_t count, int64_t* order);

}  // namespace perception::cpu
