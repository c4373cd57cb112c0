#include "circle_nms.hpp"

#include "common/rotated_box.hpp"
#include "suppression.hpp"

namespace perception::cuda {
namespace {

struct CenterDistance {
    struct Item {
        float x, y;
    };

    const float* centers;
    const int64_t* order;
    float squared_radius;

    __device__ Item load(int64_t rank) const { return {centers[2 * order[rank]], centers[2 * order[rank] + 1]}; }

    __device__ bool suppresses(const Item& stronger, const Item& weaker) const {
        return squared_distance(stronger.x, stronger.y, weaker.x, weaker.y) <= squared_radius;
    }
};

}  // namespace

void circle_nms(const float* centers, const int64_t* order, int64_t count, float squared_radius, int64_t* kept,
                int64_t* num_kept, void* workspace, Stream stream) {
    suppress_greedily(CenterDistance{centers, order, squared_radius}, order, count, kept, num_kept, workspace, stream);
}

}  // namespace perception::cuda
