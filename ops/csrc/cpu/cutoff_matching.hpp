// Matches predictions with truths at every score cut-off at once. Predictions come by falling score; each is added to
// what is matched so far, and what changes is booked at the strictest cut-off that it passes. A count at a cut-off is
// then the sum over this and the stricter ones, which is the caller's.
#pragma once

#include <cstdint>

namespace perception::cpu {

enum class MatchingRule {
    best_total,   // the greatest sum of weights over all pairings (Hungarian)
    score_first,  // each takes the free truth of the greatest weight, the first of equal ones
};

// P predictions, frame by frame and by falling score within each, T truths, and the E pairs of them that may match.
struct CutoffTask {
    const int64_t* frame_starts;  // (frames + 1,) rows of predictions
    int64_t frames;
    const int64_t* cutoffs;      // (P,) of the strictest cut-off passed, -1: none, so that the row does not take part
    const int64_t* edge_starts;  // (P + 1,) rows of edges
    const int64_t* edge_truths;  // (E,) rows of truths, of the prediction's frame only
    const int64_t* edge_weights; // (E,) > 0
    const double* edge_values;   // (E, V) summed over what is matched
    const int64_t* false_shards; // (P,) first shard that counts the row as a false positive
    const int64_t* false_counts; // (P,) how many shards from there on do
    const int64_t* truth_shards; // (T,) shard that counts it, -1: none
    const int64_t* truth_levels; // (T,) in [0, L)
    int64_t truths, values, shards, num_cutoffs, levels;
};

// Per shard S and cut-off C, row-major, zeroed by the caller.
struct CutoffTally {
    int64_t* hits;             // (S, C, L) truths that were found, by their level
    int64_t* false_positives;  // (S, C) predictions that found none
    double* values;            // (S, C, V)
};

// Threads share blocks of frames, whose tallies are added in order: the same to the last bit for any number of threads.
// O(edges) time where truths have few rivals; for a crowd of n rivals an insertion takes O(n^2) at most. Memory: 16
// bytes a prediction, 48 a truth, and a tally a thread.
void match_at_cutoffs(const CutoffTask& task, MatchingRule rule, const CutoffTally& tally, int threads);

}  // namespace perception::cpu
