// perception_ops._native: maps DLPack tensors to the raw pointers of the kernels. The Python face checks shapes and
// values, allocates every output and hands it in; nothing here includes torch.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>

#include <array>
#include <optional>

#include "binding_types.hpp"
#include "cpu/bev_scatter.hpp"
#include "cpu/group_attention.hpp"
#include "cpu/instruction_set.hpp"
#include "cpu/segment_reduce.hpp"
#include "cpu/voxelize.hpp"
#include "cpu/window_partition.hpp"
#ifdef PERCEPTION_CUDA
#include "cuda_bindings.hpp"
#endif

namespace nb = nanobind;
namespace cpu = perception::cpu;
using namespace nb::literals;

template <typename T, int Dims>
using CpuArray = nb::ndarray<T, nb::ndim<Dims>, nb::c_contig, nb::device::cpu>;
template <typename T>
using BevMap = nb::ndarray<T, nb::ndim<4>, nb::device::cpu>;  // (B, C, ny, nx) in any memory order

static void window_partition(CpuArray<const int32_t, 2> coords, CpuArray<const int64_t, 1> counts,
                             int64_t nx, int64_t ny, int64_t wx, int64_t wy, int64_t group_size,
                             CpuArray<int64_t, 2> orders, CpuArray<int64_t, 1> flat2win,
                             CpuArray<int64_t, 1> win2flat, CpuArray<bool, 1> valid, int threads) {
    const cpu::Tokens tokens{coords.data(), counts.data(), static_cast<int64_t>(coords.shape(0)),
                             static_cast<int64_t>(counts.shape(0))};
    nb::gil_scoped_release unlocked;
    cpu::window_orders(tokens, {nx, wx}, {ny, wy}, orders.data(), threads);
    cpu::group_slots(tokens, group_size, flat2win.data(), win2flat.data(), valid.data());
}

static int64_t voxelize(CpuArray<const float, 2> xyz, CpuArray<const int64_t, 1> batch, std::array<float, 3> low,
                        std::array<float, 3> size, std::array<int64_t, 3> cells, CpuArray<int32_t, 2> coords,
                        CpuArray<int64_t, 1> inverse, CpuArray<int64_t, 1> counts, int threads) {
    const perception::VoxelGrid grid{
        {low[0], size[0], cells[0]}, {low[1], size[1], cells[1]}, {low[2], size[2], cells[2]}};
    nb::gil_scoped_release unlocked;
    return cpu::voxelize(xyz.data(), batch.data(), static_cast<int64_t>(batch.shape(0)), grid, coords.data(),
                         inverse.data(), counts.data(), threads);
}

template <typename Table>
static cpu::RowSegments row_segments(const CpuArray<const int64_t, 1>& index, const Table& by_segment) {
    return {index.data(), static_cast<int64_t>(index.shape(0)), static_cast<int64_t>(by_segment.shape(0))};
}

template <typename T>
static void segment_max(CpuArray<const T, 2> features, CpuArray<const int64_t, 1> index, CpuArray<T, 2> out,
                        CpuArray<int32_t, 2> argmax, int threads) {
    nb::gil_scoped_release unlocked;
    cpu::segment_max(features.data(), row_segments(index, out), static_cast<int64_t>(out.shape(1)), out.data(),
                     argmax.data(), threads);
}

template <typename T>
static void segment_max_backward(CpuArray<const T, 2> grad, CpuArray<const int32_t, 2> argmax,
                                 CpuArray<const int64_t, 1> index, CpuArray<T, 2> out, int threads) {
    nb::gil_scoped_release unlocked;
    cpu::segment_max_backward(grad.data(), argmax.data(), row_segments(index, grad),
                              static_cast<int64_t>(out.shape(1)), out.data(), threads);
}

template <typename T>
static void segment_sum(CpuArray<const T, 2> features, CpuArray<const int64_t, 1> index, bool is_mean,
                        CpuArray<T, 2> out, int threads) {
    nb::gil_scoped_release unlocked;
    cpu::segment_sum(features.data(), row_segments(index, out), static_cast<int64_t>(out.shape(1)), is_mean,
                     out.data(), threads);
}

template <typename T>
static cpu::MapStrides strides_of(const BevMap<T>& map) {
    return {map.stride(0), map.stride(1), map.stride(2), map.stride(3)};
}

template <typename T>
static void bev_scatter(CpuArray<const T, 2> features, CpuArray<const int32_t, 2> coords, BevMap<T> map, int threads) {
    const cpu::BevRows rows{coords.data(), static_cast<int64_t>(coords.shape(0))};
    nb::gil_scoped_release unlocked;
    cpu::bev_scatter(features.data(), rows, static_cast<int64_t>(map.shape(1)), strides_of(map), map.data(), threads);
}

template <typename T>
static void bev_gather(BevMap<const T> map, CpuArray<const int32_t, 2> coords, CpuArray<T, 2> out, int threads) {
    const cpu::BevRows rows{coords.data(), static_cast<int64_t>(coords.shape(0))};
    nb::gil_scoped_release unlocked;
    cpu::bev_gather(map.data(), rows, static_cast<int64_t>(map.shape(1)), strides_of(map), out.data(), threads);
}

using Slots = CpuArray<const int64_t, 1>;
using Mask = std::optional<CpuArray<const bool, 1>>;

static cpu::Groups groups_of(const Slots& slots, const Slots& back, const Mask& valid, int64_t size) {
    return {slots.data(), back.data(), valid ? valid->data() : nullptr,
            static_cast<int64_t>(slots.shape(0)) / size, size, static_cast<int64_t>(back.shape(0))};
}

static cpu::Heads heads_of(size_t channels, int64_t heads) { return {heads, static_cast<int64_t>(channels) / heads}; }

template <typename T>
static void group_attention(CpuArray<const T, 2> qk, CpuArray<const T, 2> v, Slots slots, Slots back, Mask valid,
                            int64_t size, int64_t heads, CpuArray<T, 2> out, int threads) {
    const cpu::Groups groups = groups_of(slots, back, valid, size);
    nb::gil_scoped_release unlocked;
    cpu::group_attention(qk.data(), v.data(), groups, heads_of(v.shape(1), heads), out.data(), threads);
}

template <typename T>
static void group_attention_backward(CpuArray<const T, 2> grad, CpuArray<const T, 2> qk, CpuArray<const T, 2> v,
                                     Slots slots, Slots back, Mask valid, int64_t size, int64_t heads,
                                     CpuArray<T, 2> grad_qk, CpuArray<T, 2> grad_v, int threads) {
    const cpu::Groups groups = groups_of(slots, back, valid, size);
    nb::gil_scoped_release unlocked;
    cpu::group_attention_backward(grad.data(), qk.data(), v.data(), groups, heads_of(v.shape(1), heads),
                                  grad_qk.data(), grad_v.data(), threads);
}

template <typename T>
static void define_floating(nb::module_& m) {
    m.def("segment_max", &segment_max<T>);
    m.def("segment_max_backward", &segment_max_backward<T>);
    m.def("segment_sum", &segment_sum<T>);
    m.def("group_attention", &group_attention<T>, "qk"_a, "v"_a, "slots"_a, "back"_a, "valid"_a.none(), "size"_a,
          "heads"_a, "out"_a, "threads"_a);
    m.def("group_attention_backward", &group_attention_backward<T>, "grad"_a, "qk"_a, "v"_a, "slots"_a, "back"_a,
          "valid"_a.none(), "size"_a, "heads"_a, "grad_qk"_a, "grad_v"_a, "threads"_a);
    m.def("bev_scatter", &bev_scatter<T>);
    m.def("bev_gather", &bev_gather<T>);
}

NB_MODULE(_native, m) {
    m.doc() = "Native kernels of perception_ops; call them through the torch ops.";
    m.def("window_partition", &window_partition);
    m.def("voxelize", &voxelize);
    m.def("mistake_in_groups", [](Slots slots, Slots back, int64_t size) {
        return cpu::mistake_in(groups_of(slots, back, std::nullopt, size));
    });
    m.def("limit_instruction_set", [](int most) {
        return static_cast<int>(cpu::limit_instruction_set(static_cast<cpu::InstructionSet>(most)));
    });
    define_floating<float>(m);
    define_floating<perception::Bfloat16>(m);
#ifdef PERCEPTION_CUDA
    nb::module_ device = m.def_submodule("cuda", "The kernels for tensors of a GPU.");
    perception::cuda::define_kernels(device);
#endif
}
