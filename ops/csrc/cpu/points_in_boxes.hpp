#pragma once

#include <cstdint>

#include "common/upright_box.hpp"

namespace perception::cpu {

// points (N, 3) row-major; boxes (K,) finite, turns (K,) their yaws -> found (N,), the first box that holds each point,
// -1 where there is none. Boxes are listed in the cells of a grid seen from above (box_grid.hpp), and threads share the
// points, which ask the boxes of their cell alone. O(N + K) time where boxes lie apart, O(N K) at worst; at most 320 K
// bytes.
void points_in_boxes(const float* points, int64_t num_points, const UprightBox* boxes, const Turn* turns,
                     int64_t num_boxes, int64_t* found, int threads);

}  // namespace perception::cpu
