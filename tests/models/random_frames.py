"""Frames of random points and boxes, in the nuScenes classes."""

from __future__ import annotations

import math

import torch

from perception.structures import Annotations, Boxes3D, Frame, PointCloud

CLASSES = (
    "car", "truck", "construction_vehicle", "bus", "trailer", "barrier", "motorcycle", "bicycle", "pedestrian",
    "traffic_cone",
)
CHANNELS = ("x", "y", "z", "intensity", "time")


def random_frame(seed: int = 0, points: int = 2000, boxes: int = 20, reach_m: float = 20.0) -> Frame:
    """Points and boxes within ``reach_m`` of the vehicle."""
    draw = torch.Generator().manual_seed(seed)
    xyz = (torch.rand(points, 3, generator=draw) - 0.5) * torch.tensor([2 * reach_m, 2 * reach_m, 4.0])
    cloud = torch.cat([xyz, torch.rand(points, 2, generator=draw)], dim=1)
    labels = torch.randint(0, len(CLASSES), (boxes,), generator=draw)
    annotations = Annotations(Boxes3D(random_boxes(boxes, reach_m, draw)), labels, CLASSES)
    return Frame(token=f"frame-{seed}", timestamp_ns=seed, points=PointCloud(cloud, CHANNELS), annotations=annotations)


def random_boxes(count: int, reach_m: float, draw: torch.Generator) -> torch.Tensor:
    """(count, 9) boxes of half a metre to five metres."""
    center = (torch.rand(count, 3, generator=draw) - 0.5) * torch.tensor([2 * reach_m, 2 * reach_m, 3.0])
    size = 0.5 + 4.5 * torch.rand(count, 3, generator=draw)
    yaw = (torch.rand(count, 1, generator=draw) - 0.5) * 2 * math.pi
    return torch.cat([center, size, yaw, torch.randn(count, 2, generator=draw)], dim=1)
