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

// `value`, or -value where `parity_of` is odd; no branch, since no processor could foresee it.
PERCEPTION_HD inline int64_t alternate(int64_t parity_of, int64_t value) { return (1 - 2 * (parity_of & 1)) * value; }

// The half keeps the product away from whole numbers, so that its rounding cannot matter for coordinates below 2^32; a
// division of integers would take several times as long.
PERCEPTION_HD inline int64_t window_of(int64_t coordinate, double per_window) {
    return static_cast<int64_t>((static_cast<double>(coordinate) + 0.5) * per_window);
}

// Windows advance along the minor axis first, then along the major one; cells likewise within a window.
class Serpentine {
   public:
    PERCEPTION_HD Serpentine(Axis minor, Axis major)
        : minor_(minor), major_(major), per_minor_(1.0 / static_cast<double>(minor.window)),
          per_major_(1.0 / static_cast<double>(major.window)), block_(4 * minor.window * major.window),
          row_(2 * windows_along(minor)) {}

    // Distinct cells of the grid, shifted by half a window or not, have distinct keys in [0, serpentine_span).
    PERCEPTION_HD uint64_t key(int64_t minor, int64_t major) const {
        const int64_t i = window_of(minor, per_minor_), u = minor - i * minor_.window;
        const int64_t j = window_of(major, per_major_), v = major - j * major_.window;
        const int64_t window = row_ * j + alternate(j, i), cell = 2 * major_.window * u + alternate(u, v);
        return static_cast<uint64_t>(window * block_ + alternate(j, cell));
    }

   private:
    Axis minor_, major_;
    double per_minor_, per_major_;  // windows a cell
    int64_t block_, row_;           // keys of a window; windows of a row, twice
};

// Keys are below this number, whichever axis comes first.
PERCEPTION_HD inline uint64_t serpentine_span(Axis x, Axis y) {
    return static_cast<uint64_t>(2 * windows_along(x) * windows_along(y) * (4 * x.window * y.window));
}

constexpr int serpentine_orders = 4;  // x, x_shift, y, y_shift: along which axis first, and with shifted windows or not

// One of them.
class WindowOrder {
   public:
    PERCEPTION_HD WindowOrder(int order, Axis x, Axis y)
        : serpentine_(order < 2 ? Serpentine(x, y) : Serpentine(y, x)), is_along_x_(order < 2),
          shift_x_(order % 2 == 1 ? x.window / 2 : 0), shift_y_(order % 2 == 1 ? y.window / 2 : 0) {}

    PERCEPTION_HD uint64_t key(int64_t cell_x, int64_t cell_y) const {
        const int64_t x = cell_x + shift_x_, y = cell_y + shift_y_;
        return is_along_x_ ? serpentine_.key(x, y) : serpentine_.key(y, x);
    }

   private:
    Serpentine serpentine_;
    bool is_along_x_;
    int64_t shift_x_, shift_y_;
};

}  // namespace perception
