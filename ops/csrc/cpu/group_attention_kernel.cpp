// Attention within one group, head by head: queries in blocks of `rows`, all keys of the group in cache. Compiled once
// for every instruction set.
#include "cpu/group_attention_kernel.hpp"

#include <cmath>

#include "cpu/simd_vector.hpp"

namespace perception::cpu {
namespace {

constexpr int rows = registers == 32 ? 12 : 6;  // times two vectors: as many sums as the registers hold
constexpr float log2_e = 1.44269504f, ln_2 = 0.693147181f, lowest = -1e30f;

int64_t padded(int64_t count, int64_t multiple) { return (count + multiple - 1) / multiple * multiple; }

// out (rows, columns) = a (rows, depth) b (depth, columns); columns a multiple of `lanes`, all row-major. With Top, the
// largest of each row too. The sums stay in registers: nothing is stored inside the loop.
template <int Wide, bool Top>
void product_tile(const float* a, int64_t depth, const float* b, int64_t columns, float* out, Vector* top) {
    Vector sums[rows][Wide];
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < Wide; ++v) sums[r][v] = Vector{};
    for (int64_t i = 0; i < depth; ++i) {
        Vector wide[Wide];
#pragma GCC unroll 2
        for (int v = 0; v < Wide; ++v) wide[v] = load(b + i * columns + v * lanes);
#pragma GCC unroll 16
        for (int r = 0; r < rows; ++r) {
            const Vector left = broadcast(a[r * depth + i]);
#pragma GCC unroll 2
            for (int v = 0; v < Wide; ++v) sums[r][v] += left * wide[v];
        }
    }
#pragma GCC unroll 16
    for (int r = 0; r < rows; ++r)
#pragma GCC unroll 2
        for (int v = 0; v < Wide; ++v) {
            store(sums[r][v], out + r * columns + v * lanes);
            if constexpr (Top) top[r] = sums[r][v] > top[r] ? sums[r][v] : top[r];
        }
}

template <bool Top = false>
void product(const float* a, int64_t depth, const float* b, int64_t columns, float* out, Vector* top = nullptr) {
    int64_t c = 0;
    for (; c + 2 * lanes <= columns; c += 2 * lanes) product_tile<2, Top>(a, depth, b + c, columns, out + c, top);
    if (c < columns) product_tile<1, Top>(a, depth, b + c, columns, out + c, top);
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

// One head of one group. Queries (and what has their shape) are padded to a multiple of `rows`, keys and the width to a
// multiple of `lanes`; the padding is 0.
template <typename T>
struct Head {
    const AttentionInput<T>& in;
    int64_t size, width, channels, group, first_channel;
    int64_t keys = 0, columns, wide;
    float *space, *q, *kt, *p;

    Head(const AttentionInput<T>& input, int64_t group_number, int64_t head, float* memory)
        : in(input), size(in.of.size), width(in.heads.width), channels(in.heads.number * width), group(group_number),
          first_channel(head * width), wide(padded(width, lanes)), space(memory) {
        for (int64_t j = 0; j < size; ++j) keys += is_key(j);
        columns = padded(keys, lanes);
        p = take(rows * columns);
        q = take(padded(size, rows) * width);
        kt = take(width * columns);
    }

    float* take(int64_t floats) {
        float* taken = space;
        space += padded(floats, 16);
        return taken;
    }

    int64_t token(int64_t slot) const { return in.of.slots[group * size + slot]; }
    bool is_key(int64_t slot) const { return in.of.valid == nullptr || in.of.valid[group * size + slot]; }
    bool is_copy(int64_t slot) const { return in.of.back[token(slot)] != group * size + slot; }

    const T* query(int64_t slot) const { return in.qk + token(slot) * 2 * channels + first_channel; }
    const T* key(int64_t slot) const { return query(slot) + channels; }
    const T* value(int64_t slot) const { return in.v + token(slot) * channels + first_channel; }

    // Logits are products of queries and keys, in units of log 2.
    void pack_queries() {
        const float scale = log2_e / std::sqrt(static_cast<float>(width));
        for (int64_t j = 0; j < size; ++j) {
            const T* from = query(j);
            for (int64_t d = 0; d < width; ++d) q[j * width + d] = widen(from[d]) * scale;
        }
        for (int64_t i = size * width; i < padded(size, rows) * width; ++i) q[i] = 0.0f;
    }

    // A row of each slot that is a key -> (columns, wide), or -> (width, columns) if transposed.
    template <typename Row>
    void pack_keys(Row row, float* to, bool is_transposed) const {
        const int64_t row_step = is_transposed ? 1 : wide, step = is_transposed ? columns : 1;
        const int64_t used = is_transposed ? width : wide;
        int64_t k = 0;
        for (int64_t j = 0; j < size; ++j) {
            if (!is_key(j)) continue;
            const T* from = row(j);
            for (int64_t d = 0; d < width; ++d) to[k * row_step + d * step] = widen(from[d]);
            for (int64_t d = width; d < used; ++d) to[k * row_step + d * step] = 0.0f;
            ++k;
        }
        for (; k < columns; ++k)
            for (int64_t d = 0; d < used; ++d) to[k * row_step + d * step] = 0.0f;
    }

    // p (rows, columns): exponentials of the logits of queries first .. first + rows - 1, and their sums.
    void weights(int64_t first, float (&total)[rows]) const {
        Vector top[rows];
        for (int r = 0; r < rows; ++r) top[r] = broadcast(lowest);
        product<true>(q + first * width, width, kt, columns, p, top);
        for (int r = 0; r < rows; ++r)
            for (int64_t k = keys; k < columns; ++k) p[r * columns + k] = lowest;
        exponentials(p, columns, top, total);
    }
};

template <typename T>
void forward(const AttentionInput<T>& in, int64_t group, T* out, float* space) {
    for (int64_t h = 0; h < in.heads.number; ++h) {
        Head<T> head(in, group, h, space);
        float* value = head.take(head.columns * head.wide);
        float* mixed = head.take(rows * head.wide);
        head.pack_queries();
        head.pack_keys([&](int64_t j) { return head.key(j); }, head.kt, true);
        head.pack_keys([&](int64_t j) { return head.value(j); }, value, false);
        for (int64_t first = 0; first < head.size; first += rows) {
            float total[rows];
            head.weights(first, total);
            product(head.p, head.columns, value, head.wide, mixed);
            for (int r = 0; r < rows && first + r < head.size; ++r) {
                if (head.is_copy(first + r)) continue;
                const float share = head.keys > 0 ? 1.0f / total[r] : 0.0f;
                T* to = out + head.token(first + r) * head.channels + head.first_channel;
                for (int64_t d = 0; d < head.width; ++d) narrow(mixed[r * head.wide + d] * share, to[d]);
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

template <typename T>
void backward(const AttentionInput<T>& in, const AttentionGradient<T>& of, int64_t group, float* space) {
    for (int64_t h = 0; h < in.heads.number; ++h) {
        Head<T> head(in, group, h, space);
        const int64_t size = head.size, width = head.width, wide = head.wide, channels = head.channels;
        const float scale = 1.0f / std::sqrt(static_cast<float>(width));
        float* key = head.take(head.columns * wide);
        float* value_t = head.take(width * head.columns);
        float* query = head.take(rows * wide);
        float* grad = head.take(rows * width);
        float* wide_grad = head.take(rows * wide);
        float* slope = head.take(rows * head.columns);
        float* grad_q = head.take(rows * wide);
        float* grad_k = head.take(head.columns * wide);
        float* grad_v = head.take(head.columns * wide);
        head.pack_queries();
        head.pack_keys([&](int64_t j) { return head.key(j); }, head.kt, true);
        head.pack_keys([&](int64_t j) { return head.key(j); }, key, false);
        head.pack_keys([&](int64_t j) { return head.value(j); }, value_t, true);
        for (int64_t i = 0; i < head.columns * wide; ++i) grad_k[i] = grad_v[i] = 0.0f;
        for (int64_t first = 0; first < size; first += rows) {
            for (int r = 0; r < rows; ++r) {
                const bool is_used = first + r < size && !head.is_copy(first + r);
                const T* from = is_used ? of.grad + head.token(first + r) * channels + head.first_channel : nullptr;
                for (int64_t d = 0; d < wide; ++d) {
                    const float given = is_used && d < width ? widen(from[d]) : 0.0f;
                    wide_grad[r * wide + d] = given;
                    if (d < width) grad[r * width + d] = given;
                    query[r * wide + d] = d < width ? head.q[(first + r) * width + d] : 0.0f;
                }
            }
            float total[rows];
            head.weights(first, total);
            product(grad, width, value_t, head.columns, slope);
            softmax_backward(head.p, slope, head.columns, total);
            add_outer(head.p, head.columns, wide_grad, wide, grad_v);
            add_outer(slope, head.columns, query, wide, grad_k);
            product(slope, head.columns, key, wide, grad_q);
            for (int r = 0; r < rows && first + r < size; ++r) {
                if (head.is_copy(first + r)) continue;
                T* to = of.grad_qk + head.token(first + r) * 2 * channels + head.first_channel;
                for (int64_t d = 0; d < width; ++d) narrow(grad_q[r * wide + d] * scale, to[d]);
            }
        }
        int64_t k = 0, copy = 0;
        for (int64_t j = 0; j < size; ++j) {
            const bool is_key = head.is_key(j), is_copy = head.is_copy(j);
            const float* for_k = grad_k + k * wide;
            const float* for_v = grad_v + k * wide;
            if (is_copy) {
                float* to = of.copies + copy++ * 2 * channels + head.first_channel;
                for (int64_t d = 0; d < width; ++d) {
                    to[d] = is_key ? for_k[d] * ln_2 : 0.0f;
                    to[channels + d] = is_key ? for_v[d] : 0.0f;
                }
            } else {
                T* to_k = of.grad_qk + head.token(j) * 2 * channels + channels + head.first_channel;
                T* to_v = of.grad_v + head.token(j) * channels + head.first_channel;
                for (int64_t d = 0; d < width; ++d) {
                    narrow(is_key ? for_k[d] * ln_2 : 0.0f, to_k[d]);
                    narrow(is_key ? for_v[d] : 0.0f, to_v[d]);
                }
            }
            k += is_key;
        }
    }
}

int64_t common_floats(int64_t size, int64_t width) {
    const int64_t columns = padded(size, lanes);
    return padded(rows * columns, 16) + padded(padded(size, rows) * width, 16) + padded(width * columns, 16);
}

int64_t forward_floats(int64_t size, int64_t width) {
    const int64_t wide = padded(width, lanes);
    return common_floats(size, width) + padded(padded(size, lanes) * wide, 16) + padded(rows * wide, 16);
}

int64_t backward_floats(int64_t size, int64_t width) {
    const int64_t columns = padded(size, lanes), wide = padded(width, lanes);
    return common_floats(size, width) + 3 * padded(columns * wide, 16) + padded(width * columns, 16) +
           3 * padded(rows * wide, 16) + padded(rows * width, 16) + padded(rows * columns, 16);
}

}  // namespace

const AttentionKernels<float> PERCEPTION_ISA_NAME(attention_float) = {
    forward_floats, backward_floats, forward<float>, backward<float>};
const AttentionKernels<Bfloat16> PERCEPTION_ISA_NAME(attention_bfloat16) = {
    forward_floats, backward_floats, forward<Bfloat16>, backward<Bfloat16>};

}  // namespace perception::cpu
