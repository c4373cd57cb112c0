// What a kernel source says to the device, executed on the host. nvidia/device.hpp offers the same words for nvcc; the
// include path decides which one a kernel source gets, and nothing else differs.
//
//   launch<kernel>(grid, block, dynamic_shared_bytes, stream, arguments...)    an empty grid launches nothing
//   PERCEPTION_SHARED(Type, name, count)            declares Type name[count], static shared memory; a Type with a comma in
//                                                   it wants a name of its own first
//   PERCEPTION_DYNAMIC_SHARED(Type, name)           declares Type* name, the launch's dynamic shared memory
//   __global__ __device__ __forceinline__ __restrict__ __launch_bounds__, threadIdx blockIdx blockDim gridDim, dim3
//   __syncthreads __syncwarp __shfl_sync __shfl_xor_sync __shfl_up_sync __shfl_down_sync __ballot_sync __any_sync __all_sync
//   atomicAdd Min Max Exch CAS Or And, __popc __popcll __ffs __ffsll __clz __clzll __ldg
//   device_check(claim)                             ends the launch with an error if the claim does not hold
//   fill_bytes(memory, byte, bytes, stream)         on the stream
//   fragments.hpp: mma_m16n8k16<T> pack_pair<T> load_matrices load_matrices_transposed
//   copy_async copy_async_close copy_async_wait<N>  16 bytes from global to shared memory
//   exp2_fast                                       2^x to about 2 units in the last place
//   device_sort.hpp: sort_pairs exclusive_sum inclusive_sum, with workspaces from the caller
#pragma once

#include <bit>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <tuple>
#include <type_traits>

#include "execution.hpp"
#include "fragments.hpp"
#include "stream.hpp"
#include "warp_operations.hpp"

#define __global__
#define __device__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)

#define PERCEPTION_SHARED(Type, name, count)                                                        \
    static_assert(std::is_trivially_default_constructible_v<Type>, "shared memory is not initialised"); \
    std::type_identity_t<Type[count]>& name = *static_cast<std::type_identity_t<Type[count]>*>(     \
        ::perception::cuda::emulation::shared_array(                                                \
            [] {                                                                                    \
                static char site;                                                                   \
                return &site;                                                                       \
            }(),                                                                                    \
            sizeof(Type[count]), alignof(Type)))
#define PERCEPTION_DYNAMIC_SHARED(Type, name) \
    Type* name = static_cast<Type*>(::perception::cuda::emulation::dynamic_shared())

inline void __syncthreads(std::source_location at = std::source_location::current()) {
    perception::cuda::emulation::block_barrier(at);
}

inline int __popc(unsigned bits) { return std::popcount(bits); }
inline int __popcll(unsigned long long bits) { return std::popcount(bits); }
inline int __ffs(int bits) { return __builtin_ffs(bits); }
inline int __ffsll(long long bits) { return __builtin_ffsll(bits); }
inline int __clz(int bits) { return std::countl_zero(static_cast<unsigned>(bits)); }
inline int __clzll(long long bits) { return std::countl_zero(static_cast<unsigned long long>(bits)); }

template <typename T>
T __ldg(const T* address) {
    return *address;
}

namespace perception::cuda::emulation {

template <typename T, typename... Those>
concept OneOf = (std::same_as<T, Those> || ...);

template <typename T>
T exchange(T* address, T value) {
    const T old = *address;
    *address = value;
    return old;
}

}  // namespace perception::cuda::emulation

// Threads never run at the same time, so plain steps are atomic. The types are those of the device's functions.
template <perception::cuda::emulation::OneOf<int, unsigned, unsigned long long, float, double> T>
T atomicAdd(T* address, std::type_identity_t<T> value) {
    return perception::cuda::emulation::exchange(address, static_cast<T>(*address + value));
}
template <perception::cuda::emulation::OneOf<int, unsigned, long long, unsigned long long> T>
T atomicMin(T* address, std::type_identity_t<T> value) {
    return perception::cuda::emulation::exchange(address, value < *address ? value : *address);
}
template <perception::cuda::emulation::OneOf<int, unsigned, long long, unsigned long long> T>
T atomicMax(T* address, std::type_identity_t<T> value) {
    return perception::cuda::emulation::exchange(address, *address < value ? value : *address);
}
template <perception::cuda::emulation::OneOf<int, unsigned, unsigned long long> T>
T atomicOr(T* address, std::type_identity_t<T> value) {
    return perception::cuda::emulation::exchange(address, *address | value);
}
template <perception::cuda::emulation::OneOf<int, unsigned, unsigned long long> T>
T atomicAnd(T* address, std::type_identity_t<T> value) {
    return perception::cuda::emulation::exchange(address, *address & value);
}
template <perception::cuda::emulation::OneOf<int, unsigned, unsigned long long, float> T>
T atomicExch(T* address, std::type_identity_t<T> value) {
    return perception::cuda::emulation::exchange(address, value);
}
template <perception::cuda::emulation::OneOf<int, unsigned, unsigned long long> T>
T atomicCAS(T* address, std::type_identity_t<T> expected, std::type_identity_t<T> value) {
    return perception::cuda::emulation::exchange(address, *address == expected ? value : *address);
}

namespace perception::cuda {

namespace emulation {

template <auto Kernel>
const char* kernel_name() {
    static const std::string name = [](std::string all) {
        const size_t begin = all.find("Kernel = ") + 9;
        return all.substr(begin, all.find_last_of("];") - begin);
    }(__PRETTY_FUNCTION__);
    return name.c_str();
}

template <auto Kernel, typename... Parameters>
void launch_as(void (*)(Parameters...), dim3 grid, dim3 block, size_t dynamic_shared_bytes,
               const std::tuple<Parameters...>& arguments) {
    static_assert((std::is_trivially_copyable_v<Parameters> && ...), "arguments travel to the device as bytes");
    static_assert((sizeof(Parameters) + ... + 0) <= 4096, "the device takes 4 KiB of arguments");
    const auto thread = [](const void* list) {
        std::apply(Kernel, *static_cast<const std::tuple<Parameters...>*>(list));
    };
    run({kernel_name<Kernel>(), grid, block, dynamic_shared_bytes, thread, &arguments});
}

}  // namespace emulation

// The work is done when the call returns, whatever the stream.
template <auto Kernel, typename... Arguments>
void launch(dim3 grid, dim3 block, size_t dynamic_shared_bytes, Stream, Arguments... arguments) {
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    emulation::launch_as<Kernel>(Kernel, grid, block, dynamic_shared_bytes, {arguments...});
}

inline void fill_bytes(void* memory, int byte, size_t bytes, Stream) {
    if (bytes > 0) std::memset(memory, byte, bytes);
}

inline void device_check(bool claim, std::source_location at = std::source_location::current()) {
    if (!claim) emulation::fail(std::string(at.file_name()) + ":" + std::to_string(at.line()) + ": device_check");
}

// The first `bytes` (0..16) come from global memory, the rest become 0. Both ends are aligned to 16 bytes.
inline void copy_async(void* shared, const void* global, int bytes = 16) {
    const auto ends = reinterpret_cast<uintptr_t>(shared) | (bytes > 0 ? reinterpret_cast<uintptr_t>(global) : 0);
    if (ends % 16 != 0) emulation::fail("copy_async: an address is not a multiple of 16");
    if (!emulation::is_shared(shared, 16)) emulation::fail("copy_async: not into shared memory");
    emulation::copy_later(shared, global, static_cast<size_t>(bytes));
}
inline void copy_async_close() { emulation::close_copies(); }
// Waits for the calling thread's copies, except those of the last N closed groups.
template <int N>
void copy_async_wait() {
    emulation::wait_for_copies(N);
}

inline float exp2_fast(float x) { return std::exp2(x); }

}  // namespace perception::cuda
