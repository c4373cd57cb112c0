// Sort keys of FlatFormer's flattened windows: a serpentine over windows and, inside each, a serpentine over cells.
#pragma once

#include <cstdint>

#include "common/host_device.hpp"

namespace perception {

struct Axis {
    int64_t cells;   // grid size
    int64_t window;  // window size, in cells
};

// Windows that a shift by window / 2 can touch at most: one more than the unshifted grid holds.
PERCEPTION_HD inline int64_t windows_along(Axis axis) { return (axis.cells + axis.window - 1) / axis.window + 1; }

PERCEPTION_HD inline int64_t alternate(int64_t parity_of, int64_t value) { return parity_of % 2 == 0 ? value : -value; }

// Key of a cell: windows advance along `minor` first, then along `major`; cells likewise within a window.
// Distinct cells of the grid have distinct keys, all >= 0.
PERCEPTION_HD inline uint64_t serpentine_key(int64_t minor, Axis minor_axis, int64_t major, Axis major_axis) {
    const int64_t minor_window = minor / minor_axis.window, minor_cell = minor % minor_axis.window;
    const int64_t major_window = major / major_axis.window, major_cell = major % major_axis.window;
    const int64_t block = 4 * minor_axis.window * major_axis.window;
    const int64_t window = 2 * windows_along(minor_axis) * major_window + alternate(major_window, minor_window);
    const int64_t cell = 2 * major_axis.window * minor_cell + alternate(minor_cell, major_cell);
    return static_cast<uint64_t>(window * block + alternate(major_window, cell));
}

}  // namespace perception
