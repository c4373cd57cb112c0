// perception_ops._native: maps DLPack tensors to the raw pointers of the kernels. The Python face checks shapes and
// values, allocates every output and hands it in; nothing here includes torch.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>

#include <algorithm>
#include <array>
#include <optional>
#include <stdexcept>

#include "binding_types.hpp"
#include "decode_argument.hpp"
#include "cpu/best_first.hpp"
#include "cpu/bev_scatter.hpp"
#include "cpu/circle_nms.hpp"
#include "cpu/cutoff_matching.hpp"
#include "cpu/greedy_centers.hpp"
#include "cpu/group_attention.hpp"
#include "cpu/group_layer.hpp"
#include "cpu/hash_lookup.hpp"
#include "cpu/instruction_set.hpp"
#include "cpu/lean_decode.hpp"
#include "cpu/lif_scan.hpp"
#include "cpu/points_in_boxes.hpp"
#include "cpu/radix_sort.hpp"
#include "cpu/rotated_iou.hpp"
#include "cpu/rotated_nms.hpp"
#include "cpu/segment_reduce.hpp"
#include "cpu/selective_scan.hpp"
#include "cpu/upright_iou.hpp"
#include "cpu/voxelize.hpp"
#include "cpu/window_partition.hpp"
#include "grid_argument.hpp"
#include "lif_argument.hpp"
#include "scan_argument.hpp"
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

static bool count_samples(CpuArray<const int32_t, 2> coords, int64_t nx, int64_t ny, CpuArray<int64_t, 1> counts) {
    nb::gil_scoped_release unlocked;
    return cpu::count_samples(coords.data(), static_cast<int64_t>(coords.shape(0)), {nx, 1}, {ny, 1},
                              static_cast<int64_t>(counts.shape(0)), counts.data());
}

using Xyz = CpuArray<const float, 2>;
using Indices = CpuArray<const int64_t, 1>;

static cpu::Points points_of(const Xyz& xyz, const Indices& batch) {
    return {xyz.data(), batch.data(), static_cast<int64_t>(batch.shape(0))};
}

static int64_t count_point_samples(Xyz xyz, Indices batch, int threads) {
    const cpu::Points points = points_of(xyz, batch);
    nb::gil_scoped_release unlocked;
    return cpu::count_samples(points, threads);
}

static int64_t mark_cells(Xyz xyz, Indices batch, perception::Corner low, perception::Corner size,
                          perception::Cells cells, CpuArray<int64_t, 1> bits, CpuArray<int32_t, 1> ranks,
                          CpuArray<int64_t, 1> inverse, int threads) {
    const cpu::Points points = points_of(xyz, batch);
    nb::gil_scoped_release unlocked;
    return cpu::mark_cells(points, perception::grid_of(low, size, cells), static_cast<int64_t>(bits.shape(0)),
                           reinterpret_cast<uint64_t*>(bits.data()), ranks.data(), inverse.data(), threads);
}

static void list_cells(perception::Cells cells, Indices bits, CpuArray<const int32_t, 1> ranks,
                       CpuArray<int32_t, 2> coords, CpuArray<int64_t, 1> inverse, CpuArray<int64_t, 1> counts,
                       int threads) {
    nb::gil_scoped_release unlocked;
    cpu::list_cells(perception::grid_of({}, {}, cells), static_cast<int64_t>(inverse.shape(0)),
                    static_cast<int64_t>(bits.shape(0)), reinterpret_cast<const uint64_t*>(bits.data()), ranks.data(),
                    static_cast<int64_t>(counts.shape(0)), coords.data(), inverse.data(), counts.data(), threads);
}

static int64_t sort_cells(Xyz xyz, Indices batch, perception::Corner low, perception::Corner size,
                          perception::Cells cells, CpuArray<int32_t, 2> coords, CpuArray<int64_t, 1> inverse,
                          CpuArray<int64_t, 1> counts, int threads) {
    const cpu::Points points = points_of(xyz, batch);
    nb::gil_scoped_release unlocked;
    return cpu::sort_cells(points, perception::grid_of(low, size, cells), coords.data(), inverse.data(), counts.data(), threads);
}

template <typename Table>
static cpu::RowSegments row_segments(const CpuArray<const int64_t, 1>& index, const Table& by_segment) {
    return {index.data(), static_cast<int64_t>(index.shape(0)), static_cast<int64_t>(by_segment.shape(0))};
}

using Counts = CpuArray<const int32_t, 1>;

static bool count_rows(CpuArray<const int64_t, 1> index, CpuArray<int32_t, 1> counts) {
    nb::gil_scoped_release unlocked;
    return cpu::count_rows(row_segments(index, counts), counts.data());
}

template <typename T>
static void segment_max(CpuArray<const T, 2> features, CpuArray<const int64_t, 1> index, Counts counts,
                        CpuArray<T, 2> out, std::optional<CpuArray<int32_t, 2>> argmax, int threads) {
    nb::gil_scoped_release unlocked;
    cpu::segment_max(features.data(), row_segments(index, out), counts.data(), static_cast<int64_t>(out.shape(1)),
                     out.data(), argmax ? argmax->data() : nullptr, threads);
}

template <typename T>
static void segment_max_backward(CpuArray<const T, 2> grad, CpuArray<const int32_t, 2> argmax,
                                 CpuArray<const int64_t, 1> index, CpuArray<T, 2> out, int threads) {
    nb::gil_scoped_release unlocked;
    cpu::segment_max_backward(grad.data(), argmax.data(), row_segments(index, grad),
                              static_cast<int64_t>(out.shape(1)), out.data(), threads);
}

template <typename T>
static void segment_sum(CpuArray<const T, 2> features, CpuArray<const int64_t, 1> index, Counts counts, bool is_mean,
                        CpuArray<T, 2> out, int threads) {
    nb::gil_scoped_release unlocked;
    cpu::segment_sum(features.data(), row_segments(index, out), counts.data(), static_cast<int64_t>(out.shape(1)),
                     is_mean, out.data(), threads);
}

template <typename T>
static cpu::MapStrides strides_of(const BevMap<T>& map) {
    return {map.stride(0), map.stride(1), map.stride(2), map.stride(3)};
}

static void bev_scatter(CpuArray<const float, 2> features, CpuArray<const int32_t, 2> coords, BevMap<float> map,
                        int threads) {
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

using Row = CpuArray<const float, 1>;
using Weight = CpuArray<const float, 2>;

static cpu::Linear linear_of(const Weight& weight, const Row& bias) {
    return {weight.data(), bias.data(), static_cast<int64_t>(weight.shape(1)), static_cast<int64_t>(weight.shape(0))};
}

static void group_layer(Weight tokens, Weight position, Slots slots, Slots back, Mask valid, int64_t size, int64_t heads,
                        float eps, Weight qk, Row qk_bias, Weight v, Row v_bias, Weight proj, Row proj_bias,
                        Row norm1, Row norm1_bias, Weight fc1, Row fc1_bias, Weight fc2, Row fc2_bias, Row norm2,
                        Row norm2_bias, CpuArray<float, 2> out, int threads) {
    const cpu::LayerWeights weights{linear_of(qk, qk_bias), linear_of(v, v_bias), linear_of(proj, proj_bias),
                                    {norm1.data(), norm1_bias.data(), eps}, linear_of(fc1, fc1_bias),
                                    linear_of(fc2, fc2_bias), {norm2.data(), norm2_bias.data(), eps}};
    const cpu::Groups groups = groups_of(slots, back, valid, size);
    nb::gil_scoped_release unlocked;
    cpu::group_layer(tokens.data(), position.data(), groups, heads, weights, out.data(), threads);
}

using FloatTable = CpuArray<const float, 2>;

template <typename Row>
static const Row* rows_of(const FloatTable& table) {
    static_assert(sizeof(Row) % sizeof(float) == 0 && alignof(Row) == alignof(float));
    return reinterpret_cast<const Row*>(table.data());
}

static cpu::BevBoxes bev_boxes(const FloatTable& boxes, const FloatTable& turns) {
    return {rows_of<perception::BevBox>(boxes), rows_of<perception::Turn>(turns), static_cast<int64_t>(boxes.shape(0))};
}

static bool are_bev_boxes(FloatTable boxes) {
    const auto* rows = rows_of<perception::BevBox>(boxes);
    return std::all_of(rows, rows + boxes.shape(0), perception::is_valid);
}

static void rotated_iou_bev(FloatTable a, FloatTable turns_a, FloatTable b, FloatTable turns_b, CpuArray<float, 2> iou,
                            int threads) {
    nb::gil_scoped_release unlocked;
    cpu::rotated_iou(bev_boxes(a, turns_a), bev_boxes(b, turns_b), iou.data(), threads);
}

static void rotated_iou_bev_aligned(FloatTable a, FloatTable turns_a, FloatTable b, FloatTable turns_b,
                                    CpuArray<float, 1> iou, int threads) {
    nb::gil_scoped_release unlocked;
    cpu::rotated_iou_aligned(bev_boxes(a, turns_a), bev_boxes(b, turns_b), iou.data(), threads);
}

using Scores = nb::ndarray<nb::ro, nb::ndim<1>, nb::c_contig, nb::device::cpu>;  // float or double

static bool best_first(const Scores& scores, int64_t* order) {
    nb::gil_scoped_release unlocked;
    const auto in_order_of = [&]<typename T>(const T* values) {
        return cpu::best_first(values, static_cast<int64_t>(scores.shape(0)), order);
    };
    if (scores.dtype() == nb::dtype<double>()) return in_order_of(static_cast<const double*>(scores.data()));
    if (scores.dtype() == nb::dtype<float>()) return in_order_of(static_cast<const float*>(scores.data()));
    throw std::invalid_argument("scores must be float32 or float64");
}

// Both nms give the number of rows kept, or -1 if NaN, infinity or a negative size is among the arguments.
static int64_t rotated_nms(FloatTable boxes, FloatTable turns, Scores scores, double threshold,
                           CpuArray<int64_t, 1> kept, int threads) {
    const cpu::BevBoxes rows = bev_boxes(boxes, turns);
    const auto order = perception::unwritten<int64_t>(rows.size);
    if (!are_bev_boxes(boxes) || !best_first(scores, order.get())) return -1;
    nb::gil_scoped_release unlocked;
    return cpu::rotated_nms(rows, order.get(), static_cast<float>(threshold), kept.data(), threads);
}

static int64_t circle_nms(FloatTable centers, Scores scores, double squared_radius, CpuArray<int64_t, 1> kept,
                          int threads) {
    const auto count = static_cast<int64_t>(centers.shape(0));
    const auto order = perception::unwritten<int64_t>(count);
    if (!cpu::are_finite(centers.data(), 2 * count) || !best_first(scores, order.get())) return -1;
    nb::gil_scoped_release unlocked;
    return cpu::circle_nms(centers.data(), order.get(), count, static_cast<float>(squared_radius), kept.data(),
                           threads);
}

static void points_in_boxes(FloatTable points, FloatTable boxes, FloatTable turns, CpuArray<int64_t, 1> found,
                            int threads) {
    nb::gil_scoped_release unlocked;
    cpu::points_in_boxes(points.data(), static_cast<int64_t>(points.shape(0)), rows_of<perception::UprightBox>(boxes),
                         rows_of<perception::Turn>(turns), static_cast<int64_t>(boxes.shape(0)), found.data(), threads);
}

static void greedy_centers(CpuArray<const double, 2> centers, CpuArray<const int32_t, 1> samples,
                           CpuArray<const double, 2> truth, CpuArray<const int64_t, 1> starts,
                           CpuArray<const double, 1> thresholds, bool fused, CpuArray<int32_t, 2> matches, int threads) {
    const cpu::RankedCenters ranked{centers.data(), samples.data(), static_cast<int64_t>(samples.shape(0))};
    const cpu::TrueCenters centers_by_sample{truth.data(), starts.data(), static_cast<int64_t>(starts.shape(0)) - 1};
    nb::gil_scoped_release unlocked;
    cpu::greedy_centers(ranked, centers_by_sample, thresholds.data(), static_cast<int64_t>(thresholds.shape(0)), fused,
                        matches.data(), threads);
}

using DoubleTable = CpuArray<const double, 2>;

static cpu::ExactBoxes exact_boxes(const DoubleTable& boxes, const DoubleTable& turns) {
    static_assert(sizeof(cpu::ExactBox) == 7 * sizeof(double));
    return {reinterpret_cast<const cpu::ExactBox*>(boxes.data()), turns.data()};
}

static void upright_iou(DoubleTable a, DoubleTable turns_a, DoubleTable b, DoubleTable turns_b, Indices first,
                        Indices second, bool bev, CpuArray<double, 1> iou, int threads) {
    nb::gil_scoped_release unlocked;
    cpu::upright_iou(exact_boxes(a, turns_a), exact_boxes(b, turns_b), first.data(), second.data(),
                     static_cast<int64_t>(first.shape(0)), bev, iou.data(), threads);
}

static void match_at_cutoffs(Indices frame_starts, Indices cutoffs, Indices edge_starts, Indices edge_truths,
                             Indices edge_weights, DoubleTable edge_values, Indices false_shards, Indices false_counts,
                             Indices truth_shards, Indices truth_levels, bool is_greedy, CpuArray<int64_t, 3> hits,
                             CpuArray<int64_t, 2> false_positives, CpuArray<double, 3> values, int threads) {
    const cpu::CutoffTask task{frame_starts.data(), static_cast<int64_t>(frame_starts.shape(0)) - 1, cutoffs.data(),
                               edge_starts.data(), edge_truths.data(), edge_weights.data(), edge_values.data(),
                               false_shards.data(), false_counts.data(), truth_shards.data(), truth_levels.data(),
                               static_cast<int64_t>(truth_shards.shape(0)), static_cast<int64_t>(values.shape(2)),
                               static_cast<int64_t>(hits.shape(0)), static_cast<int64_t>(hits.shape(1)),
                               static_cast<int64_t>(hits.shape(2))};
    const auto rule = is_greedy ? cpu::MatchingRule::score_first : cpu::MatchingRule::best_total;
    nb::gil_scoped_release unlocked;
    cpu::match_at_cutoffs(task, rule, {hits.data(), false_positives.data(), values.data()}, threads);
}

using Cube = CpuArray<const float, 3>;
using GroupRows = CpuArray<const float, 4>;

static void selective_scan(Cube u, Cube delta, FloatTable a, GroupRows b, GroupRows c, Cube initial,
                           std::optional<Row> bias, bool softplus, CpuArray<float, 3> y, CpuArray<float, 3> last,
                           int threads) {
    const perception::ScanInput in = perception::scan_input(u, delta, a, b, c, initial, bias, softplus);
    nb::gil_scoped_release unlocked;
    cpu::selective_scan(in, y.data(), last.data(), threads);
}

static void selective_scan_backward(Cube grad_y, Cube grad_last, Cube u, Cube delta, FloatTable a, GroupRows b,
                                    GroupRows c, Cube initial, std::optional<Row> bias, bool softplus,
                                    CpuArray<float, 3> grad_u, CpuArray<float, 3> grad_delta,
                                    CpuArray<float, 3> grad_a, CpuArray<float, 4> grad_b, CpuArray<float, 4> grad_c,
                                    CpuArray<float, 3> grad_initial, int threads) {
    const perception::ScanInput in = perception::scan_input(u, delta, a, b, c, initial, bias, softplus);
    const perception::ScanGradients out{grad_u.data(), grad_delta.data(), grad_a.data(),
                                        grad_b.data(), grad_c.data(),     grad_initial.data()};
    nb::gil_scoped_release unlocked;
    cpu::selective_scan_backward(in, grad_y.data(), grad_last.data(), out, threads);
}

static void lif_scan(Cube x, FloatTable membrane, float threshold, CpuArray<float, 3> spikes, CpuArray<float, 2> last,
                     int threads) {
    const perception::LifSequences in = perception::lif_sequences(x, membrane, threshold);
    nb::gil_scoped_release unlocked;
    cpu::lif_scan(in, spikes.data(), last.data(), threads);
}

static void lif_scan_backward(Cube grad_spikes, FloatTable grad_last, Cube x, FloatTable membrane, float threshold,
                              CpuArray<float, 3> grad_x, CpuArray<float, 2> grad_membrane, int threads) {
    const perception::LifSequences in = perception::lif_sequences(x, membrane, threshold);
    nb::gil_scoped_release unlocked;
    cpu::lif_scan_backward(in, grad_spikes.data(), grad_last.data(), {grad_x.data(), grad_membrane.data()}, threads);
}

template <typename T>
static void define_lean_decode(nb::module_& m) {
    using Rows = perception::DecodeArray<const T, nb::device::cpu>;
    using Mask = perception::DecodeArray<const bool, nb::device::cpu>;
    m.def("lean_decode", [](CpuArray<const T, 4> q, Rows k, Rows v, std::optional<Indices> lengths,
                            std::optional<Mask> mask, Indices starts, double scale, int64_t workers, int64_t tile,
                            CpuArray<T, 4> out, CpuArray<float, 3> lse, int threads) {
        const auto in = perception::decode_input(q, k, v, lengths, mask, scale);
        const auto line = perception::tile_line(starts, in.key_heads);
        nb::gil_scoped_release unlocked;
        cpu::lean_decode(in, line, workers, tile, out.data(), lse.data(), threads);
    }, "q"_a, "k"_a, "v"_a, "lengths"_a.none(), "mask"_a.none(), "starts"_a, "scale"_a, "workers"_a, "tile"_a, "out"_a,
          "lse"_a, "threads"_a);
}

template <typename T>
static void define_hash_lookup(nb::module_& m) {
    using Codes = CpuArray<const int64_t, 2>;
    using Table = CpuArray<const T, 2>;
    m.def("hash_lookup", [](Table scores, Codes codes, Table tables, CpuArray<T, 2> out, int threads) {
        const auto hits = perception::hash_hits<T>(scores, codes);
        nb::gil_scoped_release unlocked;
        return cpu::hash_lookup(hits, perception::hash_tables<T>(tables, hits.tables), out.data(), threads);
    });
    m.def("hash_lookup_backward", [](Table grad, Table scores, Codes codes, Table tables, CpuArray<T, 2> grad_scores,
                                     CpuArray<T, 2> grad_tables, int threads) {
        const auto hits = perception::hash_hits<T>(scores, codes);
        nb::gil_scoped_release unlocked;
        cpu::hash_lookup_backward(grad.data(), hits, perception::hash_tables<T>(tables, hits.tables),
                                  grad_scores.data(), grad_tables.data(), threads);
    });
}

template <typename T>
static void define_floating(nb::module_& m) {
    define_lean_decode<T>(m);
    define_hash_lookup<T>(m);
    m.def("segment_max", &segment_max<T>, "features"_a, "index"_a, "counts"_a, "out"_a, "argmax"_a.none(), "threads"_a);
    m.def("segment_max_backward", &segment_max_backward<T>);
    m.def("segment_sum", &segment_sum<T>);
    m.def("group_attention", &group_attention<T>, "qk"_a, "v"_a, "slots"_a, "back"_a, "valid"_a.none(), "size"_a,
          "heads"_a, "out"_a, "threads"_a);
    m.def("group_attention_backward", &group_attention_backward<T>, "grad"_a, "qk"_a, "v"_a, "slots"_a, "back"_a,
          "valid"_a.none(), "size"_a, "heads"_a, "grad_qk"_a, "grad_v"_a, "threads"_a);
    m.def("bev_gather", &bev_gather<T>);
}

NB_MODULE(_native, m) {
    m.doc() = "Native kernels of perception_ops; call them through the torch ops.";
    m.def("count_samples", &count_samples);
    m.def("window_partition", &window_partition);
    m.def("count_point_samples", &count_point_samples);
    m.def("mark_cells", &mark_cells);
    m.def("list_cells", &list_cells);
    m.def("sort_cells", &sort_cells);
    m.def("count_rows", &count_rows);
    m.def("group_layer", &group_layer, "tokens"_a, "position"_a, "slots"_a, "back"_a, "valid"_a.none(), "size"_a,
          "heads"_a, "eps"_a, "qk"_a, "qk_bias"_a, "v"_a, "v_bias"_a, "proj"_a, "proj_bias"_a, "norm1"_a,
          "norm1_bias"_a, "fc1"_a, "fc1_bias"_a, "fc2"_a, "fc2_bias"_a, "norm2"_a, "norm2_bias"_a, "out"_a,
          "threads"_a);
    m.def("bev_scatter", &bev_scatter);
    m.def("are_bev_boxes", &are_bev_boxes);
    m.def("rotated_iou_bev", &rotated_iou_bev);
    m.def("rotated_iou_bev_aligned", &rotated_iou_bev_aligned);
    m.def("rotated_nms", &rotated_nms);
    m.def("circle_nms", &circle_nms);
    m.def("points_in_boxes", &points_in_boxes);
    m.def("greedy_centers", &greedy_centers);
    m.def("upright_iou", &upright_iou);
    m.def("match_at_cutoffs", &match_at_cutoffs);
    m.def("selective_scan", &selective_scan, "u"_a, "delta"_a, "a"_a, "b"_a, "c"_a, "initial"_a, "bias"_a.none(),
          "softplus"_a, "y"_a, "last"_a, "threads"_a);
    m.def("selective_scan_backward", &selective_scan_backward, "grad_y"_a, "grad_last"_a, "u"_a, "delta"_a, "a"_a, "b"_a,
          "c"_a, "initial"_a, "bias"_a.none(), "softplus"_a, "grad_u"_a, "grad_delta"_a, "grad_a"_a, "grad_b"_a,
          "grad_c"_a, "grad_initial"_a, "threads"_a);
    m.def("lif_scan", &lif_scan);
    m.def("lif_scan_backward", &lif_scan_backward);
    m.def("groups_agree", [](Slots slots, Slots back, int64_t size) {
        return cpu::agree(groups_of(slots, back, std::nullopt, size));
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
