#include "points_in_boxes.hpp"

#include <algorithm>

#include "device.hpp"
#include "grid.hpp"

namespace perception::cuda {
namespace {

constexpr int boxes_at_once = 128;

__global__ void find_boxes(const float* points, int64_t num_points, const UprightBox* boxes, const Turn* turns,
                           int64_t num_boxes, int64_t* found) {
    PERCEPTION_SHARED(PlacedUprightBox, near, boxes_at_once);
    const int64_t i = thread_number();
    const bool has_point = i < num_points;
    const float x = has_point ? points[3 * i] : 0.0f;
    const float y = has_point ? points[3 * i + 1] : 0.0f;
    const float z = has_point ? points[3 * i + 2] : 0.0f;
    int64_t first = -1;
    for (int64_t start = 0; start < num_boxes; start += boxes_at_once) {
        const int count = static_cast<int>(std::min<int64_t>(boxes_at_once, num_boxes - start));
        for (int k = static_cast<int>(threadIdx.x); k < count; k += static_cast<int>(blockDim.x)) {
            near[k] = placed(boxes[start + k], turns[start + k]);
        }
        __syncthreads();
        for (int k = 0; k < count && first < 0; ++k) {
            if (holds(near[k], x, y, z)) first = start + k;
        }
        __syncthreads();
    }
    if (has_point) found[i] = first;
}

}  // namespace

void points_in_boxes(const float* points, int64_t num_points, const UprightBox* boxes, const Turn* turns,
                     int64_t num_boxes, int64_t* found, Stream stream) {
    launch<find_boxes>(blocks_for(num_points), block_threads, 0, stream, points, num_points, boxes, turns, num_boxes,
                       found);
}

}  // namespace perception::cuda
