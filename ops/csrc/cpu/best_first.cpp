#include "cpu/best_first.hpp"

#include <algorithm>
#include <bit>
#include <functional>
#include <numeric>
#include <type_traits>

#include "cpu/radix_sort.hpp"

namespace perception::cpu {
namespace {

// Smaller for larger numbers, equal for equals.
template <typename T>
auto descending_key(T score) {
    using Key = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;
    const auto bits = std::bit_cast<Key>(score + T{0});  // of -0, those of 0
    constexpr Key sign = Key{1} << (8 * sizeof(T) - 1);
    return (bits & sign) != 0 ? bits : static_cast<Key>(bits ^ ~sign);
}

}  // namespace

template <typename T>
bool are_finite(const T* numbers, int64_t count) {
    bool finite = true;
    for (int64_t i = 0; i < count; ++i) finite &= numbers[i] * 0 == 0;  // of infinity, NaN
    return finite;
}

template <typename T>
bool best_first(const T* scores, int64_t count, int64_t* order) {
    if (!are_finite(scores, count)) return false;
    std::iota(order, order + count, 0);
    if (std::is_sorted(scores, scores + count, std::greater<>())) return true;
    using Pair = KeyedRow<decltype(descending_key(T{})), int64_t>;
    const auto pairs = unwritten<Pair>(count), scratch = unwritten<Pair>(count);
    uint64_t largest = 0;
    for (int64_t row = 0; row < count; ++row) {
        pairs[row] = {descending_key(scores[row]), row};
        largest = std::max<uint64_t>(largest, pairs[row].key);
    }
    radix_sort(pairs.get(), scratch.get(), count, largest, [=](int64_t place, const Pair& pair) {
        order[place] = pair.row;
    });
    return true;
}

template bool are_finite(const float*, int64_t);
template bool best_first(const float*, int64_t, int64_t*);
template bool best_first(const double*, int64_t, int64_t*);

}  // namespace perception::cpu
