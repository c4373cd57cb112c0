#pragma once

#include <cstdint>

#include "common/bfloat16.hpp"

namespace perception::cpu {

// Which segment each row belongs to: index (N,) in [0, M), in any order. N < 2^31.
struct RowSegments {
    const int64_t* index;
    int64_t rows;      // N
    int64_t segments;  // M
};

// counts (M,) rows of each segment; false, and counts are void, if an index is out of range. The reductions want them.
bool count_rows(const RowSegments& of, int32_t* counts);

// All tables are row-major with C channels and the caller's; T is float or Bfloat16, sums run in float. Threads share
// the segments, each walks through all of the index and reduces its own rows as they come, so that features are read
// forwards and results do not depend on the number of threads. O(N C + M C) time.

// features (N, C) -> out (M, C) and, unless null, argmax (M, C), the lowest row that holds the maximum. An empty segment
// gives 0 and N.
template <typename T>
void segment_max(const T* features, const RowSegments& of, const int32_t* counts, int64_t channels, T* out,
                 int32_t* argmax, int threads);

// features (N, C) -> out (M, C), divided by the number of rows for the mean. An empty segment gives 0. 4 M C bytes for
// Bfloat16.
template <typename T>
void segment_sum(const T* features, const RowSegments& of, const int32_t* counts, int64_t channels, bool is_mean, T* out,
                 int threads);

// grad (M, C), argmax (M, C) -> out (N, C): a row takes its segment's gradient in the channels where it was the
// maximum, and 0 elsewhere. Threads share the rows; each number is written once.
template <typename T>
void segment_max_backward(const T* grad, const int32_t* argmax, const RowSegments& of, int64_t channels, T* out,
                          int threads);

}  // namespace perception::cpu
