#include "greedy_scan.hpp"

#include "device.hpp"
#include "grid.hpp"

namespace perception::cuda {
namespace {

// Dynamic shared memory: a word of struck ranks for each word of ranks.
__global__ void scan_words(const uint64_t* suppressed, const int64_t* order, int64_t ranks, int64_t* kept,
                           int64_t* num_kept) {
    PERCEPTION_DYNAMIC_SHARED(uint64_t, struck);
    PERCEPTION_SHARED(uint64_t, among, ranks_of_word);  // what each rank of the word suppresses within it
    PERCEPTION_SHARED(uint64_t, survivors, 1);
    const int64_t words = (ranks + ranks_of_word - 1) / ranks_of_word;
    for (int64_t w = threadIdx.x; w < words; w += blockDim.x) struck[w] = 0;
    int64_t before = 0;  // survivors of earlier words
    for (int64_t w = 0; w < words; ++w) {
        const int64_t first = w * ranks_of_word, rank = first + threadIdx.x;
        const bool has_rank = threadIdx.x < ranks_of_word && rank < ranks;
        if (has_rank) among[threadIdx.x] = suppressed[rank * words + w];
        __syncthreads();
        if (threadIdx.x == 0) {
            uint64_t fallen = struck[w], alive = 0;
            for (int b = 0; b < ranks_of_word && first + b < ranks; ++b) {
                if (fallen >> b & 1) continue;
                alive |= uint64_t{1} << b;
                fallen |= among[b];
            }
            survivors[0] = alive;
        }
        __syncthreads();
        const uint64_t alive = survivors[0];
        if (has_rank && (alive >> threadIdx.x & 1)) {
            const uint64_t better = alive & ((uint64_t{1} << threadIdx.x) - 1);
            kept[before + __popcll(better)] = order[rank];
        }
        before += __popcll(alive);
        for (int64_t later = w + 1 + threadIdx.x; later < words; later += blockDim.x) {
            uint64_t fallen = struck[later];
            for (uint64_t left = alive; left != 0; left &= left - 1) {
                fallen |= suppressed[(first + __ffsll(static_cast<long long>(left)) - 1) * words + later];
            }
            struck[later] = fallen;
        }
        __syncthreads();
    }
    if (threadIdx.x == 0) *num_kept = before;
}

}  // namespace

void scan_greedily(const uint64_t* suppressed, const int64_t* order, int64_t ranks, int64_t* kept, int64_t* num_kept,
                   Stream stream) {
    const size_t shared = static_cast<size_t>(words_for(ranks)) * sizeof(uint64_t);
    launch<scan_words>(1, block_threads, shared, stream, suppressed, order, ranks, kept, num_kept);
}

}  // namespace perception::cuda
