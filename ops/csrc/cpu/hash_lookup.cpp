#include "cpu/hash_lookup.hpp"

#include <algorithm>
#include <vector>

#include "cpu/simd.hpp"

namespace perception::cpu {
namespace {

constexpr int64_t few_numbers = 1 << 14;  // below this, waking the threads takes longer than the work
constexpr int64_t at_once = 4;            // rows of a token: the next ones are called for, since they lie anywhere
constexpr int64_t cache_line = 64, strands = 16;

template <typename T>
PERCEPTION_SIMD_CLONES void add_row(const T* row, float score, int64_t channels, float* __restrict total) {
    for (int64_t c = 0; c < channels; ++c) total[c] += score * widen(row[c]);
}

// Four rows after each other, so that the sums are read and written once.
template <typename T>
PERCEPTION_SIMD_CLONES void add_rows(const T* a, const T* b, const T* c, const T* d, const float* scores, int64_t channels,
                                     float* __restrict total) {
    const float first = scores[0], second = scores[1], third = scores[2], fourth = scores[3];
    for (int64_t i = 0; i < channels; ++i) {
        float sum = total[i] + first * widen(a[i]);
        sum += second * widen(b[i]);
        sum += third * widen(c[i]);
        total[i] = sum + fourth * widen(d[i]);
    }
}

// A sum in sixteen strands, which vectors of any width keep apart.
template <typename T>
PERCEPTION_SIMD_CLONES float dot(const T* a, const T* b, int64_t channels) {
    float sums[strands] = {};
    const int64_t whole = channels / strands * strands;
    for (int64_t c = 0; c < whole; c += strands)
        for (int64_t i = 0; i < strands; ++i) sums[i] += widen(a[c + i]) * widen(b[c + i]);
    float total = 0.0f;
    for (int64_t i = 0; i < strands; ++i) total += sums[i];
    for (int64_t c = whole; c < channels; ++c) total += widen(a[c]) * widen(b[c]);
    return total;
}

template <typename T>
void fetch(const T* row, int64_t channels) {
    const char* start = reinterpret_cast<const char*>(row);
    for (int64_t at = 0; at < channels * static_cast<int64_t>(sizeof(T)); at += cache_line) __builtin_prefetch(start + at);
}

template <typename T>
void read_token(const HashHits<T>& hits, const HashTables<T>& tables, int64_t token, float* total, T* out) {
    const int64_t K = hits.tables, C = tables.channels, *codes = hits.codes + token * K;
    std::fill(total, total + C, 0.0f);
    const T* scores = hits.scores + token * K;
    const auto row = [&](int64_t j) { return tables.at(j, codes[j]); };
    int64_t j = 0;
    for (; j + at_once <= K; j += at_once) {
        for (int64_t next = j + at_once; next < std::min(j + 2 * at_once, K); ++next) fetch(row(next), C);
        const float weights[at_once] = {widen(scores[j]), widen(scores[j + 1]), widen(scores[j + 2]), widen(scores[j + 3])};
        add_rows(row(j), row(j + 1), row(j + 2), row(j + 3), weights, C, total);
    }
    for (; j < K; ++j) add_row(row(j), widen(scores[j]), C, total);
    for (int64_t c = 0; c < C; ++c) narrow(total[c], out[token * C + c]);
}

// The gradient of one table's channels [first, first + count): hits in the order of the tokens.
template <typename T>
void scatter(const T* grad, const HashHits<T>& hits, const HashTables<T>& tables, int64_t table, int64_t first,
             int64_t count, std::vector<float>& sums, T* grad_tables) {
    sums.assign(static_cast<size_t>(tables.each * count), 0.0f);
    for (int64_t m = 0; m < hits.tokens; ++m) {
        const int64_t hit = m * hits.tables + table;
        add_row(grad + m * tables.channels + first, widen(hits.scores[hit]), count,
                sums.data() + hits.codes[hit] * count);
    }
    for (int64_t r = 0; r < tables.each; ++r) {
        T* to = grad_tables + tables.row(table, r) * tables.channels + first;
        for (int64_t c = 0; c < count; ++c) narrow(sums[r * count + c], to[c]);
    }
}

}  // namespace

template <typename T>
bool hash_lookup(const HashHits<T>& hits, const HashTables<T>& tables, T* out, [[maybe_unused]] int threads) {
    for (int64_t i = 0; i < hits.count(); ++i)
        if (hits.codes[i] < 0 || hits.codes[i] >= tables.each) return false;
#pragma omp parallel num_threads(threads) if (threads > 1 && hits.count() * tables.channels > few_numbers)
    {
        std::vector<float> total(static_cast<size_t>(tables.channels));
#pragma omp for
        for (int64_t m = 0; m < hits.tokens; ++m) read_token(hits, tables, m, total.data(), out);
    }
    return true;
}

template <typename T>
void hash_lookup_backward(const T* grad, const HashHits<T>& hits, const HashTables<T>& tables, T* grad_scores,
                          T* grad_tables, [[maybe_unused]] int threads) {
    const int64_t K = hits.tables, C = tables.channels;
    const int64_t slices = std::clamp<int64_t>(C / 64, 1, K < 4 * threads ? 4 : 1), slice = (C + slices - 1) / slices;
#pragma omp parallel num_threads(threads) if (threads > 1 && hits.count() * C > few_numbers)
    {
        std::vector<float> sums;
#pragma omp for schedule(dynamic) nowait
        for (int64_t job = 0; job < K * slices; ++job) {
            const int64_t first = job % slices * slice;
            scatter(grad, hits, tables, job / slices, first, std::min(slice, C - first), sums, grad_tables);
        }
#pragma omp for
        for (int64_t m = 0; m < hits.tokens; ++m)
            for (int64_t j = 0; j < K; ++j)
                narrow(dot(tables.at(j, hits.codes[m * K + j]), grad + m * C, C), grad_scores[m * K + j]);
    }
}

template bool hash_lookup(const HashHits<float>&, const HashTables<float>&, float*, int);
template bool hash_lookup(const HashHits<Bfloat16>&, const HashTables<Bfloat16>&, Bfloat16*, int);
template void hash_lookup_backward(const float*, const HashHits<float>&, const HashTables<float>&, float*, float*, int);
template void hash_lookup_backward(const Bfloat16*, const HashHits<Bfloat16>&, const HashTables<Bfloat16>&, Bfloat16*,
                                   Bfloat16*, int);

}  // namespace perception::cpu
