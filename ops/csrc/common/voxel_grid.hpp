// The cell of a point in a regular grid, and the cell's place in the order (batch, z, y, x).
#pragma once

#include <cstdint>

#include "common/host_device.hpp"

namespace perception {

struct VoxelAxis {
    float low;      // where cell 0 begins [m]
    float size;     // edge of a cell [m]
    int64_t cells;  // of the grid
};

struct VoxelGrid {
    VoxelAxis x, y, z;
};

// The cell of a coordinate, before truncation; points outside fall into the border cells. `last` is cells - 1.
// Truncating what this gives equals clamping floor(), without its call.
PERCEPTION_HD inline float clamped_cell(VoxelAxis axis, float last, float coordinate) {
    const float cell = (coordinate - axis.low) / axis.size;
    return cell > 0.0f ? (cell < last ? cell : last) : 0.0f;
}

PERCEPTION_HD inline int64_t cell_along(VoxelAxis axis, float coordinate) {
    return static_cast<int64_t>(clamped_cell(axis, static_cast<float>(axis.cells - 1), coordinate));
}

PERCEPTION_HD inline int64_t voxel_key(const VoxelGrid& grid, int64_t batch, int64_t z, int64_t y, int64_t x) {
    return ((batch * grid.z.cells + z) * grid.y.cells + y) * grid.x.cells + x;
}

PERCEPTION_HD inline int64_t voxel_key(const VoxelGrid& grid, const float* xyz, int64_t batch) {
    return voxel_key(grid, batch, cell_along(grid.z, xyz[2]), cell_along(grid.y, xyz[1]), cell_along(grid.x, xyz[0]));
}

// coords[0..3] = batch, z, y, x.
PERCEPTION_HD inline void voxel_coords(const VoxelGrid& grid, int64_t key, int32_t* coords) {
    coords[3] = static_cast<int32_t>(key % grid.x.cells);
    key /= grid.x.cells;
    coords[2] = static_cast<int32_t>(key % grid.y.cells);
    key /= grid.y.cells;
    coords[1] = static_cast<int32_t>(key % grid.z.cells);
    coords[0] = static_cast<int32_t>(key / grid.z.cells);
}

}  // namespace perception
