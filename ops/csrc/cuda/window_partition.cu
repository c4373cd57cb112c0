#include "window_partition.hpp"

#include "common/group_slot.hpp"
#include "device.hpp"
#include "grid.hpp"
#include "keyed_rows.hpp"

namespace perception::cuda {
namespace {

struct OrderSpace {
    KeyedRows<uint64_t> tokens;  // of all orders, one behind the other
    size_t bytes;

    OrderSpace(Workspace space, int64_t rows, int64_t samples, Axis x, Axis y)
        : tokens(space, serpentine_orders * rows,
                 serpentine_orders * static_cast<uint64_t>(samples) * serpentine_span(x, y)),
          bytes(space.bytes()) {}
};

struct AllOrders {
    WindowOrder of[serpentine_orders];
    uint64_t span;  // of a sample's keys in one of them

    AllOrders(Axis x, Axis y)
        : of{WindowOrder(0, x, y), WindowOrder(1, x, y), WindowOrder(2, x, y), WindowOrder(3, x, y)},
          span(serpentine_span(x, y)) {}
};

// One thread a row; its four keys lie N apart, so neighbouring threads write side by side.
__global__ void make_keys(Tokens tokens, AllOrders orders, uint64_t* keys, int32_t* rows) {
    const int64_t i = thread_number();
    if (i >= tokens.rows) return;
    const int32_t* cell = tokens.coords + 4 * i;
    for (int order = 0; order < serpentine_orders; ++order) {
        const auto piece = static_cast<uint64_t>(order * tokens.samples + cell[0]);
        keys[order * tokens.rows + i] = piece * orders.span + orders.of[order].key(cell[3], cell[2]);
        rows[order * tokens.rows + i] = static_cast<int32_t>(i);
    }
}

__global__ void widen_rows(const int32_t* rows, int64_t count, int64_t* out) {
    const int64_t i = thread_number();
    if (i < count) out[i] = rows[i];
}

// The last sample that begins at a slot <= `slot`: empty samples before it begin at the same.
__device__ int64_t sample_of(const Tokens& tokens, int64_t slot) {
    int64_t low = 0, high = tokens.samples;
    while (high - low > 1) {
        const int64_t middle = (low + high) / 2;
        (tokens.slot_starts[middle] <= slot ? low : high) = middle;
    }
    return low;
}

__global__ void fill_slots(Tokens tokens, int64_t group_size, int64_t* flat2win, int64_t* win2flat, bool* valid) {
    const int64_t slot = thread_number();
    if (slot >= tokens.slots) return;
    const int64_t sample = sample_of(tokens, slot), start = tokens.starts[sample];
    const int64_t count = tokens.starts[sample + 1] - start, place = slot - tokens.slot_starts[sample];
    const GroupSlot of = group_slot(place, count, group_size);
    flat2win[slot] = start + of.token;
    valid[slot] = of.is_valid;
    if (place < count) win2flat[start + place] = slot;
}

}  // namespace

size_t window_workspace(int64_t rows, int64_t samples, Axis x, Axis y) {
    return OrderSpace(Workspace(), rows, samples, x, y).bytes;
}

void window_orders(const Tokens& tokens, Axis x, Axis y, int64_t* orders, void* workspace, Stream stream) {
    const auto keyed = OrderSpace(Workspace(workspace), tokens.rows, tokens.samples, x, y).tokens;
    const int64_t count = serpentine_orders * tokens.rows;
    launch<make_keys>(blocks_for(tokens.rows), block_threads, 0, stream, tokens, AllOrders(x, y), keyed.keys,
                      keyed.rows);
    keyed.sort(stream);
    launch<widen_rows>(blocks_for(count), block_threads, 0, stream, keyed.sorted_rows, count, orders);
}

void group_slots(const Tokens& tokens, int64_t group_size, int64_t* flat2win, int64_t* win2flat, bool* valid,
                 Stream stream) {
    launch<fill_slots>(blocks_for(tokens.slots), block_threads, 0, stream, tokens, group_size, flat2win, win2flat,
                       valid);
}

}  // namespace perception::cuda
