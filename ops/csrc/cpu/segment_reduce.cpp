#include "cpu/segment_reduce.hpp"

#include <algorithm>
#include <iterator>
#include <memory>
#include <type_traits>
#include <utility>
#include <vector>

#include "common/segment.hpp"
#include "cpu/simd.hpp"

namespace perception::cpu {
namespace {

constexpr int64_t few_numbers = 1 << 14;  // below this, waking the threads takes longer than the work
constexpr int64_t rows_ahead = 8;         // whose segments are called for early: they lie anywhere in memory
constexpr int64_t cache_line = 64;

// Segments [first, last), which one thread reduces.
struct Share {
    int64_t first, last;

    bool has(int64_t segment) const { return first <= segment && segment < last; }
};

// Calls work(share) for shares of about as many rows each, one a thread, in parallel.
template <typename Work>
void share_segments(const RowSegments& of, const int32_t* counts, int64_t channels, [[maybe_unused]] int threads,
                    Work work) {
    const int64_t shares = threads > 1 && of.rows * channels > few_numbers ? threads : 1;
    std::vector<int64_t> bounds{0};
    for (int64_t m = 0, rows = 0; m < of.segments && std::ssize(bounds) < shares; ++m) {
        rows += counts[m];
        if (rows * shares >= of.rows * std::ssize(bounds)) bounds.push_back(m + 1);
    }
    bounds.push_back(of.segments);
    const int64_t ranges = std::ssize(bounds) - 1;
#pragma omp parallel for schedule(static, 1) num_threads(threads) if (ranges > 1)
    for (int64_t t = 0; t < ranges; ++t) work(Share{bounds[t], bounds[t + 1]});
}

template <typename T>
void fetch(const T* row, int64_t channels) {
    const char* start = reinterpret_cast<const char*>(row);
    for (int64_t at = 0; at < channels * static_cast<int64_t>(sizeof(T)); at += cache_line) __builtin_prefetch(start + at);
}

// Calls begin(i, segment) for the first row of each of the share's segments and join(i, segment) for the others, upwards;
// a little earlier, fetch_ahead(segment).
template <typename Fetch, typename Begin, typename Join>
void for_each_row(const RowSegments& of, Share share, Fetch fetch_ahead, Begin begin, Join join) {
    std::vector<uint8_t> has_begun(static_cast<size_t>(share.last - share.first));
    for (int64_t i = 0; i < of.rows; ++i) {
        if (i + rows_ahead < of.rows && share.has(of.index[i + rows_ahead])) fetch_ahead(of.index[i + rows_ahead]);
        const int64_t m = of.index[i];
        if (!share.has(m)) continue;
        if (std::exchange(has_begun[m - share.first], 1) != 0)
            join(i, m);
        else
            begin(i, m);
    }
}

// Calls visit(segment) for the share's segments without a row.
template <typename Visit>
void for_each_empty(const int32_t* counts, Share share, Visit visit) {
    for (int64_t m = share.first; m < share.last; ++m)
        if (counts[m] == 0) visit(m);
}

// The loops over channels: one function each, so that they are compiled for several vector widths.

template <typename T>
PERCEPTION_SIMD_CLONES void keep_larger(const T* row, int64_t channels, T* __restrict best) {
    for (int64_t c = 0; c < channels; ++c) {
        const float value = widen(row[c]), so_far = widen(best[c]);
        narrow(beats(value, so_far) ? value : so_far, best[c]);
    }
}

// The same, and which row it was.
template <typename T>
PERCEPTION_SIMD_CLONES void keep_larger_row(const T* row, int32_t number, int64_t channels, T* __restrict best,
                                            int32_t* __restrict argmax) {
    for (int64_t c = 0; c < channels; ++c) {
        const float value = widen(row[c]), so_far = widen(best[c]);
        const bool wins = beats(value, so_far);
        narrow(wins ? value : so_far, best[c]);
        argmax[c] = wins ? number : argmax[c];
    }
}

template <typename T>
PERCEPTION_SIMD_CLONES void load_row(const T* row, int64_t channels, float* __restrict total) {
    for (int64_t c = 0; c < channels; ++c) total[c] = widen(row[c]);
}

template <typename T>
PERCEPTION_SIMD_CLONES void add_row(const T* row, int64_t channels, float* __restrict total) {
    for (int64_t c = 0; c < channels; ++c) total[c] += widen(row[c]);
}

template <typename T>
PERCEPTION_SIMD_CLONES void store_row(const float* values, float divisor, int64_t channels, T* out) {
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

bool count_rows(const RowSegments& of, int32_t* counts) {
    std::fill(counts, counts + of.segments, 0);
    for (int64_t i = 0; i < of.rows; ++i) {
        if (of.index[i] < 0 || of.index[i] >= of.segments) return false;
        ++counts[of.index[i]];
    }
    return true;
}

template <typename T>
void segment_max(const T* features, const RowSegments& of, const int32_t* counts, int64_t channels, T* out,
                 int32_t* argmax, int threads) {
    share_segments(of, counts, channels, threads, [=](Share share) {
        for_each_empty(counts, share, [=](int64_t m) {
            std::fill_n(out + m * channels, channels, T{});
            if (argmax != nullptr) std::fill_n(argmax + m * channels, channels, static_cast<int32_t>(of.rows));
        });
        const auto fetch_ahead = [=](int64_t m) {
            fetch(out + m * channels, channels);
            if (argmax != nullptr) fetch(argmax + m * channels, channels);
        };
        const auto begin = [=](int64_t i, int64_t m) {
            std::copy_n(features + i * channels, channels, out + m * channels);
            if (argmax != nullptr) std::fill_n(argmax + m * channels, channels, static_cast<int32_t>(i));
        };
        if (argmax == nullptr)
            for_each_row(of, share, fetch_ahead, begin, [=](int64_t i, int64_t m) {
                keep_larger(features + i * channels, channels, out + m * channels);
            });
        else
            for_each_row(of, share, fetch_ahead, begin, [=](int64_t i, int64_t m) {
                keep_larger_row(features + i * channels, static_cast<int32_t>(i), channels, out + m * channels,
                                argmax + m * channels);
            });
    });
}

template <typename T>
void segment_sum(const T* features, const RowSegments& of, const int32_t* counts, int64_t channels, bool is_mean, T* out,
                 int threads) {
    share_segments(of, counts, channels, threads, [=](Share share) {
        std::unique_ptr<float[]> own;  // sums of a dtype that cannot hold them
        float* total;                  // of the share's first segment
        if constexpr (std::is_same_v<T, float>) {
            total = out + share.first * channels;
        } else {
            own = std::make_unique_for_overwrite<float[]>(static_cast<size_t>((share.last - share.first) * channels));
            total = own.get();
        }
        const auto total_of = [=](int64_t m) { return total + (m - share.first) * channels; };
        for_each_empty(counts, share, [=](int64_t m) { std::fill_n(total_of(m), channels, 0.0f); });
        for_each_row(
            of, share, [=](int64_t m) { fetch(total_of(m), channels); },
            [=](int64_t i, int64_t m) { load_row(features + i * channels, channels, total_of(m)); },
            [=](int64_t i, int64_t m) { add_row(features + i * channels, channels, total_of(m)); });
        if (std::is_same_v<T, float> && !is_mean) return;
        for (int64_t m = share.first; m < share.last; ++m) {
            const float divisor = is_mean ? static_cast<float>(std::max(counts[m], 1)) : 1.0f;
            store_row(total_of(m), divisor, channels, out + m * channels);
        }
    });
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

template void segment_max(const float*, const RowSegments&, const int32_t*, int64_t, float*, int32_t*, int);
template void segment_max(const Bfloat16*, const RowSegments&, const int32_t*, int64_t, Bfloat16*, int32_t*, int);
template void segment_sum(const float*, const RowSegments&, const int32_t*, int64_t, bool, float*, int);
template void segment_sum(const Bfloat16*, const RowSegments&, const int32_t*, int64_t, bool, Bfloat16*, int);
template void segment_max_backward(const float*, const int32_t*, const RowSegments&, int64_t, float*, int);
template void segment_max_backward(const Bfloat16*, const int32_t*, const RowSegments&, int64_t, Bfloat16*, int);

}  // namespace perception::cpu
