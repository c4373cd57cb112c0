// Greedy suppression in two launches: who suppresses whom, as a matrix of bits, and one block that reads it from the
// best rank on.
#pragma once

#include <algorithm>
#include <cstdint>

#include "device.hpp"
#include "greedy_scan.hpp"
#include "grid.hpp"

namespace perception::cuda {

// One thread a rank i, a block 64 ranks against 64 others j: bit j % 64 of word (i, j / 64) says that i suppresses
// j > i. Words left of the diagonal are not written.
//
// `Relation` has load(rank), what a rank brings to its comparisons, and suppresses(stronger, weaker) of two such.
template <typename Relation>
__global__ void find_suppressions(Relation relation, int64_t ranks, uint64_t* suppressed) {
    using Item = typename Relation::Item;
    PERCEPTION_SHARED(Item, weaker, ranks_of_word);
    const int64_t words = words_for(ranks), row = blockIdx.x / words, column = blockIdx.x % words;
    if (column < row) return;  // the whole block
    const int64_t first = column * ranks_of_word, i = row * ranks_of_word + threadIdx.x;
    if (first + threadIdx.x < ranks) weaker[threadIdx.x] = relation.load(first + threadIdx.x);
    __syncthreads();
    if (i >= ranks) return;
    const Item mine = relation.load(i);
    const int count = static_cast<int>(std::min<int64_t>(ranks_of_word, ranks - first));
    uint64_t bits = 0;
    for (int j = row == column ? static_cast<int>(threadIdx.x) + 1 : 0; j < count; ++j) {
        bits |= static_cast<uint64_t>(relation.suppresses(mine, weaker[j])) << j;
    }
    suppressed[i * words + column] = bits;
}

// Writes the rows of the survivors to `kept` (ranks,), best first, and their number to `num_kept` (1,), all in device
// memory. order (ranks,): the row of each rank. The workspace holds ranks^2 bits; O(ranks^2) work; deterministic.
template <typename Relation>
void suppress_greedily(const Relation& relation, const int64_t* order, int64_t ranks, int64_t* kept, int64_t* num_kept,
                       void* workspace, Stream stream) {
    auto* suppressed = static_cast<uint64_t*>(workspace);
    const int64_t words = words_for(ranks);
    launch<find_suppressions<Relation>>(blocks_for(words * words, 1), ranks_of_word, 0, stream, relation, ranks,
                                        suppressed);
    scan_greedily(suppressed, order, ranks, kept, num_kept, stream);
}

}  // namespace perception::cuda
