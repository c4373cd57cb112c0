#include "bev_scatter.hpp"

#include "common/bfloat16.hpp"
#include "common/float16.hpp"
#include "device.hpp"
#include "grid.hpp"
#include "keyed_rows.hpp"
#include "pack.hpp"

namespace perception::cuda {
namespace {

constexpr int tile = 32;             // rows and channels that a block turns
constexpr unsigned tile_lines = 8;   // of its threads; each takes every eighth line

struct CellSpace {
    KeyedRows<uint32_t> cells;
    size_t bytes;

    CellSpace(Workspace space, int64_t rows, const BevMap& at)
        : cells(space, rows, static_cast<uint64_t>(at.samples * at.ny * at.nx)), bytes(space.bytes()) {}
};

__device__ bool is_inside(const int32_t* cell, const BevMap& at) {
    return cell[0] >= 0 && cell[0] < at.samples && cell[2] >= 0 && cell[2] < at.ny && cell[3] >= 0 && cell[3] < at.nx;
}

__device__ int64_t offset_of(const int32_t* cell, const BevMap& at) {
    return cell[0] * at.batch + cell[2] * at.y + cell[3] * at.x;
}

// One thread a row.
__global__ void number_cells(BevRows rows, BevMap at, uint32_t* cells, int32_t* numbers) {
    const int64_t m = thread_number();
    if (m >= rows.rows) return;
    const int32_t* cell = rows.coords + 4 * m;
    device_check(is_inside(cell, at));
    cells[m] = static_cast<uint32_t>((cell[0] * at.ny + cell[2]) * at.nx + cell[3]);
    numbers[m] = static_cast<int32_t>(m);
}

// Rows in the order of their cells.
template <typename T>
struct SortedRows {
    const T* features;
    const int32_t* coords;
    const uint32_t* cells;
    const int32_t* order;
    int64_t rows;

    __device__ bool begins_cell(int64_t place) const {
        return place < rows && (place == 0 || cells[place] != cells[place - 1]);
    }

    __device__ int64_t offset(int64_t place, const BevMap& at) const { return offset_of(coords + 4 * order[place], at); }

    // What the rows of the cell that begins at `place` add up to, in float.
    template <int Width>
    __device__ Pack<T, Width> total(int64_t place, int64_t channels, int64_t channel) const {
        float added[Width] = {};
        const uint32_t cell = cells[place];
        for (; place < rows && cells[place] == cell; ++place) {
            const auto pack = load_pack<Width>(features + order[place] * channels + channel);
            for (int i = 0; i < Width; ++i) added[i] += widen(pack.values[i]);
        }
        Pack<T, Width> sum;
        for (int i = 0; i < Width; ++i) narrow(added[i], sum.values[i]);
        return sum;
    }
};

// One thread a pack of channels of a sorted row.
template <typename T, int Width>
__global__ void scatter_packs(SortedRows<T> sorted, BevMap at, T* map) {
    const int64_t packs = at.channels / Width, thread = thread_number();
    const int64_t place = thread / packs, channel = thread % packs * Width;
    if (!sorted.begins_cell(place)) return;
    store_pack(sorted.template total<Width>(place, at.channels, channel), map + sorted.offset(place, at) + channel);
}

template <typename T, int Width>
__global__ void gather_packs(const T* map, BevRows rows, BevMap at, T* out) {
    const int64_t packs = at.channels / Width, thread = thread_number();
    const int64_t m = thread / packs, channel = thread % packs * Width;
    if (m >= rows.rows) return;
    const int32_t* cell = rows.coords + 4 * m;
    device_check(is_inside(cell, at));
    store_pack(load_pack<Width>(map + offset_of(cell, at) + channel), out + m * at.channels + channel);
}

struct Tile {
    int64_t row, channel;  // its first ones

    __device__ explicit Tile(int64_t channels) {
        const int64_t tiles = (channels + tile - 1) / tile;
        row = blockIdx.x / tiles * tile;
        channel = blockIdx.x % tiles * tile;
    }
};

// A block of (32, 8) threads turns a tile; one column more than it has keeps threads off each other's memory banks.
template <typename T>
__global__ void scatter_tiles(SortedRows<T> sorted, BevMap at, T* map) {
    PERCEPTION_SHARED(T, turned, tile * (tile + 1));
    const Tile from(at.channels);
    const int64_t channel = from.channel + threadIdx.x;
    for (unsigned line = threadIdx.y; line < tile; line += tile_lines) {
        if (channel >= at.channels || !sorted.begins_cell(from.row + line)) continue;
        const auto sum = sorted.template total<1>(from.row + line, at.channels, channel);
        turned[line * (tile + 1) + threadIdx.x] = sum.values[0];
    }
    __syncthreads();
    const int64_t place = from.row + threadIdx.x;
    if (!sorted.begins_cell(place)) return;
    T* cell = map + sorted.offset(place, at);
    for (unsigned line = threadIdx.y; line < tile && from.channel + line < at.channels; line += tile_lines) {
        cell[(from.channel + line) * at.channel] = turned[threadIdx.x * (tile + 1) + line];
    }
}

template <typename T>
__global__ void gather_tiles(const T* map, BevRows rows, BevMap at, T* out) {
    PERCEPTION_SHARED(T, turned, tile * (tile + 1));
    const Tile from(at.channels);
    const int64_t m = from.row + threadIdx.x;
    if (m < rows.rows) {
        device_check(is_inside(rows.coords + 4 * m, at));
        const T* cell = map + offset_of(rows.coords + 4 * m, at);
        for (unsigned line = threadIdx.y; line < tile && from.channel + line < at.channels; line += tile_lines) {
            turned[threadIdx.x * (tile + 1) + line] = cell[(from.channel + line) * at.channel];
        }
    }
    __syncthreads();
    const int64_t channel = from.channel + threadIdx.x;
    if (channel >= at.channels) return;
    for (unsigned line = threadIdx.y; line < tile && from.row + line < rows.rows; line += tile_lines) {
        out[(from.row + line) * at.channels + channel] = turned[line * (tile + 1) + threadIdx.x];
    }
}

dim3 tiles_of(int64_t rows, int64_t channels) {
    return blocks_for((rows + tile - 1) / tile * ((channels + tile - 1) / tile), 1);
}

// The number of channels if every cell's channels can be cut into the same packs, else 1.
int64_t packed_channels(const BevMap& at) {
    const bool is_whole = at.batch % 4 == 0 && at.y % 4 == 0 && at.x % 4 == 0;
    return is_whole ? at.channels : 1;
}

}  // namespace

size_t bev_workspace(int64_t rows, const BevMap& at) { return CellSpace(Workspace(), rows, at).bytes; }

template <typename T>
void bev_scatter(const T* features, const BevRows& rows, const BevMap& at, T* map, void* workspace, Stream stream) {
    if (rows.rows == 0 || at.channels == 0) return;
    const KeyedRows<uint32_t> cells = CellSpace(Workspace(workspace), rows.rows, at).cells;
    launch<number_cells>(blocks_for(rows.rows), block_threads, 0, stream, rows, at, cells.keys, cells.rows);
    cells.sort(stream);
    const SortedRows<T> sorted{features, rows.coords, cells.sorted_keys, cells.sorted_rows, rows.rows};
    if (at.channel != 1 && at.channels > 1) {
        launch<scatter_tiles<T>>(tiles_of(rows.rows, at.channels), dim3(tile, tile_lines), 0, stream, sorted, at, map);
        return;
    }
    const auto launch_with = [&](auto width) {
        launch<scatter_packs<T, width>>(blocks_for(rows.rows * (at.channels / width)), block_threads, 0, stream, sorted,
                                        at, map);
    };
    with_pack_width(packed_channels(at), launch_with, features, map);
}

template <typename T>
void bev_gather(const T* map, const BevRows& rows, const BevMap& at, T* out, Stream stream) {
    if (rows.rows == 0 || at.channels == 0) return;
    if (at.channel != 1 && at.channels > 1) {
        launch<gather_tiles<T>>(tiles_of(rows.rows, at.channels), dim3(tile, tile_lines), 0, stream, map, rows, at, out);
        return;
    }
    const auto launch_with = [&](auto width) {
        launch<gather_packs<T, width>>(blocks_for(rows.rows * (at.channels / width)), block_threads, 0, stream, map,
                                       rows, at, out);
    };
    with_pack_width(packed_channels(at), launch_with, map, out);
}

#define PERCEPTION_INSTANTIATE(T)                                                              \
    template void bev_scatter(const T*, const BevRows&, const BevMap&, T*, void*, Stream);     \
    template void bev_gather(const T*, const BevRows&, const BevMap&, T*, Stream);
PERCEPTION_INSTANTIATE(float)
PERCEPTION_INSTANTIATE(Bfloat16)
PERCEPTION_INSTANTIATE(Float16)
#undef PERCEPTION_INSTANTIATE

}  // namespace perception::cuda
