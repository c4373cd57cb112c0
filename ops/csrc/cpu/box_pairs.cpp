#include "cpu/box_pairs.hpp"

#include <algorithm>

namespace perception::cpu {
namespace {

constexpr int lanes = 8;

// Of the `count` circles from `first` on, at most a word.
template <typename IsNear>
inline uint64_t bits_of(int64_t first, int64_t count, IsNear is_near) {
    const int64_t rounds = std::min(count + lanes - 1, word) / lanes;
    uint32_t bytes[lanes] = {};
    for (int64_t round = 0; round < rounds; ++round) {
        for (int lane = 0; lane < lanes; ++lane) {
            bytes[lane] |= static_cast<uint32_t>(is_near(first + round * lanes + lane)) << round;
        }
    }
    uint64_t bits = 0;
    for (int lane = 0; lane < lanes; ++lane) bits |= static_cast<uint64_t>(bytes[lane]) << (8 * lane);
    return bits;
}

PERCEPTION_SIMD_CLONES void find_touching(float x, float y, float reach, const float* xs, const float* ys,
                                          const float* reaches, int64_t count, NearBits& out) {
    for (int64_t w = 0; w < out.size; ++w) {
        out.words[w] = bits_of(w * word, count - w * word, [=](int64_t i) {
            return circles_touch(x, y, reach, xs[i], ys[i], reaches[i]);
        });
    }
}

int64_t words_from(const Circles& circles, int64_t first) {
    return std::min(words_at_once, (circles.size() - first + word - 1) / word);
}

}  // namespace

NearBits touching(float x, float y, float reach, const Circles& circles, int64_t first) {
    NearBits found;  // its words are written below, as many as are in use
    found.first = first;
    found.size = words_from(circles, first);
    find_touching(x, y, reach, circles.x(first), circles.y(first), circles.reach(first), circles.size() - first, found);
    return found;
}

PERCEPTION_SIMD_CLONES void iou_of_lanes(const BoxLanes& a, const BoxLanes& b, int count, float* __restrict iou) {
    constexpr int wave = 16;  // no vector is wider
    static_assert(BoxLanes::size % wave == 0);
    const int last = (count + wave - 1) / wave * wave;
    for (int lane = 0; lane < last; ++lane) iou[lane] = iou_of(a.get(lane), b.get(lane));
}

}  // namespace perception::cpu
