"""Small frames of labelled points: a road, a wall, and boxes with an instance each."""

from __future__ import annotations

from typing import Any

import torch

from perception.models.point_segmentor import PointSegmentor
from perception.registry import MODELS
from perception.structures import Frame, PointCloud, PointLabels

CLASSES = ("car", "road", "wall")
REGION = (-12.8, -12.8, 12.8, 12.8)
CHANNELS = ("x", "y", "z", "intensity")


def labelled_frame(seed: int = 0, cars: int = 4, scale: int = 1) -> Frame:
    """Cars of 4 m by 2 m, of 60 points each, on a road, and a wall at y = 12 m; five points are not labelled."""
    draw = torch.Generator().manual_seed(seed)

    def box(count: int, low: list[float], high: list[float]) -> torch.Tensor:
        corner, end = torch.tensor(low), torch.tensor(high)
        return corner + (end - corner) * torch.rand(count, 3, generator=draw)

    parts = [box(400 * scale, [-12, -12, 0], [12, 11, 0.05]), box(100 * scale, [-12, 11.8, 0], [12, 12, 4])]
    labels, instances = [1] * len(parts[0]) + [2] * len(parts[1]), [0] * (len(parts[0]) + len(parts[1]))
    for number in range(cars):
        x, y = -10.0 + 6.0 * (number % 4), -9.0 + 6.0 * (number // 4)
        parts.append(box(60 * scale, [x, y, 0.3], [x + 4, y + 2, 1.6]))
        labels += [0] * 60 * scale
        instances += [100 + number] * 60 * scale
    xyz = torch.cat(parts)
    data = torch.cat([xyz, torch.rand(len(xyz), 1, generator=draw)], dim=1)
    classes = torch.tensor(labels)
    classes[:5] = 255
    point_labels = PointLabels(classes, torch.tensor(instances), CLASSES)
    return Frame(f"frame-{seed}", seed, points=PointCloud(data, CHANNELS), point_labels=point_labels)


def tiny_point_segmentor(**head: Any) -> PointSegmentor:
    """Pillars of 0.8 m, maps of 32 by 32 and 16 by 16 cells, a few thousand parameters."""
    torch.manual_seed(0)
    encoder = {
        "type": "LidarBEVEncoder",
        "voxel_encoder": {
            "type": "DynamicVFE", "in_channels": 4, "channels": (8,), "voxel_size": (0.8, 0.8, 8.0),
            "point_range": (-12.8, -12.8, -3.0, 12.8, 12.8, 5.0), "standardize": True, "momentum": 0.1,
        },
        "lidar_backbone": {"type": "PillarScatter", "grid": (32, 32)},
        "bev_backbone": {
            "type": "SECOND", "in_channels": 8, "channels": (8,), "layers": (1,), "strides": (2,), "momentum": 0.1,
        },
        "neck": {"type": "SECONDFPN", "in_channels": (8,), "channels": (16,), "upsample": (1,), "momentum": 0.1},
    }
    options = {
        "type": "PointHead", "in_channels": (8, 16), "sampling": ("nearest", "bilinear"), "region": REGION,
        "point_channels": 4, "classes": CLASSES, "things": ("car",), "channels": 16, "momentum": 0.1,
        "loss_lovasz": {"type": "LovaszSoftmaxLoss"}, "center_radius": 1, **head,
    }
    return MODELS.build({"type": "PointSegmentor", "bev_encoder": encoder, "head": options})
