// Row numbers with keys, and what it takes to sort them.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

#include "device_sort.hpp"
#include "workspace.hpp"

namespace perception::cuda {

// Key is uint32_t or uint64_t. A kernel writes `keys` and `rows`; sort() fills the other two, ties in the order of rows.
template <typename Key>
struct KeyedRows {
    Key *keys, *sorted_keys;        // (count,), below the number of keys
    int32_t *rows, *sorted_rows;    // (count,)

    KeyedRows(Workspace& space, int64_t number, uint64_t number_of_keys)
        : keys(space.take<Key>(number)), sorted_keys(space.take<Key>(number)), rows(space.take<int32_t>(number)),
          sorted_rows(space.take<int32_t>(number)), count_(number),
          key_bits_(number_of_keys < 2 ? 1 : static_cast<int>(std::bit_width(number_of_keys - 1))),
          sort_bytes_(sort_pairs_workspace<Key>(number, 0, key_bits_)),
          sort_(space.take<char>(static_cast<int64_t>(sort_bytes_))) {}

    void sort(Stream stream) const {
        sort_pairs(sort_, sort_bytes_, keys, sorted_keys, rows, sorted_rows, count_, 0, key_bits_, stream);
    }

private:
    int64_t count_;
    int key_bits_;
    size_t sort_bytes_;
    char* sort_;
};

}  // namespace perception::cuda
