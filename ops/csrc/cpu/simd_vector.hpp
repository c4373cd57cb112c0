// A vector of floats as wide as the instruction set that the including file is compiled for. Only files that are
// compiled once an instruction set include this; all is in an unnamed namespace, so that no wide code leaks out.
#pragma once

#include <cstdint>
#include <cstring>

namespace {

#if defined(__AVX512F__)
constexpr int lanes = 16, registers = 32;
#elif defined(__AVX__)
constexpr int lanes = 8, registers = 16;
#else
constexpr int lanes = 4, registers = 16;  // SSE2 and NEON
#endif

typedef float Vector __attribute__((vector_size(lanes * sizeof(float))));
typedef int32_t Integers __attribute__((vector_size(lanes * sizeof(int32_t))));

inline Vector load(const float* from) {
    Vector out;
    std::memcpy(&out, from, sizeof out);
    return out;
}

inline void store(Vector value, float* to) { std::memcpy(to, &value, sizeof value); }

inline Vector broadcast(float value) { return value - Vector{}; }

inline float largest(Vector values) {
    float top = values[0];
    for (int lane = 1; lane < lanes; ++lane) top = values[lane] > top ? values[lane] : top;
    return top;
}

inline float sum(Vector values) {
    float total = values[0];
    for (int lane = 1; lane < lanes; ++lane) total += values[lane];
    return total;
}

// 2^x to a relative 2e-7 for x <= 126; below -126 it is 2^-126. A NaN stays one.
inline Vector exp2(Vector x) {
    const Vector lowest = broadcast(-126.0f), magic = broadcast(12582912.0f);  // 1.5 * 2^23: the sum is an integer
    x = x < lowest ? lowest : x;
    const Vector shifted = x + magic, f = x - (shifted - magic);  // f in [-1/2, 1/2]
    Vector power = broadcast(1.326472721e-3f);
    power = power * f + 9.671512813e-3f;
    power = power * f + 5.550733745e-2f;
    power = power * f + 2.402224208e-1f;
    power = power * f + 6.931469776e-1f;
    power = power * f + 1.0f;
    Integers bits;
    std::memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + 0x3F800000;
    Vector scale;
    std::memcpy(&scale, &bits, sizeof scale);
    return power * scale;
}

}  // namespace
