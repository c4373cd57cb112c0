// The device kernels for Python. The Python face checks shapes and values and allocates outputs and workspaces; streams
// come as integers. PERCEPTION_KERNEL_DEVICE is where the tensors must be, cuda or (under emulation) cpu.
#include "cuda_bindings.hpp"

#include <nanobind/ndarray.h>

#include "binding_types.hpp"
#include "cuda/segment_reduce.hpp"

namespace nb = nanobind;

namespace perception::cuda {
namespace {

template <typename T, int Dims>
using Array = nb::ndarray<T, nb::ndim<Dims>, nb::c_contig, nb::device::PERCEPTION_KERNEL_DEVICE>;
using Bytes = Array<uint8_t, 1>;

Stream stream_of(uintptr_t address) { return reinterpret_cast<Stream>(address); }

void check_room(const Bytes& workspace, size_t wanted) {
    if (workspace.shape(0) < wanted) throw nb::value_error("workspace is too small");
}

template <typename Table>
RowSegments row_segments(const Array<const int64_t, 1>& index, const Table& by_segment) {
    return {index.data(), static_cast<int64_t>(index.shape(0)), static_cast<int64_t>(by_segment.shape(0))};
}

template <typename T>
void define_floating(nb::module_& m) {
    m.def("segment_max", [](Array<const T, 2> features, Array<const int64_t, 1> index, Array<T, 2> out,
                            Array<int32_t, 2> argmax, Bytes workspace, uintptr_t stream) {
        const RowSegments of = row_segments(index, out);
        check_room(workspace, segment_workspace(of.rows, of.segments));
        segment_max(features.data(), of, static_cast<int64_t>(out.shape(1)), out.data(), argmax.data(),
                    workspace.data(), stream_of(stream));
    });
    m.def("segment_sum", [](Array<const T, 2> features, Array<const int64_t, 1> index, bool is_mean, Array<T, 2> out,
                            Bytes workspace, uintptr_t stream) {
        const RowSegments of = row_segments(index, out);
        check_room(workspace, segment_workspace(of.rows, of.segments));
        segment_sum(features.data(), of, static_cast<int64_t>(out.shape(1)), is_mean, out.data(), workspace.data(),
                    stream_of(stream));
    });
    m.def("segment_max_backward", [](Array<const T, 2> grad, Array<const int32_t, 2> argmax,
                                     Array<const int64_t, 1> index, Array<T, 2> out, uintptr_t stream) {
        segment_max_backward(grad.data(), argmax.data(), row_segments(index, grad),
                             static_cast<int64_t>(out.shape(1)), out.data(), stream_of(stream));
    });
}

}  // namespace

void define_kernels(nb::module_& m) {
    m.def("segment_workspace", &segment_workspace);
    define_floating<float>(m);
    define_floating<Bfloat16>(m);
    define_floating<Float16>(m);
}

}  // namespace perception::cuda
