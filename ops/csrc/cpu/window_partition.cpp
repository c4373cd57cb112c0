#include "cpu/window_partition.hpp"

#include <algorithm>
#include <limits>
#include <vector>

#include "common/group_slot.hpp"
#include "cpu/radix_sort.hpp"

namespace perception::cpu {
namespace {

constexpr int64_t few_rows = 4096;  // below this, waking the threads takes longer than the work

// Rows [start, start + count) of coords (.., 4).
struct Sample {
    const int32_t* coords;
    int64_t start, count;
};

// Writes the sample's rows to `out` in key order. `pairs` and `scratch` have room for count pairs each.
template <typename Pair>
void sort_sample(const Sample& sample, const WindowOrder& order, Pair* pairs, Pair* scratch, int64_t* out) {
    uint64_t largest = 0;
    for (int64_t i = 0; i < sample.count; ++i) {
        const int32_t* cell = sample.coords + 4 * (sample.start + i);
        const uint64_t key = order.key(cell[3], cell[2]);
        pairs[i] = {static_cast<decltype(Pair::key)>(key), static_cast<decltype(Pair::row)>(i)};
        largest = std::max(largest, key);
    }
    const int64_t start = sample.start;
    radix_sort(pairs, scratch, sample.count, largest,
               [=](int64_t place, const Pair& pair) { out[place] = start + pair.row; });
}

// Pair is as small as the keys and rows allow, since the sort moves it about. A thread's memory serves all its tasks.
template <typename Pair>
void sort_samples(const Tokens& tokens, Axis x, Axis y, int64_t* orders, [[maybe_unused]] int threads) {
    std::vector<int64_t> starts(static_cast<size_t>(tokens.samples) + 1, 0);
    for (int64_t b = 0; b < tokens.samples; ++b) starts[b + 1] = starts[b] + tokens.counts[b];
    const int64_t most = *std::max_element(tokens.counts, tokens.counts + tokens.samples);
#pragma omp parallel num_threads(threads) if (threads > 1 && tokens.rows > few_rows)
    {
        const auto pairs = unwritten<Pair>(most), scratch = unwritten<Pair>(most);
#pragma omp for schedule(dynamic)
        for (int64_t task = 0; task < serpentine_orders * tokens.samples; ++task) {
            const int order = static_cast<int>(task % serpentine_orders);
            const int64_t b = task / serpentine_orders;
            sort_sample(Sample{tokens.coords, starts[b], tokens.counts[b]}, WindowOrder(order, x, y), pairs.get(),
                        scratch.get(), orders + order * tokens.rows + starts[b]);
        }
    }
}

}  // namespace

bool count_samples(const int32_t* coords, int64_t rows, Axis x, Axis y, int64_t samples, int64_t* counts) {
    std::fill(counts, counts + samples, 0);
    int32_t last = 0;
    bool is_right = true;
    for (int64_t i = 0; i < rows && is_right; ++i) {
        const int32_t* cell = coords + 4 * i;
        is_right = cell[0] >= last && cell[0] < samples && cell[2] >= 0 && cell[2] < y.cells && cell[3] >= 0 &&
                   cell[3] < x.cells;
        if (is_right) ++counts[last = cell[0]];
    }
    return is_right;
}

void window_orders(const Tokens& tokens, Axis x, Axis y, int64_t* orders, int threads) {
    constexpr uint64_t small = std::numeric_limits<uint32_t>::max();
    const bool is_small = serpentine_span(x, y) <= small && static_cast<uint64_t>(tokens.rows) <= small;
    const auto sort = is_small ? sort_samples<KeyedRow<uint32_t, uint32_t>> : sort_samples<KeyedRow<uint64_t, int64_t>>;
    sort(tokens, x, y, orders, threads);
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
