// Online softmax of a few rows over a run of keys, `chunk` of them at a time. Compiled once for every instruction set.
#include "cpu/lean_decode_kernel.hpp"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "common/softmax_part.hpp"
#include "cpu/simd_vector.hpp"

namespace perception::cpu {
namespace {

constexpr int64_t chunk = 32, at_once = 4;
static_assert(chunk % lanes == 0);

// Rows of floats that vectors can read to the end.
struct Table {
    const float* rows;
    int64_t stride;

    const float* row(int64_t i) const { return rows + i * stride; }
};

// Keys or values as they lie, or widened into `buffer` with zeros behind.
template <typename T>
Table bring(const T* from, int64_t stride, int64_t count, int64_t width, int64_t wide, float* buffer) {
    if constexpr (std::is_same_v<T, float>) {
        if (width % lanes == 0) return {from, stride};
    }
    for (int64_t i = 0; i < count; ++i) {
        for (int64_t c = 0; c < width; ++c) buffer[i * wide + c] = widen(from[i * stride + c]);
        std::fill(buffer + i * wide + width, buffer + (i + 1) * wide, 0.0f);
    }
    return {buffer, wide};
}

template <int Keys>
void dot(const float* query, const Table& keys, int64_t first, int64_t used, float* logits) {
    Vector sums[Keys]{};
    for (int64_t c = 0; c < used; c += lanes) {
        const Vector own = load(query + c);
#pragma GCC unroll 4
        for (int j = 0; j < Keys; ++j) sums[j] += own * load(keys.row(first + j) + c);
    }
    for (int j = 0; j < Keys; ++j) logits[first + j] = sum(sums[j]);
}

template <int Keys>
void add(const float* weights, const Table& values, int64_t first, int64_t used, float* mixed) {
    Vector factors[Keys];
    for (int j = 0; j < Keys; ++j) factors[j] = broadcast(weights[first + j]);
    for (int64_t c = 0; c < used; c += lanes) {
        Vector total = load(mixed + c);
#pragma GCC unroll 4
        for (int j = 0; j < Keys; ++j) total += factors[j] * load(values.row(first + j) + c);
        store(total, mixed + c);
    }
}

// Logits of a chunk -> weights relative to the largest so far; sums of earlier weights and values shrink.
void weigh(float* logits, float& top, float& total, float* mixed, int64_t used) {
    Vector highest = load(logits);
    for (int64_t i = lanes; i < chunk; i += lanes) {
        const Vector next = load(logits + i);
        highest = next > highest ? next : highest;
    }
    const float before = top;
    top = std::max(top, largest(highest));
    const float offset = softmax_offset(top), shrink = exp2f(before - offset);
    if (shrink != 1.0f) {
        for (int64_t c = 0; c < used; c += lanes) store(load(mixed + c) * shrink, mixed + c);
    }
    Vector sums{};
    for (int64_t i = 0; i < chunk; i += lanes) {
        const Vector x = load(logits + i) - offset;
        const Vector weights = x < broadcast(-126.0f) ? Vector{} : exp2(x);
        store(weights, logits + i);
        sums += weights;
    }
    total = total * shrink + sum(sums);
}

int64_t floats(int64_t rows, int64_t wide) { return rows * wide + 2 * chunk * wide + chunk; }

template <typename T>
void attend(const DecodeInput<T>& in, int64_t group, int64_t first_key, int64_t end_key, const DecodePart& part,
            float* space) {
    const int64_t rows = in.rows(), wide = part.wide, used = (in.width + lanes - 1) / lanes * lanes;
    const int64_t batch = group / in.key_heads, head = group % in.key_heads;
    float *queries = space, *key_buffer = queries + rows * wide, *value_buffer = key_buffer + chunk * wide;
    float* logits = value_buffer + chunk * wide;
    std::fill(queries, queries + rows * wide, 0.0f);
    for (int64_t r = 0; r < rows; ++r)
        for (int64_t c = 0; c < in.width; ++c) queries[r * wide + c] = widen(in.query(group, r)[c]) * in.scale;
    std::fill(part.tops, part.tops + rows, -INFINITY);
    std::fill(part.totals, part.totals + rows, 0.0f);
    std::fill(part.mixed, part.mixed + rows * wide, 0.0f);
    for (int64_t key = first_key; key < end_key; key += chunk) {
        const int64_t count = std::min(chunk, end_key - key), whole = count / at_once * at_once;
        const Table keys = bring(in.k.row(batch, head, key), in.k.row_stride, count, in.width, wide, key_buffer);
        const Table values = bring(in.v.row(batch, head, key), in.v.row_stride, count, in.width, wide, value_buffer);
        for (int64_t r = 0; r < rows; ++r) {
            const float* query = queries + r * wide;
            for (int64_t i = 0; i < whole; i += at_once) dot<at_once>(query, keys, i, used, logits);
            for (int64_t i = whole; i < count; ++i) dot<1>(query, keys, i, used, logits);
            std::fill(logits + count, logits + chunk, -INFINITY);
            if (in.mask.data != nullptr)
                for (int64_t i = 0; i < count; ++i) logits[i] = in.sees(group, r, key + i) ? logits[i] : -INFINITY;
            float* mixed = part.mixed + r * wide;
            weigh(logits, part.tops[r], part.totals[r], mixed, used);
            for (int64_t i = 0; i < whole; i += at_once) add<at_once>(logits, values, i, used, mixed);
            for (int64_t i = whole; i < count; ++i) add<1>(logits, values, i, used, mixed);
        }
    }
}

}  // namespace

const DecodeKernels<float> PERCEPTION_ISA_NAME(decode_float) = {floats, attend<float>};
const DecodeKernels<Bfloat16> PERCEPTION_ISA_NAME(decode_bfloat16) = {floats, attend<Bfloat16>};

}  // namespace perception::cpu
