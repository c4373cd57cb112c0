// Stable ascending sort of (key, row) pairs, least significant digit first; O(N) per 11 bits of the largest key.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace perception {

struct KeyedRow {
    uint64_t key;
    int64_t row;
};

inline void radix_sort(std::vector<KeyedRow>& pairs, uint64_t largest_key) {
    constexpr int digit_bits = 11;
    constexpr uint64_t mask = (uint64_t{1} << digit_bits) - 1;
    std::vector<KeyedRow> sorted(pairs.size());
    const int key_bits = static_cast<int>(std::bit_width(largest_key));
    for (int shift = 0; shift < key_bits; shift += digit_bits) {
        std::array<size_t, mask + 1> place{};
        for (const KeyedRow& pair : pairs) ++place[(pair.key >> shift) & mask];
        size_t start = 0;
        for (size_t& count : place) start += std::exchange(count, start);
        for (const KeyedRow& pair : pairs) sorted[place[(pair.key >> shift) & mask]++] = pair;
        pairs.swap(sorted);
    }
}

}  // namespace perception
