#pragma once

#include <cstdint>

#include "rotated_iou.hpp"
#include "stream.hpp"

namespace perception::cuda {

// K boxes; order (K,) their rows, best first -> kept (K,), of which the first J are the surviving rows, best first, and
// J in num_kept (1,). Rows fall when their IoU with a better survivor is above the threshold. The workspace is
// `suppression_workspace`; see suppression.hpp.
void rotated_nms(const BevBoxes& boxes, const int64_t* order, float threshold, int64_t* kept, int64_t* num_kept,
                 void* workspace, Stream stream);

}  // namespace perception::cuda
