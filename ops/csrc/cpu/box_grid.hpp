// A grid seen from above whose cells list the boxes that reach into them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/upright_box.hpp"

namespace perception::cpu {

struct Interval {
    float low, high;
};

// What a box covers seen from above, and a little more for rounding.
struct Footprint {
    Interval x, y;
};

// One axis of the grid. `cell` never decreases with its argument, rounding included: what lies between the ends of a
// box lies between the cells of those ends.
struct GridAxis {
    Interval range;
    int64_t cells;
    float cells_per_metre;

    bool holds(float at) const { return range.low <= at && at <= range.high; }
    int64_t cell(float at) const {
        const float place = (at - range.low) * cells_per_metre;
        return place < static_cast<float>(cells) ? static_cast<int64_t>(place) : cells - 1;
    }
};

// Covers what points (N, 3) and boxes have in common, as no other point lies in a box. The cells are made larger until
// the lists hold at most 64 entries a box. O(N + 64 K) time, at most 280 K bytes.
class BoxGrid {
   public:
    BoxGrid(const float* points, int64_t num_points, const std::vector<PlacedUprightBox>& boxes);

    // Numbers of the boxes that may hold a point at (x, y), ascending.
    std::span<const int32_t> boxes_at(float x, float y) const {
        if (!x_.holds(x) || !y_.holds(y)) return {};
        const int64_t* start = starts_.data() + y_.cell(y) * x_.cells + x_.cell(x);
        return {boxes_.data() + start[0], boxes_.data() + start[1]};
    }

   private:
    void divide(Footprint range, int64_t cells);
    int64_t count_entries(const std::vector<Footprint>& footprints);
    template <typename Visit>
    void for_each_cell(const Footprint& footprint, Visit visit) const;

    GridAxis x_, y_;
    std::vector<int64_t> starts_;  // cell c lists boxes_[starts_[c]] .. boxes_[starts_[c + 1] - 1]
    std::vector<int32_t> boxes_;
};

}  // namespace perception::cpu
