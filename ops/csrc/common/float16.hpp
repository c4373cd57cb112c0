// IEEE half precision as bits: 1 sign, 5 exponent, 10 mantissa. Widening is exact, narrowing rounds to the nearest, ties to
// even, with subnormal numbers and infinities.
#pragma once

#include <cstdint>
#include <cstring>

#include "common/bfloat16.hpp"
#include "common/host_device.hpp"

namespace perception {

struct Float16 {
    uint16_t bits;
};

PERCEPTION_HD inline float float_of_bits(uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

PERCEPTION_HD inline uint32_t bits_of_float(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return bits;
}

PERCEPTION_HD inline float widen(Float16 value) {
    const uint32_t sign = static_cast<uint32_t>(value.bits & 0x8000) << 16;
    const uint32_t magnitude = static_cast<uint32_t>(value.bits & 0x7FFF) << 13;
    if (magnitude >= 0x0F800000) return float_of_bits(sign | magnitude | 0x7F800000);   // infinite or NaN
    if (magnitude >= 0x00800000) return float_of_bits(sign | (magnitude + 0x38000000));  // the exponents' biases differ
    // Subnormal: beside 2^-14 its bits are the last places of a float.
    const float value_beside = float_of_bits(magnitude + 0x38800000) - float_of_bits(0x38800000);
    return float_of_bits(sign | bits_of_float(value_beside));
}

PERCEPTION_HD inline void narrow(float value, Float16& out) {
    const uint32_t bits = bits_of_float(value), sign = (bits >> 16) & 0x8000, magnitude = bits & 0x7FFFFFFF;
    uint32_t half;
    if (magnitude > 0x7F800000) {
        half = 0x7E00;  // NaN
    } else if (magnitude >= 0x477FF000) {
        half = 0x7C00;  // 65520 and more round to infinity
    } else if (magnitude < 0x38800000) {
        // Below 2^-14 the steps are 2^-24: beside 0.5 they are the last place of a float.
        half = bits_of_float(float_of_bits(magnitude) + 0.5f) - 0x3F000000;
    } else {
        half = (magnitude - 0x38000000 + 0x0FFF + ((magnitude >> 13) & 1)) >> 13;
    }
    out.bits = static_cast<uint16_t>(sign | half);
}

}  // namespace perception
