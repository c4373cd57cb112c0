#include "cpu/segment_reduce.hpp"

#include <algorithm>
#include <vector>

#include "common/segment.hpp"
#include "cpu/simd.hpp"

namespace perception::cpu {
namespace {

constexpr int64_t segments_at_once = 256;  // segments differ in size, so threads fetch them in portions
constexpr int64_t few_numbers = 1 << 14;   // below this, waking the threads takes longer than the work

// Rows sorted by segment: those of segment m are order[starts[m]] .. order[starts[m + 1] - 1], ascending.
struct SortedRows {
    std::vector<int32_t> starts, order;

    explicit SortedRows(const RowSegments& of)
        : starts(static_cast<size_t>(of.segments) + 2), order(static_cast<size_t>(of.rows)) {
        for (int64_t i = 0; i < of.rows; ++i) ++starts[of.index[i] + 2];
        for (size_t m = 2; m < starts.size(); ++m) starts[m] += starts[m - 1];
        for (int64_t i = 0; i < of.rows; ++i) order[starts[of.index[i] + 1]++] = static_cast<int32_t>(i);
    }

    const int32_t* begin(int64_t segment) const { return order.data() + starts[segment]; }
    const int32_t* end(int64_t segment) const { return order.data() + starts[segment + 1]; }
};

// The loops over channels: one function each, so that they are compiled for several vector widths.

template <typename T>
PERCEPTION_SIMD_CLONES void load_row(const T* row, int64_t channels, float* __restrict out) {
    for (int64_t c = 0; c < channels; ++c) out[c] = widen(row[c]);
}

template <typename T>
PERCEPTION_SIMD_CLONES void keep_larger(const T* row, int32_t number, int64_t channels, float* __restrict best,
                                        int32_t* __restrict argmax) {
    for (int64_t c = 0; c < channels; ++c) {
        const float value = widen(row[c]);
        const bool wins = beats(value, best[c]);
        best[c] = wins ? value : best[c];
        argmax[c] = wins ? number : argmax[c];
    }
}

template <typename T>
PERCEPTION_SIMD_CLONES void add_row(const T* row, int64_t channels, float* __restrict total) {
    for (int64_t c = 0; c < channels; ++c) total[c] += widen(row[c]);
}

template <typename T>
PERCEPTION_SIMD_CLONES void store_row(const float* values, float divisor, int64_t channels, T* __restrict out) {
    for (int64_t c = 0; c < channels; ++c) narrow(values[c] / divisor, out[c]);
}

template <typename T>
PERCEPTION_SIMD_CLONES void take_won(const T* grad, const int32_t* argmax, int32_t number, int64_t channels,
                                     T* __restrict out) {
    for (int64_t c = 0; c < channels; ++c) {
        const float value = widen(grad[c]);  // read in any case: a load under a condition is no vector load
        narrow(argmax[c] == number ? value : 0.0f, out[c]);
    }
}

}  // namespace

template <typename T>
void segment_max(const T* features, const RowSegments& of, int64_t channels, T* out, int32_t* argmax,
                 [[maybe_unused]] int threads) {
    const SortedRows sorted(of);
#pragma omp parallel num_threads(threads) if (threads > 1 && of.rows * channels > few_numbers)
    {
        std::vector<float> best(static_cast<size_t>(channels));
#pragma omp for schedule(dynamic, segments_at_once)
        for (int64_t m = 0; m < of.segments; ++m) {
            const int32_t *begin = sorted.begin(m), *end = sorted.end(m);
            T* top = out + m * channels;
            int32_t* top_row = argmax + m * channels;
            if (begin == end) {
                std::fill(top, top + channels, T{});
                std::fill(top_row, top_row + channels, static_cast<int32_t>(of.rows));
                continue;
            }
            load_row(features + *begin * channels, channels, best.data());
            std::fill(top_row, top_row + channels, *begin);
            for (const int32_t* row = begin + 1; row != end; ++row) {
                keep_larger(features + *row * channels, *row, channels, best.data(), top_row);
            }
            store_row(best.data(), 1.0f, channels, top);
        }
    }
}

template <typename T>
void segment_sum(const T* features, const RowSegments& of, int64_t channels, bool is_mean, T* out,
                 [[maybe_unused]] int threads) {
    const SortedRows sorted(of);
#pragma omp parallel num_threads(threads) if (threads > 1 && of.rows * channels > few_numbers)
    {
        std::vector<float> total(static_cast<size_t>(channels));
#pragma omp for schedule(dynamic, segments_at_once)
        for (int64_t m = 0; m < of.segments; ++m) {
            const int32_t *begin = sorted.begin(m), *end = sorted.end(m);
            std::fill(total.begin(), total.end(), 0.0f);
            for (const int32_t* row = begin; row != end; ++row) {
                add_row(features + *row * channels, channels, total.data());
            }
            const float divisor = is_mean ? static_cast<float>(std::max<int64_t>(end - begin, 1)) : 1.0f;
            store_row(total.data(), divisor, channels, out + m * channels);
        }
    }
}

template <typename T>
void segment_max_backward(const T* grad, const int32_t* argmax, const RowSegments& of, int64_t channels, T* out,
                          [[maybe_unused]] int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1 && of.rows * channels > few_numbers)
    for (int64_t i = 0; i < of.rows; ++i) {
        const int64_t at = of.index[i] * channels;
        take_won(grad + at, argmax + at, static_cast<int32_t>(i), channels, out + i * channels);
    }
}

template void segment_max(const float*, const RowSegments&, int64_t, float*, int32_t*, int);
template void segment_max(const Bfloat16*, const RowSegments&, int64_t, Bfloat16*, int32_t*, int);
template void segment_sum(const float*, const RowSegments&, int64_t, bool, float*, int);
template void segment_sum(const Bfloat16*, const RowSegments&, int64_t, bool, Bfloat16*, int);
template void segment_max_backward(const float*, const int32_t*, const RowSegments&, int64_t, float*, int);
template void segment_max_backward(const Bfloat16*, const int32_t*, const RowSegments&, int64_t, Bfloat16*, int);

}  // namespace perception::cpu
