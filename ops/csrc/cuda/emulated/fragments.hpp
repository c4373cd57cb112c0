// Tensor-core instructions of a warp with the device's own places of matrix elements in lanes and registers
// (PTX ISA, "Matrix fragments for mma.m16n8k16" and "ldmatrix"). With g = lane / 4 and t = lane % 4, two 16-bit elements
// a register, the lower half first:
//   A (16, 16): register 0 holds (g, 2t) and (g, 2t + 1), register 1 row g + 8, register 2 columns 2t + 8 and 2t + 9,
//               register 3 both
//   B (16, 8):  register 0 holds (2t, g) and (2t + 1, g), register 1 rows 2t + 8 and 2t + 9
//   D (16, 8):  numbers 0 and 1 are (g, 2t) and (g, 2t + 1), numbers 2 and 3 row g + 8
#pragma once

#include <cstdint>
#include <cstring>
#include <source_location>

#include "common/bfloat16.hpp"
#include "common/float16.hpp"
#include "execution.hpp"

namespace perception::cuda {

// Two numbers in one register, the first in its lower half.
template <typename T>
uint32_t pack_pair(float low, float high) {
    T halves[2];
    narrow(low, halves[0]);
    narrow(high, halves[1]);
    uint32_t both;
    std::memcpy(&both, halves, sizeof both);
    return both;
}

namespace emulation {

template <typename T>
float half_of(uint32_t both, int which) {
    const T half{static_cast<uint16_t>(both >> (16 * which))};
    return widen(half);
}

struct MmaOperand {
    float* d;
    const uint32_t *a, *b;
};

inline const MmaOperand& mma_of(void* const* operands, int lane) { return *static_cast<MmaOperand*>(operands[lane]); }

template <typename T>
void finish_mma(void* const* operands, uint32_t mask) {
    if (mask != 0xFFFFFFFFu) fail("mma_m16n8k16 needs all 32 lanes");
    float a[16][16], b[16][8];
    for (int lane = 0; lane < 32; ++lane) {
        const int g = lane / 4, t = lane % 4;
        const MmaOperand& of = mma_of(operands, lane);
        for (int half = 0; half < 2; ++half) {
            for (int r = 0; r < 4; ++r) a[g + 8 * (r % 2)][2 * t + half + 8 * (r / 2)] = half_of<T>(of.a[r], half);
            for (int r = 0; r < 2; ++r) b[2 * t + half + 8 * r][g] = half_of<T>(of.b[r], half);
        }
    }
    for (int lane = 0; lane < 32; ++lane) {
        for (int i = 0; i < 4; ++i) {
            const int row = lane / 4 + 8 * (i / 2), column = 2 * (lane % 4) + i % 2;
            float& total = mma_of(operands, lane).d[i];
            for (int k = 0; k < 16; ++k) total += a[row][k] * b[k][column];
        }
    }
}

struct LoadOperand {
    uint32_t* registers;
    const uint16_t* row;  // lane 8 i + j brings row j of matrix i
};

template <bool Transposed>
void finish_load(void* const* operands, uint32_t mask) {
    if (mask != 0xFFFFFFFFu) fail("load_matrices needs all 32 lanes");
    for (int lane = 0; lane < 32; ++lane) {
        for (int matrix = 0; matrix < 4; ++matrix) {
            uint32_t both = 0;
            for (int half = 0; half < 2; ++half) {
                const int line = lane / 4, place = 2 * (lane % 4) + half;
                const int row = Transposed ? place : line, column = Transposed ? line : place;
                const auto& of = *static_cast<LoadOperand*>(operands[8 * matrix + row]);
                both |= static_cast<uint32_t>(of.row[column]) << (16 * half);
            }
            static_cast<LoadOperand*>(operands[lane])->registers[matrix] = both;
        }
    }
}

template <bool Transposed>
void load(const char* name, uint32_t (&registers)[4], const void* row, const Place& at) {
    if (reinterpret_cast<uintptr_t>(row) % 16 != 0) fail("load_matrices: a row is not aligned to 16 bytes");
    if (!is_shared(row, 16)) fail("load_matrices: a row lies outside shared memory");
    LoadOperand mine{registers, static_cast<const uint16_t*>(row)};
    warp_operation({name, 0xFFFFFFFFu, &mine, finish_load<Transposed>}, at);
}

}  // namespace emulation

// d += a b in float32; T is Float16 or Bfloat16.
template <typename T>
void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                  std::source_location at = std::source_location::current()) {
    emulation::MmaOperand mine{d, a, b};
    emulation::warp_operation({"mma_m16n8k16", 0xFFFFFFFFu, &mine, emulation::finish_mma<T>}, at);
}

// Four 8 x 8 matrices of 16-bit elements from shared memory: lane 8 i + j brings the address of row j of matrix i (16
// bytes), and gets of each matrix i the elements (lane / 4, 2 (lane % 4)) and the next one in registers[i].
inline void load_matrices(uint32_t (&registers)[4], const void* row,
                          std::source_location at = std::source_location::current()) {
    emulation::load<false>("load_matrices", registers, row, at);
}
// The same of the transposed matrices.
inline void load_matrices_transposed(uint32_t (&registers)[4], const void* row,
                                     std::source_location at = std::source_location::current()) {
    emulation::load<true>("load_matrices_transposed", registers, row, at);
}

}  // namespace perception::cuda
