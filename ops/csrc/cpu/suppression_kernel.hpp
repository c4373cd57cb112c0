// Which of many places lie near one, as the kernel files that are compiled for each instruction set offer it. Places
// lie in a table of slots, an array a column; the x of an empty slot is NaN.
#pragma once

#include <cstdint>
#include <limits>

#include "cpu/instruction_set.hpp"
#include "cpu/rival_circle.hpp"

namespace perception::cpu {

constexpr float empty = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t slot_step = 16;  // spans begin at multiples of it, and what follows them up to the next one is empty

// Neighbouring slots.
struct Span {
    int64_t first, size;
};

// Of each of up to three spans, the slots from `from` on, at most slots_at_once of them.
struct Stretch {
    const Span* of;
    int64_t spans, from;
};
constexpr int64_t slots_at_once = 512;
constexpr int64_t most_found = 3 * slots_at_once;

struct CenterColumns {
    const float *x, *y;
};

struct CircleColumns {
    const float *x, *y, *reach, *close;
};

// Write the slots that they find to `found` (most_found + 1,), and give their number. O(slots).
struct SuppressionKernels {
    // Centres within the radius of (x, y), or on the circle.
    int64_t (*find_within)(const CenterColumns& centers, float x, float y, float squared_radius, const Stretch& stretch,
                           int64_t* found);
    // Boxes that are rivals; see RivalCircle.
    int64_t (*find_rivals)(const CircleColumns& circles, const RivalCircle& own, const Stretch& stretch,
                           int64_t* found);
};

PERCEPTION_DECLARE_KERNELS(SuppressionKernels, suppression_kernels);

}  // namespace perception::cpu
