#include "cpu/rotated_nms.hpp"

#include <algorithm>
#include <vector>

#include "cpu/suppression.hpp"

namespace perception::cpu {
namespace {

class RotatedOverlap {
   public:
    RotatedOverlap(const BevBoxes& boxes, const int64_t* order, float threshold)
        : boxes_(static_cast<size_t>(boxes.size)), reach_(static_cast<size_t>(boxes.size)), threshold_(threshold) {
        for (int64_t rank = 0; rank < boxes.size; ++rank) {
            boxes_[rank] = boxes.placed_at(order[rank]);
            reach_[rank] = reach_of(boxes.rows[order[rank]]);
        }
    }

    void append(Circles& circles, int64_t rank) const {
        circles.append(boxes_[rank].x, boxes_[rank].y, reach_[rank]);
    }

    NearBits near(const Circles& circles, int64_t first, int64_t rank) const {
        return touching(boxes_[rank].x, boxes_[rank].y, reach_[rank], circles, first);
    }

    template <typename Found>
    auto judge(Found found) const {
        return Judge(*this, [threshold = threshold_, found](int64_t place, float iou) {
            if (iou > threshold) found(place);
        });
    }

   private:
    template <typename Found>
    class Judge {
       public:
        Judge(const RotatedOverlap& of, Found found) : boxes_(of.boxes_.data()), queue_(found) {}
        void push(int64_t stronger, int64_t weaker, int64_t place) {
            queue_.push(boxes_[stronger], boxes_[weaker], place);
        }
        void flush() { queue_.flush(); }

       private:
        const PlacedBox* boxes_;
        PairQueue<Found> queue_;
    };

    std::vector<PlacedBox> boxes_;
    std::vector<float> reach_;
    float threshold_;
};

}  // namespace

int64_t rotated_nms(const BevBoxes& boxes, const int64_t* order, float threshold, int64_t* kept, int threads) {
    const int64_t survivors = greedy_survivors(RotatedOverlap(boxes, order, threshold), boxes.size, kept, threads);
    std::transform(kept, kept + survivors, kept, [=](int64_t rank) { return order[rank]; });
    return survivors;
}

}  // namespace perception::cpu
