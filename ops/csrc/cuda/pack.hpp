// Neighbouring channels that one thread loads and stores as one word of up to 16 bytes.
#pragma once

#include <cstdint>
#include <type_traits>

#include "device.hpp"

namespace perception::cuda {

template <typename T, int Width>
struct alignas(sizeof(T) * Width) Pack {
    T values[Width];
};

template <int Width, typename T>
__device__ inline Pack<T, Width> load_pack(const T* from) {
    return *reinterpret_cast<const Pack<T, Width>*>(from);
}

template <typename T, int Width>
__device__ inline void store_pack(const Pack<T, Width>& pack, T* to) {
    *reinterpret_cast<Pack<T, Width>*>(to) = pack;
}

// Calls launch_with(std::integral_constant<int, Width>) with 4 if rows of `channels` numbers from all these addresses
// fall into packs of four, else with 1.
template <typename LaunchWith, typename... Addresses>
void with_pack_width(int64_t channels, LaunchWith launch_with, const Addresses*... tables) {
    if (channels % 4 == 0 && ((reinterpret_cast<uintptr_t>(tables) % (4 * sizeof(Addresses)) == 0) && ...)) {
        launch_with(std::integral_constant<int, 4>{});
    } else {
        launch_with(std::integral_constant<int, 1>{});
    }
}

}  // namespace perception::cuda
