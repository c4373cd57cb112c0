#pragma once

#include <cstdint>

#include "common/attention_groups.hpp"
#include "stream.hpp"
#include "workspace.hpp"

namespace perception::cuda {

// Copies are numbered in slot order. Their count is known without a look at the indices: every token has one slot that
// is none.
class AttentionCopies {
public:
    AttentionCopies(Workspace& space, int64_t slots, int64_t tokens, int64_t channels);

    // Fills numbers().
    void number(const Groups& of, Stream stream) const;

    // Adds the shares of all copies to their tokens' gradients (N, 2C) and (N, C), rounded once for each token. Shares
    // of one token are summed up in slot order: the copies are sorted by token (stable), so that no float is added
    // atomically. O(copies C) work.
    template <typename T>
    void add(const Groups& of, T* grad_qk, T* grad_v, Stream stream) const;

    const int32_t* numbers() const { return numbers_; }  // (P,) copies before each slot
    float* shares() const { return shares_; }            // (copies, 2C) of their keys and values

private:
    int64_t slots_, tokens_, copies_, channels_;
    int32_t *flags_, *numbers_, *rows_, *order_;
    uint32_t *keys_, *sorted_keys_;
    float* shares_;
    char *sum_, *sort_;
    size_t sum_bytes_, sort_bytes_;
};

}  // namespace perception::cuda
