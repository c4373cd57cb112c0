"""1,000 odd calls of the ops: each gives the reference's result or a ValueError that names an argument."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

import perception_ops
from perception_ops.bev_scatter import bev_scatter_reference
from perception_ops.circle_nms import circle_nms_reference
from perception_ops.group_attention import group_attention_reference
from perception_ops.group_layer import group_layer_reference
from perception_ops.hash_lookup import hash_lookup_reference
from perception_ops.lean_decode import lean_decode_reference
from perception_ops.lif_scan import lif_scan_reference
from perception_ops.points_in_boxes import points_in_boxes_reference
from perception_ops.rotated_iou import rotated_iou_bev_aligned_reference, rotated_iou_bev_reference
from perception_ops.rotated_nms import rotated_nms_reference
from perception_ops.segment_max import segment_max_backward_reference, segment_max_reference
from perception_ops.segment_sum import segment_sum_reference
from perception_ops.selective_scan import selective_scan_reference
from perception_ops.voxelize import voxelize_reference
from perception_ops.window_partition import window_partition_reference

FLOATS = [torch.float32, torch.float32, torch.bfloat16, torch.float64, torch.float16]
ODD_FLOATS = [0.0, -0.0, 1e-38, 1e30, -3e38, math.inf, -math.inf, math.nan]
ODD_INTEGERS = [-(2**62), -1, 0, 2**31, 2**40, 2**62, 2**70]

WAYS = ["plain"] * 8 + ["columns", "steps", "expanded"] * 2 + ["dtype", "shape", "meta"]

Call = tuple[list[Any], dict[str, Any]]


class Draw:
    """Draws arguments that are right most of the time."""

    def __init__(self, data: st.DataObject) -> None:
        self.draw = data.draw
        self.generator = torch.Generator().manual_seed(self.draw(st.integers(0, 2**20), label="seed"))

    def rarely(self) -> bool:
        return self.draw(st.sampled_from([False] * 11 + [True]))

    def count(self, most: int = 70) -> int:
        return self.draw(st.sampled_from([0, 1, 2, 3, 17, most]))

    def size(self, *right: int) -> int:
        return self.draw(st.sampled_from(ODD_INTEGERS if self.rarely() else right))

    def floats(self, *shape: int, low: float = -8.0, high: float = 8.0, dtype: torch.dtype | None = None) -> Tensor:
        values = torch.rand(shape, generator=self.generator) * (high - low) + low
        if self.draw(st.booleans()):
            values = values.round()                                                        # ties, faces, borders
        if values.numel() and self.rarely():
            values.view(-1)[self.draw(st.integers(0, values.numel() - 1))] = self.draw(st.sampled_from(ODD_FLOATS))
        return self.disguised(values.to(dtype or self.draw(st.sampled_from(FLOATS))))

    def integers(self, count: int, below: int) -> Tensor:
        """(count,) int64 in [0, below), rarely with one that is not."""
        values = torch.randint(0, min(max(below, 1), 2**20), (count,), generator=self.generator)
        if count and self.rarely():
            odd = self.draw(st.sampled_from([-1, min(max(below, 1), 2**62), -(2**63), 2**31 - 1, 2**62]))
            values[self.draw(st.integers(0, count - 1))] = odd
        return values

    def disguised(self, tensor: Tensor) -> Tensor:
        """The same numbers in another memory order, or rarely another shape, dtype or device."""
        way = self.draw(st.sampled_from(WAYS))
        if way == "columns":
            return tensor.mT.contiguous().mT if tensor.ndim == 2 else tensor
        if way == "steps":
            return tensor.repeat_interleave(3, 0)[1::3]
        if way == "expanded" and len(tensor):
            return tensor[:1].expand(tensor.shape)
        if way == "dtype" and self.rarely():
            return tensor.to(self.draw(st.sampled_from([torch.int32, torch.int64, torch.bool, torch.complex64])))
        if way == "shape" and self.rarely():
            return self.draw(st.sampled_from([tensor[..., None], tensor[:-1], tensor.flatten(), tensor.sum()]))
        return tensor.to("meta") if way == "meta" and self.rarely() else tensor


def cells(draw: Draw, batch_size: int, ny: int, nx: int) -> Tensor:
    """(N, 4) int32 cells, ordered by batch, of a map whose sizes may be odd."""
    rows = draw.count()
    batch, *place = [draw.integers(rows, size).int() for size in (batch_size, 1, ny, nx)]
    return draw.disguised(torch.stack([batch if draw.rarely() else batch.sort().values, *place], 1))


def call_window_partition(draw: Draw) -> Call:
    batch_size, nx, ny = draw.size(1, 2, 3), draw.size(1, 8, 100), draw.size(1, 8, 100)
    coords = cells(draw, batch_size, ny, nx)
    window = [draw.size(1, 3, 9, 200) for _ in range(2)]
    return [coords, batch_size, [nx, ny], window, draw.size(1, 4, 69)], {}


def call_group_attention(draw: Draw) -> Call:
    heads, group_size, channels = draw.size(1, 2, 4), draw.size(1, 4, 9), draw.draw(st.sampled_from([0, 4, 12]))
    dtype = draw.draw(st.sampled_from(FLOATS))
    size = min(max(group_size, 1), 9)
    tokens = draw.draw(st.integers(0, 5)) * size
    extra = draw.draw(st.integers(0, 2)) * size if tokens else 0
    order = torch.randperm(tokens, generator=draw.generator)
    slots = torch.cat([order, torch.randint(max(tokens, 1), (extra,), generator=draw.generator)])
    back = torch.empty_like(order).index_copy_(0, order, torch.arange(tokens))
    if tokens and draw.rarely():
        wrong = slots if draw.draw(st.booleans()) else back
        wrong[0] = draw.draw(st.sampled_from([-1, tokens + extra, 2**62]))
    valid = torch.rand(tokens + extra, generator=draw.generator) < 0.8 if draw.draw(st.booleans()) else None
    qk = draw.floats(tokens, 2 * channels, low=-2, high=2, dtype=dtype)
    v = draw.floats(tokens, channels, low=-1, high=1, dtype=dtype)
    return [qk, v, draw.disguised(slots), draw.disguised(back), None if valid is None else draw.disguised(valid)], {
        "group_size": group_size, "num_heads": heads,
    }


def call_group_layer(draw: Draw) -> Call:
    (_, v, *indices), named = call_group_attention(draw)
    N, C = v.shape[0] if v.ndim else 0, draw.draw(st.sampled_from([0, 4, 12, 32, 32]))
    H = draw.draw(st.sampled_from([32, 64, 5]))
    shapes = ((3 * C, C), (3 * C,), (C, C), (C,), (C,), (C,), (H, C), (H,), (C, H), (C,), (C,), (C,))
    weights = [draw.floats(*shape, low=-0.5, high=0.5, dtype=torch.float32) for shape in shapes]
    rows = [draw.floats(N, C, low=-2, high=2, dtype=torch.float32) for _ in range(2)]
    return [*rows, *indices, perception_ops.GroupLayerWeights(*weights)], named | {"eps": 1e-3}


def call_voxelize(draw: Draw) -> Call:
    points = draw.count()
    xyz, batch = draw.floats(points, 3, dtype=torch.float32), draw.disguised(draw.integers(points, 3))
    size = [draw.draw(st.sampled_from(ODD_FLOATS)) if draw.rarely() else 0.7 for _ in range(3)]
    corners = [draw.draw(st.sampled_from(ODD_FLOATS)) if draw.rarely() else corner for corner in (-6, -6, -2, 6, 6, 2)]
    return [xyz, batch, size, corners, [draw.size(1, 17), draw.size(1, 17), draw.size(1, 6)]], {}


def call_segment_reduce(draw: Draw) -> Call:
    rows, segments = draw.count(), draw.size(0, 1, 5, 40)
    features = draw.floats(rows, draw.draw(st.sampled_from([0, 1, 5, 33])))
    index = draw.disguised(draw.integers(rows, segments))
    reduce = draw.draw(st.sampled_from(["max", "mean", "sum"])) if not draw.rarely() else "median"
    return [features, index, segments, reduce], {}


def call_selective_scan(draw: Draw) -> Call:
    b, D, N, G = draw.draw(st.sampled_from([0, 1, 2])), draw.size(1, 4, 12), draw.size(1, 3), draw.size(1, 2)
    L, sizes = draw.draw(st.sampled_from([0, 1, 5, 64, 70])), [size if 0 < size < 16 else 1 for size in (D, N, G)]
    D, N, G = sizes
    dtype = draw.draw(st.sampled_from(FLOATS))
    grouped = (b, G, N, L) if G > 1 or draw.draw(st.booleans()) else (b, N, L)
    bounded = {"low": -1.0, "high": 1.0, "dtype": dtype}
    u, A = draw.floats(b, D, L, **bounded), draw.floats(D, N, low=-2, high=0, dtype=dtype)
    tables = [draw.floats(*grouped, **bounded) for _ in range(2)]
    return [u, draw.floats(b, D, L, low=0, high=1, dtype=dtype), A, *tables], {
        "delta_softplus": draw.draw(st.booleans())
    }


def call_lif_scan(draw: Draw) -> Call:
    B, N, C = draw.draw(st.sampled_from([0, 1, 2])), draw.count(), draw.draw(st.sampled_from([0, 1, 64, 70]))
    dtype = draw.draw(st.sampled_from(FLOATS))
    return [draw.floats(B, N, C, dtype=dtype), draw.floats(B, C, dtype=dtype)], {"threshold": fraction(draw, 0.5, 1.0)}


def lif_scan_output(x: Tensor, membrane: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    wide = torch.promote_types(x.dtype, torch.float32)
    return lif_scan_reference(x.to(wide), membrane.to(wide), threshold)


def call_bev_scatter(draw: Draw) -> Call:
    batch_size, ny, nx = draw.size(1, 3), draw.size(1, 7, 20), draw.size(1, 7, 20)
    coords = cells(draw, batch_size, ny, nx)
    features = draw.floats(len(coords) if coords.ndim else 0, draw.draw(st.sampled_from([0, 1, 9])))
    return [features, coords, batch_size, ny, nx], {"channels_last": draw.draw(st.booleans())}


def bev_boxes(draw: Draw, count: int) -> Tensor:
    boxes = draw.floats(count, 5)
    if boxes.is_floating_point() and boxes.ndim == 2 and boxes.device.type == "cpu" and not draw.rarely():
        boxes = torch.cat([boxes[:, :2], boxes[:, 2:4].abs(), boxes[:, 4:]], 1)
    return boxes


def call_rotated_iou_bev(draw: Draw) -> Call:
    return [bev_boxes(draw, draw.count(129)), bev_boxes(draw, draw.count(129))], {}


def call_rotated_iou_bev_aligned(draw: Draw) -> Call:
    count = draw.count(129)
    return [bev_boxes(draw, count), bev_boxes(draw, count)], {}


def fraction(draw: Draw, *right: float) -> float:
    return draw.draw(st.sampled_from([*ODD_FLOATS, -1e300, 1e300]) if draw.rarely() else st.sampled_from(right))


def call_rotated_nms(draw: Draw) -> Call:
    count = draw.count(129)
    return [bev_boxes(draw, count), draw.floats(count, low=0, high=1), fraction(draw, 0.0, 0.2, 0.7, 1.0)], {}


def call_circle_nms(draw: Draw) -> Call:
    count = draw.count(129)
    return [draw.floats(count, 2), draw.floats(count, low=0, high=1), fraction(draw, 0.0, 1.0, 4.0, 1e3)], {}


def call_points_in_boxes(draw: Draw) -> Call:
    return [draw.floats(draw.count(300), 3), draw.floats(draw.count(), 7)], {}


def call_lean_decode(draw: Draw) -> Call:
    sizes = ([0, 1, 3], [1, 2], [1, 3], [0, 1, 2], [0, 1, 31, 70], [1, 5, 16, 40])
    batch, key_heads, shared, queries, keys, width = (draw.draw(st.sampled_from(each)) for each in sizes)
    dtype = draw.draw(st.sampled_from(FLOATS))
    q = draw.floats(batch, key_heads * shared, queries, width, low=-2, high=2, dtype=dtype)
    k, v = (draw.floats(batch, key_heads, keys, width, low=-2, high=2, dtype=dtype) for _ in range(2))
    kv_len = draw.integers(batch, keys + 1) if draw.draw(st.booleans()) else None
    mask = None
    if draw.draw(st.booleans()):
        shape = [draw.draw(st.sampled_from([1, size])) for size in (batch, key_heads * shared, queries)]
        mask = draw.disguised(torch.rand(*shape, keys, generator=draw.generator) < 0.7)
    return [q, k, v, kv_len, mask], {"workers": draw.size(1, 3, 50), "tile": draw.size(1, 16, 100)}


def lean_decode_output(q: Tensor, k: Tensor, v: Tensor, *seen: Tensor | None, workers: int, tile: int) -> Tensor:
    return lean_decode_reference(q, k, v, *seen, q.shape[3] ** -0.5, workers, tile)[0]


def call_hash_lookup(draw: Draw) -> Call:
    tokens, tables, each = draw.count(), draw.draw(st.sampled_from([1, 3])), draw.draw(st.sampled_from([1, 4]))
    dtype, channels = draw.draw(st.sampled_from(FLOATS)), draw.draw(st.sampled_from([0, 1, 5, 70]))
    codes = draw.disguised(draw.integers(tokens * tables, each).view(tokens, tables))
    scores, rows = (draw.floats(*shape, dtype=dtype) for shape in ((tokens, tables), (tables * each, channels)))
    return [scores, codes, rows, draw.floats(channels, dtype=dtype)], {}


def hash_lookup_output(scores: Tensor, codes: Tensor, tables: Tensor, bias: Tensor) -> Tensor:
    return hash_lookup_reference(scores, codes, tables) + bias


def segment_reduce_reference(features: Tensor, index: Tensor, num_segments: int, reduce: str) -> Tensor:
    return segment_sum_reference(features, index, num_segments, reduce == "mean")


OPS: dict[str, tuple[Callable[[Draw], Call], Callable[..., Any]]] = {
    "window_partition": (call_window_partition, window_partition_reference),
    "group_attention": (call_group_attention, group_attention_reference),
    "group_layer": (call_group_layer, group_layer_reference),
    "voxelize": (call_voxelize, voxelize_reference),
    "segment_reduce": (call_segment_reduce, segment_reduce_reference),
    "selective_scan": (call_selective_scan, selective_scan_reference),
    "lif_scan": (call_lif_scan, lif_scan_output),
    "bev_scatter": (call_bev_scatter, bev_scatter_reference),
    "rotated_iou_bev": (call_rotated_iou_bev, rotated_iou_bev_reference),
    "rotated_iou_bev_aligned": (call_rotated_iou_bev_aligned, rotated_iou_bev_aligned_reference),
    "rotated_nms": (call_rotated_nms, rotated_nms_reference),
    "circle_nms": (call_circle_nms, circle_nms_reference),
    "points_in_boxes": (call_points_in_boxes, points_in_boxes_reference),
    "lean_decode": (call_lean_decode, lean_decode_output),
    "hash_lookup": (call_hash_lookup, hash_lookup_output),
}
HAS_GRADIENT = ("group_attention", "segment_reduce", "bev_scatter", "lean_decode", "hash_lookup")
# Sums in another order, and for half precision rounded at another place; the others give the reference's very numbers.
TOLERANCES = {torch.float64: 1e-9, torch.float32: 2e-5, torch.bfloat16: 2e-2, torch.float16: 4e-3}


def largest(positional: list[Any]) -> float:
    """The largest finite number among the floating tensors, at least 1: rounding is relative to it."""
    tensors = [value for value in positional if isinstance(value, Tensor) and value.is_floating_point()]
    numbers = [tensor.double().nan_to_num(0, 0, 0).abs() for tensor in tensors]
    return max([1.0, *(float(n.max()) for n in numbers if n.numel() and n.device.type == "cpu")])


def assert_alike(ours: Tensor, expected: Tensor, name: str, scale: float) -> None:
    assert ours.shape == expected.shape
    assert ours.dtype == expected.dtype
    tolerance = TOLERANCES.get(ours.dtype, 0.0) if name in (*HAS_GRADIENT, "group_layer", "selective_scan") else 0.0
    if name.startswith("rotated_iou"):                 # whether two circles just touch is a matter of rounding
        tolerance, scale = 1e-7, 1.0
    steps = 8 if ours.dtype in (torch.float32, torch.float64) else 70      # rows of a cell, each rounded to half
    scale = max(steps * scale, largest([expected]))        # a sum of large numbers may end in a small one
    torch.testing.assert_close(ours, expected, atol=tolerance * scale, rtol=tolerance, equal_nan=True)


def outputs(result: Any) -> list[Tensor]:
    return [result] if isinstance(result, Tensor) else list(result)


Differentiable = Callable[..., Tensor]


def with_gradients(op: Differentiable, positional: list[Any], named: dict[str, Any]) -> list[Tensor]:
    """The result, and what the sum of its squares sends back to each floating tensor."""
    leaves = [v.detach().requires_grad_() if isinstance(v, Tensor) and v.is_floating_point() else v for v in positional]
    result = op(*leaves, **named)
    inputs = [leaf for leaf in leaves if isinstance(leaf, Tensor) and leaf.requires_grad]
    return [result.detach(), *torch.autograd.grad(result.square().sum(), inputs)]


def segment_max_with_gradient(features: Tensor, index: Tensor, num_segments: int) -> list[Tensor]:
    """Torch's own gradient of a maximum is shared among equals; ours goes to the lowest row."""
    top, argmax = segment_max_reference(features, index, num_segments)
    return [top, segment_max_backward_reference(2 * top, argmax, index)]


def expected_of(name: str, reference: Callable[..., Any], positional: list[Any], named: dict[str, Any]) -> list[Tensor]:
    if name == "segment_reduce" and positional[3] == "max":
        return segment_max_with_gradient(*positional[:3])
    if name in HAS_GRADIENT:
        return with_gradients(reference, positional, named)
    return outputs(reference(*positional, **named))


def names_an_argument(op: Callable[..., Any], message: str) -> bool:
    axes = ("nx", "ny", "nz", "wx", "wy")              # the numbers of a grid and a window
    return any(argument in message for argument in (*inspect.signature(op).parameters, *axes))


@pytest.mark.parametrize("name", OPS)
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_an_odd_call_is_refused_by_name_or_gives_the_references_result(name: str, data: st.DataObject):
    build, reference = OPS[name]
    op = getattr(perception_ops, name)
    positional, named = build(Draw(data))
    try:
        ours = with_gradients(op, positional, named) if name in HAS_GRADIENT else outputs(op(*positional, **named))
    except ValueError as refusal:
        if not names_an_argument(op, str(refusal)):
            raise
        return
    if ours[0].device.type == "meta":                  # shapes alone, which the references of some ops cannot give
        return
    multiplied = {
        "group_attention": positional[:2], "group_layer": positional[:2], "lean_decode": positional[:3],
        "selective_scan": positional, "hash_lookup": [positional[0], *positional[2:]],
    }
    tensors = [*multiplied.get(name, ()), *(positional[5] if name == "group_layer" else ())]
    # of huge numbers a difference is mere rounding, or which product overflows first, and torch's attention loses a NaN
    if not all((tensor.abs() < 100).all() for tensor in tensors):
        return
    for one, other in zip(ours, expected_of(name, reference, positional, named), strict=True):
        assert_alike(one, other, name, largest(positional))
