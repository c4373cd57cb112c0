#include "rotated_nms.hpp"

#include "suppression.hpp"

namespace perception::cuda {
namespace {

struct RotatedOverlap {
    struct Item {
        PlacedBox box;
        float reach;
    };

    BevBoxes boxes;
    const int64_t* order;
    float threshold;

    __device__ Item load(int64_t rank) const {
        const int64_t row = order[rank];
        return {placed(boxes.rows[row], boxes.turns[row]), reach_of(boxes.rows[row])};
    }

    __device__ bool suppresses(const Item& stronger, const Item& weaker) const {
        const PlacedBox &a = stronger.box, &b = weaker.box;
        return circles_touch(a.x, a.y, stronger.reach, b.x, b.y, weaker.reach) && iou_of(a, b) > threshold;
    }
};

}  // namespace

void rotated_nms(const BevBoxes& boxes, const int64_t* order, float threshold, int64_t* kept, int64_t* num_kept,
                 void* workspace, Stream stream) {
    suppress_greedily(RotatedOverlap{boxes, order, threshold}, order, boxes.size, kept, num_kept, workspace, stream);
}

}  // namespace perception::cuda
