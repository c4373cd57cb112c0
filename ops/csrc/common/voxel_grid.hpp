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

// Points outside fall into the border cells. Clamping before truncating equals clamping floor(), without its call.
PERCEPTION_HD inline int64_t cell_along(VoxelAxis axis, float coordinate) {
    const float cell = (coordinate - axis.low) / axis.size, last = static_cast<float>(axis.cells - 1);
    return static_cast<int64_t>(cell > 0.0f ? (cell < last ? cell : last) : 0.0f);
}

PERCEPTION_HD inline int64_t voxel_key(const VoxelGrid& grid, const float* xyz, int64_t batch) {
    const int64_t layer = batch * grid.z.cells + cell_along(grid.z, xyz[2]);
    return (layer * grid.y.cells + cell_along(grid.y, xyz[1])) * grid.x.cells + cell_along(grid.x, xyz[0]);
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
