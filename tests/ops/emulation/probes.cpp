// Small kernels, right and wrong ones, that show what the emulation does and which mistakes it finds.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "binding_types.hpp"
#include "device.hpp"

namespace nb = nanobind;

namespace perception::cuda {
namespace {

template <typename T>
using Vector = nb::ndarray<T, nb::ndim<1>, nb::c_contig, nb::device::cpu>;
template <typename T>
using Table = nb::ndarray<T, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

constexpr int lanes = 32, most_threads = 256;

__global__ void reverse(const int32_t* in, int32_t* out, bool has_barrier) {
    PERCEPTION_SHARED(int32_t, line, most_threads);
    line[threadIdx.x] = in[threadIdx.x];
    if (has_barrier) __syncthreads();
    out[threadIdx.x] = line[blockDim.x - 1 - threadIdx.x];
}

__global__ void some_threads_at_barrier(int count) {
    if (static_cast<int>(threadIdx.x) < count) __syncthreads();
}

__global__ void two_barriers() {
    if (threadIdx.x % 2 == 0) {
        __syncthreads();
    } else {
        __syncthreads();
    }
}

__global__ void store_at(int32_t* out, int64_t place) { out[place] = 1; }

__global__ void store_in_shared(int32_t* out, int place) {
    PERCEPTION_SHARED(int32_t, few, 4);
    PERCEPTION_SHARED(int32_t, others, 4);
    few[place] = others[0] = 1;
    out[0] = few[0];
}

__global__ void store_in_dynamic(int32_t* out, int place) {
    PERCEPTION_DYNAMIC_SHARED(int32_t, line);
    line[place] = 1;
    out[0] = line[place];
}

__global__ void keep_in_shared(int32_t* out) {
    PERCEPTION_SHARED(int32_t, kept, 1);
    out[blockIdx.x] = kept[0];
    kept[0] = static_cast<int32_t>(blockIdx.x);
}

__global__ void shuffle_from(const int32_t* in, int32_t* out, uint32_t mask, int source) {
    if (mask >> (threadIdx.x % lanes) & 1) out[threadIdx.x] = __shfl_sync(mask, in[threadIdx.x], source);
}

__global__ void shuffles(const int32_t* in, int32_t* out, int step, int width) {
    const int32_t mine = in[threadIdx.x];
    out[threadIdx.x] = __shfl_xor_sync(0xFFFFFFFFu, mine, step, width);
    out[threadIdx.x + lanes] = __shfl_up_sync(0xFFFFFFFFu, mine, static_cast<unsigned>(step), width);
    out[threadIdx.x + 2 * lanes] = __shfl_down_sync(0xFFFFFFFFu, mine, static_cast<unsigned>(step), width);
}

__global__ void shuffle_after_exit(int32_t* out) {
    if (threadIdx.x == 5) return;
    out[threadIdx.x] = __shfl_xor_sync(0xFFFFFFFFu, 1, 1);
}

__global__ void warp_sums(const int32_t* in, int64_t count, unsigned long long* sum, unsigned* odd) {
    const int64_t i = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
    int32_t mine = i < count ? in[i] : 0;
    const unsigned ballot = __ballot_sync(0xFFFFFFFFu, mine % 2 != 0);
    for (int step = lanes / 2; step > 0; step /= 2) mine += __shfl_xor_sync(0xFFFFFFFFu, mine, step);
    if (threadIdx.x % lanes > 0) return;
    atomicAdd(sum, static_cast<unsigned long long>(mine));
    atomicAdd(odd, static_cast<unsigned>(__popc(ballot)));
}

template <typename T>
__global__ void multiply_fragments(const uint32_t* a, const uint32_t* b, float* d) {
    uint32_t mine_a[4], mine_b[2];
    float mine_d[4];
    for (int r = 0; r < 4; ++r) mine_a[r] = a[4 * threadIdx.x + r];
    for (int r = 0; r < 2; ++r) mine_b[r] = b[2 * threadIdx.x + r];
    for (int i = 0; i < 4; ++i) mine_d[i] = d[4 * threadIdx.x + i];
    mma_m16n8k16<T>(mine_d, mine_a, mine_b);
    for (int i = 0; i < 4; ++i) d[4 * threadIdx.x + i] = mine_d[i];
}

// rows (32, 8): line 8 i + j is row j of matrix i.
__global__ void load_fragments(const uint16_t* rows, uint32_t* registers, bool is_transposed) {
    PERCEPTION_SHARED(uint16_t, tile, lanes * 8);
    for (int i = 0; i < 8; ++i) tile[8 * threadIdx.x + i] = rows[8 * threadIdx.x + i];
    __syncthreads();
    uint32_t mine[4];
    if (is_transposed) {
        load_matrices_transposed(mine, tile + 8 * threadIdx.x);
    } else {
        load_matrices(mine, tile + 8 * threadIdx.x);
    }
    for (int r = 0; r < 4; ++r) registers[4 * threadIdx.x + r] = mine[r];
}

__global__ void copy_through_shared(const int32_t* in, int32_t* out, bool waits) {
    PERCEPTION_SHARED(int32_t, line, 4);
    copy_async(line, in, 12);  // three numbers and a zero
    copy_async_close();
    if (waits) copy_async_wait<0>();
    for (int i = 0; i < 4; ++i) out[i] = line[i];
}

template <typename T>
void round_trip(Vector<const float> in, Vector<float> out) {
    for (size_t i = 0; i < in.shape(0); ++i) {
        T narrowed;
        narrow(in.data()[i], narrowed);
        out.data()[i] = widen(narrowed);
    }
}

template <typename T>
void define_fragments(nb::module_& m, const char* multiply, const char* round) {
    m.def(multiply, [](Table<const uint32_t> a, Table<const uint32_t> b, Table<float> d) {
        launch<multiply_fragments<T>>(1, lanes, 0, nullptr, a.data(), b.data(), d.data());
    });
    m.def(round, &round_trip<T>);
}

}  // namespace

NB_MODULE(_probes, m) {
    m.def("set_order_seed", &emulation::set_order_seed);
    m.def("reverse", [](Vector<const int32_t> in, Vector<int32_t> out, bool has_barrier) {
        launch<reverse>(1, static_cast<unsigned>(in.shape(0)), 0, nullptr, in.data(), out.data(), has_barrier);
    });
    m.def("some_threads_at_barrier", [](int count) { launch<some_threads_at_barrier>(2, 64, 0, nullptr, count); });
    m.def("two_barriers", [] { launch<two_barriers>(1, 64, 0, nullptr); });
    m.def("store_at", [](Vector<int32_t> out, int64_t place) {
        launch<store_at>(1, 1, 0, nullptr, out.data(), place);
    });
    m.def("store_in_shared", [](Vector<int32_t> out, int place) {
        launch<store_in_shared>(1, 1, 0, nullptr, out.data(), place);
    });
    m.def("store_in_dynamic", [](Vector<int32_t> out, int place, size_t bytes) {
        launch<store_in_dynamic>(1, 1, bytes, nullptr, out.data(), place);
    });
    m.def("keep_in_shared", [](Vector<int32_t> out) {
        launch<keep_in_shared>(static_cast<unsigned>(out.shape(0)), 1, 0, nullptr, out.data());
    });
    m.def("shuffle_from", [](Vector<const int32_t> in, Vector<int32_t> out, uint32_t mask, int source) {
        launch<shuffle_from>(1, static_cast<unsigned>(in.shape(0)), 0, nullptr, in.data(), out.data(), mask, source);
    });
    m.def("shuffles", [](Vector<const int32_t> in, Vector<int32_t> out, int step, int width) {
        launch<shuffles>(1, lanes, 0, nullptr, in.data(), out.data(), step, width);
    });
    m.def("shuffle_after_exit", [](Vector<int32_t> out) {
        launch<shuffle_after_exit>(1, lanes, 0, nullptr, out.data());
    });
    m.def("warp_sums", [](Vector<const int32_t> in, Vector<uint64_t> sum, Vector<uint32_t> odd, unsigned threads) {
        const auto count = static_cast<int64_t>(in.shape(0));
        launch<warp_sums>(static_cast<unsigned>((count + threads - 1) / threads), threads, 0, nullptr, in.data(), count,
                          reinterpret_cast<unsigned long long*>(sum.data()), odd.data());
    });
    m.def("load_fragments", [](Table<const uint16_t> rows, Table<uint32_t> registers, bool is_transposed) {
        launch<load_fragments>(1, lanes, 0, nullptr, rows.data(), registers.data(), is_transposed);
    });
    m.def("copy_through_shared", [](Vector<const int32_t> in, Vector<int32_t> out, bool waits) {
        launch<copy_through_shared>(1, 1, 0, nullptr, in.data(), out.data(), waits);
    });
    define_fragments<Float16>(m, "multiply_float16", "round_float16");
    define_fragments<Bfloat16>(m, "multiply_bfloat16", "round_bfloat16");
}

}  // namespace perception::cuda
