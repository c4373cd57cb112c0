// Rows in the order of their segments, and where each segment begins: what lets sums be taken without atomics.
#pragma once

#include <cstddef>
#include <cstdint>

#include "device.hpp"
#include "grid.hpp"
#include "keyed_rows.hpp"
#include "workspace.hpp"

namespace perception::cuda {

// One thread a segment, and one behind the last: the first sorted row that does not belong to an earlier segment.
static __global__ void find_starts(const uint32_t* sorted_keys, int64_t rows, int64_t segments, int32_t* starts) {
    const int64_t m = thread_number();
    if (m > segments) return;
    int64_t low = 0, high = rows;
    while (low < high) {
        const int64_t middle = (low + high) / 2;
        if (sorted_keys[middle] < static_cast<uint64_t>(m)) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    starts[m] = static_cast<int32_t>(low);
}

// A kernel writes segment and number of each row into `sorted.keys` and `sorted.rows`; sort() fills the rest.
struct SegmentOrder {
    KeyedRows<uint32_t> sorted;
    int32_t* starts;  // segment m owns sorted rows starts[m] .. starts[m + 1] - 1, ascending
    int64_t rows, segments;
    size_t bytes;

    SegmentOrder(Workspace space, int64_t number_of_rows, int64_t number_of_segments)
        : sorted(space, number_of_rows, static_cast<uint64_t>(number_of_segments)),
          starts(space.take<int32_t>(number_of_segments + 1)), rows(number_of_rows), segments(number_of_segments),
          bytes(space.bytes()) {}

    void sort(Stream stream) const {
        sorted.sort(stream);
        launch<find_starts>(blocks_for(segments + 1), block_threads, 0, stream, sorted.sorted_keys, rows, segments,
                            starts);
    }
};

}  // namespace perception::cuda
