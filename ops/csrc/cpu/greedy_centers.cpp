#include "cpu/greedy_centers.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace perception::cpu {
namespace {

constexpr int64_t samples_at_once = 16;
constexpr int64_t few_centers = 1 << 11;  // below this, waking the threads takes longer than the work

struct Near {
    int64_t row;
    double distance;
};

double distance(const double* a, const double* b, bool fused) {
    const double dx = a[0] - b[0], dy = a[1] - b[1];
    return std::sqrt(fused ? std::fma(dy, dy, dx * dx) : dx * dx + dy * dy);
}

// The ranks of each sample's predictions, in ascending rank: those of sample s are ranks[starts[s]] ..
// ranks[starts[s + 1] - 1].
struct RanksBySample {
    std::vector<int64_t> starts;
    std::vector<int32_t> ranks;

    RanksBySample(const RankedCenters& of, int64_t samples) : starts(static_cast<size_t>(samples) + 1) {
        for (int64_t i = 0; i < of.count; ++i)
            if (of.samples[i] >= 0) ++starts[of.samples[i] + 1];
        for (int64_t s = 0; s < samples; ++s) starts[s + 1] += starts[s];
        ranks.resize(static_cast<size_t>(starts[samples]));
        std::vector<int64_t> next(starts.begin(), starts.end() - 1);
        for (int64_t i = 0; i < of.count; ++i)
            if (of.samples[i] >= 0) ranks[next[of.samples[i]]++] = static_cast<int32_t>(i);
    }
};

}  // namespace

void greedy_centers(const RankedCenters& predictions, const TrueCenters& truth, const double* thresholds,
                    int64_t num_thresholds, bool fused, int32_t* matches, [[maybe_unused]] int threads) {
    std::fill(matches, matches + num_thresholds * predictions.count, -1);
    if (num_thresholds == 0) return;
    const double farthest = *std::max_element(thresholds, thresholds + num_thresholds);
    const RanksBySample of(predictions, truth.samples);
#pragma omp parallel num_threads(threads) if (threads > 1 && predictions.count > few_centers)
    {
        std::vector<Near> near;
        std::vector<uint8_t> taken;  // (T, G_s)
#pragma omp for schedule(dynamic, samples_at_once)
        for (int64_t s = 0; s < truth.samples; ++s) {
            const int64_t first = truth.starts[s], count = truth.starts[s + 1] - first;
            taken.assign(static_cast<size_t>(num_thresholds * count), 0);
            for (int64_t k = of.starts[s]; count > 0 && k < of.starts[s + 1]; ++k) {
                const int64_t rank = of.ranks[k];
                near.clear();
                for (int64_t g = 0; g < count; ++g) {
                    const double d = distance(predictions.xy + 2 * rank, truth.xy + 2 * (first + g), fused);
                    if (d < farthest) near.push_back({g, d});
                }
                for (int64_t t = 0; t < num_thresholds; ++t) {
                    Near best{-1, std::numeric_limits<double>::infinity()};
                    for (const Near& other : near)
                        if (other.distance < best.distance && taken[t * count + other.row] == 0) best = other;
                    if (best.row < 0 || !(best.distance < thresholds[t])) continue;
                    taken[t * count + best.row] = 1;
                    matches[t * predictions.count + rank] = static_cast<int32_t>(first + best.row);
                }
            }
        }
    }
}

}  // namespace perception::cpu
