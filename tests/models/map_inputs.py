"""A ring of cameras around the vehicle, for the tests of map models."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def camera_ring(cameras: int, height: int, width: int, focal: float, *, height_m: float = 1.6) -> Tensor:
    """(N, 4, 4) projections of level cameras above the ego origin; the first looks forward, the next to its left."""
    matrices = []
    for yaw in (2 * math.pi * n / cameras for n in range(cameras)):
        camera_from_ego = torch.eye(4)
        camera_from_ego[:3, :3] = torch.tensor(
            [[math.sin(yaw), -math.cos(yaw), 0.0], [0.0, 0.0, -1.0], [math.cos(yaw), math.sin(yaw), 0.0]]
        )
        camera_from_ego[1, 3] = height_m
        intrinsics = torch.eye(4)
        intrinsics[:2, :3] = torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2]])
        matrices.append(intrinsics @ camera_from_ego)
    return torch.stack(matrices)
