// What the ops on pairs of boxes share: a test of 64 circles at once, and IoUs computed 32 pairs at once.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <vector>

#include "common/rotated_box.hpp"
#include "cpu/simd.hpp"

namespace perception::cpu {

constexpr int64_t word = 64;          // circles behind one word of bits
constexpr int64_t words_at_once = 8;  // tested before anyone looks at the bits

// Rows of boxes, and the turn of each.
struct BevBoxes {
    const BevBox* rows;
    const Turn* turns;
    int64_t size;

    PlacedBox placed_at(int64_t row) const { return placed(rows[row], turns[row]); }
};

// A list of circles, an array a coordinate; whole words, completed by circles that nothing touches.
class Circles {
   public:
    explicit Circles(int64_t room = 0) : x_(padded(room), nowhere), y_(padded(room)), reach_(padded(room)) {}

    int64_t size() const { return size_; }
    void append(float x, float y, float reach) {
        if (size_ == static_cast<int64_t>(x_.size())) grow();
        x_[size_] = x;
        y_[size_] = y;
        reach_[size_++] = reach;
    }
    const float* x(int64_t at) const { return x_.data() + at; }
    const float* y(int64_t at) const { return y_.data() + at; }
    const float* reach(int64_t at) const { return reach_.data() + at; }

   private:
    static constexpr float nowhere = std::numeric_limits<float>::quiet_NaN();
    void grow() {
        const size_t room = padded(2 * size_ + word);
        x_.resize(room, nowhere);
        y_.resize(room);
        reach_.resize(room);
    }
    static size_t padded(int64_t room) { return static_cast<size_t>((room + word - 1) / word * word); }

    std::vector<float> x_, y_, reach_;
    int64_t size_ = 0;
};

// Which of a few words of circles, from `first` on, are found to touch one.
struct NearBits {
    int64_t first;
    int64_t size;  // words in use
    uint64_t words[words_at_once];

    // Calls visit(i) for every circle found, word after word.
    template <typename Visit>
    void for_each(Visit visit) const {
        for (int64_t w = 0; w < size; ++w) {
            for (uint64_t bits = words[w]; bits != 0; bits &= bits - 1) {
                visit(first + w * word + circle_of(std::countr_zero(bits)));
            }
        }
    }

    // Byte l of a word speaks of the circles l, l + 8, l + 16, ...: so a vector of eight tests becomes bits in place.
    static int64_t circle_of(int bit) { return bit % 8 * 8 + bit / 8; }
};

// Finds the circles that the circle of a box touches.
NearBits touching(float x, float y, float reach, const Circles& circles, int64_t first);

// Calls visit(i) for each of them, upwards word by word.
template <typename Visit>
void for_each_touching(float x, float y, float reach, const Circles& circles, Visit visit) {
    for (int64_t first = 0; first < circles.size(); first += words_at_once * word) {
        touching(x, y, reach, circles, first).for_each(visit);
    }
}

// Boxes side by side, so that one instruction serves many pairs.
struct BoxLanes {
    static constexpr int size = 32;
    float x[size], y[size], half_length[size], half_width[size], cos[size], sin[size], area[size];

    void set(int lane, const PlacedBox& box) {
        x[lane] = box.x;
        y[lane] = box.y;
        half_length[lane] = box.half_length;
        half_width[lane] = box.half_width;
        cos[lane] = box.cos;
        sin[lane] = box.sin;
        area[lane] = box.area;
    }
    PlacedBox get(int lane) const {
        return {x[lane], y[lane], half_length[lane], half_width[lane], cos[lane], sin[lane], area[lane]};
    }
};

// iou (BoxLanes::size,); of the first `count` lanes, and perhaps of others.
void iou_of_lanes(const BoxLanes& a, const BoxLanes& b, int count, float* iou);

// Collects pairs until the lanes are full, then calls found(place, iou) for each; flush() finishes the rest.
template <typename Found, typename Place = int64_t>
class PairQueue {
   public:
    explicit PairQueue(Found found) : found_(found) {}

    void push(const PlacedBox& a, const PlacedBox& b, Place place) {
        a_.set(size_, a);
        b_.set(size_, b);
        places_[size_] = place;
        if (++size_ == BoxLanes::size) flush();
    }

    void flush() {
        if (size_ == 0) return;
        float iou[BoxLanes::size];
        iou_of_lanes(a_, b_, size_, iou);
        for (int lane = 0; lane < size_; ++lane) found_(places_[lane], iou[lane]);
        size_ = 0;
    }

   private:
    Found found_;
    BoxLanes a_{}, b_{};
    Place places_[BoxLanes::size];
    int size_ = 0;
};

}  // namespace perception::cpu
