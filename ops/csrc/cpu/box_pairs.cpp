#include "cpu/box_pairs.hpp"

#include <algorithm>

namespace perception::cpu {
namespace {

constexpr int lanes = 8;

template <typename IsNear>
inline uint64_t bits_of(int64_t first, IsNear is_near) {
    uint32_t bytes[lanes] = {};
    for (int64_t round = 0; round < word / lanes; ++round) {
        for (int lane = 0; lane < lanes; ++lane) {
            bytes[lane] |= static_cast<uint32_t>(is_near(first + round * lanes + lane)) << round;
        }
    }
    uint64_t bits = 0;
    for (int lane = 0; lane < lanes; ++lane) bits |= static_cast<uint64_t>(bytes[lane]) << (8 * lane);
    return bits;
}

PERCEPTION_SIMD_CLONES void find_touching(float x, float y, float reach, const float* xs, const float* ys,
                                          const float* reaches, NearBits& out) {
    for (int64_t w = 0; w < out.size; ++w) {
        out.words[w] = bits_of(
            w * word, [=](int64_t i) { return circles_touch(x, y, reach, xs[i], ys[i], reaches[i]); });
    }
}

PERCEPTION_SIMD_CLONES void find_within(float x, float y, float squared_radius, const float* xs, const float* ys,
                                        NearBits& out) {
    for (int64_t w = 0; w < out.size; ++w) {
        out.words[w] = bits_of(
            w * word, [=](int64_t i) { return squared_distance(x, y, xs[i], ys[i]) <= squared_radius; });
    }
}

int64_t words_from(const Circles& circles, int64_t first) {
    return std::min(words_at_once, (circles.size() - first + word - 1) / word);
}

}  // namespace

NearBits touching(float x, float y, float reach, const Circles& circles, int64_t first) {
    NearBits found{first, words_from(circles, first), {}};
    find_touching(x, y, reach, circles.x(first), circles.y(first), circles.reach(first), found);
    return found;
}

NearBits within(float x, float y, float squared_radius, const Circles& circles, int64_t first) {
    NearBits found{first, words_from(circles, first), {}};
    find_within(x, y, squared_radius, circles.x(first), circles.y(first), found);
    return found;
}

PERCEPTION_SIMD_CLONES void iou_of_lanes(const BoxLanes& a, const BoxLanes& b, float* __restrict iou) {
    for (int lane = 0; lane < BoxLanes::size; ++lane) iou[lane] = iou_of(a.get(lane), b.get(lane));
}

}  // namespace perception::cpu
