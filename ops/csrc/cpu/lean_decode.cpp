#include "cpu/lean_decode.hpp"

#include <algorithm>

#include "common/softmax_part.hpp"
#include "cpu/aligned_space.hpp"
#include "cpu/lean_decode_kernel.hpp"

namespace perception::cpu {
namespace {

constexpr int64_t few_numbers = 1 << 15;  // below this, waking the threads takes longer than the work

const DecodeKernels<float>& kernels_for(const float*) { return PERCEPTION_KERNELS(decode_float); }
const DecodeKernels<Bfloat16>& kernels_for(const Bfloat16*) { return PERCEPTION_KERNELS(decode_bfloat16); }

// The parts of all segments, numbered by worker + group.
class Parts {
public:
    Parts(int64_t slots, int64_t rows, int64_t width)
        : rows_(rows), wide_((width + 15) / 16 * 16), slots_(slots), space_(slots * rows * (wide_ + 2)) {}

    int64_t wide() const { return wide_; }
    DecodePart part(int64_t slot) const {
        float* tops = space_.get() + slots_ * rows_ * wide_;
        return {tops + slot * rows_, tops + (slots_ + slot) * rows_, space_.get() + slot * rows_ * wide_, wide_};
    }

private:
    int64_t rows_, wide_, slots_;
    AlignedSpace space_;
};

// Joins the parts of one row of a group, first to last. `mixed` holds `wide` numbers.
template <typename T>
void finish_row(const Parts& parts, int64_t group, int64_t row, int64_t first, int64_t last, int64_t width,
                float* mixed, T* out, float& lse) {
    SoftmaxPart sum;
    std::fill(mixed, mixed + width, 0.0f);
    for (int64_t worker = first; worker <= last; ++worker) {
        const DecodePart part = parts.part(worker + group);
        const float* other = part.mixed + row * part.wide;
        float own_factor, other_factor;
        sum.join(part.tops[row], part.totals[row], own_factor, other_factor);
        for (int64_t c = 0; c < width; ++c) mixed[c] = own_factor * mixed[c] + other_factor * other[c];
    }
    const float share = sum.share();
    for (int64_t c = 0; c < width; ++c) narrow(mixed[c] * share, out[c]);
    lse = sum.log_sum();
}

}  // namespace

template <typename T>
void lean_decode(const DecodeInput<T>& in, const TileLine& line, int64_t workers, int64_t tile, T* out, float* lse,
                 [[maybe_unused]] int threads) {
    const TileShares shares(line.total(), workers);
    const int64_t rows = in.rows(), groups = line.groups();
    const Parts parts(shares.workers + groups, rows, in.width);
    const DecodeKernels<T>& kernels = kernels_for(in.q);
    [[maybe_unused]] const bool is_long = threads > 1 && line.total() * tile * rows * in.width > few_numbers;
#pragma omp parallel num_threads(threads) if (is_long)
    {
        const AlignedSpace space(kernels.floats(rows, parts.wide()));
#pragma omp for schedule(static, 1)
        for (int64_t worker = 0; worker < shares.workers; ++worker) {
            for (SegmentWalk walk(shares, worker); walk.has_next();) {
                const TileSegment of = walk.next(line);
                const int64_t end = std::min(of.end * tile, in.length(of.group));
                kernels.attend(in, of.group, of.first * tile, end, parts.part(worker + of.group), space.get());
            }
        }
#pragma omp for
        for (int64_t group = 0; group < groups; ++group) {
            const int64_t begin = line.begin(group), tiles = line.tiles(group);
            const int64_t first = tiles == 0 ? 0 : shares.worker_of(begin);
            const int64_t last = tiles == 0 ? -1 : shares.worker_of(begin + tiles - 1);
            for (int64_t r = 0; r < rows; ++r) {
                const int64_t at = group * rows + r;
                finish_row(parts, group, r, first, last, in.width, space.get(), out + at * in.width, lse[at]);
            }
        }
    }
}

template void lean_decode(const DecodeInput<float>&, const TileLine&, int64_t, int64_t, float*, float*, int);
template void lean_decode(const DecodeInput<Bfloat16>&, const TileLine&, int64_t, int64_t, Bfloat16*, float*, int);

}  // namespace perception::cpu
