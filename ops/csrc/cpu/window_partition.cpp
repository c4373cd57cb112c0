#include "cpu/window_partition.hpp"

#include <algorithm>
#include <vector>

#include "common/group_slot.hpp"
#include "cpu/radix_sort.hpp"

namespace perception::cpu {
namespace {

// Writes the rows [start, start + count) to `out` in key order; order 0..3 = x, x_shift, y, y_shift.
void sort_sample(const int32_t* coords, int64_t start, int64_t count, int order, Axis x, Axis y, int64_t* out) {
    std::vector<KeyedRow> pairs(static_cast<size_t>(count));
    uint64_t largest = 0;
    for (int64_t i = 0; i < count; ++i) {
        const int32_t* cell = coords + 4 * (start + i);
        const uint64_t key = order_key(order, cell[3], x, cell[2], y);
        pairs[static_cast<size_t>(i)] = {key, start + i};
        largest = std::max(largest, key);
    }
    radix_sort(pairs, largest);
    std::transform(pairs.begin(), pairs.end(), out, [](const KeyedRow& pair) { return pair.row; });
}

}  // namespace

void window_orders(const Tokens& tokens, Axis x, Axis y, int64_t* orders, [[maybe_unused]] int threads) {
    std::vector<int64_t> starts(static_cast<size_t>(tokens.samples) + 1, 0);
    for (int64_t b = 0; b < tokens.samples; ++b) starts[b + 1] = starts[b] + tokens.counts[b];
#pragma omp parallel for schedule(dynamic) num_threads(threads) if (threads > 1)
    for (int64_t task = 0; task < 4 * tokens.samples; ++task) {
        const int order = static_cast<int>(task % 4);
        const int64_t sample = task / 4;
        sort_sample(tokens.coords, starts[sample], tokens.counts[sample], order, x, y,
                    orders + order * tokens.rows + starts[sample]);
    }
}

void group_slots(const Tokens& tokens, int64_t group_size, int64_t* flat2win, int64_t* win2flat, bool* valid) {
    int64_t start = 0, slot = 0;
    for (int64_t b = 0; b < tokens.samples; ++b) {
        const int64_t count = tokens.counts[b];
        const int64_t slots = (count + group_size - 1) / group_size * group_size;
        for (int64_t j = 0; j < slots; ++j) {
            const GroupSlot of = group_slot(j, count, group_size);
            flat2win[slot + j] = start + of.token;
            valid[slot + j] = of.is_valid;
            if (j < count) win2flat[start + j] = slot + j;
        }
        start += count;
        slot += slots;
    }
}

}  // namespace perception::cpu
