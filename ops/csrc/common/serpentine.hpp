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

// Keys are below this number.
PERCEPTION_HD inline uint64_t serpentine_span(Axis x, Axis y) {
    return static_cast<uint64_t>(2 * windows_along(x) * windows_along(y) * (4 * x.window * y.window));
}

constexpr int serpentine_orders = 4;  // x, x_shift, y, y_shift: along which axis first, and with shifted windows or not

PERCEPTION_HD inline uint64_t order_key(int order, int64_t cell_x, Axis x, int64_t cell_y, Axis y) {
    const bool is_shifted = order % 2 == 1, is_along_x = order < 2;
    const int64_t at_x = cell_x + (is_shifted ? x.window / 2 : 0), at_y = cell_y + (is_shifted ? y.window / 2 : 0);
    return is_along_x ? serpentine_key(at_x, x, at_y, y) : serpentine_key(at_y, y, at_x, x);
}

}  // namespace perception
