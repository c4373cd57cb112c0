// The device kernels for Python. The Python face checks shapes and values and allocates outputs and workspaces; streams
// come as integers. PERCEPTION_KERNEL_DEVICE is where the tensors must be, cuda or (under emulation) cpu.
#include "cuda_bindings.hpp"

#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>

#include <array>
#include <optional>

#include "binding_types.hpp"
#include "cuda/bev_scatter.hpp"
#include "cuda/circle_nms.hpp"
#include "cuda/greedy_scan.hpp"
#include "cuda/group_attention.hpp"
#include "cuda/hash_lookup.hpp"
#include "cuda/lean_decode.hpp"
#include "cuda/lif_scan.hpp"
#include "cuda/points_in_boxes.hpp"
#include "cuda/rotated_iou.hpp"
#include "cuda/rotated_nms.hpp"
#include "cuda/segment_reduce.hpp"
#include "cuda/selective_scan.hpp"
#include "cuda/voxelize.hpp"
#include "cuda/window_partition.hpp"
#include "decode_argument.hpp"
#include "grid_argument.hpp"
#include "lif_argument.hpp"
#include "scan_argument.hpp"

namespace nb = nanobind;
using namespace nb::literals;

namespace perception::cuda {
namespace {

template <typename T, int Dims>
using Array = nb::ndarray<T, nb::ndim<Dims>, nb::c_contig, nb::device::PERCEPTION_KERNEL_DEVICE>;
using Bytes = Array<uint8_t, 1>;
template <typename T>
using MapArray = nb::ndarray<T, nb::ndim<4>, nb::device::PERCEPTION_KERNEL_DEVICE>;  // (B, C, ny, nx), any memory order

Stream stream_of(uintptr_t address) { return reinterpret_cast<Stream>(address); }

void check_room(const Bytes& workspace, size_t wanted) {
    if (workspace.shape(0) < wanted) throw nb::value_error("workspace is too small");
}

template <typename Array>
int64_t rows_of(const Array& array) {
    return static_cast<int64_t>(array.shape(0));
}

void window_partition(Array<const int32_t, 2> coords, Array<const int64_t, 1> starts,
                      Array<const int64_t, 1> slot_starts, int64_t nx, int64_t ny, int64_t wx, int64_t wy,
                      int64_t group_size, Array<int64_t, 2> orders, Array<int64_t, 1> flat2win,
                      Array<int64_t, 1> win2flat, Array<bool, 1> valid, Bytes workspace, uintptr_t stream) {
    const Tokens tokens{coords.data(),   starts.data(),       slot_starts.data(),
                        rows_of(coords), rows_of(starts) - 1, rows_of(flat2win)};
    const Axis x{nx, wx}, y{ny, wy};
    check_room(workspace, window_workspace(tokens.rows, tokens.samples, x, y));
    window_orders(tokens, x, y, orders.data(), workspace.data(), stream_of(stream));
    group_slots(tokens, group_size, flat2win.data(), win2flat.data(), valid.data(), stream_of(stream));
}

void voxelize_points(Array<const float, 2> xyz, Array<const int64_t, 1> batch, int64_t samples, Corner low, Corner size,
                     Cells cells, Array<int32_t, 2> coords, Array<int64_t, 1> inverse, Array<int64_t, 1> counts,
                     Array<int64_t, 1> num_cells, Bytes workspace, uintptr_t stream) {
    const CloudPoints cloud{xyz.data(), batch.data(), rows_of(xyz), samples};
    const VoxelGrid grid = grid_of(low, size, cells);
    check_room(workspace, voxelize_workspace(cloud.points, samples, grid));
    voxelize(cloud, grid, coords.data(), inverse.data(), counts.data(), num_cells.data(), workspace.data(),
             stream_of(stream));
}

using FloatTable = Array<const float, 2>;

template <typename Row>
const Row* rows_as(const FloatTable& table) {
    static_assert(sizeof(Row) % sizeof(float) == 0 && alignof(Row) == alignof(float));
    return reinterpret_cast<const Row*>(table.data());
}

BevBoxes bev_boxes(const FloatTable& boxes, const FloatTable& turns) {
    return {rows_as<BevBox>(boxes), rows_as<Turn>(turns), rows_of(boxes)};
}

void define_boxes(nb::module_& m) {
    m.def("rotated_iou_bev", [](FloatTable a, FloatTable turns_a, FloatTable b, FloatTable turns_b,
                                Array<float, 2> iou, uintptr_t stream) {
        rotated_iou(bev_boxes(a, turns_a), bev_boxes(b, turns_b), iou.data(), stream_of(stream));
    });
    m.def("rotated_iou_bev_aligned", [](FloatTable a, FloatTable turns_a, FloatTable b, FloatTable turns_b,
                                        Array<float, 1> iou, uintptr_t stream) {
        rotated_iou_aligned(bev_boxes(a, turns_a), bev_boxes(b, turns_b), iou.data(), stream_of(stream));
    });
    m.def("suppression_workspace", &suppression_workspace);
    m.def("rotated_nms", [](FloatTable boxes, FloatTable turns, Array<const int64_t, 1> order, double threshold,
                            Array<int64_t, 1> kept, Array<int64_t, 1> num_kept, Bytes workspace, uintptr_t stream) {
        check_room(workspace, suppression_workspace(rows_of(order)));
        rotated_nms(bev_boxes(boxes, turns), order.data(), static_cast<float>(threshold), kept.data(), num_kept.data(),
                    workspace.data(), stream_of(stream));
    });
    m.def("circle_nms", [](FloatTable centers, Array<const int64_t, 1> order, double squared_radius,
                           Array<int64_t, 1> kept, Array<int64_t, 1> num_kept, Bytes workspace, uintptr_t stream) {
        check_room(workspace, suppression_workspace(rows_of(order)));
        circle_nms(centers.data(), order.data(), rows_of(order), static_cast<float>(squared_radius), kept.data(),
                   num_kept.data(), workspace.data(), stream_of(stream));
    });
    m.def("points_in_boxes", [](FloatTable points, FloatTable boxes, FloatTable turns, Array<int64_t, 1> found,
                                uintptr_t stream) {
        points_in_boxes(points.data(), rows_of(points), rows_as<UprightBox>(boxes), rows_as<Turn>(turns),
                        rows_of(boxes), found.data(), stream_of(stream));
    });
}

template <typename T>
BevMap map_of(const MapArray<T>& map) {
    return {rows_of(map),  static_cast<int64_t>(map.shape(1)), static_cast<int64_t>(map.shape(2)),
            static_cast<int64_t>(map.shape(3)), map.stride(0), map.stride(1), map.stride(2), map.stride(3)};
}

template <typename Table>
RowSegments row_segments(const Array<const int64_t, 1>& index, const Table& by_segment) {
    return {index.data(), rows_of(index), rows_of(by_segment)};
}

using Slots = Array<const int64_t, 1>;
using Mask = std::optional<Array<const bool, 1>>;

Groups groups_of(const Slots& slots, const Slots& back, const Mask& valid, int64_t size) {
    return {slots.data(), back.data(), valid ? valid->data() : nullptr, rows_of(slots) / size, size, rows_of(back)};
}

Heads heads_of(size_t channels, int64_t heads) { return {heads, static_cast<int64_t>(channels) / heads}; }

using Cube = Array<const float, 3>;
using GroupRows = Array<const float, 4>;
using CubeOut = Array<float, 3>;
using GroupRowsOut = Array<float, 4>;

using Row = std::optional<Array<const float, 1>>;

void define_scan(nb::module_& m) {
    m.def("selective_scan", [](Cube u, Cube delta, FloatTable a, GroupRows b, GroupRows c, Cube initial, Row bias,
                               bool softplus, CubeOut y, CubeOut last, uintptr_t stream) {
        selective_scan(scan_input(u, delta, a, b, c, initial, bias, softplus), y.data(), last.data(),
                       stream_of(stream));
    }, "u"_a, "delta"_a, "a"_a, "b"_a, "c"_a, "initial"_a, "bias"_a.none(), "softplus"_a, "y"_a, "last"_a, "stream"_a);
    m.def("selective_scan_backward_workspace", [](int64_t samples, int64_t channels, int64_t groups, int64_t state,
                                                  int64_t length) {
        return selective_scan_backward_workspace({samples, channels, groups, state, length});
    });
    m.def("selective_scan_backward", [](Cube grad_y, Cube grad_last, Cube u, Cube delta, FloatTable a, GroupRows b,
                                        GroupRows c, Cube initial, Row bias, bool softplus, CubeOut grad_u,
                                        CubeOut grad_delta, CubeOut grad_a, GroupRowsOut grad_b, GroupRowsOut grad_c,
                                        CubeOut grad_initial, Bytes workspace, uintptr_t stream) {
        const ScanInput in = scan_input(u, delta, a, b, c, initial, bias, softplus);
        check_room(workspace, selective_scan_backward_workspace(in.of));
        selective_scan_backward(in, grad_y.data(), grad_last.data(),
                                {grad_u.data(), grad_delta.data(), grad_a.data(), grad_b.data(), grad_c.data(),
                                 grad_initial.data()},
                                workspace.data(), stream_of(stream));
    }, "grad_y"_a, "grad_last"_a, "u"_a, "delta"_a, "a"_a, "b"_a, "c"_a, "initial"_a, "bias"_a.none(), "softplus"_a,
          "grad_u"_a, "grad_delta"_a, "grad_a"_a, "grad_b"_a, "grad_c"_a, "grad_initial"_a, "workspace"_a, "stream"_a);
    m.def("lif_scan", [](Cube x, FloatTable membrane, float threshold, CubeOut spikes, Array<float, 2> last,
                         uintptr_t stream) {
        lif_scan(lif_sequences(x, membrane, threshold), spikes.data(), last.data(), stream_of(stream));
    });
    m.def("lif_scan_backward", [](Cube grad_spikes, FloatTable grad_last, Cube x, FloatTable membrane, float threshold,
                                  CubeOut grad_x, Array<float, 2> grad_membrane, uintptr_t stream) {
        lif_scan_backward(lif_sequences(x, membrane, threshold), grad_spikes.data(), grad_last.data(),
                          {grad_x.data(), grad_membrane.data()}, stream_of(stream));
    });
}

template <typename T>
void define_attention(nb::module_& m) {
    m.def("group_attention", [](Array<const T, 2> qk, Array<const T, 2> v, Slots slots, Slots back, Mask valid,
                                int64_t size, int64_t heads, Array<T, 2> out, uintptr_t stream) {
        group_attention(qk.data(), v.data(), groups_of(slots, back, valid, size), heads_of(v.shape(1), heads),
                        out.data(), stream_of(stream));
    }, "qk"_a, "v"_a, "slots"_a, "back"_a, "valid"_a.none(), "size"_a, "heads"_a, "out"_a, "stream"_a);
    m.def("group_attention_backward", [](Array<const T, 2> grad, Array<const T, 2> qk, Array<const T, 2> v, Slots slots,
                                         Slots back, Mask valid, int64_t size, int64_t heads, Array<T, 2> grad_qk,
                                         Array<T, 2> grad_v, Bytes workspace, uintptr_t stream) {
        const Groups of = groups_of(slots, back, valid, size);
        const Heads split = heads_of(v.shape(1), heads);
        check_room(workspace, group_attention_backward_workspace(of.groups * of.size, of.tokens, split));
        group_attention_backward(grad.data(), qk.data(), v.data(), of, split, grad_qk.data(), grad_v.data(),
                                 workspace.data(), stream_of(stream));
    }, "grad"_a, "qk"_a, "v"_a, "slots"_a, "back"_a, "valid"_a.none(), "size"_a, "heads"_a, "grad_qk"_a, "grad_v"_a,
          "workspace"_a, "stream"_a);
}

template <typename T>
void define_lean_decode(nb::module_& m) {
    using Rows = DecodeArray<const T, nb::device::PERCEPTION_KERNEL_DEVICE>;
    using Mask = DecodeArray<const bool, nb::device::PERCEPTION_KERNEL_DEVICE>;
    using Indices = Array<const int64_t, 1>;
    m.def("lean_decode", [](Array<const T, 4> q, Rows k, Rows v, std::optional<Indices> lengths,
                            std::optional<Mask> mask, Indices starts, double scale, int64_t workers, int64_t tile,
                            Array<T, 4> out, Array<float, 3> lse, Bytes workspace, uintptr_t stream) {
        const auto in = decode_input(q, k, v, lengths, mask, scale);
        const TileLine line = tile_line(starts, in.key_heads);
        check_room(workspace, lean_decode_workspace(workers, line.groups(), in.rows(), in.width));
        lean_decode(in, line, workers, tile, out.data(), lse.data(), workspace.data(), stream_of(stream));
    }, "q"_a, "k"_a, "v"_a, "lengths"_a.none(), "mask"_a.none(), "starts"_a, "scale"_a, "workers"_a, "tile"_a, "out"_a,
          "lse"_a, "workspace"_a, "stream"_a);
}

template <typename T>
void define_hash_lookup(nb::module_& m) {
    using Codes = Array<const int64_t, 2>;
    using Table = Array<const T, 2>;
    m.def("hash_lookup", [](Table scores, Codes codes, Table tables, Array<T, 2> out, uintptr_t stream) {
        const auto hits = hash_hits<T>(scores, codes);
        hash_lookup(hits, hash_tables<T>(tables, hits.tables), out.data(), stream_of(stream));
    });
    m.def("hash_lookup_backward", [](Table grad, Table scores, Codes codes, Table tables, Array<T, 2> grad_scores,
                                     Array<T, 2> grad_tables, Bytes workspace, uintptr_t stream) {
        const auto hits = hash_hits<T>(scores, codes);
        check_room(workspace, hash_lookup_backward_workspace(hits.count(), rows_of(tables)));
        hash_lookup_backward(grad.data(), hits, hash_tables<T>(tables, hits.tables), grad_scores.data(),
                             grad_tables.data(), workspace.data(), stream_of(stream));
    });
}

template <typename T>
void define_floating(nb::module_& m) {
    define_lean_decode<T>(m);
    define_hash_lookup<T>(m);
    define_attention<T>(m);
    m.def("segment_max", [](Array<const T, 2> features, Array<const int64_t, 1> index, Array<T, 2> out,
                            std::optional<Array<int32_t, 2>> argmax, Bytes workspace, uintptr_t stream) {
        const RowSegments of = row_segments(index, out);
        check_room(workspace, segment_workspace(of.rows, of.segments));
        segment_max(features.data(), of, static_cast<int64_t>(out.shape(1)), out.data(),
                    argmax ? argmax->data() : nullptr, workspace.data(), stream_of(stream));
    }, "features"_a, "index"_a, "out"_a, "argmax"_a.none(), "workspace"_a, "stream"_a);
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
    m.def("bev_scatter", [](Array<const T, 2> features, Array<const int32_t, 2> coords, MapArray<T> map,
                            Bytes workspace, uintptr_t stream) {
        check_room(workspace, bev_workspace(rows_of(coords), map_of(map)));
        bev_scatter(features.data(), {coords.data(), rows_of(coords)}, map_of(map), map.data(), workspace.data(),
                    stream_of(stream));
    });
    m.def("bev_gather", [](MapArray<const T> map, Array<const int32_t, 2> coords, Array<T, 2> out, uintptr_t stream) {
        bev_gather(map.data(), {coords.data(), rows_of(coords)}, map_of(map), out.data(), stream_of(stream));
    });
}

}  // namespace

void define_kernels(nb::module_& m) {
    m.def("window_partition", &window_partition);
    m.def("window_workspace", [](int64_t rows, int64_t samples, int64_t nx, int64_t ny, int64_t wx, int64_t wy) {
        return window_workspace(rows, samples, {nx, wx}, {ny, wy});
    });
    m.def("voxelize", &voxelize_points);
    m.def("voxelize_workspace", [](int64_t points, int64_t samples, Cells cells) {
        return voxelize_workspace(points, samples, grid_of({}, {}, cells));
    });
    m.def("segment_workspace", &segment_workspace);
    m.def("bev_workspace", [](int64_t rows, int64_t samples, int64_t ny, int64_t nx) {
        return bev_workspace(rows, {samples, 0, ny, nx, 0, 0, 0, 0});
    });
    m.attr("widest_head") = widest_head;
    m.def("group_attention_backward_workspace", [](int64_t slots, int64_t tokens, int64_t channels, int64_t heads) {
        return group_attention_backward_workspace(slots, tokens, heads_of(static_cast<size_t>(channels), heads));
    });
    m.attr("widest_decode_head") = widest_decode_head;
    m.def("lean_decode_workspace", &lean_decode_workspace);
    m.def("hash_lookup_backward_workspace", &hash_lookup_backward_workspace);
    define_boxes(m);
    define_scan(m);
    define_floating<float>(m);
    define_floating<Bfloat16>(m);
    define_floating<Float16>(m);
}

}  // namespace perception::cuda
