#include "cpu/cutoff_matching.hpp"

#include <algorithm>
#include <limits>
#include <vector>

namespace perception::cpu {
namespace {

constexpr int64_t none = -1;
constexpr int64_t frames_at_once = 256;
constexpr int64_t far = std::numeric_limits<int64_t>::max();

// What is known of a truth while one prediction is added.
struct Reach {
    int64_t distance = far;  // of the cheapest way to it
    int64_t edge = none;     // the last of that way
    int64_t from = none;     // the prediction it starts at
    bool is_final = false;
};

// The pairing so far. Predictions and truths of different frames never meet, so threads write to different rows.
struct Pairing {
    Pairing(int64_t predictions, int64_t truths)
        : price_of_prediction(predictions), matched_edge(predictions, none), price_of_truth(truths),
          owner(truths, none), reach(truths) {}

    std::vector<int64_t> price_of_prediction, matched_edge, price_of_truth, owner;
    std::vector<Reach> reach;
};

class BlockMatcher {
   public:
    BlockMatcher(const CutoffTask& task, Pairing& pairing)
        : task_(task), pairing_(pairing), hits_(task.shards * task.num_cutoffs * task.levels),
          false_positives_(task.shards * task.num_cutoffs), values_(task.shards * task.num_cutoffs * task.values) {}

    void add(int64_t row, MatchingRule rule) {
        cutoff_ = task_.cutoffs[row];
        if (cutoff_ == none) return;
        if (rule == MatchingRule::best_total) {
            add_to_best_total(row);
        } else {
            add_greedily(row);
        }
    }

    void add_to(const CutoffTally& tally) const {
        add_up(hits_, tally.hits);
        add_up(false_positives_, tally.false_positives);
        add_up(values_, tally.values);
    }

   private:
    template <typename T>
    static void add_up(const std::vector<T>& part, T* whole) {
        for (size_t i = 0; i < part.size(); ++i) whole[i] += part[i];
    }

    void add_greedily(int64_t row) {
        int64_t best = none;
        for (int64_t edge = task_.edge_starts[row]; edge < task_.edge_starts[row + 1]; ++edge) {
            const bool is_free = pairing_.owner[task_.edge_truths[edge]] == none;
            if (is_free && (best == none || task_.edge_weights[edge] > task_.edge_weights[best])) best = edge;
        }
        if (best == none) {
            book_false_positive(row);
        } else {
            pairing_.owner[task_.edge_truths[best]] = row;
            book_hit(task_.edge_truths[best]);
            book_values(best, +1);
        }
    }

    // Shortest augmenting path (Kuhn 1955; Jonker and Volgenant 1987) over costs -weight. Every prediction also has a
    // truth of its own of weight 0: the way that ends there leaves it unmatched, for good, since no other way leads
    // back from there. Prices keep all costs non-negative, so Dijkstra's search serves.
    void add_to_best_total(int64_t row) {
        touched_.clear();
        finished_.clear();
        int64_t end_row = row, end_truth = none, end_distance = 0;  // unmatched, for which the row pays nothing
        look_from(row, 0);
        for (;;) {
            const int64_t truth = nearest_open();
            if (truth == none) break;
            Reach& reach = pairing_.reach[truth];
            const bool is_free = pairing_.owner[truth] == none;
            if (reach.distance > end_distance || (reach.distance == end_distance && !is_free)) break;
            if (is_free) {
                end_row = reach.from;
                end_truth = truth;
                end_distance = reach.distance;
                break;
            }
            reach.is_final = true;
            finished_.push_back(truth);
            const int64_t owner = pairing_.owner[truth];
            const int64_t to_drop = reach.distance - pairing_.price_of_prediction[owner];
            if (to_drop < end_distance) {
                end_distance = to_drop;
                end_row = owner;
            }
            look_from(owner, reach.distance);
        }
        settle_prices(row, end_distance);
        rewire(row, end_row, end_truth);
        for (const int64_t truth : touched_) pairing_.reach[truth] = {};
    }

    void look_from(int64_t row, int64_t distance) {
        for (int64_t edge = task_.edge_starts[row]; edge < task_.edge_starts[row + 1]; ++edge) {
            const int64_t truth = task_.edge_truths[edge];
            Reach& reach = pairing_.reach[truth];
            if (reach.is_final) continue;
            const int64_t way = distance - task_.edge_weights[edge] - pairing_.price_of_prediction[row] -
                                pairing_.price_of_truth[truth];
            if (reach.edge == none) touched_.push_back(truth);
            if (way < reach.distance) reach = {way, edge, row, false};
        }
    }

    int64_t nearest_open() const {
        int64_t best = none;
        for (const int64_t truth : touched_) {
            const Reach& reach = pairing_.reach[truth];
            if (!reach.is_final && (best == none || reach.distance < pairing_.reach[best].distance)) best = truth;
        }
        return best;
    }

    void settle_prices(int64_t row, int64_t end_distance) {
        pairing_.price_of_prediction[row] += end_distance;
        for (const int64_t truth : finished_) {
            const int64_t saved = end_distance - pairing_.reach[truth].distance;
            pairing_.price_of_truth[truth] -= saved;
            pairing_.price_of_prediction[pairing_.owner[truth]] += saved;
        }
    }

    // Hands the truths along the way from `row` on: each prediction on it takes the next truth, the last is unmatched
    // or takes a free one.
    void rewire(int64_t row, int64_t end_row, int64_t end_truth) {
        if (end_truth == none) {
            book_false_positive(end_row);
        } else {
            book_hit(end_truth);
        }
        int64_t at = end_row, next_edge = end_truth == none ? none : pairing_.reach[end_truth].edge;
        for (;;) {
            const int64_t before = pairing_.matched_edge[at];
            if (before != none) book_values(before, -1);
            if (next_edge != none) {
                book_values(next_edge, +1);
                pairing_.owner[task_.edge_truths[next_edge]] = at;
            }
            pairing_.matched_edge[at] = next_edge;
            if (at == row) break;
            const Reach& reach = pairing_.reach[task_.edge_truths[before]];
            next_edge = reach.edge;
            at = reach.from;
        }
    }

    void book_hit(int64_t truth) {
        const int64_t shard = task_.truth_shards[truth];
        if (shard != none) ++hits_[place(shard) * task_.levels + task_.truth_levels[truth]];
    }

    void book_false_positive(int64_t row) {
        const int64_t first = task_.false_shards[row];
        for (int64_t shard = first; shard < first + task_.false_counts[row]; ++shard) ++false_positives_[place(shard)];
    }

    void book_values(int64_t edge, int sign) {
        const int64_t shard = task_.truth_shards[task_.edge_truths[edge]];
        if (shard == none) return;
        double* sums = values_.data() + place(shard) * task_.values;
        for (int64_t v = 0; v < task_.values; ++v) sums[v] += sign * task_.edge_values[edge * task_.values + v];
    }

    int64_t place(int64_t shard) const { return shard * task_.num_cutoffs + cutoff_; }

    const CutoffTask& task_;
    Pairing& pairing_;
    int64_t cutoff_ = none;
    std::vector<int64_t> touched_, finished_;  // truths that a way was found to, and those whose way is the cheapest
    std::vector<int64_t> hits_, false_positives_;
    std::vector<double> values_;
};

}  // namespace

void match_at_cutoffs(const CutoffTask& task, MatchingRule rule, const CutoffTally& tally,
                      [[maybe_unused]] int threads) {
    Pairing pairing(task.frame_starts[task.frames], task.truths);
    const int64_t blocks = (task.frames + frames_at_once - 1) / frames_at_once;
#pragma omp parallel for schedule(dynamic) ordered num_threads(threads) if (threads > 1 && blocks > 1)
    for (int64_t block = 0; block < blocks; ++block) {
        BlockMatcher matcher(task, pairing);
        const int64_t last = std::min(task.frames, (block + 1) * frames_at_once);
        for (int64_t row = task.frame_starts[block * frames_at_once]; row < task.frame_starts[last]; ++row) {
            matcher.add(row, rule);
        }
#pragma omp ordered
        matcher.add_to(tally);
    }
}

}  // namespace perception::cpu
