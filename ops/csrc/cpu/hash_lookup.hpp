#pragma once

#include <cstdint>

#include "common/bfloat16.hpp"
#include "common/hash_tables.hpp"

namespace perception::cpu {

// T is float or Bfloat16, sums run in float; every number is written by one thread, so that results do not depend on
// their number.

// out (M, C) = sum over j of score_j times the row that code_j names; false, and out is void, if a code is out of range.
template <typename T>
bool hash_lookup(const HashHits<T>& hits, const HashTables<T>& tables, T* out, int threads);

// grad (M, C) -> grad_scores (M, K) and grad_tables (K R, C), whose hits are added up in the order of the tokens.
template <typename T>
void hash_lookup_backward(const T* grad, const HashHits<T>& hits, const HashTables<T>& tables, T* grad_scores,
                          T* grad_tables, int threads);

}  // namespace perception::cpu
