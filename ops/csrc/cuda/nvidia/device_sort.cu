#include "device_sort.hpp"

#include <cub/device/device_radix_sort.cuh>
#include <cub/device/device_scan.cuh>

#include "device.hpp"

namespace perception::cuda {

template <typename Key>
size_t sort_pairs_workspace(int64_t count, int begin_bit, int end_bit) {
    size_t bytes = 0;
    check(cub::DeviceRadixSort::SortPairs(nullptr, bytes, static_cast<const Key*>(nullptr), static_cast<Key*>(nullptr),
                                          static_cast<const int32_t*>(nullptr), static_cast<int32_t*>(nullptr), count,
                                          begin_bit, end_bit),
          "sort_pairs_workspace");
    return bytes;
}

template <typename Key>
void sort_pairs(void* workspace, size_t workspace_bytes, const Key* keys_in, Key* keys_out, const int32_t* values_in,
                int32_t* values_out, int64_t count, int begin_bit, int end_bit, Stream stream) {
    if (count == 0) return;
    check(cub::DeviceRadixSort::SortPairs(workspace, workspace_bytes, keys_in, keys_out, values_in, values_out, count,
                                          begin_bit, end_bit, stream),
          "sort_pairs");
}

template size_t sort_pairs_workspace<uint32_t>(int64_t, int, int);
template size_t sort_pairs_workspace<uint64_t>(int64_t, int, int);
template void sort_pairs(void*, size_t, const uint32_t*, uint32_t*, const int32_t*, int32_t*, int64_t, int, int, Stream);
template void sort_pairs(void*, size_t, const uint64_t*, uint64_t*, const int32_t*, int32_t*, int64_t, int, int, Stream);

size_t prefix_sum_workspace(int64_t count) {
    size_t inclusive = 0, exclusive = 0;
    const int32_t* in = nullptr;
    int32_t* out = nullptr;
    check(cub::DeviceScan::InclusiveSum(nullptr, inclusive, in, out, count), "prefix_sum_workspace");
    check(cub::DeviceScan::ExclusiveSum(nullptr, exclusive, in, out, count), "prefix_sum_workspace");
    return inclusive > exclusive ? inclusive : exclusive;
}

void inclusive_sum(void* workspace, size_t workspace_bytes, const int32_t* in, int32_t* out, int64_t count,
                   Stream stream) {
    if (count == 0) return;
    check(cub::DeviceScan::InclusiveSum(workspace, workspace_bytes, in, out, count, stream), "inclusive_sum");
}

void exclusive_sum(void* workspace, size_t workspace_bytes, const int32_t* in, int32_t* out, int64_t count,
                   Stream stream) {
    if (count == 0) return;
    check(cub::DeviceScan::ExclusiveSum(workspace, workspace_bytes, in, out, count, stream), "exclusive_sum");
}

}  // namespace perception::cuda
