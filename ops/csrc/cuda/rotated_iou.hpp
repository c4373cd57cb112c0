#pragma once

#include <cstdint>

#include "common/rotated_box.hpp"
#include "stream.hpp"

namespace perception::cuda {

// Rows of boxes, finite, sizes >= 0, and the turn of each.
struct BevBoxes {
    const BevBox* rows;
    const Turn* turns;
    int64_t size;
};

// K boxes a and L boxes b -> iou (K, L) row-major. One thread a pair, neighbouring threads neighbouring columns, so
// that loads and stores coalesce; pairs whose circles do not touch get their 0 from a test of the distance. O(K L)
// work, no workspace, deterministic.
void rotated_iou(const BevBoxes& a, const BevBoxes& b, float* iou, Stream stream);

// The IoU of a[i] with b[i]: iou (K,), one thread a row.
void rotated_iou_aligned(const BevBoxes& a, const BevBoxes& b, float* iou, Stream stream);

}  // namespace perception::cuda
