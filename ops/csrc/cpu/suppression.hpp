// Greedy suppression: ranks are visited from the best, and a rank falls when an earlier survivor suppresses it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>

#include "cpu/box_pairs.hpp"

namespace perception::cpu {

constexpr int64_t block_ranks = 64;       // settled together: their relations among each other fill one word a rank
constexpr int64_t few_circles = 1 << 14;  // below this, waking the threads takes longer than the work

// `Relation` says who suppresses whom:
//   append(circles, rank)         adds the rank's circle to a list
//   near(circles, first, rank)    NearBits of the circles from `first` whose ranks may suppress it
//   judge(found)                  an object with push(stronger, weaker, place) and flush(), which calls found(place)
//                                 for each pushed pair of ranks that is a suppression, at the latest in flush()
template <typename Relation>
class GreedySuppression {
   public:
    // kept: room for all ranks; the survivors are written there, ascending.
    GreedySuppression(const Relation& relation, int64_t ranks, int64_t* kept)
        : relation_(relation), survivors_(ranks), standing_(block_ranks), kept_(kept) {}

    // Compares `count` ranks from `start` with the survivors so far, each until a suppressor shows.
    void compare_with_survivors(int64_t start, int64_t count, [[maybe_unused]] int threads) {
        fallen_ = {};
        const int64_t survivors = survivors_.size();
#pragma omp parallel num_threads(threads) if (threads > 1 && survivors * count >= few_circles)
        {
            auto judge = relation_.judge([this](int64_t place) { fallen_[place] = true; });
#pragma omp for schedule(static)
            for (int64_t c = 0; c < count; ++c) {
                for_each_near(
                    survivors_, [&](int64_t first) { return relation_.near(survivors_, first, start + c); },
                    [&](int64_t i) { judge.push(kept_[i], start + c, c); }, [&] { return fallen_[c]; });
            }
            judge.flush();
        }
    }

    // Decides among those of the ranks that still stand, and adds its survivors to the others.
    void settle(int64_t start, int64_t count) {
        std::array<int64_t, block_ranks> rank_of;
        std::array<uint64_t, block_ranks> suppressors{};  // bit i of word j: i suppresses j, both places in standing_
        auto judge = relation_.judge([&](int64_t place) {
            suppressors[place / block_ranks] |= uint64_t{1} << place % block_ranks;
        });
        standing_.clear();
        for (int64_t c = 0; c < count; ++c) {
            if (fallen_[c]) continue;
            const int64_t rank = start + c, j = standing_.size();
            for_each_near(
                standing_, [&](int64_t first) { return relation_.near(standing_, first, rank); },
                [&](int64_t i) { judge.push(rank_of[i], rank, j * block_ranks + i); }, [] { return false; });
            rank_of[j] = rank;
            relation_.append(standing_, rank);
        }
        judge.flush();
        uint64_t alive = 0;
        for (int64_t j = 0; j < standing_.size(); ++j) {
            if (suppressors[j] & alive) continue;
            alive |= uint64_t{1} << j;
            kept_[survivors_.size()] = rank_of[j];
            relation_.append(survivors_, rank_of[j]);
        }
    }

    int64_t survivors() const { return survivors_.size(); }

   private:
    const Relation& relation_;
    Circles survivors_, standing_;
    int64_t* kept_;
    std::array<bool, block_ranks> fallen_{};
};

// Writes the survivors among `ranks` ranks to `kept`, ascending, and returns their number. Threads share the comparison
// of a block with the survivors so far; O(ranks * survivors) circle tests at most, and memory for the survivors alone.
template <typename Relation>
int64_t greedy_survivors(const Relation& relation, int64_t ranks, int64_t* kept, int threads) {
    GreedySuppression<Relation> greedy(relation, ranks, kept);
    for (int64_t start = 0; start < ranks; start += block_ranks) {
        const int64_t count = std::min(block_ranks, ranks - start);
        greedy.compare_with_survivors(start, count, threads);
        greedy.settle(start, count);
    }
    return greedy.survivors();
}

}  // namespace perception::cpu
