"""What each op is given when it is timed, and what it is compared with."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from perception_ops import (
    GroupLayerWeights,
    bev_scatter,
    circle_nms,
    group_attention,
    group_layer,
    hash_lookup,
    lean_decode,
    lif_scan,
    points_in_boxes,
    rotated_iou_bev,
    rotated_iou_bev_aligned,
    rotated_nms,
    segment_reduce,
    selective_scan,
    voxelize,
    window_partition,
)
from perception_ops.bev_scatter import bev_gather_reference, bev_scatter_reference
from perception_ops.circle_nms import circle_nms_reference
from perception_ops.group_attention import group_attention_backward_reference, group_attention_reference
from perception_ops.group_layer import group_layer_reference
from perception_ops.hash_lookup import hash_lookup_backward_reference, hash_lookup_reference
from perception_ops.lean_decode import default_tile, lean_decode_reference
from perception_ops.lif_scan import lif_scan_backward_reference, lif_scan_reference
from perception_ops.points_in_boxes import points_in_boxes_reference
from perception_ops.rotated_iou import rotated_iou_bev_aligned_reference, rotated_iou_bev_reference
from perception_ops.rotated_nms import rotated_nms_reference
from perception_ops.segment_max import segment_max_backward_reference, segment_max_reference
from perception_ops.segment_sum import segment_sum_reference
from perception_ops.selective_scan import selective_scan_reference
from perception_ops.state_scan import state_scan_backward_reference
from perception_ops.voxelize import voxelize_reference
from perception_ops.window_partition import window_partition_reference

from .clouds import street_boxes, street_pillars, street_points
from .op_case import Case, TimedOp
from .op_inputs import (
    BEV_GRID,
    CHANNELS,
    GRID,
    GROUP_SIZE,
    HEADS,
    WINDOW,
    bev_boxes,
    cloud,
    groups,
    memory,
    neurons,
    pillars,
    random_features,
    scans,
    segments,
    table_reads,
)

POINTS, TOKENS, BOXES = (1_000, 10_000, 100_000, 1_000_000), (1_000, 10_000, 60_000), (100, 1_000, 10_000)
KEYS, READS, STEPS = (1_000, 10_000, 100_000), (1_000, 10_000), (1_000, 10_000)


def _voxelize(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    arguments = cloud(size, device)
    return Case(partial(voxelize, *arguments), partial(voxelize_reference, *arguments))


def _voxelize_or_unique(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    """torch.unique gets the packed cells, without the work of making them."""
    arguments = cloud(size, device)
    coords, inverse, _ = voxelize(*arguments)
    keys = (coords[:, 2].long() * GRID[0] + coords[:, 3])[inverse]                       # (N,)
    return Case(
        partial(voxelize, *arguments), partial(torch.unique, keys, sorted=True, return_inverse=True, return_counts=True)
    )


def _window_partition(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    coords, samples = street_pillars(size, BEV_GRID)
    arguments = (coords.to(device), samples, BEV_GRID, WINDOW, GROUP_SIZE)
    return Case(partial(window_partition, *arguments), partial(window_partition_reference, *arguments))


def _segment_max(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    arguments = segments(size, dtype, device)
    return Case(partial(torch.ops.perception.segment_max, *arguments), partial(segment_max_reference, *arguments))


def _segment_max_or_amax(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    """torch's scatter gives the maxima alone, without the rows that a gradient needs."""
    features, index, M = segments(size, dtype, device)
    rows, empty = index[:, None].expand_as(features), features.new_zeros(M, CHANNELS)
    return Case(
        partial(segment_reduce, features, index, M, "max"),
        partial(torch.scatter_reduce, empty, 0, rows, features, "amax", include_self=False),
    )


def _segment_max_backward(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    features, index, M = segments(size, dtype, device)
    argmax = torch.ops.perception.segment_max(features, index, M)[1]                     # (M, C)
    arguments = (random_features(M, CHANNELS, dtype, device), argmax, index)
    return Case(
        partial(torch.ops.perception.segment_max_backward, *arguments),
        partial(segment_max_backward_reference, *arguments),
    )


def _segment_mean(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    arguments = segments(size, dtype, device)
    return Case(partial(segment_reduce, *arguments, "mean"), partial(segment_sum_reference, *arguments, True))


def _bev_scatter(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    arguments = pillars(size, dtype, device)
    return Case(partial(bev_scatter, *arguments), partial(bev_scatter_reference, *arguments, False))


def _bev_gather(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    features, coords, *sizes = pillars(size, dtype, device)
    canvas = bev_scatter(features, coords, *sizes)
    return Case(
        partial(torch.ops.perception.bev_gather, canvas, coords), partial(bev_gather_reference, canvas, coords),
        unread_bytes=canvas.nbytes - features.nbytes,
    )


def _group_attention(size: int, dtype: torch.dtype, device: torch.device, group_size: int) -> Case:
    arguments = groups(size, dtype, device, group_size)
    return Case(
        partial(group_attention, *arguments, group_size=group_size, num_heads=HEADS),
        partial(group_attention_reference, *arguments, group_size, HEADS),
    )


def _group_attention_backward(size: int, dtype: torch.dtype, device: torch.device, group_size: int) -> Case:
    tensors = groups(size, dtype, device, group_size)
    arguments = (random_features(size, CHANNELS, dtype, device), *tensors, group_size, HEADS)
    return Case(
        partial(torch.ops.perception.group_attention_backward, *arguments),
        partial(group_attention_backward_reference, *arguments),
        reference_bytes=4 * 4 * len(tensors[2]) * group_size * HEADS,      # four float32 squares of each group
    )


def _group_layer(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    _, tokens, slots, back, valid = groups(size, torch.float32, device, GROUP_SIZE)
    position = random_features(size, CHANNELS, torch.float32, device)
    C, H = CHANNELS, 2 * CHANNELS
    shapes = ((3 * C, C), (3 * C, 1), (C, C), (C, 1), (C, 1), (C, 1), (H, C), (H, 1), (C, H), (C, 1), (C, 1), (C, 1))
    scaled = (random_features(*shape, torch.float32, device) / shape[1] ** 0.5 for shape in shapes)
    weights = GroupLayerWeights(*(weight.squeeze(1) if weight.shape[1] == 1 else weight for weight in scaled))
    arguments = (tokens, position, slots, back, valid, weights)
    return Case(
        partial(group_layer, *arguments, group_size=GROUP_SIZE, num_heads=HEADS),
        partial(group_layer_reference, *arguments, GROUP_SIZE, HEADS, 1e-5),
    )


def _points_in_boxes(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    arguments = (street_points(size, 3).to(device), street_boxes(200)[:, :7].contiguous().to(device))
    return Case(partial(points_in_boxes, *arguments), partial(points_in_boxes_reference, *arguments))


def _rotated_iou_bev(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    arguments = (bev_boxes(size, device), bev_boxes(size, device, seed=1))
    return Case(partial(rotated_iou_bev, *arguments), partial(rotated_iou_bev_reference, *arguments))


def _rotated_iou_bev_aligned(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    boxes = bev_boxes(size, device)
    arguments = (boxes, boxes + 0.3)               # each with a near one
    return Case(partial(rotated_iou_bev_aligned, *arguments), partial(rotated_iou_bev_aligned_reference, *arguments))


def _rotated_nms(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    arguments = (bev_boxes(size, device), torch.linspace(1, 0, size, device=device), 0.2)
    return Case(partial(rotated_nms, *arguments), partial(rotated_nms_reference, *arguments))


def _circle_nms(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    centers = bev_boxes(size, device)[:, :2].contiguous()
    arguments = (centers, torch.linspace(1, 0, size, device=device), 4.0)
    return Case(partial(circle_nms, *arguments), partial(circle_nms_reference, *arguments))


def _lean_decode(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    arguments = memory(size, dtype, device)
    return Case(
        partial(lean_decode, *arguments), partial(_decode_reference, *arguments),
        reference_bytes=2 * 4 * arguments[1].numel(),                      # keys and values in float32
    )


def _decode_reference(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    tile = default_tile(q.shape[3], q.device)
    return lean_decode_reference(q, k, v, None, None, q.shape[3] ** -0.5, 0, tile)[0]


def _lean_decode_or_torch(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    arguments = memory(size, dtype, device)
    return Case(partial(lean_decode, *arguments), partial(F.scaled_dot_product_attention, *arguments))


def _hash_lookup(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    arguments = table_reads(size, dtype, device)
    return Case(partial(hash_lookup, *arguments), partial(hash_lookup_reference, *arguments))


def _hash_lookup_backward(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    tensors = table_reads(size, dtype, device)
    arguments = (random_features(size, tensors[2].shape[1], dtype, device), *tensors)
    return Case(
        partial(torch.ops.perception.hash_lookup_backward, *arguments),
        partial(hash_lookup_backward_reference, *arguments),
    )


def _selective_scan(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    arguments = scans(size, dtype, device)
    return Case(partial(selective_scan, *arguments), partial(selective_scan_reference, *arguments))


def _selective_scan_backward(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    u, delta, rates, inputs, outputs = scans(size, torch.float32, device)
    state = u.new_zeros(1, *rates.shape)
    arguments = (u.flip(2), state, u, delta, rates, inputs, outputs, state)
    return Case(
        partial(torch.ops.perception.selective_scan_backward, *arguments, None, False),
        partial(state_scan_backward_reference, *arguments),
    )


def _lif_scan(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    arguments = (*neurons(size, device), 1.0)
    return Case(partial(lif_scan, *arguments), partial(lif_scan_reference, *arguments))


def _lif_scan_backward(size: int, dtype: torch.dtype, device: torch.device) -> Case:
    x, membrane = neurons(size, device)
    arguments = (x.flip(1), membrane, x, membrane, 1.0)
    return Case(
        partial(torch.ops.perception.lif_scan_backward, *arguments), partial(lif_scan_backward_reference, *arguments)
    )


OPS: dict[str, TimedOp] = {
    "voxelize": TimedOp(_voxelize, POINTS, "voxelize"),
    "voxelize/unique": TimedOp(_voxelize_or_unique, POINTS, "voxelize", is_reference_alike=False),
    "window_partition": TimedOp(_window_partition, POINTS, "window_partition"),
    "segment_max": TimedOp(_segment_max, POINTS, "segment_max", takes_dtype=True),
    "segment_max/amax": TimedOp(
        _segment_max_or_amax, POINTS, "segment_max", takes_dtype=True, is_reference_alike=False
    ),
    "segment_max_backward": TimedOp(_segment_max_backward, POINTS, "segment_max_backward", takes_dtype=True),
    "segment_mean": TimedOp(_segment_mean, POINTS, "segment_sum", takes_dtype=True),
    "bev_scatter": TimedOp(_bev_scatter, POINTS, "bev_scatter", takes_dtype=True),
    "bev_gather": TimedOp(_bev_gather, POINTS, "bev_gather", takes_dtype=True),
    **{
        f"group_attention{suffix}/{group_size}": TimedOp(
            partial(build, group_size=group_size), (*TOKENS, 100_000), f"group_attention{suffix}", takes_dtype=True
        )
        for suffix, build in (("", _group_attention), ("_backward", _group_attention_backward))
        for group_size in (69, GROUP_SIZE)
    },
    "group_layer": TimedOp(_group_layer, (*TOKENS, 100_000), "group_layer"),
    "points_in_boxes": TimedOp(_points_in_boxes, POINTS, "points_in_boxes"),
    "rotated_iou_bev": TimedOp(_rotated_iou_bev, BOXES, "rotated_iou_bev", growth=2),
    "rotated_iou_bev_aligned": TimedOp(_rotated_iou_bev_aligned, POINTS, "rotated_iou_bev_aligned"),
    "rotated_nms": TimedOp(_rotated_nms, BOXES, "rotated_nms", growth=2),
    "circle_nms": TimedOp(_circle_nms, BOXES, "circle_nms", growth=2),
    "lean_decode": TimedOp(_lean_decode, KEYS, "lean_decode", takes_dtype=True),
    "lean_decode/torch": TimedOp(_lean_decode_or_torch, KEYS, "lean_decode", takes_dtype=True),
    "selective_scan": TimedOp(_selective_scan, STEPS, "selective_scan"),
    "selective_scan_backward": TimedOp(_selective_scan_backward, STEPS, "selective_scan_backward"),
    "lif_scan": TimedOp(_lif_scan, STEPS, "lif_scan"),
    "lif_scan_backward": TimedOp(_lif_scan_backward, STEPS, "lif_scan_backward"),
    "hash_lookup": TimedOp(_hash_lookup, READS, "hash_lookup", takes_dtype=True),
    "hash_lookup_backward": TimedOp(_hash_lookup_backward, READS, "hash_lookup_backward", takes_dtype=True),
}
