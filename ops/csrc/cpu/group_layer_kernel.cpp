// A transformer layer over some groups, whose rows stay in cache on the way. Compiled once for every instruction set.
#include "cpu/group_layer_kernel.hpp"

#include <cmath>

#include "cpu/group_attention_kernel.hpp"
#include "cpu/simd_product.hpp"

namespace perception::cpu {
namespace {

constexpr int64_t panel = 2 * lanes;  // columns of a weight that lie together when packed

int64_t floats_of(const Linear& linear) { return linear.in * linear.out; }

// weight (out, in) -> (out / panel, in, panel). Gives the end of what it wrote.
float* pack_linear(const Linear& linear, float* packed) {
    for (int64_t first = 0; first < linear.out; first += panel)
        for (int64_t i = 0; i < linear.in; ++i)
            for (int64_t c = 0; c < panel; ++c) *packed++ = linear.weight[(first + c) * linear.in + i];
    return packed;
}

// a (count, in) -> out (count, out), count a multiple of `rows`; gives the end of the packed weight. A panel of the weight
// meets all rows while it is in the nearest cache.
const float* apply_linear(const Linear& linear, const float* packed, const float* a, int64_t count, float* out) {
    for (int64_t first = 0; first < linear.out; first += panel, packed += linear.in * panel)
        for (int64_t r = 0; r < count; r += rows)
            product_tile<2, false>({a + r * linear.in, linear.in}, linear.in, {packed, panel}, linear.bias + first,
                                   {out + r * linear.out + first, linear.out}, nullptr);
    return packed;
}

// The share of a normal distribution beyond a magnitude: a polynomial in t = 1 / (1 + p x / sqrt 2) times exp(-x^2 / 2),
// to an absolute 8e-8 ("Handbook of Mathematical Functions", Abramowitz and Stegun, 1964, 7.1.26).
Vector tail(Vector magnitude) {
    const Vector t = 1.0f / (1.0f + 0.231641888f * magnitude);
    Vector sum = broadcast(0.530702714f);
    sum = sum * t - 0.726576014f;
    sum = sum * t + 0.710706871f;
    sum = sum * t - 0.142248368f;
    sum = sum * t + 0.127414796f;
    return sum * t * exp2(magnitude * magnitude * -0.721347520f);  // log2(e) / 2
}

// x times the share of a normal distribution below x; `count` a multiple of `lanes`.
void gelu(float* values, int64_t count) {
    for (float* at = values; at < values + count; at += lanes) {
        const Vector x = load(at), minus = -x, magnitude = x < minus ? minus : x, beyond = tail(magnitude);
        store(x * (x < 0.0f ? beyond : 1.0f - beyond), at);
    }
}

// out = normalised x + y, rows of a multiple of `lanes` channels; out may be x.
void add_norm(const float* x, const float* y, int64_t channels, const LayerNorm& norm, float* out) {
    Vector total{}, spread{};
    for (int64_t c = 0; c < channels; c += lanes) total += load(x + c) + load(y + c);
    const auto count = static_cast<float>(channels);
    const float mean = sum(total) / count;
    for (int64_t c = 0; c < channels; c += lanes) {
        const Vector off = load(x + c) + load(y + c) - mean;
        spread += off * off;
    }
    const float scale = 1.0f / std::sqrt(sum(spread) / count + norm.eps);
    for (int64_t c = 0; c < channels; c += lanes) {
        const Vector off = load(x + c) + load(y + c) - mean;
        store(off * scale * load(norm.weight + c) + load(norm.bias + c), out + c);
    }
}

int64_t packed_floats(const LayerWeights& of) {
    return floats_of(of.qk) + floats_of(of.v) + floats_of(of.proj) + floats_of(of.fc1) + floats_of(of.fc2);
}

void pack(const LayerWeights& of, float* packed) {
    const Linear* linears[] = {&of.qk, &of.v, &of.proj, &of.fc1, &of.fc2};
    for (const Linear* linear : linears) packed = pack_linear(*linear, packed);
}

// A thread's tables, of `count` rows each: the slots' tokens, and what becomes of them.
struct Tables {
    float *x, *placed, *wide, *y, *attention;
    int64_t floats;

    Tables(const LayerInput& in, int64_t count, float* space) {
        const int64_t channels = in.weights.v.in, hidden = in.weights.fc1.out;
        float* end = space;
        const auto take = [&end](int64_t number) {
            float* taken = end;
            end += padded(number, 16);
            return taken;
        };
        x = take(count * channels);
        placed = take(count * channels);
        y = take(count * channels);
        wide = take(count * (hidden > 2 * channels ? hidden : 2 * channels));
        attention = take(PERCEPTION_ISA_NAME(attention_float).forward_floats(in.of.size, in.heads));
        floats = end - space;
    }
};

int64_t space_floats(const LayerInput& in, int64_t groups) {
    return Tables(in, padded(groups * in.of.size, rows), nullptr).floats;
}

void gather(const LayerInput& in, const int64_t* slots, int64_t used, int64_t count, const Tables& to) {
    const int64_t channels = in.weights.v.in;
    for (int64_t j = 0; j < used; ++j) {
        const float *token = in.tokens + slots[j] * channels, *position = in.position + slots[j] * channels;
        float *x = to.x + j * channels, *placed = to.placed + j * channels;
        for (int64_t c = 0; c < channels; c += lanes) {
            store(load(token + c), x + c);
            store(load(token + c) + load(position + c), placed + c);
        }
    }
    for (int64_t i = used * channels; i < count * channels; ++i) to.x[i] = to.placed[i] = 0.0f;
}

// mixed (groups * size, C) from the slots' own queries, keys and values; each slot is a token of its own there.
void attend(const LayerInput& in, int64_t first, int64_t last, const float* qk, const float* v, float* mixed,
            float* space) {
    const int64_t size = in.of.size, channels = in.weights.v.out;
    for (int64_t g = first; g < last; ++g) {
        const int64_t at = (g - first) * size;
        const Groups group{in.own, in.own, in.of.valid == nullptr ? nullptr : in.of.valid + g * size, 1, size, size};
        const AttentionInput<float> input{qk + at * 2 * channels, v + at * channels, group, in.heads};
        PERCEPTION_ISA_NAME(attention_float).forward(input, 0, mixed + at * channels, space);
    }
}

void forward(const LayerInput& in, int64_t first, int64_t last, float* out, float* space) {
    const LayerWeights& weights = in.weights;
    const int64_t channels = weights.v.in, used = (last - first) * in.of.size, count = padded(used, rows);
    const Tables table(in, count, space);
    const int64_t* slots = in.of.slots + first * in.of.size;
    gather(in, slots, used, count, table);
    const float* packed = apply_linear(weights.qk, in.packed, table.placed, count, table.wide);
    packed = apply_linear(weights.v, packed, table.x, count, table.y);
    attend(in, first, last, table.wide, table.y, table.placed, table.attention);
    packed = apply_linear(weights.proj, packed, table.placed, count, table.y);
    for (int64_t j = 0; j < count; ++j) {
        float* x = table.x + j * channels;
        add_norm(x, table.y + j * channels, channels, weights.norm1, x);
    }
    packed = apply_linear(weights.fc1, packed, table.x, count, table.wide);
    gelu(table.wide, count * weights.fc1.out);
    apply_linear(weights.fc2, packed, table.wide, count, table.y);
    for (int64_t j = 0; j < used; ++j) {
        if (in.of.is_copy(first * in.of.size + j)) continue;
        add_norm(table.x + j * channels, table.y + j * channels, channels, weights.norm2, out + slots[j] * channels);
    }
}

}  // namespace

const GroupLayerKernels PERCEPTION_ISA_NAME(group_layer_kernels) = {packed_floats, pack, space_floats, forward};

}  // namespace perception::cpu
