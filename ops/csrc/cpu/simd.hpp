// PERCEPTION_SIMD_CLONES compiles a loop's function for wider vectors too; the loader picks what the processor has.
#pragma once

#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__)
#define PERCEPTION_SIMD_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define PERCEPTION_SIMD_CLONES
#endif
