// perception_ops._native: maps DLPack tensors to the raw pointers of the kernels. The Python face checks shapes and
// values, allocates every output and hands it in; nothing here includes torch.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include "cpu/window_partition.hpp"

namespace nb = nanobind;

template <typename T, int Dims>
using CpuArray = nb::ndarray<T, nb::ndim<Dims>, nb::c_contig, nb::device::cpu>;

static void window_partition(CpuArray<const int32_t, 2> coords, CpuArray<const int64_t, 1> counts,
                             int64_t nx, int64_t ny, int64_t wx, int64_t wy, int64_t group_size,
                             CpuArray<int64_t, 2> orders, CpuArray<int64_t, 1> flat2win,
                             CpuArray<int64_t, 1> win2flat, CpuArray<bool, 1> valid, int threads) {
    const perception::cpu::Tokens tokens{coords.data(), counts.data(), static_cast<int64_t>(coords.shape(0)),
                                         static_cast<int64_t>(counts.shape(0))};
    nb::gil_scoped_release unlocked;
    perception::cpu::window_orders(tokens, {nx, wx}, {ny, wy}, orders.data(), threads);
    perception::cpu::group_slots(tokens, group_size, flat2win.data(), win2flat.data(), valid.data());
}

NB_MODULE(_native, m) {
    m.doc() = "Native kernels of perception_ops; call them through the torch ops.";
    m.def("window_partition", &window_partition);
}
