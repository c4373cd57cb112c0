#pragma once

#include <cstdint>

namespace perception::cpu {

// Predicted centres, best first over all samples.
struct RankedCenters {
    const double* xy;        // (K, 2) row-major
    const int32_t* samples;  // (K,) in [0, S), or negative: of no sample
    int64_t count;
};

// True centres sample by sample: those of sample s are the rows starts[s] .. starts[s + 1] - 1.
struct TrueCenters {
    const double* xy;        // (G, 2) row-major
    const int64_t* starts;   // (S + 1,)
    int64_t samples;
};

// For each of `num_thresholds` thresholds alone, and in the order of the predictions: a prediction takes the nearest
// free true centre of its sample if that is nearer than the threshold, of equally near ones the first.
// matches (T, K): the row of the true centre, or -1.
// A distance is sqrt(dx * dx + dy * dy); with `fused` the second product is added without being rounded first.
// Parallel over samples; O(K G_s + T K near) time, where G_s are the true centres of a sample and near those within the
// largest threshold; 4 K + 16 S bytes. The result does not depend on the number of threads.
void greedy_centers(const RankedCenters& predictions, const TrueCenters& truth, const double* thresholds,
                    int64_t num_thresholds, bool fused, int32_t* matches, int threads);

}  // namespace perception::cpu
