#pragma once

#include "cpu/box_pairs.hpp"

namespace perception::cpu {

// K boxes a and L boxes b, finite, sizes >= 0 -> iou (K, L) row-major, the caller's. Threads share the rows of a; pairs
// whose circles do not touch get their 0 from a test of the distance. O(K L) time, 40 L bytes.
void rotated_iou(const BevBoxes& a, const BevBoxes& b, float* iou, int threads);

// The IoU of a[i] with b[i]: iou (K,).
void rotated_iou_aligned(const BevBoxes& a, const BevBoxes& b, float* iou, int threads);

}  // namespace perception::cpu
