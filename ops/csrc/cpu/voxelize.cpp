#include "cpu/voxelize.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <vector>

#include "cpu/radix_sort.hpp"
#include "cpu/simd.hpp"

namespace perception::cpu {
namespace {

constexpr int64_t few_points = 4096;  // below this, waking the threads takes longer than the work
constexpr int64_t block = 256;        // points at a time, so that divisions run in vectors
constexpr uint64_t word_bits = 64;

// Cells of `count` <= block points along one axis; axis 0 .. 2 = x, y, z. Clamping before truncating equals clamping
// floor(), without its call.
PERCEPTION_SIMD_CLONES void cells_along(const float* xyz, int axis, int64_t count, VoxelAxis along,
                                        int32_t* __restrict out) {
    const float last = static_cast<float>(along.cells - 1);
    for (int64_t i = 0; i < count; ++i) out[i] = static_cast<int32_t>(clamped_cell(along, last, xyz[3 * i + axis]));
}

// Calls visit(i, key) for all points, in parallel by blocks.
template <typename Visit>
void for_each_key(const Points& points, const VoxelGrid& grid, [[maybe_unused]] int threads, Visit visit) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1 && points.number > few_points)
    for (int64_t first = 0; first < points.number; first += block) {
        const int64_t count = std::min(block, points.number - first);
        std::array<int32_t, block> x, y, z;
        cells_along(points.xyz + 3 * first, 0, count, grid.x, x.data());
        cells_along(points.xyz + 3 * first, 1, count, grid.y, y.data());
        cells_along(points.xyz + 3 * first, 2, count, grid.z, z.data());
        for (int64_t i = 0; i < count; ++i)
            visit(first + i, voxel_key(grid, points.batch[first + i], z[i], y[i], x[i]));
    }
}

PERCEPTION_SIMD_CLONES bool all_finite(const float* values, int64_t count) {
    int wrong = 0;
    for (int64_t i = 0; i < count; ++i) wrong |= values[i] - values[i] != 0.0f;  // infinity and NaN give NaN
    return wrong == 0;
}

void mark(const int64_t* keys, int64_t count, uint64_t* bits) {
    for (int64_t i = 0; i < count; ++i) {
        const auto key = static_cast<uint64_t>(keys[i]);
        bits[key / word_bits] |= uint64_t{1} << (key % word_bits);
    }
}

// ranks (words): the marks before each word; gives all of them.
PERCEPTION_SIMD_CLONES int32_t rank_words(const uint64_t* bits, int64_t words, int32_t* ranks) {
    int32_t marks = 0;
    for (int64_t w = 0; w < words; ++w) {
        ranks[w] = marks;
        marks += std::popcount(bits[w]);
    }
    return marks;
}

// coords (marks of the word, 4) of the cells from number `first` on; most lie in one row, where only x differs.
void list_word(const VoxelGrid& grid, int64_t first, uint64_t marks, int32_t* coords) {
    if (marks == 0) return;
    std::array<int32_t, 4> start;
    voxel_coords(grid, first, start.data());
    for (; marks != 0; marks &= marks - 1, coords += 4) {
        const int64_t step = std::countr_zero(marks), x = start[3] + step;
        std::copy(start.begin(), start.end(), coords);
        if (x < grid.x.cells)
            coords[3] = static_cast<int32_t>(x);
        else
            voxel_coords(grid, first + step, coords);
    }
}

// Keys to the ranks of their cells, which are counted.
PERCEPTION_SIMD_CLONES void ranks_of(const uint64_t* bits, const int32_t* ranks, int64_t count, int64_t* keys,
                                     int32_t* counts) {
    for (int64_t i = 0; i < count; ++i) {
        const auto key = static_cast<uint64_t>(keys[i]), word = key / word_bits;
        const uint64_t before = (uint64_t{1} << (key % word_bits)) - 1;
        keys[i] = ranks[word] + std::popcount(bits[word] & before);
        ++counts[keys[i]];
    }
}

}  // namespace

int64_t count_samples(const Points& points, [[maybe_unused]] int threads) {
    int64_t highest = -1, lowest = 0;
    int wrong = 0;
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1 && points.number > few_points) \
    reduction(max : highest) reduction(min : lowest) reduction(| : wrong)
    for (int64_t first = 0; first < points.number; first += block) {
        const int64_t last = std::min(first + block, points.number);
        wrong |= !all_finite(points.xyz + 3 * first, 3 * (last - first));
        for (int64_t i = first; i < last; ++i) {
            highest = std::max(highest, points.batch[i]);
            lowest = std::min(lowest, points.batch[i]);
        }
    }
    return wrong != 0 || lowest < 0 ? -1 : highest + 1;
}

int64_t mark_cells(const Points& points, const VoxelGrid& grid, int64_t words, uint64_t* bits, int32_t* ranks,
                   int64_t* inverse, int threads) {
    for_each_key(points, grid, threads, [=](int64_t i, int64_t key) { inverse[i] = key; });
    mark(inverse, points.number, bits);  // by one thread: sharing the words would cost more than it saves
    return rank_words(bits, words, ranks);
}

void list_cells(const VoxelGrid& grid, int64_t points, int64_t words, const uint64_t* bits, const int32_t* ranks,
                int64_t cells, int32_t* coords, int64_t* inverse, int64_t* counts, [[maybe_unused]] int threads) {
    std::fill(counts, counts + cells, 0);
#pragma omp parallel num_threads(threads) if (threads > 1 && points > few_points)
    {
#pragma omp for schedule(static) nowait
        for (int64_t w = 0; w < words; ++w) {
            list_word(grid, w * static_cast<int64_t>(word_bits), bits[w], coords + 4 * ranks[w]);
        }
        std::vector<int32_t> own_counts(static_cast<size_t>(cells));
#pragma omp for schedule(static)
        for (int64_t first = 0; first < points; first += block)
            ranks_of(bits, ranks, std::min(block, points - first), inverse + first, own_counts.data());
#pragma omp critical
        for (int64_t c = 0; c < cells; ++c) counts[c] += own_counts[static_cast<size_t>(c)];
    }
}

int64_t sort_cells(const Points& points, const VoxelGrid& grid, int32_t* coords, int64_t* inverse, int64_t* counts,
                   int threads) {
    using Pair = KeyedRow<uint64_t, int64_t>;
    auto pairs = unwritten<Pair>(points.number), scratch = unwritten<Pair>(points.number);
    auto sorted = unwritten<Pair>(points.number);
    for_each_key(points, grid, threads, [&](int64_t i, int64_t key) { pairs[i] = {static_cast<uint64_t>(key), i}; });
    uint64_t largest = 0, last = 0;
    for (int64_t i = 0; i < points.number; ++i) largest = std::max(largest, pairs[i].key);
    radix_sort(pairs.get(), scratch.get(), points.number, largest,
               [&](int64_t place, const Pair& pair) { sorted[place] = pair; });
    int64_t cell = -1;
    for (int64_t i = 0; i < points.number; ++i) {
        const Pair& pair = sorted[i];
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
