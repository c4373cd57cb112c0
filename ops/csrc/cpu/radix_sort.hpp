// Stable ascending sort of (key, row) pairs, least significant digit first; O(N) per 11 bits of the largest key.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace perception {

template <typename Key, typename Row>
struct KeyedRow {
    Key key;
    Row row;
};

// A table whose numbers are still to be written.
template <typename T>
std::unique_ptr<T[]> unwritten(int64_t number) {
    return std::make_unique_for_overwrite<T[]>(static_cast<size_t>(number));
}

// Calls write(place, pair) for every pair, places in ascending order of the keys; `pairs` and `scratch` are left in any
// order. All digits are counted in one pass, and the last digit's pass writes straight to where the caller wants it.
template <typename Pair, typename Write>
void radix_sort(Pair* pairs, Pair* scratch, int64_t number, uint64_t largest_key, Write write) {
    constexpr int digit_bits = 11;
    constexpr size_t digit_values = size_t{1} << digit_bits;
    const auto digit = [](const Pair& pair, size_t number) {
        return static_cast<size_t>(pair.key >> (digit_bits * number)) % digit_values;
    };
    const size_t digits = (static_cast<size_t>(std::bit_width(largest_key)) + digit_bits - 1) / digit_bits;
    std::vector<std::array<int64_t, digit_values>> places(digits);  // of the next pair with each digit
    for (int64_t i = 0; i < number; ++i)
        for (size_t d = 0; d < digits; ++d) ++places[d][digit(pairs[i], d)];
    for (auto& place : places) {
        int64_t start = 0;
        for (int64_t& count : place) start += std::exchange(count, start);
    }
    for (size_t d = 0; d + 1 < digits; ++d) {
        for (int64_t i = 0; i < number; ++i) scratch[places[d][digit(pairs[i], d)]++] = pairs[i];
        std::swap(pairs, scratch);
    }
    for (int64_t i = 0; i < number; ++i)
        write(digits == 0 ? i : places[digits - 1][digit(pairs[i], digits - 1)]++, pairs[i]);
}

}  // namespace perception
