// Sorts and prefix sums over whole arrays of device memory. nvidia/device_sort.cu calls CUB, emulated/device_sort.cpp the
// standard library. Neither allocates: the caller brings the bytes that NAME_workspace says, aligned to 256. The work
// runs on the stream and nothing is waited for.
#pragma once

#include <cstddef>
#include <cstdint>

#include "stream.hpp"

namespace perception::cuda {

// Stable ascending sort of (key, value) pairs by the bits [begin_bit, end_bit) of the keys. In- and outputs must not
// overlap. Key is uint32_t or uint64_t, the value a row number.
template <typename Key>
size_t sort_pairs_workspace(int64_t count, int begin_bit, int end_bit);
template <typename Key>
void sort_pairs(void* workspace, size_t workspace_bytes, const Key* keys_in, Key* keys_out, const int32_t* values_in,
                int32_t* values_out, int64_t count, int begin_bit, int end_bit, Stream stream);

// out[i] = in[0] + .. + in[i], for the exclusive sum without in[i]. In place is allowed.
size_t prefix_sum_workspace(int64_t count);
void inclusive_sum(void* workspace, size_t workspace_bytes, const int32_t* in, int32_t* out, int64_t count,
                   Stream stream);
void exclusive_sum(void* workspace, size_t workspace_bytes, const int32_t* in, int32_t* out, int64_t count,
                   Stream stream);

}  // namespace perception::cuda
