#pragma once

#include <cstdint>

namespace perception::cpu {

// centers (K, 2) row-major, finite; order (K,) their rows, best first -> kept (K,), of which the first J are the
// surviving rows, best first. Returns J. Rows fall within the radius of a better survivor, or on the circle. See
// suppression.hpp for the time; 30 K bytes. The result does not depend on the number of threads.
int64_t circle_nms(const float* centers, const int64_t* order, int64_t count, float squared_radius, int64_t* kept,
                   int threads);

}  // namespace perception::cpu
