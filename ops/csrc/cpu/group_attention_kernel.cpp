// Attention within one group, head by head: queries in blocks of `rows` against all keys, in cache. Compiled once for
// every instruction set.
#include "cpu/group_attention_kernel.hpp"

#include <cmath>

#include "cpu/simd_product.hpp"

namespace perception::cpu {
namespace {

constexpr float log2_e = 1.44269504f, ln_2 = 0.693147181f;
constexpr float lowest = -__builtin_inff();  // of no key: it weighs nothing beside any that there is

// out (rows, columns) = a (rows, depth) b (depth, columns); columns a multiple of `lanes`, all row-major. With Top, the
// largest of each row too.
template <bool Top = false>
void product(const float* a, int64_t depth, const float* b, int64_t columns, float* out, Vector* top = nullptr) {
    const Strided left{a, depth}, right{b, columns};
    int64_t c = 0;
    for (; c + 2 * lanes <= columns; c += 2 * lanes)
        product_tile<2, Top>(left, depth, right.from(c), nullptr, {out + c, columns}, top);
    if (c < columns) product_tile<1, Top>(left, depth, right.from(c), nullptr, {out + c, columns}, top);
}

// into (depth, columns) += a^T b with a (rows, depth), b (rows, columns).
template <int Wide>
void add_outer_tile(const float* a, int64_t depth, const float* b, int64_t columns, float* into) {
    Vector right[rows][Wide];
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < Wide; ++v) right[r][v] = load(b + r * columns + v * lanes);
    for (int64_t i = 0; i < depth; ++i) {
        Vector sums[Wide];
#pragma GCC unroll 2
        for (int v = 0; v < Wide; ++v) sums[v] = load(into + i * columns + v * lanes);
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r) {
            const Vector left = broadcast(a[r * depth + i]);
#pragma GCC unroll 2
            for (int v = 0; v < Wide; ++v) sums[v] += left * right[r][v];
        }
#pragma GCC unroll 2
        for (int v = 0; v < Wide; ++v) store(sums[v], into + i * columns + v * lanes);
    }
}

void add_outer(const float* a, int64_t depth, const float* b, int64_t columns, float* into) {
    int64_t c = 0;
    for (; c + 2 * lanes <= columns; c += 2 * lanes) add_outer_tile<2>(a, depth, b + c, columns, into + c);
    if (c < columns) add_outer_tile<1>(a, depth, b + c, columns, into + c);
}

// Logits (rows, columns) -> exp(logit - largest of the row), and what each row sums up to.
void exponentials(float* logits, int64_t columns, const Vector (&top)[rows], float (&total)[rows]) {
    for (int r = 0; r < rows; ++r) {
        const Vector highest = broadcast(largest(top[r]));
        Vector part{};
        for (float* at = logits + r * columns; at < logits + (r + 1) * columns; at += lanes) {
            const Vector weight = exp2(load(at) - highest);
            part += weight;
            store(weight, at);
        }
        total[r] = sum(part);
    }
}

// One group: its tokens' rows are gathered once, for all heads, then each head works in cache. Queries (and what has
// their shape) are padded to a multiple of `rows`, keys and the width to a multiple of `lanes`; the padding is 0.
template <typename T>
struct Group {
    const AttentionInput<T>& in;
    const int64_t first_slot, size, heads, width, channels;
    int64_t keys = 0, columns, wide, queries;
    float *space, *p;

    Group(const AttentionInput<T>& input, int64_t group, float* memory)
        : in(input), first_slot(group * in.of.size), size(in.of.size), heads(in.heads.number), width(in.heads.width),
          channels(in.heads.channels()), wide(padded(width, lanes)), queries(padded(size, rows)), space(memory) {
        for (int64_t j = 0; j < size; ++j) keys += is_key(j);
        columns = padded(keys, lanes);
        p = take(rows * columns);
    }

    float* take(int64_t floats) {
        float* taken = space;
        space += padded(floats, 16);
        return taken;
    }

    int64_t token(int64_t slot) const { return in.of.slots[first_slot + slot]; }
    bool is_key(int64_t slot) const { return in.of.is_key(first_slot + slot); }
    bool is_copy(int64_t slot) const { return in.of.is_copy(first_slot + slot); }

    const T* query(int64_t slot) const { return in.qk + token(slot) * 2 * channels; }
    const T* key(int64_t slot) const { return query(slot) + channels; }
    const T* value(int64_t slot) const { return in.v + token(slot) * channels; }

    // The row of each slot, times `scale` -> (heads, queries, width); null rows are 0.
    template <typename Row>
    float* pack_queries(Row row, float scale) {
        float* to = take(heads * queries * width);
        for (int64_t j = 0; j < queries; ++j) {
            const T* from = j < size ? row(j) : nullptr;
            for (int64_t h = 0; h < heads; ++h)
                for (int64_t d = 0; d < width; ++d)
                    to[(h * queries + j) * width + d] = from == nullptr ? 0.0f : widen(from[h * width + d]) * scale;
        }
        return to;
    }

    // The row of each slot that is a key -> (heads, columns, wide).
    template <typename Row>
    float* pack_keys(Row row) {
        float* to = pack(row, wide, wide, 1);
        for (int64_t h = 0; h < heads; ++h)
            for (int64_t i = keys * wide; i < columns * wide; ++i) to[h * columns * wide + i] = 0.0f;
        return to;
    }

    // The same -> (heads, width, columns). The padding repeats the last key, so that it raises no row's largest logit.
    template <typename Row>
    float* pack_keys_transposed(Row row) {
        float* to = pack(row, width, 1, columns);
        for (float* line = to; line < to + heads * width * columns; line += columns)
            for (int64_t k = keys; k < columns; ++k) line[k] = line[keys - 1];
        return to;
    }

    // Channel d of key k of head h to to[h * columns * used + k * row_step + d * step].
    template <typename Row>
    float* pack(Row row, int64_t used, int64_t row_step, int64_t step) {
        float* to = take(heads * columns * used);
        int64_t k = 0;
        for (int64_t j = 0; j < size; ++j) {
            if (!is_key(j)) continue;
            const T* from = row(j);
            for (int64_t h = 0; h < heads; ++h) {
                float* at = to + h * columns * used + k * row_step;
                for (int64_t d = 0; d < width; ++d) at[d * step] = widen(from[h * width + d]);
                for (int64_t d = width; d < used; ++d) at[d * step] = 0.0f;
            }
            ++k;
        }
        return to;
    }

    // p (rows, columns): exponentials of the logits of `rows` queries, and their sums. Logits are products of queries
    // and keys, in units of log 2.
    void weights(const float* q, const float* kt, float (&total)[rows]) const {
        Vector top[rows];
        for (int r = 0; r < rows; ++r) top[r] = broadcast(lowest);
        product<true>(q, width, kt, columns, p, top);
        for (int r = 0; r < rows; ++r)
            for (int64_t k = keys; k < columns; ++k) p[r * columns + k] = lowest;
        exponentials(p, columns, top, total);
    }
};

float query_scale(int64_t width) { return log2_e / std::sqrt(static_cast<float>(width)); }

template <typename T>
void forward(const AttentionInput<T>& in, int64_t number, T* out, float* space) {
    Group<T> group(in, number, space);
    const int64_t width = group.width, wide = group.wide, columns = group.columns;
    float* mixed = group.take(rows * wide);
    const float* q = group.pack_queries([&](int64_t j) { return group.query(j); }, query_scale(width));
    const float* kt = group.pack_keys_transposed([&](int64_t j) { return group.key(j); });
    const float* value = group.pack_keys([&](int64_t j) { return group.value(j); });
    for (int64_t h = 0; h < group.heads; ++h) {
        for (int64_t first = 0; first < group.size; first += rows) {
            float total[rows];
            group.weights(q + (h * group.queries + first) * width, kt + h * width * columns, total);
            product(group.p, columns, value + h * columns * wide, wide, mixed);
            for (int r = 0; r < rows && first + r < group.size; ++r) {
                if (group.is_copy(first + r)) continue;
                const float share = group.keys > 0 ? 1.0f / total[r] : 0.0f;
                T* to = out + group.token(first + r) * group.channels + h * width;
                for (int64_t d = 0; d < width; ++d) narrow(mixed[r * wide + d] * share, to[d]);
            }
        }
    }
}

// weights, slopes (rows, columns): from exponentials and the gradient of the weights to the weights and the gradient of
// the logits.
void softmax_backward(float* weights, float* slopes, int64_t columns, const float (&total)[rows]) {
    for (int r = 0; r < rows; ++r) {
        float* weight = weights + r * columns;
        float* slope = slopes + r * columns;
        const Vector share = broadcast(1.0f / total[r]);
        Vector part{};
        for (int64_t c = 0; c < columns; c += lanes) {
            const Vector normalized = load(weight + c) * share;
            part += normalized * load(slope + c);
            store(normalized, weight + c);
        }
        const Vector mean = broadcast(sum(part));
        for (int64_t c = 0; c < columns; c += lanes) store(load(weight + c) * (load(slope + c) - mean), slope + c);
    }
}

// Rows first .. first + rows - 1 of a head's queries (.., width), widened by zeros to (rows, wide).
void widen_rows(const float* from, int64_t width, int64_t wide, float* to) {
    for (int r = 0; r < rows; ++r)
        for (int64_t d = 0; d < wide; ++d) to[r * wide + d] = d < width ? from[r * width + d] : 0.0f;
}

template <typename T>
void backward(const AttentionInput<T>& in, const AttentionGradient<T>& of, int64_t number, float* space) {
    Group<T> group(in, number, space);
    const int64_t size = group.size, width = group.width, wide = group.wide, channels = group.channels;
    const int64_t columns = group.columns, queries = group.queries;
    const float scale = 1.0f / std::sqrt(static_cast<float>(width));
    float* wide_query = group.take(rows * wide);
    float* wide_grad = group.take(rows * wide);
    float* slope = group.take(rows * columns);
    float* grad_q = group.take(rows * wide);
    float* grad_k = group.take(columns * wide);
    float* grad_v = group.take(columns * wide);
    const float* q = group.pack_queries([&](int64_t j) { return group.query(j); }, query_scale(width));
    const float* grad = group.pack_queries(
        [&](int64_t j) { return group.is_copy(j) ? nullptr : of.grad + group.token(j) * channels; }, 1.0f);
    const float* key = group.pack_keys([&](int64_t j) { return group.key(j); });
    const float* kt = group.pack_keys_transposed([&](int64_t j) { return group.key(j); });
    const float* value_t = group.pack_keys_transposed([&](int64_t j) { return group.value(j); });
    for (int64_t h = 0; h < group.heads; ++h) {
        for (int64_t i = 0; i < columns * wide; ++i) grad_k[i] = grad_v[i] = 0.0f;
        for (int64_t first = 0; first < size; first += rows) {
            const float* own_q = q + (h * queries + first) * width;
            const float* own_grad = grad + (h * queries + first) * width;
            widen_rows(own_q, width, wide, wide_query);
            widen_rows(own_grad, width, wide, wide_grad);
            float total[rows];
            group.weights(own_q, kt + h * width * columns, total);
            product(own_grad, width, value_t + h * width * columns, columns, slope);
            softmax_backward(group.p, slope, columns, total);
            add_outer(group.p, columns, wide_grad, wide, grad_v);
            add_outer(slope, columns, wide_query, wide, grad_k);
            product(slope, columns, key + h * columns * wide, wide, grad_q);
            for (int r = 0; r < rows && first + r < size; ++r) {
                if (group.is_copy(first + r)) continue;
                T* to = of.grad_qk + group.token(first + r) * 2 * channels + h * width;
                for (int64_t d = 0; d < width; ++d) narrow(grad_q[r * wide + d] * scale, to[d]);
            }
        }
        int64_t k = 0, copy = 0;
        for (int64_t j = 0; j < size; ++j) {
            const bool is_key = group.is_key(j), is_copy = group.is_copy(j);
            const float* for_k = grad_k + k * wide;
            const float* for_v = grad_v + k * wide;
            if (is_copy) {
                float* to = of.copies + copy++ * 2 * channels + h * width;
                for (int64_t d = 0; d < width; ++d) {
                    to[d] = is_key ? for_k[d] * ln_2 : 0.0f;
                    to[channels + d] = is_key ? for_v[d] : 0.0f;
                }
            } else {
                T* to_k = of.grad_qk + (group.token(j) * 2 + 1) * channels + h * width;
                T* to_v = of.grad_v + group.token(j) * channels + h * width;
                for (int64_t d = 0; d < width; ++d) {
                    narrow(is_key ? for_k[d] * ln_2 : 0.0f, to_k[d]);
                    narrow(is_key ? for_v[d] : 0.0f, to_v[d]);
                }
            }
            k += is_key;
        }
    }
}

// Floats of all that a group takes, each padded to a cache line.
int64_t forward_floats(int64_t size, Heads heads) {
    const int64_t columns = padded(size, lanes), wide = padded(heads.width, lanes);
    return padded(rows * columns, 16) + padded(rows * wide, 16) +
           padded(heads.number * padded(size, rows) * heads.width, 16) +
           padded(heads.number * columns * heads.width, 16) + padded(heads.number * columns * wide, 16);
}

int64_t backward_floats(int64_t size, Heads heads) {
    const int64_t columns = padded(size, lanes), wide = padded(heads.width, lanes);
    return forward_floats(size, heads) + padded(rows * columns, 16) + 2 * padded(rows * wide, 16) +
           2 * padded(columns * wide, 16) + padded(heads.number * padded(size, rows) * heads.width, 16) +
           padded(heads.number * columns * heads.width, 16);
}

}  // namespace

const AttentionKernels<float> PERCEPTION_ISA_NAME(attention_float) = {
    forward_floats, backward_floats, forward<float>, backward<float>};
const AttentionKernels<Bfloat16> PERCEPTION_ISA_NAME(attention_bfloat16) = {
    forward_floats, backward_floats, forward<Bfloat16>, backward<Bfloat16>};

}  // namespace perception::cpu
