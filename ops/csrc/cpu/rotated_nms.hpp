#pragma once

#include <cstdint>

#include "cpu/box_pairs.hpp"

namespace perception::cpu {

// K boxes, finite, sizes >= 0; order (K,) their rows, best first -> kept (K,), of which the first J are the surviving
// rows, best first. Returns J. Rows fall when their IoU with a better survivor is above the threshold. See
// suppression.hpp for the time; 80 K bytes. The result does not depend on the number of threads.
int64_t rotated_nms(const BevBoxes& boxes, const int64_t* order, float threshold, int64_t* kept, int threads);

}  // namespace perception::cpu
