// What decides a segment's maximum.
#pragma once

#include "common/host_device.hpp"

namespace perception {

// Whether a later row's value takes the place of the best so far. Equal values do not, so that the lowest row wins; NaN
// beats every number.
PERCEPTION_HD inline bool beats(float value, float best) { return !(value <= best) & (best == best); }

}  // namespace perception
