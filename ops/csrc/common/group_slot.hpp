// The token in a slot of a sample that is cut into groups of equal size.
#pragma once

#include <cstdint>

#include "common/host_device.hpp"

namespace perception {

struct GroupSlot {
    int64_t token;  // of the sample's sorted tokens
    bool is_valid;  // whether it may be looked at
};

// A last group that is short repeats the previous group's tail; a sample below one group repeats its first token, masked.
PERCEPTION_HD inline GroupSlot group_slot(int64_t place, int64_t tokens, int64_t group_size) {
    if (place < tokens) return {place, true};
    return tokens < group_size ? GroupSlot{0, false} : GroupSlot{place - group_size, true};
}

}  // namespace perception
