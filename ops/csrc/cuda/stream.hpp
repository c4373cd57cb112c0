// The stream that work is put on, as the caller passes it: cudaStream_t without CUDA's headers.
#pragma once

struct CUstream_st;

namespace perception::cuda {

using Stream = CUstream_st*;

}  // namespace perception::cuda
