#include "cpu/points_in_boxes.hpp"

#include <algorithm>
#include <vector>

#include "cpu/box_grid.hpp"

namespace perception::cpu {
namespace {

constexpr int64_t few_points = 1 << 12;  // below this, waking the threads takes longer than the work

}  // namespace

void points_in_boxes(const float* points, int64_t num_points, const UprightBox* boxes, const Turn* turns,
                     int64_t num_boxes, int64_t* found, [[maybe_unused]] int threads) {
    std::vector<PlacedUprightBox> upright(static_cast<size_t>(num_boxes));
    std::transform(boxes, boxes + num_boxes, turns, upright.begin(),
                   [](const UprightBox& box, Turn turn) { return placed(box, turn); });
    const BoxGrid grid(points, num_points, upright);
#pragma omp parallel for num_threads(threads) if (threads > 1 && num_points > few_points)
    for (int64_t i = 0; i < num_points; ++i) {
        const float x = points[3 * i], y = points[3 * i + 1], z = points[3 * i + 2];
        int64_t first = -1;
        for (const int32_t k : grid.boxes_at(x, y)) {
            if (holds(upright[k], x, y, z)) {
                first = k;
                break;
            }
        }
        found[i] = first;
    }
}

}  // namespace perception::cpu
