// How loops reach wide vectors: either the compiler widens a plain loop (PERCEPTION_SIMD_CLONES), or a kernel is written
// over Vector and its file compiled once for every instruction set (PERCEPTION_ISA names it; see CMakeLists.txt).
#pragma once

// Compiles a loop's function for wider vectors too; the loader picks what the processor has.
#if defined(__x86_64__) && defined(__gnu_linux__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_ADDRESS__)  // the sanitizer's runtime is not up when the loader chooses
#define PERCEPTION_SIMD_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define PERCEPTION_SIMD_CLONES
#endif
