// PERCEPTION_HD marks arithmetic that the host compiler and nvcc compile alike.
#pragma once

#ifdef __CUDACC__
#define PERCEPTION_HD __host__ __device__
#else
#define PERCEPTION_HD
#endif
