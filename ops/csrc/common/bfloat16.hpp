// bfloat16 is the upper half of a float: widening is exact, narrowing rounds to the nearest, ties to even.
#pragma once

#include <cstdint>
#include <cstring>

#include "common/host_device.hpp"

namespace perception {

struct Bfloat16 {
    uint16_t bits;
};

PERCEPTION_HD inline float widen(float value) { return value; }

PERCEPTION_HD inline float widen(Bfloat16 value) {
    const uint32_t bits = static_cast<uint32_t>(value.bits) << 16;
    float wide;
    std::memcpy(&wide, &bits, sizeof wide);
    return wide;
}

// narrow(value, out) instead of a return value, so that the kernels need not name the type twice.
PERCEPTION_HD inline void narrow(float value, float& out) { out = value; }

PERCEPTION_HD inline void narrow(float value, Bfloat16& out) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    const uint32_t rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16;
    out.bits = static_cast<uint16_t>(value == value ? rounded : 0x7FC0);
}

}  // namespace perception
