// A block of channels through the sequence, piece by piece: exponentials along the piece as vectors, the recurrence as
// one chain a channel side by side. Compiled once for every instruction set.
#include "cpu/selective_scan_kernel.hpp"

#include <algorithm>

#include "cpu/simd_vector.hpp"

namespace perception::cpu {
namespace {

constexpr int64_t rows = scan_rows, piece = scan_piece;

struct Table {
    alignas(64) float at[rows][piece];
};

// Row r of the table is row r of `from`, steps start .. start + piece - 1. What there is not is 0: with dt = 0 a step
// changes no state.
void gather(const float* from, ScanBlock block, int64_t length, int64_t start, Table& to) {
    const int64_t steps = std::min(piece, length - start);
    for (int64_t r = 0; r < rows; ++r) {
        const int64_t there = r < block.count ? steps : 0;
        if (there > 0) std::copy_n(from + r * length + start, there, to.at[r]);
        std::fill(to.at[r] + there, to.at[r] + piece, 0.0f);
    }
}

void scatter(const Table& from, ScanBlock block, int64_t length, int64_t start, float* to) {
    const int64_t steps = std::min(piece, length - start);
    for (int64_t r = 0; r < block.count; ++r) std::copy_n(from.at[r], steps, to + r * length + start);
}

void gather_row(const float* from, int64_t length, int64_t start, float (&to)[piece]) {
    const int64_t steps = std::min(piece, length - start);
    std::copy_n(from + start, steps, to);
    std::fill(to + steps, to + piece, 0.0f);
}

inline Vector absolute(Vector x) { return x < 0.0f ? -x : x; }

// log(1 + e) = 2 artanh(e / (2 + e)) for e in [0, 1], to a relative 2e-7.
inline Vector log1p(Vector e) {
    const Vector s = e / (e + 2.0f), square = s * s;
    Vector series = broadcast(1.0f / 13);
    for (const float factor : {1.0f / 11, 1.0f / 9, 1.0f / 7, 1.0f / 5, 1.0f / 3, 1.0f}) series = series * square + factor;
    return 2.0f * s * series;
}

inline Vector softplus(Vector x) { return (x > 0.0f ? x : broadcast(0.0f)) + log1p(exp2(absolute(x) * -log2_of_e)); }

inline Vector softplus_slopes(Vector x) {
    const Vector e = exp2(absolute(x) * -log2_of_e), share = 1.0f / (e + 1.0f);
    return x < 0.0f ? e * share : share;
}

// to = change(from + bias of the channel), whatever comes out where there is no step.
template <typename Change>
void change_steps(const ScanInput& in, ScanBlock block, const Table& from, Table& to, Change change) {
    for (int64_t r = 0; r < block.count; ++r) {
        const float bias = in.bias_of(block.first + r);
        for (int64_t t = 0; t < piece; t += lanes) store(change(load(from.at[r] + t) + bias, r, t), to.at[r] + t);
    }
}

// Step sizes of the piece from those given; 0 where there is no step.
void size_steps(const ScanInput& in, ScanBlock block, int64_t start, Table& dt) {
    if (in.bias == nullptr && !in.softplus) return;
    if (in.softplus)
        change_steps(in, block, dt, dt, [](Vector x, int64_t, int64_t) { return softplus(x); });
    else
        change_steps(in, block, dt, dt, [](Vector x, int64_t, int64_t) { return x; });
    for (int64_t r = 0; r < block.count; ++r)
        std::fill(dt.at[r] + std::min(piece, in.of.length - start), dt.at[r] + piece, 0.0f);
}

// Steps of one state of every channel: exp(dt A) and dt B u.
struct Steps {
    Table decay, input;

    void set(const Table& u, const Table& dt, const float (&a)[rows], const float (&b)[piece]) {
        for (int64_t r = 0; r < rows; ++r) {
            const Vector rate = broadcast(a[r] * log2_of_e), most = broadcast(128.0f);  // 2^128 is infinite
            for (int64_t t = 0; t < piece; t += lanes) {
                const Vector step = load(dt.at[r] + t), power = step * rate;
                store(exp2(power > most ? most : power), decay.at[r] + t);
                store(step * load(b + t) * load(u.at[r] + t), input.at[r] + t);
            }
        }
    }

    // The states behind each step, from those before the first; `state` becomes the last.
    void run(float (&state)[rows], Table& states) const {
        for (int64_t t = 0; t < piece; ++t)
            for (int64_t r = 0; r < rows; ++r)
                states.at[r][t] = state[r] = ScanStep{decay.at[r][t], input.at[r][t]}.apply(state[r]);
    }
};

struct Rates {
    const ScanInput& in;
    ScanBlock block;

    void column(int64_t n, float (&a)[rows]) const {
        for (int64_t r = 0; r < rows; ++r) a[r] = r < block.count ? in.a[(block.first + r) * in.of.state + n] : 0.0f;
    }
};

// The block's place in (samples, channels, ...).
int64_t first_row(const ScanInput& in, ScanBlock block) { return block.sample * in.of.channels + block.first; }

// Between (samples, channels, state) and a block's own (state, rows).
void load_states(const float* from, const ScanInput& in, ScanBlock block, float* own) {
    const float* mine = from + first_row(in, block) * in.of.state;
    for (int64_t n = 0; n < in.of.state; ++n)
        for (int64_t r = 0; r < rows; ++r) own[n * rows + r] = r < block.count ? mine[r * in.of.state + n] : 0.0f;
}

void store_states(const float* own, const ScanInput& in, ScanBlock block, float* to) {
    float* mine = to + first_row(in, block) * in.of.state;
    for (int64_t n = 0; n < in.of.state; ++n)
        for (int64_t r = 0; r < block.count; ++r) mine[r * in.of.state + n] = own[n * rows + r];
}

// A thread's memory for one block.
struct Piece {
    Table u, dt;
    Steps steps;
    Table states;
    float a[rows];
    alignas(64) float b[piece], c[piece];

    void read(const ScanInput& in, ScanBlock block, int64_t start) {
        const int64_t first = first_row(in, block) * in.of.length;
        gather(in.u + first, block, in.of.length, start, u);
        gather(in.delta + first, block, in.of.length, start, dt);
        size_steps(in, block, start, dt);
    }

    void read_state(const ScanInput& in, ScanBlock block, int64_t start, int64_t n) {
        const int64_t row = in.of.group_row(block.sample, block.first, n);
        Rates{in, block}.column(n, a);
        gather_row(in.b + row, in.of.length, start, b);
        gather_row(in.c + row, in.of.length, start, c);
        steps.set(u, dt, a, b);
    }
};

void copy_rows(const float* from, float (&to)[rows]) { std::copy_n(from, rows, to); }

int64_t forward_floats(const ScanSizes& of) { return of.state * rows; }

void forward(const ScanInput& in, ScanBlock block, float* y, float* last, float* state) {
    Piece now;
    Table out;
    load_states(in.initial, in, block, state);
    for (int64_t start = 0; start < in.of.length; start += piece) {
        now.read(in, block, start);
        std::fill_n(&out.at[0][0], rows * piece, 0.0f);
        for (int64_t n = 0; n < in.of.state; ++n) {
            float carried[rows];
            copy_rows(state + n * rows, carried);
            now.read_state(in, block, start, n);
            now.steps.run(carried, now.states);
            std::copy_n(carried, rows, state + n * rows);
            for (int64_t r = 0; r < rows; ++r)
                for (int64_t t = 0; t < piece; ++t) out.at[r][t] += now.c[t] * now.states.at[r][t];
        }
        scatter(out, block, in.of.length, start, y + first_row(in, block) * in.of.length);
    }
    store_states(state, in, block, last);
}

int64_t pieces_of(const ScanSizes& of) { return (of.length + piece - 1) / piece; }

int64_t backward_floats(const ScanSizes& of) { return (pieces_of(of) + 3) * of.state * rows; }

// begins (pieces, state, rows): the states that each piece begins with.
void find_begins(const ScanInput& in, ScanBlock block, float* begins, Piece& now) {
    const int64_t size = in.of.state * rows;
    load_states(in.initial, in, block, begins);
    for (int64_t p = 0; p + 1 < pieces_of(in.of); ++p) {
        now.read(in, block, p * piece);
        for (int64_t n = 0; n < in.of.state; ++n) {
            float carried[rows];
            copy_rows(begins + p * size + n * rows, carried);
            now.read_state(in, block, p * piece, n);
            now.steps.run(carried, now.states);
            std::copy_n(carried, rows, begins + (p + 1) * size + n * rows);
        }
    }
}

struct Backward {
    Piece now;
    Table grad_y, grad_u, grad_dt, behind;  // behind: the gradient of the state behind each step

    // The recurrence from the end; `carried` is the gradient of the state behind the piece and becomes that before it.
    void run(float (&carried)[rows]) {
        for (int64_t t = piece - 1; t >= 0; --t)
            for (int64_t r = 0; r < rows; ++r) {
                behind.at[r][t] = ScanStep{now.c[t], carried[r]}.apply(grad_y.at[r][t]);
                carried[r] = now.steps.decay.at[r][t] * behind.at[r][t];
            }
    }

    // Adds to the gradients of u and dt here, of A (rows), and to the shares of B and C from this piece on.
    void collect(const float (&begin)[rows], int64_t count, float* grad_a, float* share_b, float* share_c) {
        alignas(64) float b_sum[piece] = {}, c_sum[piece] = {}, a_terms[piece];
        for (int64_t r = 0; r < rows; ++r) {
            alignas(64) float before[piece];
            before[0] = begin[r];
            std::copy_n(now.states.at[r], piece - 1, before + 1);
            for (int64_t t = 0; t < piece; ++t) {
                const StepGradient g = step_gradient(behind.at[r][t], before[t], now.steps.decay.at[r][t],
                                                     now.u.at[r][t], now.dt.at[r][t], now.a[r], now.b[t]);
                grad_u.at[r][t] += g.u;
                grad_dt.at[r][t] += g.dt;
                a_terms[t] = g.a;
                b_sum[t] += g.b;
                c_sum[t] += grad_y.at[r][t] * now.states.at[r][t];
            }
            Vector total{};
            for (int64_t t = 0; t < piece; t += lanes) total += load(a_terms + t);
            grad_a[r] += sum(total);
        }
        for (int64_t t = 0; t < count; ++t) {
            share_b[t] += b_sum[t];
            share_c[t] += c_sum[t];
        }
    }
};

void backward(const ScanInput& in, ScanBlock block, const float* grad_y, const float* grad_last,
              const ScanGradients& out, ScanShares shares, float* space) {
    Backward work;
    const int64_t size = in.of.state * rows, length = in.of.length, first = first_row(in, block) * length;
    float *begins = space, *carried = begins + pieces_of(in.of) * size, *grad_a = carried + size;
    std::fill_n(grad_a, size, 0.0f);
    load_states(grad_last, in, block, carried);
    if (length > 0) find_begins(in, block, begins, work.now);
    for (int64_t p = pieces_of(in.of) - 1; p >= 0; --p) {
        const int64_t start = p * piece, count = std::min(piece, length - start);
        work.now.read(in, block, start);
        gather(grad_y + first, block, length, start, work.grad_y);
        work.grad_u = work.grad_dt = Table{};
        for (int64_t n = 0; n < in.of.state; ++n) {
            float begin[rows], state[rows], back[rows];
            copy_rows(begins + p * size + n * rows, begin);
            copy_rows(begin, state);
            copy_rows(carried + n * rows, back);
            work.now.read_state(in, block, start, n);
            work.now.steps.run(state, work.now.states);
            work.run(back);
            work.collect(begin, count, grad_a + n * rows, shares.b + n * length + start, shares.c + n * length + start);
            std::copy_n(back, rows, carried + n * rows);
        }
        scatter(work.grad_u, block, length, start, out.u + first);
        if (in.softplus) {
            gather(in.delta + first, block, length, start, work.behind);
            const Table& grads = work.grad_dt;
            change_steps(in, block, work.behind, work.grad_dt, [&](Vector x, int64_t r, int64_t t) {
                return softplus_slopes(x) * load(grads.at[r] + t);
            });
        }
        scatter(work.grad_dt, block, length, start, out.delta + first);
    }
    store_states(grad_a, in, block, out.a);
    store_states(carried, in, block, out.initial);
}

}  // namespace

const ScanKernels PERCEPTION_ISA_NAME(scan_kernels) = {forward_floats, backward_floats, forward, backward};

}  // namespace perception::cpu
