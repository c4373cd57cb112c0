"""How long the ops and the stages of a detector take, on seeded clouds that need no data set."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from mmengine.config import Config
from torch import Tensor

from perception_ops import (
    bev_scatter,
    circle_nms,
    native_kernels,
    points_in_boxes,
    rotated_iou_bev,
    rotated_nms,
    segment_reduce,
    voxelize,
    window_partition,
)
from perception_ops.bev_scatter import bev_scatter_reference
from perception_ops.segment_max import segment_max_reference
from perception_ops.voxelize import voxelize_reference
from perception_ops.window_partition import window_partition_reference

from ..structures import Annotations, Boxes3D, Frame, PointCloud
from .build import build_model

RANGE, CELL, CELLS = (-51.2, -51.2, -5.0, 51.2, 51.2, 3.0), 0.32, 320


@dataclass(frozen=True)
class Timing:
    """One line of a table.

    Args:
        name: what was timed.
        ms: median time [ms].
        reference_ms: that of the pure-torch reference, where a native kernel serves the op.
    """

    name: str
    ms: float
    reference_ms: float | None = None


def median_ms(function: Callable[[], Any], repeats: int, device: torch.device) -> float:
    """Median time of a call [ms] after one warm-up call; waits for a GPU before it looks at the clock."""
    times = []
    for _ in range(repeats + 1):
        _wait(device)
        began = time.perf_counter()
        function()
        _wait(device)
        times.append(time.perf_counter() - began)
    return sorted(times[1:])[repeats // 2] * 1e3


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def street_points(count: int, channels: int, seed: int = 0) -> Tensor:
    """(count, channels) float32 points of a spinning LiDAR: dense near the vehicle, most on the ground."""
    draw = torch.Generator().manual_seed(seed)
    radius = 3.0 * (50.0 / 3.0) ** torch.rand(count, generator=draw)                     # log-uniform in 3 .. 50 m
    angle = torch.rand(count, generator=draw) * 2 * math.pi
    height = torch.where(torch.rand(count, generator=draw) < 0.6, 0.0, 2.5) * torch.rand(count, generator=draw)
    rest = torch.rand(count, channels - 3, generator=draw)
    return torch.cat([torch.stack([radius * angle.cos(), radius * angle.sin(), height], dim=1), rest], dim=1)


def street_boxes(count: int, seed: int = 0) -> Tensor:
    """(count, 9) float32 boxes of cars within 50 m."""
    draw = torch.Generator().manual_seed(seed)
    center = (torch.rand(count, 3, generator=draw) - 0.5) * torch.tensor([100.0, 100.0, 2.0])
    size = torch.tensor([4.5, 1.9, 1.6]).expand(count, 3)
    yaw = (torch.rand(count, 1, generator=draw) - 0.5) * 2 * math.pi
    return torch.cat([center, size, yaw, torch.zeros(count, 2)], dim=1)


def benchmark_ops(device: torch.device, *, points: int = 150_000, boxes: int = 500, repeats: int = 10) -> list[Timing]:
    """Time every op on a cloud of one frame.

    Args:
        device: where the tensors lie; native kernels serve the CPU.
        points: points of the cloud.
        boxes: boxes to compare and to suppress.
        repeats: calls of each.
    """
    xyz = street_points(points, 3).to(device)
    batch = torch.zeros(points, dtype=torch.int64, device=device)
    size, grid = [CELL, CELL, 8.0], [CELLS, CELLS, 1]
    coords, inverse, _ = voxelize(xyz, batch, size, RANGE, grid)
    features = torch.randn(points, 64, generator=torch.Generator().manual_seed(0)).to(device)
    pillars = features[: len(coords)].contiguous()
    found = street_boxes(boxes).to(device)
    bev, scores = found[:, [0, 1, 3, 4, 6]].contiguous(), torch.linspace(1, 0, boxes, device=device)
    M, window = len(coords), [13, 13]
    cases: dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]] = {
        "voxelize": (
            partial(voxelize, xyz, batch, size, RANGE, grid), partial(voxelize_reference, xyz, batch, size, RANGE, grid)
        ),
        "window_partition": (
            partial(window_partition, coords, 1, grid[:2], window, 144),
            partial(window_partition_reference, coords, 1, grid[:2], window, 144),
        ),
        "segment_max": (
            partial(segment_reduce, features, inverse, M, "max"), partial(segment_max_reference, features, inverse, M)
        ),
        "bev_scatter": (
            partial(bev_scatter, pillars, coords, 1, CELLS, CELLS),
            partial(bev_scatter_reference, pillars, coords, 1, CELLS, CELLS, False),
        ),
        "rotated_iou_bev": (partial(rotated_iou_bev, bev, bev), None),
        "rotated_nms": (partial(rotated_nms, bev, scores, 0.2), None),
        "circle_nms": (partial(circle_nms, bev[:, :2].contiguous(), scores, 4.0), None),
        "points_in_boxes": (partial(points_in_boxes, xyz, found[:, :7].contiguous()), None),
    }
    is_native = {name: device.type == "cpu" and name in native_kernels() for name in cases}
    return [
        Timing(
            name, median_ms(op, repeats, device),
            median_ms(reference, repeats, device) if reference is not None and is_native[name] else None,
        )
        for name, (op, reference) in cases.items()
    ]


def benchmark_detector(
    cfg: Config, device: torch.device, *, points: int = 100_000, boxes: int = 40, repeats: int = 5
) -> list[Timing]:
    """Time the stages of a detector on one frame, its whole prediction, and a training step.

    Args:
        cfg: with ``model``, a `Detector`.
        device: where it runs.
        points: points of the frame.
        boxes: annotated boxes, for the training step.
        repeats: calls of each.
    """
    torch.manual_seed(0)
    model: Any = build_model(cfg.model).to(device).eval()
    frame = _frame(model, points, boxes)
    batch = model.data_preprocessor([frame], False)
    clouds = batch["inputs"]["points"]
    with torch.inference_mode():
        features, coords = model.voxel_encoder(clouds)
        canvas = model.lidar_backbone(features, coords, 1).contiguous(memory_format=model.memory_format)
        dense = model.neck(model.bev_backbone(canvas))
        maps = model.head(dense)
        stages: Mapping[str, Callable[[], Any]] = {
            "voxel encoder": partial(model.voxel_encoder, clouds),
            "LiDAR backbone and canvas": partial(model.lidar_backbone, features, coords, 1),
            "BEV backbone and neck": lambda: model.neck(model.bev_backbone(canvas)),
            "head": partial(model.head, dense),
            "decode and suppress": partial(model.decode, maps, batch["data_samples"]),
            "whole prediction": partial(model, **batch, mode="predict"),
        }
        timings = [Timing(name, median_ms(stage, repeats, device)) for name, stage in stages.items()]
    timings.append(Timing("training step", median_ms(_training_step(model, batch), repeats, device)))
    return timings


def _frame(model: Any, points: int, boxes: int) -> Frame:
    channels = model.data_preprocessor.channels
    annotations = Annotations(
        Boxes3D(street_boxes(boxes)), torch.arange(boxes) % len(model.classes), tuple(model.classes)
    )
    cloud = PointCloud(street_points(points, len(channels)), channels)
    return Frame(token="street", timestamp_ns=0, points=cloud, annotations=annotations)


def _training_step(model: Any, batch: dict[str, Any]) -> Callable[[], None]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step() -> None:
        model.train()
        loss = sum(model(**batch, mode="loss").values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step
