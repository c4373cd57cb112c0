#pragma once

#include <cstdint>

#include "common/upright_box.hpp"
#include "stream.hpp"

namespace perception::cuda {

// points (N, 3) row-major; boxes (K,) and turns (K,) their yaws -> found (N,), the first box that holds each point, -1
// where there is none. One thread a point; a block brings 128 boxes at a time into shared memory. O(N K) work, no
// workspace, deterministic.
void points_in_boxes(const float* points, int64_t num_points, const UprightBox* boxes, const Turn* turns,
                     int64_t num_boxes, int64_t* found, Stream stream);

}  // namespace perception::cuda
