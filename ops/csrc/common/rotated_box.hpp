// Intersection over union of rotated rectangles seen from above, by a line integral: with rectangle b axis-aligned at
// the origin, the area of a inside b is the integral over a's outline of (clamp(x, -l/2, l/2) + l/2) dy, taken where
// |y| <= w/2. Each edge gives three trapezoids, some of them empty: no vertex list, no sort, no case that depends on
// rounding. Steps and sums in the order of the torch reference and in one precision throughout (float, or double for
// exact scores), so that both decide alike at a threshold; a NaN, which sizes beyond 1e19 can give, goes through to the
// result as it does there.
#pragma once

#include <cmath>

#include "common/host_device.hpp"
#include "common/turn.hpp"

namespace perception {

// As a row of boxes lies in memory: metres and radians, yaw counter-clockwise.
struct BevBox {
    float x, y, length, width, yaw;
};

// Whether all is finite and no size negative.
PERCEPTION_HD inline bool is_valid(const BevBox& box) {
    const float none = box.x * 0 + box.y * 0 + box.length * 0 + box.width * 0 + box.yaw * 0;  // NaN if one is infinite
    return none == 0 && box.length >= 0 && box.width >= 0;
}

// A rectangle with what each of its pairs asks for.
template <typename Number>
struct PlacedRectangle {
    Number x, y, half_length, half_width, cos, sin, area;
};
using PlacedBox = PlacedRectangle<float>;

PERCEPTION_HD inline PlacedBox placed(const BevBox& box, Turn turn) {
    return {box.x, box.y, box.length / 2, box.width / 2, turn.cos, turn.sin, box.length * box.width};
}

// Radius of the circle around a box.
PERCEPTION_HD inline float reach_of(const BevBox& box) {
    return sqrtf(box.length * box.length + box.width * box.width) / 2;
}

// `Number` is float or a vector of floats.
template <typename Number>
PERCEPTION_HD inline Number squared_distance(Number ax, Number ay, Number bx, Number by) {
    const Number dx = ax - bx, dy = ay - by;
    return dx * dx + dy * dy;
}

// Whether the circles around two boxes touch; where they do not, the IoU is 0.
PERCEPTION_HD inline bool circles_touch(float ax, float ay, float reach_a, float bx, float by, float reach_b) {
    const float reach = reach_a + reach_b;
    return squared_distance(ax, ay, bx, by) <= reach * reach;
}

template <typename Number>
PERCEPTION_HD inline Number clamp(Number value, Number low, Number high) {
    value = value < low ? low : value;
    return value > high ? high : value;
}

template <typename Number>
constexpr Number smallest_divisor = Number(1e-8);

// Where start + t step meets -half and +half, as ascending t; far away for an edge parallel to the border.
template <typename Number>
PERCEPTION_HD inline void crossings(Number start, Number step, Number half, Number& enter, Number& leave) {
    const Number divisor = std::fabs(step) < smallest_divisor<Number> ? smallest_divisor<Number> : step;
    const Number first = (-half - start) / divisor, second = (half - start) / divisor;
    enter = second < first ? second : first;
    leave = second < first ? first : second;
}

// What the edge from (x, y) to (x + dx, y + dy) adds to the area inside b.
template <typename Number>
PERCEPTION_HD inline Number area_beside(Number x, Number y, Number dx, Number dy, Number half_length,
                                        Number half_width) {
    Number enter, leave, left, right;
    crossings(y, dy, half_width, enter, leave);  // within b's strip
    enter = clamp(enter, Number(0), Number(1));
    leave = clamp(leave, Number(0), Number(1));
    crossings(x, dx, half_length, left, right);
    left = clamp(left, enter, leave);
    right = clamp(right, enter, leave);
    const Number at_enter = clamp(x + enter * dx, -half_length, half_length) + half_length;
    const Number at_left = clamp(x + left * dx, -half_length, half_length) + half_length;
    const Number at_right = clamp(x + right * dx, -half_length, half_length) + half_length;
    const Number at_leave = clamp(x + leave * dx, -half_length, half_length) + half_length;
    return ((left - enter) * ((at_left + at_enter) / 2) + (right - left) * ((at_right + at_left) / 2) +
            (leave - right) * ((at_leave + at_right) / 2)) * dy;
}

// Square metres of a inside b. The turn between the two comes from the sines and cosines of each, so that a large yaw
// loses nothing.
template <typename Number>
PERCEPTION_HD inline Number overlap_of(const PlacedRectangle<Number>& a, const PlacedRectangle<Number>& b) {
    const Number x = a.x - b.x, y = a.y - b.y;
    const Number center_x = b.cos * x + b.sin * y, center_y = b.cos * y - b.sin * x;  // in the frame of b
    const Number cos = a.cos * b.cos + a.sin * b.sin, sin = a.sin * b.cos - a.cos * b.sin;
    const Number lx = cos * a.half_length, ly = sin * a.half_length;  // half of a's sides, turned
    const Number wx = -(sin * a.half_width), wy = cos * a.half_width;
    const Number x0 = (wx + lx) + center_x, y0 = (ly + wy) + center_y;  // counter-clockwise from the front left
    const Number x1 = (wx - lx) + center_x, y1 = (wy - ly) + center_y;
    const Number x2 = center_x - (wx + lx), y2 = center_y - (ly + wy);
    const Number x3 = center_x - (wx - lx), y3 = center_y - (wy - ly);
    return area_beside(x0, y0, x1 - x0, y1 - y0, b.half_length, b.half_width) +
           area_beside(x1, y1, x2 - x1, y2 - y1, b.half_length, b.half_width) +
           area_beside(x2, y2, x3 - x2, y3 - y2, b.half_length, b.half_width) +
           area_beside(x3, y3, x0 - x3, y0 - y3, b.half_length, b.half_width);
}

// In [0, 1]; two boxes without area give 0.
PERCEPTION_HD inline float iou_of(const PlacedBox& a, const PlacedBox& b) {
    float overlap = overlap_of(a, b);
    overlap = overlap < 0.0f ? 0.0f : overlap;
    overlap = overlap > a.area ? a.area : overlap;
    overlap = overlap > b.area ? b.area : overlap;
    const float joined = a.area + b.area - overlap;
    return overlap / (joined < smallest_divisor<float> ? smallest_divisor<float> : joined);
}

}  // namespace perception
