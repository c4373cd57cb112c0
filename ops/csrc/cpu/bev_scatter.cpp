#include "cpu/bev_scatter.hpp"

#include <algorithm>

namespace perception::cpu {
namespace {

constexpr int64_t block = 8;              // channels: as many planes as a small cache can write to side by side
constexpr int64_t few_numbers = 1 << 14;  // below this, waking the threads takes longer than the work

int64_t offset_of(const BevRows& rows, int64_t m, const MapStrides& at) {
    const int32_t* cell = rows.coords + 4 * m;
    return cell[0] * at.batch + cell[2] * at.y + cell[3] * at.x;
}

}  // namespace

void bev_scatter(const float* features, const BevRows& rows, int64_t channels, const MapStrides& at, float* map,
                 [[maybe_unused]] int threads) {
#pragma omp parallel for num_threads(threads) if (threads > 1 && rows.rows * channels > few_numbers)
    for (int64_t first = 0; first < channels; first += block) {
        const int64_t last = std::min(first + block, channels);
        for (int64_t m = 0; m < rows.rows; ++m) {
            const float* from = features + m * channels;
            float* __restrict to = map + offset_of(rows, m, at);
            for (int64_t c = first; c < last; ++c) to[c * at.channel] += from[c];
        }
    }
}

template <typename T>
void bev_gather(const T* map, const BevRows& rows, int64_t channels, const MapStrides& at, T* out,
                [[maybe_unused]] int threads) {
#pragma omp parallel for schedule(static) num_threads(threads) if (threads > 1 && rows.rows * channels > few_numbers)
    for (int64_t m = 0; m < rows.rows; ++m) {
        const T* from = map + offset_of(rows, m, at);
        T* __restrict to = out + m * channels;
        for (int64_t c = 0; c < channels; ++c) to[c] = from[c * at.channel];
    }
}

template void bev_gather(const float*, const BevRows&, int64_t, const MapStrides&, float*, int);
template void bev_gather(const Bfloat16*, const BevRows&, int64_t, const MapStrides&, Bfloat16*, int);

}  // namespace perception::cpu
