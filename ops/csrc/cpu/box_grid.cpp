#include "cpu/box_grid.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

namespace perception::cpu {
namespace {

constexpr int64_t most_entries = 64;  // a box, on average
constexpr int64_t most_cells = 512;   // along an axis
constexpr float infinity = std::numeric_limits<float>::infinity();

Interval around(float center, float half, float slack) {
    const float reach = half + 1e-5f * slack + 1e-6f * std::fabs(center);  // ten times what rounding can add
    return {center - reach, center + reach};
}

Footprint footprint_of(const PlacedUprightBox& box) {
    const float cos = std::fabs(box.cos), sin = std::fabs(box.sin), sides = box.half_length + box.half_width;
    return {around(box.x, cos * box.half_length + sin * box.half_width, sides),
            around(box.y, sin * box.half_length + cos * box.half_width, sides)};
}

bool is_empty(const PlacedUprightBox& box) {
    return box.half_length < 0.0f || box.half_width < 0.0f || box.half_height < 0.0f;
}

void include(Interval& range, const Interval& other) {
    range.low = other.low < range.low ? other.low : range.low;  // a NaN changes nothing
    range.high = other.high > range.high ? other.high : range.high;
}

Interval common(const Interval& a, const Interval& b) { return {std::max(a.low, b.low), std::min(a.high, b.high)}; }

GridAxis axis_of(const Interval& range, int64_t cells) {
    const float rate = static_cast<float>(cells) / (range.high - range.low);
    return {range, cells, rate > 0.0f && rate < infinity ? rate : 0.0f};
}

constexpr Footprint nothing{{infinity, -infinity}, {infinity, -infinity}};

}  // namespace

template <typename Visit>
void BoxGrid::for_each_cell(const Footprint& footprint, Visit visit) const {
    const Interval x = common(footprint.x, x_.range), y = common(footprint.y, y_.range);
    if (!(x.low <= x.high && y.low <= y.high)) return;
    const int64_t first = x_.cell(x.low), last = x_.cell(x.high), last_row = y_.cell(y.high);
    for (int64_t row = y_.cell(y.low); row <= last_row; ++row) {
        for (int64_t column = first; column <= last; ++column) visit(row * x_.cells + column);
    }
}

void BoxGrid::divide(Footprint range, int64_t cells) {
    x_ = axis_of(range.x, cells);
    y_ = axis_of(range.y, cells);
}

// Leaves in starts_[c + 2] the boxes of cell c.
int64_t BoxGrid::count_entries(const std::vector<Footprint>& footprints) {
    int64_t entries = 0;
    starts_.assign(static_cast<size_t>(x_.cells * y_.cells + 2), 0);
    for (const Footprint& footprint : footprints) {
        for_each_cell(footprint, [&](int64_t cell) {
            ++starts_[cell + 2];
            ++entries;
        });
    }
    return entries;
}

BoxGrid::BoxGrid(const float* points, int64_t num_points, const std::vector<PlacedUprightBox>& boxes) {
    std::vector<Footprint> footprints(boxes.size(), nothing);
    Footprint of_boxes = nothing, of_points = nothing;
    for (size_t k = 0; k < boxes.size(); ++k) {
        if (is_empty(boxes[k])) continue;
        footprints[k] = footprint_of(boxes[k]);
        include(of_boxes.x, footprints[k].x);
        include(of_boxes.y, footprints[k].y);
    }
    for (int64_t i = 0; i < num_points; ++i) {
        include(of_points.x, {points[3 * i], points[3 * i]});
        include(of_points.y, {points[3 * i + 1], points[3 * i + 1]});
    }
    const Footprint range{common(of_boxes.x, of_points.x), common(of_boxes.y, of_points.y)};
    const auto wanted = static_cast<int64_t>(4 * std::sqrt(static_cast<double>(boxes.size())));
    int64_t cells = std::clamp<int64_t>(wanted, 1, most_cells);
    divide(range, cells);
    while (count_entries(footprints) > most_entries * static_cast<int64_t>(boxes.size()) && cells > 1) {
        divide(range, cells /= 2);
    }
    for (size_t c = 2; c < starts_.size(); ++c) starts_[c] += starts_[c - 1];
    boxes_.resize(static_cast<size_t>(starts_.back()));
    for (size_t k = 0; k < footprints.size(); ++k) {
        for_each_cell(footprints[k], [&](int64_t cell) { boxes_[starts_[cell + 1]++] = static_cast<int32_t>(k); });
    }
}

}  // namespace perception::cpu
