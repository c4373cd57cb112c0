"""Frames of a vehicle that moves through a static world, without points, and the maps that it sees."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from perception.structures import SE3, Frame

REGION = (-8.0, -6.0, 8.0, 6.0)                            # metres: 12 rows and 16 columns of a metre
SIZE = (12, 16)


def frame_at(time_s: float, x: float = 0.0, y: float = 0.0, yaw: float = 0.0, scene: str = "drive") -> Frame:
    """A frame at a time and a place."""
    pose = SE3.about_z(yaw, (x, y, 1.0))
    return Frame(token=f"{scene}-{time_s}", timestamp_ns=round(time_s * 1e9), scene=scene, global_from_ego=pose)


def drive(count: int, step: float = 0.3, scene: str = "drive") -> list[Frame]:
    """Frames at 5 Hz along a bend, ``step`` [m] from one to the next."""
    return [frame_at(0.2 * i, step * i, 0.1 * step * i, 0.02 * i, scene) for i in range(count)]


def maps(count: int, channels: int, seed: int = 0, size: tuple[int, int] = SIZE) -> Tensor:
    """(count, channels, H, W) random maps."""
    return torch.randn(count, channels, *size, generator=torch.Generator().manual_seed(seed))


def world_seen_from(frames: Sequence[Frame], channels: int = 1) -> Tensor:
    """(T, channels, H, W): at each cell x + 10 y of its place in the world, times one more in each channel."""
    column, row = torch.meshgrid(torch.arange(SIZE[1]), torch.arange(SIZE[0]), indexing="xy")
    xyz = torch.stack([column + REGION[0] + 0.5, row + REGION[1] + 0.5, torch.zeros(SIZE)], dim=-1).double()
    places = [frame.global_from_ego.apply(xyz) for frame in frames if frame.global_from_ego is not None]
    seen = torch.stack([place[..., 0] + 10 * place[..., 1] for place in places]).float()
    return seen[:, None] * torch.arange(1, channels + 1)[:, None, None]
