#include "cpu/bev_scatter.hpp"

#include <algorithm>

namespace perception::cpu {
namespace {

constexpr int64_t block = 8;              // channels: as many planes as a small cache can write to side by side
constexpr int64_t few_numbers = 1 << 14;  // below this, waking the threads takes longer than the work

// Calls visit(m, offset, first, last) for every row m and every block [first, last) of channels; the map's number of
// channel c is at offset + c * at.channel. The blocks run in parallel, the rows of a block in order.
template <typename Visit>
void for_each_block(const BevRows& rows, int64_t channels, const MapStrides& at, [[maybe_unused]] int threads,
                    Visit visit) {
#pragma omp parallel for num_threads(threads) if (threads > 1 && rows.rows * channels > few_numbers)
    for (int64_t first = 0; first < channels; first += block) {
        const int64_t last = std::min(first + block, channels);
        for (int64_t m = 0; m < rows.rows; ++m) {
            const int32_t* cell = rows.coords + 4 * m;
            visit(m, cell[0] * at.batch + cell[2] * at.y + cell[3] * at.x, first, last);
        }
    }
}

}  // namespace

template <typename T>
void bev_scatter(const T* features, const BevRows& rows, int64_t channels, const MapStrides& at, T* map, int threads) {
    const int64_t step = at.channel;
    for_each_block(rows, channels, at, threads, [=](int64_t m, int64_t offset, int64_t first, int64_t last) {
        const T* from = features + m * channels;
        T* __restrict to = map + offset;
        for (int64_t c = first; c < last; ++c) narrow(widen(to[c * step]) + widen(from[c]), to[c * step]);
    });
}

template <typename T>
void bev_gather(const T* map, const BevRows& rows, int64_t channels, const MapStrides& at, T* out, int threads) {
    const int64_t step = at.channel;
    for_each_block(rows, channels, at, threads, [=](int64_t m, int64_t offset, int64_t first, int64_t last) {
        const T* from = map + offset;
        T* __restrict to = out + m * channels;
        for (int64_t c = first; c < last; ++c) to[c] = from[c * step];
    });
}

template void bev_scatter(const float*, const BevRows&, int64_t, const MapStrides&, float*, int);
template void bev_scatter(const Bfloat16*, const BevRows&, int64_t, const MapStrides&, Bfloat16*, int);
template void bev_gather(const float*, const BevRows&, int64_t, const MapStrides&, float*, int);
template void bev_gather(const Bfloat16*, const BevRows&, int64_t, const MapStrides&, Bfloat16*, int);

}  // namespace perception::cpu
