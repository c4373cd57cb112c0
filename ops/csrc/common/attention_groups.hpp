// What attention runs over: equal-sized groups of slots, and heads.
#pragma once

#include <cstdint>

#include "common/host_device.hpp"

namespace perception {

// Groups of `size` slots; slot p holds token slots[p]. Token i gives its output from slot back[i]; its other slots are
// copies that are keys only. `valid`, if not null, says which slots are keys at all.
struct Groups {
    const int64_t* slots;  // (groups * size,)
    const int64_t* back;   // (tokens,)
    const bool* valid;     // (groups * size,) or null
    int64_t groups, size, tokens;

    PERCEPTION_HD bool is_key(int64_t slot) const { return valid == nullptr || valid[slot]; }
    PERCEPTION_HD bool is_copy(int64_t slot) const { return back[slots[slot]] != slot; }
};

struct Heads {
    int64_t number, width;  // C = number * width

    PERCEPTION_HD int64_t channels() const { return number * width; }
};

}  // namespace perception
