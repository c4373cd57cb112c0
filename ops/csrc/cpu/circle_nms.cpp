#include "cpu/circle_nms.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "cpu/suppression.hpp"

namespace perception::cpu {
namespace {

class CenterDistance {
   public:
    CenterDistance(const float* centers, const int64_t* order, float squared_radius)
        : centers_(centers), order_(order), squared_radius_(squared_radius) {}

    double x(int64_t rank) const { return center(rank)[0]; }
    double reach() const { return std::sqrt(static_cast<double>(squared_radius_)); }

    void make_room(int64_t slots) {
        x_.assign(static_cast<size_t>(slots), empty);
        y_.resize(static_cast<size_t>(slots));
    }
    void put(int64_t slot, int64_t rank) {
        x_[slot] = center(rank)[0];
        y_[slot] = center(rank)[1];
    }
    void clear(int64_t slot) { x_[slot] = empty; }

    int64_t find(int64_t rank, const Stretch& stretch, int64_t* found) const {
        return kernels_.find_within({x_.data(), y_.data()}, center(rank)[0], center(rank)[1], squared_radius_, stretch,
                                    found);
    }

    template <typename Found>
    struct Judge {
        Found found;
        void push(int64_t stronger, int64_t weaker) { found(stronger, weaker); }  // near is near enough
        void flush() {}
    };

    template <typename Found>
    Judge<Found> judge(Found found) const {
        return {found};
    }

   private:
    const float* center(int64_t rank) const { return centers_ + 2 * order_[rank]; }

    const SuppressionKernels& kernels_ = PERCEPTION_KERNELS(suppression_kernels);
    const float* centers_;
    const int64_t* order_;
    float squared_radius_;
    std::vector<float> x_, y_;
};

}  // namespace

int64_t circle_nms(const float* centers, const int64_t* order, int64_t count, float squared_radius, int64_t* kept,
                   int threads) {
    const int64_t survivors = greedy_survivors(CenterDistance(centers, order, squared_radius), count, kept, threads);
    std::transform(kept, kept + survivors, kept, [=](int64_t rank) { return order[rank]; });
    return survivors;
}

}  // namespace perception::cpu
