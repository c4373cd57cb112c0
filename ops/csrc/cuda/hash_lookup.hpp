#pragma once

#include <cstddef>
#include <cstdint>

#include "common/hash_tables.hpp"
#include "stream.hpp"

namespace perception::cuda {

// T is float, Bfloat16 or Float16; sums run in float. M K < 2^31 hits, K R < 2^32 rows. A code out of range ends the
// launch with an error.

// out (M, C) = sum over j of score_j times the row that code_j names, j ascending: what the CPU gives.
template <typename T>
void hash_lookup(const HashHits<T>& hits, const HashTables<T>& tables, T* out, Stream stream);

// The gradient of the tables sorts hits by row (stable), so that no float is added atomically: those of a row are added
// in the order of the tokens.
size_t hash_lookup_backward_workspace(int64_t hits, int64_t rows);

// grad (M, C) -> grad_scores (M, K), grad_tables (K R, C).
template <typename T>
void hash_lookup_backward(const T* grad, const HashHits<T>& hits, const HashTables<T>& tables, T* grad_scores,
                          T* grad_tables, void* workspace, Stream stream);

}  // namespace perception::cuda
