#pragma once

#include <cstdint>

namespace perception::cpu {

// As a row of upright boxes lies in memory, in double: gravity centre and sizes in metres, yaw counter-clockwise.
struct ExactBox {
    double x, y, z, length, width, height, yaw;
};

// Rows of boxes, and cosine and sine of the yaw of each.
struct ExactBoxes {
    const ExactBox* rows;
    const double* turns;
};

// IoU of box first[i] of a with box second[i] of b, for `pairs` i -> iou (pairs,), the caller's. Volumes, or areas seen
// from above with `bev`, in double; two boxes without any give 0. Threads share the pairs, every pair is computed alike.
// O(pairs) time, no memory.
void upright_iou(const ExactBoxes& a, const ExactBoxes& b, const int64_t* first, const int64_t* second, int64_t pairs,
                 bool bev, double* iou, int threads);

}  // namespace perception::cpu
