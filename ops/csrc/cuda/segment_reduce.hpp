#pragma once

#include <cstddef>
#include <cstdint>

#include "stream.hpp"

namespace perception::cuda {

// Which segment each row belongs to: index (N,) in [0, M), in any order, N < 2^31, M < 2^32. An index out of range ends
// the launch with an error, as torch's own scatters do.
struct RowSegments {
    const int64_t* index;
    int64_t rows;      // N
    int64_t segments;  // M
};

// All tables are row-major with C channels and the caller's; T is float, Bfloat16 or Float16, sums run in float. Rows are
// sorted by segment once (stable), so that no float is added atomically and results are the same in every run: those of
// the CPU, save that sums over long segments (more than 32 rows on average) are added in eight strands.
// O(N C + M C + M log N) work; the workspace holds five 32-bit numbers a row and one a segment.
size_t segment_workspace(int64_t rows, int64_t segments);

// features (N, C) -> out (M, C) and, unless null, argmax (M, C), the lowest row that holds the maximum. An empty segment
// gives 0 and N.
template <typename T>
void segment_max(const T* features, const RowSegments& of, int64_t channels, T* out, int32_t* argmax, void* workspace,
                 Stream stream);

// features (N, C) -> out (M, C), divided by the number of rows for the mean. An empty segment gives 0.
template <typename T>
void segment_sum(const T* features, const RowSegments& of, int64_t channels, bool is_mean, T* out, void* workspace,
                 Stream stream);

// grad (M, C), argmax (M, C) -> out (N, C): a row takes its segment's gradient in the channels where it was the
// maximum, and 0 elsewhere. No workspace.
template <typename T>
void segment_max_backward(const T* grad, const int32_t* argmax, const RowSegments& of, int64_t channels, T* out,
                          Stream stream);

}  // namespace perception::cuda
