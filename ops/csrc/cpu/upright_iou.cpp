#include "cpu/upright_iou.hpp"

#include <algorithm>

#include "common/rotated_box.hpp"

namespace perception::cpu {
namespace {

constexpr int64_t few_pairs = 1 << 12;  // below this, waking the threads takes longer than the work

PlacedRectangle<double> seen_from_above(const ExactBox& box, const double* turn) {
    return {box.x, box.y, box.length / 2, box.width / 2, turn[0], turn[1], box.length * box.width};
}

// Metres that two boxes share along z; 1 where heights do not count.
double shared_height(const ExactBox& a, const ExactBox& b, bool bev) {
    if (bev) return 1;
    const double top = std::min(a.z + a.height / 2, b.z + b.height / 2);
    return std::max(top - std::max(a.z - a.height / 2, b.z - b.height / 2), 0.0);
}

double iou_of(const ExactBox& a, const double* turn_a, const ExactBox& b, const double* turn_b, bool bev) {
    const double height = shared_height(a, b, bev);
    const auto above_a = seen_from_above(a, turn_a), above_b = seen_from_above(b, turn_b);
    const double area = std::clamp(overlap_of(above_a, above_b), 0.0, std::min(above_a.area, above_b.area));
    const double overlap = area * height;
    const double all = above_a.area * (bev ? 1 : a.height) + above_b.area * (bev ? 1 : b.height) - overlap;
    return overlap > 0 ? std::min(overlap / all, 1.0) : 0;
}

}  // namespace

void upright_iou(const ExactBoxes& a, const ExactBoxes& b, const int64_t* first, const int64_t* second, int64_t pairs,
                 bool bev, double* iou, [[maybe_unused]] int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1 && pairs > few_pairs)
    for (int64_t pair = 0; pair < pairs; ++pair) {
        const int64_t i = first[pair], j = second[pair];
        iou[pair] = iou_of(a.rows[i], a.turns + 2 * i, b.rows[j], b.turns + 2 * j, bev);
    }
}

}  // namespace perception::cpu
