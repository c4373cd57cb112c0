// The words of emulated/device.hpp (see there for the list) for nvcc. Most are CUDA's own; here is the rest.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "common/bfloat16.hpp"
#include "common/float16.hpp"
#include "stream.hpp"

#define PERCEPTION_SHARED(Type, name, count)                                                         \
    static_assert(std::is_trivially_default_constructible_v<Type>, "shared memory is not initialised"); \
    __shared__ Type name[count]
#define PERCEPTION_DYNAMIC_SHARED(Type, name)                            \
    extern __shared__ __align__(128) unsigned char perception_shared[]; \
    Type* name = reinterpret_cast<Type*>(perception_shared)

namespace perception::cuda {

inline void check(cudaError_t status, const char* what) {
    if (status != cudaSuccess) throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(status));
}

template <auto Kernel, typename... Arguments>
void launch(dim3 grid, dim3 block, size_t dynamic_shared_bytes, Stream stream, Arguments... arguments) {
    constexpr size_t granted = 48 << 10;  // more must be asked for
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    if (dynamic_shared_bytes > granted) {
        check(cudaFuncSetAttribute(Kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                   static_cast<int>(dynamic_shared_bytes)),
              __PRETTY_FUNCTION__);
    }
    Kernel<<<grid, block, dynamic_shared_bytes, stream>>>(arguments...);
    check(cudaGetLastError(), __PRETTY_FUNCTION__);
}

inline void fill_bytes(void* memory, int byte, size_t bytes, Stream stream) {
    if (bytes > 0) check(cudaMemsetAsync(memory, byte, bytes, stream), "fill_bytes");
}

__device__ inline void device_check(bool claim) {
    if (!claim) __trap();
}

template <typename T>
__device__ uint32_t pack_pair(float low, float high) {
    static_assert(std::is_same_v<T, Bfloat16> || std::is_same_v<T, Float16>);
    uint32_t both;
    if constexpr (std::is_same_v<T, Bfloat16>) {
        asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    } else {
        asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(both) : "f"(high), "f"(low));
    }
    return both;
}

template <typename T>
__device__ void mma_m16n8k16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2]) {
    static_assert(std::is_same_v<T, Bfloat16> || std::is_same_v<T, Float16>);
    if constexpr (std::is_same_v<T, Bfloat16>) {
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    } else {
        asm volatile(
            "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
            "{%0, %1, %2, %3};"
            : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
            : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
    }
}

__device__ inline uint32_t shared_address(const void* shared) {
    return static_cast<uint32_t>(__cvta_generic_to_shared(shared));
}

__device__ inline void load_matrices(uint32_t (&registers)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
                 : "r"(shared_address(row))
                 : "memory");
}

__device__ inline void load_matrices_transposed(uint32_t (&registers)[4], const void* row) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(registers[0]), "=r"(registers[1]), "=r"(registers[2]), "=r"(registers[3])
                 : "r"(shared_address(row))
                 : "memory");
}

__device__ inline void copy_async(void* shared, const void* global, int bytes = 16) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)),
                 "l"(__cvta_generic_to_global(global)), "r"(bytes)
                 : "memory");
}
__device__ inline void copy_async_close() { asm volatile("cp.async.commit_group;" ::: "memory"); }
template <int N>
__device__ void copy_async_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

__device__ inline float exp2_fast(float x) {
    float power;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
    return power;
}

}  // namespace perception::cuda
