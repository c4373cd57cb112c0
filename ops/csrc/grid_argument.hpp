// A voxel grid from the numbers that Python gives.
#pragma once

#include <array>
#include <cstdint>

#include "common/voxel_grid.hpp"

namespace perception {

using Corner = std::array<float, 3>;   // x, y, z [m]
using Cells = std::array<int64_t, 3>;  // along x, y, z

inline VoxelGrid grid_of(const Corner& low, const Corner& size, const Cells& cells) {
    return {{low[0], size[0], cells[0]}, {low[1], size[1], cells[1]}, {low[2], size[2], cells[2]}};
}

}  // namespace perception
