#include "rotated_iou.hpp"

#include "device.hpp"
#include "grid.hpp"

namespace perception::cuda {
namespace {

__global__ void fill_matrix(BevBoxes a, BevBoxes b, float* iou) {
    const int64_t pair = thread_number();
    if (pair >= a.size * b.size) return;
    const int64_t i = pair / b.size, j = pair % b.size;
    const BevBox &one = a.rows[i], &other = b.rows[j];
    const bool is_near = circles_touch(one.x, one.y, reach_of(one), other.x, other.y, reach_of(other));
    iou[pair] = is_near ? iou_of(placed(one, a.turns[i]), placed(other, b.turns[j])) : 0.0f;
}

__global__ void fill_rows(BevBoxes a, BevBoxes b, float* iou) {
    const int64_t i = thread_number();
    if (i < a.size) iou[i] = iou_of(placed(a.rows[i], a.turns[i]), placed(b.rows[i], b.turns[i]));
}

}  // namespace

void rotated_iou(const BevBoxes& a, const BevBoxes& b, float* iou, Stream stream) {
    launch<fill_matrix>(blocks_for(a.size * b.size), block_threads, 0, stream, a, b, iou);
}

void rotated_iou_aligned(const BevBoxes& a, const BevBoxes& b, float* iou, Stream stream) {
    launch<fill_rows>(blocks_for(a.size), block_threads, 0, stream, a, b, iou);
}

}  // namespace perception::cuda
