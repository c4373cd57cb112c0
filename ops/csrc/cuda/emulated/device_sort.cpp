#include "device_sort.hpp"

#include <algorithm>
#include <numeric>
#include <stdexcept>
#include <string>
#include <vector>

#include "device.hpp"

namespace perception::cuda {
namespace {

size_t some_bytes(int64_t count) { return 256 + static_cast<size_t>(count); }  // as CUB, wants more for more

// Overwrites the workspace, as CUB does, so that results which a caller keeps there are lost.
void use(void* workspace, size_t bytes, size_t wanted) {
    if (bytes < wanted) {
        throw emulation::LaunchError("a workspace of " + std::to_string(bytes) + " bytes is less than the " +
                                     std::to_string(wanted) + " wanted");
    }
    std::memset(workspace, 0xCD, bytes);
}

}  // namespace

template <typename Key>
size_t sort_pairs_workspace(int64_t count, int, int) {
    return some_bytes(count);
}

template <typename Key>
void sort_pairs(void* workspace, size_t workspace_bytes, const Key* keys_in, Key* keys_out, const int32_t* values_in,
                int32_t* values_out, int64_t count, int begin_bit, int end_bit, Stream) {
    use(workspace, workspace_bytes, some_bytes(count));
    const int bits = end_bit - begin_bit;
    const Key mask = bits >= static_cast<int>(8 * sizeof(Key)) ? ~Key{0} : (Key{1} << bits) - 1;
    std::vector<int64_t> order(static_cast<size_t>(count));
    std::iota(order.begin(), order.end(), int64_t{0});
    const auto digits = [=](int64_t row) { return bits == 0 ? Key{0} : (keys_in[row] >> begin_bit) & mask; };
    std::stable_sort(order.begin(), order.end(), [=](int64_t a, int64_t b) { return digits(a) < digits(b); });
    for (int64_t i = 0; i < count; ++i) {
        keys_out[i] = keys_in[order[static_cast<size_t>(i)]];
        values_out[i] = values_in[order[static_cast<size_t>(i)]];
    }
}

template size_t sort_pairs_workspace<uint32_t>(int64_t, int, int);
template size_t sort_pairs_workspace<uint64_t>(int64_t, int, int);
template void sort_pairs(void*, size_t, const uint32_t*, uint32_t*, const int32_t*, int32_t*, int64_t, int, int, Stream);
template void sort_pairs(void*, size_t, const uint64_t*, uint64_t*, const int32_t*, int32_t*, int64_t, int, int, Stream);

size_t prefix_sum_workspace(int64_t count) { return some_bytes(count); }

void inclusive_sum(void* workspace, size_t workspace_bytes, const int32_t* in, int32_t* out, int64_t count, Stream) {
    use(workspace, workspace_bytes, some_bytes(count));
    std::inclusive_scan(in, in + count, out);
}

void exclusive_sum(void* workspace, size_t workspace_bytes, const int32_t* in, int32_t* out, int64_t count, Stream) {
    use(workspace, workspace_bytes, some_bytes(count));
    std::exclusive_scan(in, in + count, out, int32_t{0});
}

}  // namespace perception::cuda
