// Tests of one place against many, a vector of them at a time. Compiled once for every instruction set, without fused
// multiply-adds, so that what lies on a circle does so everywhere.
#include "cpu/suppression_kernel.hpp"

#include <algorithm>

#include "cpu/simd_vector.hpp"

namespace perception::cpu {
namespace {

static_assert(slot_step % lanes == 0);

Vector larger(Vector a, Vector b) { return a < b ? b : a; }

bool any(Integers flags) {
    uint64_t words[sizeof flags / sizeof(uint64_t)], all = 0;
    std::memcpy(words, &flags, sizeof flags);
    for (const uint64_t part : words) all |= part;
    return all != 0;
}

// Writes the slots that is_near(slot), asked for a vector of them, finds; gives their number. No branch depends on what
// is found: too many would be mispredicted.
template <typename IsNear>
[[gnu::always_inline]] inline int64_t list_found(const Stretch& stretch, int64_t* found, IsNear is_near) {
    constexpr int64_t most = most_found / lanes;
    int64_t slots[most + 1], vectors = 0, number = 0;  // of vectors with anything near, and a place to write ahead
    Integers flags[most + 1];
    for (int64_t i = 0; i < stretch.spans; ++i) {
        const Span& span = stretch.of[i];
        const int64_t last = span.first + std::min(span.size, stretch.from + slots_at_once);
        for (int64_t slot = span.first + stretch.from; slot < last; slot += lanes) {
            slots[vectors] = slot;
            flags[vectors] = is_near(slot);
            vectors += any(flags[vectors]);
        }
    }
    for (int64_t i = 0; i < vectors; ++i) {
        for (int lane = 0; lane < lanes; ++lane) {
            found[number] = slots[i] + lane;
            number -= flags[i][lane];  // true is -1
        }
    }
    return number;
}

int64_t find_within(const CenterColumns& centers, float x, float y, float squared_radius, const Stretch& stretch,
                    int64_t* found) {
    const Vector own_x = broadcast(x), own_y = broadcast(y);
    return list_found(stretch, found, [&](int64_t slot) -> Integers {
        return squared_distance(own_x, own_y, load(centers.x + slot), load(centers.y + slot)) <= squared_radius;
    });
}

int64_t find_rivals(const CircleColumns& circles, const RivalCircle& own, const Stretch& stretch,
                    int64_t* found) {
    const Vector x = broadcast(own.x), y = broadcast(own.y), reach = broadcast(own.reach), close = broadcast(own.close);
    return list_found(stretch, found, [&](int64_t slot) -> Integers {
        const Vector limit = larger(load(circles.reach + slot) + close, load(circles.close + slot) + reach);
        return squared_distance(x, y, load(circles.x + slot), load(circles.y + slot)) <= limit * limit;
    });
}

}  // namespace

const SuppressionKernels PERCEPTION_ISA_NAME(suppression_kernels) = {find_within, find_rivals};

}  // namespace perception::cpu
