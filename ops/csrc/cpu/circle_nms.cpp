#include "cpu/circle_nms.hpp"

#include <algorithm>

#include "cpu/box_pairs.hpp"
#include "cpu/suppression.hpp"

namespace perception::cpu {
namespace {

struct CenterDistance {
    const float* centers;
    const int64_t* order;
    float squared_radius;

    const float* center(int64_t rank) const { return centers + 2 * order[rank]; }

    void append(Circles& circles, int64_t rank) const { circles.append(center(rank)[0], center(rank)[1], 0.0f); }

    NearBits near(const Circles& circles, int64_t first, int64_t rank) const {
        return within(center(rank)[0], center(rank)[1], squared_radius, circles, first);
    }

    template <typename Found>
    struct Judge {
        Found found;
        void push(int64_t, int64_t, int64_t place) { found(place); }  // near is near enough
        void flush() {}
    };

    template <typename Found>
    Judge<Found> judge(Found found) const {
        return {found};
    }
};

}  // namespace

int64_t circle_nms(const float* centers, const int64_t* order, int64_t count, float squared_radius, int64_t* kept,
                   int threads) {
    const CenterDistance relation{centers, order, squared_radius};
    const int64_t survivors = greedy_survivors(relation, count, kept, threads);
    std::transform(kept, kept + survivors, kept, [=](int64_t rank) { return order[rank]; });
    return survivors;
}

}  // namespace perception::cpu
