#pragma once

#include <cstddef>
#include <cstdint>

#include "stream.hpp"

namespace perception::cuda {

inline constexpr int ranks_of_word = 64;

constexpr int64_t words_for(int64_t ranks) { return (ranks + ranks_of_word - 1) / ranks_of_word; }

inline size_t suppression_workspace(int64_t ranks) {
    return static_cast<size_t>(ranks * words_for(ranks)) * sizeof(uint64_t);
}

// suppressed (ranks, words): bit j % 64 of word (i, j / 64) says that rank i suppresses rank j > i -> the rows `order`
// of the survivors in kept (ranks,), best first, and their number in num_kept (1,). One block: a word of ranks is
// settled in order by one thread, then all threads strike what its survivors suppress. O(ranks * words) work,
// deterministic.
void scan_greedily(const uint64_t* suppressed, const int64_t* order, int64_t ranks, int64_t* kept, int64_t* num_kept,
                   Stream stream);

}  // namespace perception::cuda
