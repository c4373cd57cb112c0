#include "cpu/rotated_iou.hpp"

#include <algorithm>
#include <vector>

namespace perception::cpu {
namespace {

constexpr int64_t few_pairs = 1 << 14;  // below this, waking the threads takes longer than the work

}  // namespace

void rotated_iou(const BevBoxes& a, const BevBoxes& b, float* iou, [[maybe_unused]] int threads) {
    const int64_t columns = b.size;
    Circles circles(columns);
    std::vector<PlacedBox> boxes(static_cast<size_t>(columns));
    for (int64_t j = 0; j < columns; ++j) {
        boxes[j] = b.placed_at(j);
        circles.append(boxes[j].x, boxes[j].y, reach_of(b.rows[j]));
    }
#pragma omp parallel num_threads(threads) if (threads > 1 && a.size * columns > few_pairs)
    {
        PairQueue queue([=](int64_t place, float value) { iou[place] = value; });
#pragma omp for schedule(dynamic, 16)
        for (int64_t i = 0; i < a.size; ++i) {
            const PlacedBox box = a.placed_at(i);
            const float reach = reach_of(a.rows[i]);
            std::fill(iou + i * columns, iou + (i + 1) * columns, 0.0f);
            for_each_touching(box.x, box.y, reach, circles,
                              [&](int64_t j) { queue.push(box, boxes[j], i * columns + j); });
        }
        queue.flush();
    }
}

void rotated_iou_aligned(const BevBoxes& a, const BevBoxes& b, float* iou, [[maybe_unused]] int threads) {
#pragma omp parallel num_threads(threads) if (threads > 1 && a.size > few_pairs / 8)
    {
        PairQueue queue([=](int64_t place, float value) { iou[place] = value; });
#pragma omp for
        for (int64_t i = 0; i < a.size; ++i) queue.push(a.placed_at(i), b.placed_at(i), i);
        queue.flush();
    }
}

}  // namespace perception::cpu
