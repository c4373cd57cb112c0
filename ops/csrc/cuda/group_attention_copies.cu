#include "group_attention_copies.hpp"

#include <bit>

#include "common/bfloat16.hpp"
#include "common/float16.hpp"
#include "device.hpp"
#include "device_sort.hpp"
#include "grid.hpp"

namespace perception::cuda {
namespace {

// One thread a slot.
__global__ void mark_copies(Groups of, int32_t* flags) {
    const int64_t slot = thread_number();
    if (slot >= of.groups * of.size) return;
    const int64_t token = of.slots[slot];
    device_check(token >= 0 && token < of.tokens);
    flags[slot] = of.back[token] != slot;
}

// One thread a slot: each copy's token and number. More copies than there can be would mean that `back` is wrong.
__global__ void list_copies(Groups of, const int32_t* numbers, int64_t copies, uint32_t* keys, int32_t* rows) {
    const int64_t slot = thread_number();
    if (slot >= of.groups * of.size || !of.is_copy(slot)) return;
    const int32_t number = numbers[slot];
    device_check(number < copies);
    keys[number] = static_cast<uint32_t>(of.slots[slot]);
    rows[number] = number;
}

// One thread a channel of a sorted copy; the first copy of a token speaks for those that follow.
template <typename T>
__global__ void add_shares(const uint32_t* tokens, const int32_t* order, int64_t copies, const float* shares,
                           int64_t channels, T* grad_qk, T* grad_v) {
    const int64_t thread = thread_number(), first = thread / (2 * channels), channel = thread % (2 * channels);
    if (first >= copies || (first > 0 && tokens[first - 1] == tokens[first])) return;
    const int64_t token = tokens[first];
    float total = 0.0f;
    for (int64_t at = first; at < copies && tokens[at] == token; ++at) {
        total += shares[order[at] * 2 * channels + channel];
    }
    T* to = channel < channels ? grad_qk + (2 * token + 1) * channels + channel
                               : grad_v + token * channels + channel - channels;
    narrow(widen(*to) + total, *to);
}

int token_bits(int64_t tokens) { return std::bit_width(static_cast<uint64_t>(tokens < 2 ? 1 : tokens - 1)); }

}  // namespace

AttentionCopies::AttentionCopies(Workspace& space, int64_t slots, int64_t tokens, int64_t channels)
    : slots_(slots), tokens_(tokens), copies_(slots - tokens), channels_(channels), flags_(space.take<int32_t>(slots)),
      numbers_(space.take<int32_t>(slots)), rows_(space.take<int32_t>(copies_)), order_(space.take<int32_t>(copies_)),
      keys_(space.take<uint32_t>(copies_)), sorted_keys_(space.take<uint32_t>(copies_)),
      shares_(space.take<float>(copies_ * 2 * channels)) {
    sum_bytes_ = prefix_sum_workspace(slots);
    sum_ = space.take<char>(static_cast<int64_t>(sum_bytes_));
    sort_bytes_ = sort_pairs_workspace<uint32_t>(copies_, 0, token_bits(tokens));
    sort_ = space.take<char>(static_cast<int64_t>(sort_bytes_));
}

void AttentionCopies::number(const Groups& of, Stream stream) const {
    if (copies_ == 0) return;
    launch<mark_copies>(blocks_for(slots_), block_threads, 0, stream, of, flags_);
    exclusive_sum(sum_, sum_bytes_, flags_, numbers_, slots_, stream);
}

template <typename T>
void AttentionCopies::add(const Groups& of, T* grad_qk, T* grad_v, Stream stream) const {
    if (copies_ == 0) return;
    launch<list_copies>(blocks_for(slots_), block_threads, 0, stream, of, numbers_, copies_, keys_, rows_);
    sort_pairs(sort_, sort_bytes_, keys_, sorted_keys_, rows_, order_, copies_, 0, token_bits(tokens_), stream);
    launch<add_shares<T>>(blocks_for(copies_ * 2 * channels_), block_threads, 0, stream, sorted_keys_, order_, copies_,
                          shares_, channels_, grad_qk, grad_v);
}

template void AttentionCopies::add(const Groups&, float*, float*, Stream) const;
template void AttentionCopies::add(const Groups&, Bfloat16*, Bfloat16*, Stream) const;
template void AttentionCopies::add(const Groups&, Float16*, Float16*, Stream) const;

}  // namespace perception::cuda
