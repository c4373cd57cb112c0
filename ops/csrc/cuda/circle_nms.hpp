#pragma once

#include <cstdint>

#include "stream.hpp"

namespace perception::cuda {

// centers (K, 2) row-major, finite; order (K,) their rows, best first -> kept (K,), of which the first J are the
// surviving rows, best first, and J in num_kept (1,). Rows fall within the radius of a better survivor, or on the
// circle. The workspace is `suppression_workspace`; see suppression.hpp.
void circle_nms(const float* centers, const int64_t* order, int64_t count, float squared_radius, int64_t* kept,
                int64_t* num_kept, void* workspace, Stream stream);

}  // namespace perception::cuda
