// Greedy suppression: ranks are visited from the best, and a rank falls when an earlier survivor suppresses it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "cpu/suppression_kernel.hpp"

namespace perception::cpu {

constexpr int64_t block_ranks = 64;       // settled together: their relations among each other fill one word a rank
constexpr int64_t few_circles = 1 << 17;  // below this, waking the threads takes longer than the work

// Strips across x, at least as wide as suppression reaches: it stays within a strip and the two beside it. A strip has
// slots for all of its ranks, side by side; they are filled from its start.
class Strips {
   public:
    // `Relation` as below.
    template <typename Relation>
    Strips(const Relation& relation, int64_t ranks) : number_(static_cast<size_t>(ranks)) {
        double low = 0.0, high = 0.0;
        for (int64_t rank = 0; rank < ranks; ++rank) {
            const double x = relation.x(rank);
            low = rank == 0 ? x : std::min(low, x);
            high = rank == 0 ? x : std::max(high, x);
        }
        const double reach = relation.reach() * 1.00001;  // more than rounding can blur
        const double width = std::max(reach, (high - low) / most_strips);
        const double strips_per_metre = width > 0.0 ? 1.0 / width : 0.0;
        strips_.resize(static_cast<size_t>((high - low) * strips_per_metre) + 1);
        for (int64_t rank = 0; rank < ranks; ++rank) {
            number_[rank] = static_cast<int32_t>((relation.x(rank) - low) * strips_per_metre);
            ++strips_[number_[rank]].size;
        }
        for (Span& strip : strips_) {
            strip.first = slots_;
            slots_ += (strip.size + slot_step - 1) / slot_step * slot_step;
            strip.size = 0;
        }
    }

    int64_t slots() const { return slots_; }
    Span& of(int64_t rank) { return strips_[number_[rank]]; }

    // The strips that can hold a suppressor of the rank.
    std::span<const Span> near(int64_t rank) const {
        const size_t own = static_cast<size_t>(number_[rank]), first = own - (own > 0);
        return {strips_.data() + first, std::min(own + 2, strips_.size()) - first};
    }

   private:
    static constexpr int most_strips = 256;

    std::vector<int32_t> number_;  // strip of each rank
    std::vector<Span> strips_;     // their slots in use
    int64_t slots_ = 0;
};

// `Relation` says who suppresses whom:
//   x(rank)                      where a rank is [m]
//   reach()                      no rank suppresses another that is farther away than this, along x
//   make_room(slots)             asks for a table of what the tests want to know, a row a slot, all empty
//   put(slot, rank), clear(slot) writes a row of the table, or empties it
//   find(rank, stretch, found)   writes slots whose ranks may suppress the rank, and gives their number
//   judge(found)                 an object with push(stronger, weaker) and flush(), which calls found(stronger, weaker)
//                                for each pushed pair of ranks that is a suppression, at the latest in flush()
template <typename Relation>
class GreedySuppression {
   public:
    // kept: room for all ranks; the survivors are written there, ascending.
    GreedySuppression(Relation& relation, int64_t ranks, int64_t* kept)
        : relation_(relation), strips_(relation, ranks), rank_of_(static_cast<size_t>(strips_.slots())), kept_(kept) {
        relation.make_room(strips_.slots());
    }

    // Decides on a block of `count` ranks from `start`. All of them enter the strips, where each meets the survivors
    // and those of its block that are ahead of it, whether or not these will survive; then the fallen leave.
    void settle(int64_t start, int64_t count, [[maybe_unused]] int threads) {
        fallen_ = {};
        suppressors_ = {};
        if (threads > 1 && survivors_ * count >= few_circles) {
            for (int64_t rank = start; rank < start + count; ++rank) enter(start, rank);
#pragma omp parallel num_threads(threads)
            {
                auto judge = judge_of_block(start);
#pragma omp for schedule(static)
                for (int64_t rank = start; rank < start + count; ++rank) compare(judge, start, rank);
                judge.flush();
            }
        } else {
            auto judge = judge_of_block(start);
            for (int64_t rank = start; rank < start + count; ++rank) {
                compare(judge, start, rank);
                enter(start, rank);
            }
            judge.flush();
        }
        leave(start, count);
    }

    int64_t survivors() const { return survivors_; }

   private:
    auto judge_of_block(int64_t start) {
        return relation_.judge([this, start](int64_t stronger, int64_t weaker) {
            if (stronger < start)
                fallen_[weaker - start] = true;
            else
                suppressors_[weaker - start] |= uint64_t{1} << (stronger - start);
        });
    }

    void enter(int64_t start, int64_t rank) {
        Span& strip = strips_.of(rank);
        slot_of_[rank - start] = strip.first + strip.size++;
        write(slot_of_[rank - start], rank);
    }

    void write(int64_t slot, int64_t rank) {
        rank_of_[slot] = rank;
        relation_.put(slot, rank);
    }

    template <typename Judge>
    void compare(Judge& judge, int64_t start, int64_t rank) const {
        std::array<int64_t, most_found + 1> found;
        const std::span<const Span> near = strips_.near(rank);
        int64_t longest = 0;
        for (const Span& strip : near) longest = std::max(longest, strip.size);
        for (int64_t from = 0; from < longest && !fallen_[rank - start]; from += slots_at_once) {
            const int64_t number = relation_.find(rank, {near.data(), std::ssize(near), from}, found.data());
            for (int64_t i = 0; i < number; ++i) {
                const int64_t stronger = rank_of_[found[i]];
                if (stronger < rank) judge.push(stronger, rank);
            }
        }
    }

    // Keeps the survivors of the block and closes the gaps that the fallen leave.
    void leave(int64_t start, int64_t count) {
        for (int64_t rank = start; rank < start + count; ++rank) --strips_.of(rank).size;
        uint64_t alive = 0;
        for (int64_t i = 0; i < count; ++i) {
            if (fallen_[i] || (suppressors_[i] & alive) != 0) {
                relation_.clear(slot_of_[i]);
                continue;
            }
            alive |= uint64_t{1} << i;
            kept_[survivors_++] = start + i;
            Span& strip = strips_.of(start + i);
            const int64_t slot = strip.first + strip.size++;
            if (slot == slot_of_[i]) continue;
            write(slot, start + i);
            relation_.clear(slot_of_[i]);
        }
    }

    Relation& relation_;
    Strips strips_;
    std::vector<int64_t> rank_of_;  // each slot in use
    int64_t* kept_;
    int64_t survivors_ = 0;
    std::array<int64_t, block_ranks> slot_of_;       // each rank of the block, as below
    std::array<bool, block_ranks> fallen_;           // to a survivor of an earlier block
    std::array<uint64_t, block_ranks> suppressors_;  // bit i of word j: i suppresses j
};

// Writes the survivors among `ranks` ranks to `kept`, ascending, and returns their number. Threads share the
// comparisons of a block; at most O(ranks * survivors) tests, far fewer where boxes are spread out, and O(ranks) memory.
template <typename Relation>
int64_t greedy_survivors(Relation relation, int64_t ranks, int64_t* kept, int threads) {
    GreedySuppression<Relation> greedy(relation, ranks, kept);
    for (int64_t start = 0; start < ranks; start += block_ranks) {
        greedy.settle(start, std::min(block_ranks, ranks - start), threads);
    }
    return greedy.survivors();
}

}  // namespace perception::cpu
