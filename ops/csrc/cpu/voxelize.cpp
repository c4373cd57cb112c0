#include "cpu/voxelize.hpp"

#include <algorithm>
#include <vector>

#include "cpu/radix_sort.hpp"

namespace perception::cpu {

int64_t voxelize(const float* xyz, const int64_t* batch, int64_t points, const VoxelGrid& grid, int32_t* coords,
                 int64_t* inverse, int64_t* counts, [[maybe_unused]] int threads) {
    std::vector<KeyedRow> pairs(static_cast<size_t>(points));
    uint64_t largest = 0;
#pragma omp parallel for reduction(max : largest) num_threads(threads) if (threads > 1 && points > 4096)
    for (int64_t i = 0; i < points; ++i) {
        const auto key = static_cast<uint64_t>(voxel_key(grid, xyz + 3 * i, batch[i]));
        pairs[static_cast<size_t>(i)] = {key, i};
        largest = std::max(largest, key);
    }
    radix_sort(pairs, largest);
    int64_t cell = -1;
    uint64_t last = 0;
    for (const KeyedRow& pair : pairs) {
        if (cell < 0 || pair.key != last) {
            last = pair.key;
            voxel_coords(grid, static_cast<int64_t>(last), coords + 4 * ++cell);
            counts[cell] = 0;
        }
        ++counts[cell];
        inverse[pair.row] = cell;
    }
    return cell + 1;
}

}  // namespace perception::cpu
