#include "cpu/rotated_nms.hpp"

#include <algorithm>
#include <array>
#include <vector>

#include "cpu/suppression.hpp"

namespace perception::cpu {
namespace {

class RotatedOverlap {
   public:
    RotatedOverlap(const BevBoxes& boxes, const int64_t* order, float threshold)
        : boxes_(static_cast<size_t>(boxes.size)), circles_(boxes_.size()), threshold_(threshold) {
        float widest = 0.0f;
        for (int64_t row = 0; row < boxes.size; ++row) widest = std::max(widest, reach_of(boxes.rows[row]));
        for (int64_t rank = 0; rank < boxes.size; ++rank) {
            boxes_[rank] = boxes.placed_at(order[rank]);
            circles_[rank] = rival_circle(boxes.rows[order[rank]], widest, threshold);
            closest_ = std::max(closest_, circles_[rank].close);
        }
        reach_ = static_cast<double>(widest) + closest_;
    }

    double x(int64_t rank) const { return boxes_[rank].x; }
    double reach() const { return reach_; }

    void make_room(int64_t slots) {
        const auto room = static_cast<size_t>(slots);
        x_.assign(room, empty);
        y_.resize(room);
        reaches_.resize(room);
        closes_.resize(room);
        columns_ = {x_.data(), y_.data(), reaches_.data(), closes_.data()};
    }
    void put(int64_t slot, int64_t rank) {
        x_[slot] = circles_[rank].x;
        y_[slot] = circles_[rank].y;
        reaches_[slot] = circles_[rank].reach;
        closes_[slot] = circles_[rank].close;
    }
    void clear(int64_t slot) { x_[slot] = empty; }

    int64_t find(int64_t rank, const Stretch& stretch, int64_t* found) const {
        return kernels_.find_rivals(columns_, circles_[rank], stretch, found);
    }

    template <typename Found>
    auto judge(Found found) const {
        return Judge(*this, [threshold = threshold_, found](RankPair pair, float iou) {
            if (iou > threshold) found(pair.stronger, pair.weaker);
        });
    }

   private:
    struct RankPair {
        int64_t stronger, weaker;
    };

    template <typename Found>
    class Judge {
       public:
        Judge(const RotatedOverlap& of, Found found) : boxes_(of.boxes_.data()), queue_(found) {}
        void push(int64_t stronger, int64_t weaker) {
            queue_.push(boxes_[stronger], boxes_[weaker], {stronger, weaker});
        }
        void flush() { queue_.flush(); }

       private:
        const PlacedBox* boxes_;
        PairQueue<Found, RankPair> queue_;
    };

    const SuppressionKernels& kernels_ = PERCEPTION_KERNELS(suppression_kernels);
    std::vector<PlacedBox> boxes_;
    std::vector<RivalCircle> circles_;             // of each rank
    std::vector<float> x_, y_, reaches_, closes_;  // of each slot
    CircleColumns columns_{};
    float threshold_, closest_ = 0.0f;
    double reach_;
};

}  // namespace

int64_t rotated_nms(const BevBoxes& boxes, const int64_t* order, float threshold, int64_t* kept, int threads) {
    const int64_t survivors = greedy_survivors(RotatedOverlap(boxes, order, threshold), boxes.size, kept, threads);
    std::transform(kept, kept + survivors, kept, [=](int64_t rank) { return order[rank]; });
    return survivors;
}

}  // namespace perception::cpu
