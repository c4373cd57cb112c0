// CUDA's warp shuffles, votes and barrier for fibers.
#pragma once

#include <cstdint>
#include <source_location>
#include <string>

#include "execution.hpp"

namespace perception::cuda::emulation {

template <typename T>
struct Shuffled {
    T value;
    int source;  // lane
    T result;
};

template <typename T>
void finish_shuffle(void* const* operands, uint32_t mask) {
    for (int lane = 0; lane < 32; ++lane) {
        if ((mask >> lane & 1) == 0) continue;
        auto& mine = *static_cast<Shuffled<T>*>(operands[lane]);
        if (operands[mine.source] == nullptr) {
            fail("a shuffle of lane " + std::to_string(lane) + " reads lane " + std::to_string(mine.source) +
                 ", which takes no part");
        }
        mine.result = static_cast<const Shuffled<T>*>(operands[mine.source])->value;
    }
}

inline int lane_number() {
    return static_cast<int>((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % 32);
}

template <typename T>
T shuffle(const char* name, uint32_t mask, T value, int source, const Place& at) {
    Shuffled<T> mine{value, source, value};
    warp_operation({name, mask, &mine, finish_shuffle<T>}, at);
    return mine.result;
}

inline uint32_t vote(const char* name, uint32_t mask, bool claim, const Place& at) {
    struct Vote {
        bool claim;
        uint32_t claims;
    } mine{claim, 0};
    const auto finish = [](void* const* operands, uint32_t lanes) {
        uint32_t claims = 0;
        for (int lane = 0; lane < 32; ++lane) {
            if (lanes >> lane & 1) claims |= uint32_t{static_cast<Vote*>(operands[lane])->claim} << lane;
        }
        for (int lane = 0; lane < 32; ++lane) {
            if (lanes >> lane & 1) static_cast<Vote*>(operands[lane])->claims = claims;
        }
    };
    warp_operation({name, mask, &mine, finish}, at);
    return mine.claims;
}

}  // namespace perception::cuda::emulation

inline void __syncwarp(unsigned mask = 0xFFFFFFFFu, std::source_location at = std::source_location::current()) {
    char none = 0;
    perception::cuda::emulation::warp_operation({"__syncwarp", mask, &none, [](void* const*, uint32_t) {}}, at);
}

// A source beyond the calling lane's section of `width` lanes gives the lane its own value, as the device does.
template <typename T>
T __shfl_sync(unsigned mask, T value, int source, int width = 32,
              std::source_location at = std::source_location::current()) {
    const int lane = perception::cuda::emulation::lane_number();
    const int from = (lane & ~(width - 1)) | (source & (width - 1));
    return perception::cuda::emulation::shuffle("__shfl_sync", mask, value, from, at);
}
template <typename T>
T __shfl_xor_sync(unsigned mask, T value, int flip, int width = 32,
                  std::source_location at = std::source_location::current()) {
    const int lane = perception::cuda::emulation::lane_number(), from = lane ^ flip;
    const bool is_near = from <= (lane | (width - 1));
    return perception::cuda::emulation::shuffle("__shfl_xor_sync", mask, value, is_near ? from : lane, at);
}
template <typename T>
T __shfl_up_sync(unsigned mask, T value, unsigned delta, int width = 32,
                 std::source_location at = std::source_location::current()) {
    const int lane = perception::cuda::emulation::lane_number(), from = lane - static_cast<int>(delta);
    const bool is_near = from >= (lane & ~(width - 1));
    return perception::cuda::emulation::shuffle("__shfl_up_sync", mask, value, is_near ? from : lane, at);
}
template <typename T>
T __shfl_down_sync(unsigned mask, T value, unsigned delta, int width = 32,
                   std::source_location at = std::source_location::current()) {
    const int lane = perception::cuda::emulation::lane_number(), from = lane + static_cast<int>(delta);
    const bool is_near = from <= (lane | (width - 1));
    return perception::cuda::emulation::shuffle("__shfl_down_sync", mask, value, is_near ? from : lane, at);
}

inline unsigned __ballot_sync(unsigned mask, int claim, std::source_location at = std::source_location::current()) {
    return perception::cuda::emulation::vote("__ballot_sync", mask, claim != 0, at);
}
inline int __any_sync(unsigned mask, int claim, std::source_location at = std::source_location::current()) {
    return perception::cuda::emulation::vote("__any_sync", mask, claim != 0, at) != 0;
}
inline int __all_sync(unsigned mask, int claim, std::source_location at = std::source_location::current()) {
    return perception::cuda::emulation::vote("__all_sync", mask, claim == 0, at) == 0;
}
