#include "voxelize.hpp"

#include "device.hpp"
#include "grid.hpp"
#include "keyed_rows.hpp"

namespace perception::cuda {
namespace {

struct VoxelSpace {
    KeyedRows<uint64_t> points;
    int32_t* cells;   // 1 where a cell begins among the sorted points, then the number of cells that have begun
    int32_t* starts;  // of each cell among the sorted points, and N behind the last
    size_t sum_bytes;
    char* sum;
    size_t bytes;

    VoxelSpace(Workspace space, int64_t number, int64_t samples, const VoxelGrid& grid)
        : points(space, number, static_cast<uint64_t>(samples * grid.z.cells * grid.y.cells * grid.x.cells)),
          cells(space.take<int32_t>(number)), starts(space.take<int32_t>(number + 1)),
          sum_bytes(prefix_sum_workspace(number)), sum(space.take<char>(static_cast<int64_t>(sum_bytes))),
          bytes(space.bytes()) {}
};

__global__ void make_keys(CloudPoints cloud, VoxelGrid grid, uint64_t* keys, int32_t* rows) {
    const int64_t i = thread_number();
    if (i >= cloud.points) return;
    keys[i] = static_cast<uint64_t>(voxel_key(grid, cloud.xyz + 3 * i, cloud.batch[i]));
    rows[i] = static_cast<int32_t>(i);
}

__device__ bool begins_cell(const uint64_t* sorted_keys, int64_t i) { return i == 0 || sorted_keys[i] != sorted_keys[i - 1]; }

__global__ void mark_beginnings(const uint64_t* sorted_keys, int64_t points, int32_t* cells) {
    const int64_t i = thread_number();
    if (i < points) cells[i] = begins_cell(sorted_keys, i);
}

// One thread a sorted point.
__global__ void number_cells(const uint64_t* sorted_keys, const int32_t* sorted_rows, const int32_t* cells,
                             int64_t points, VoxelGrid grid, int32_t* starts, int32_t* coords, int64_t* inverse,
                             int64_t* num_cells) {
    const int64_t i = thread_number();
    if (i >= points) return;
    const int64_t cell = cells[i] - 1;
    inverse[sorted_rows[i]] = cell;
    if (begins_cell(sorted_keys, i)) {
        starts[cell] = static_cast<int32_t>(i);
        voxel_coords(grid, static_cast<int64_t>(sorted_keys[i]), coords + 4 * cell);
    }
    if (i == points - 1) {
        starts[cell + 1] = static_cast<int32_t>(points);
        *num_cells = cell + 1;
    }
}

// One thread a cell; how many there are is known on the device only, so there are as many threads as points.
__global__ void count_points(const int32_t* starts, const int64_t* num_cells, int64_t* counts) {
    const int64_t cell = thread_number();
    if (cell < *num_cells) counts[cell] = starts[cell + 1] - starts[cell];
}

}  // namespace

size_t voxelize_workspace(int64_t points, int64_t samples, const VoxelGrid& grid) {
    return VoxelSpace(Workspace(), points, samples, grid).bytes;
}

void voxelize(const CloudPoints& cloud, const VoxelGrid& grid, int32_t* coords, int64_t* inverse, int64_t* counts,
              int64_t* num_cells, void* workspace, Stream stream) {
    if (cloud.points == 0) return fill_bytes(num_cells, 0, sizeof *num_cells, stream);
    const VoxelSpace space(Workspace(workspace), cloud.points, cloud.samples, grid);
    const dim3 blocks = blocks_for(cloud.points);
    launch<make_keys>(blocks, block_threads, 0, stream, cloud, grid, space.points.keys, space.points.rows);
    space.points.sort(stream);
    launch<mark_beginnings>(blocks, block_threads, 0, stream, space.points.sorted_keys, cloud.points, space.cells);
    inclusive_sum(space.sum, space.sum_bytes, space.cells, space.cells, cloud.points, stream);
    launch<number_cells>(blocks, block_threads, 0, stream, space.points.sorted_keys, space.points.sorted_rows,
                         space.cells, cloud.points, grid, space.starts, coords, inverse, num_cells);
    launch<count_points>(blocks, block_threads, 0, stream, space.starts, num_cells, counts);
}

}  // namespace perception::cuda
