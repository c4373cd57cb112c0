// Rules out, by the distance of their centres alone, that the IoU of two rectangles is above a threshold.
//
// An IoU above t means that more than a share f = 2 t / (1 + t) of the smaller rectangle lies in the other. With d the
// distance of the centres and r the radius around the other, that share lies beyond a line square to the way between
// the centres, at least d - r from the smaller one's. Now let a line go round a rectangle with half sides a >= b and
// the radius R around it, so that a share f <= 1/2 stays beyond: its distance s from the centre never exceeds
// (1 - 2 f) max(a, R / (1 + 2 f)). For where its normal has turned by some angle, let p = a |cos|, q = b |sin|. If it
// crosses two opposite sides, s = (1 - 2 f) max(p, q). If it cuts a corner off, s = p + q - sqrt(8 f p q), and p / q
// lies between 2 f and 1 / (2 f): this s is convex and homogeneous in p and q and is (p + q) (1 - 2 f) / (1 + 2 f) on
// both rays that bound these p and q, hence no more between them; and p + q <= R.
#pragma once

#include <algorithm>

#include "common/rotated_box.hpp"

namespace perception::cpu {

// Two boxes are rivals where their centres are no farther apart than the larger sum of one's reach and the other's
// close. Only then may iou_of be above the threshold; and the circles of rivals touch, as circles_touch says.
struct RivalCircle {
    float x, y, reach, close;  // close <= reach
};

// Rounding adds less than this many square metres to the overlap of boxes within d metres: coordinates err by some 30
// units in the last place of d, areas by some 500 of d * d, and edges shorter than smallest_divisor along an axis are
// taken for parallel to the other one.
inline float overlap_blur(float d) { return (1e-4f * d + 1e-6f) * d; }

// widest: the largest reach of all boxes. Where rounding could decide, or sizes overflow, close is reach.
inline RivalCircle rival_circle(const BevBox& box, float widest, float threshold) {
    const float reach = reach_of(box), area = box.length * box.width;
    const float share = 1.99999f * threshold / (1.0f + threshold) - overlap_blur(reach + widest) / area;
    if (!(share > 0.0f)) return {box.x, box.y, reach, reach};
    const float f = std::min(share, 0.5f);  // with more beyond it the line has passed the centre
    const float longest = std::max(std::max(box.length, box.width) / 2, reach / (1.0f + 2.0f * f));
    return {box.x, box.y, reach, std::min((1.0f - 2.0f * f) * longest, reach)};
}

}  // namespace perception::cpu
