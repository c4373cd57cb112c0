"""Seeded clouds, pillars, boxes and pictures of a street, which need no data set."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ...structures import SE3, Annotations, Boxes3D, Calibration, Camera, Frame, PointCloud

NEAREST_M, FARTHEST_M = 3.0, 50.0


def street_points(count: int, channels: int, seed: int = 0) -> Tensor:
    """(count, channels) float32 points of a spinning LiDAR, in the order it turns: dense nearby, most on the ground."""
    draw = torch.Generator().manual_seed(seed)
    radius = NEAREST_M * (FARTHEST_M / NEAREST_M) ** torch.rand(count, generator=draw)   # log-uniform
    angle = torch.rand(count, generator=draw).sort().values * 2 * math.pi
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


def street_pillars(count: int, grid: Sequence[int], seed: int = 0) -> tuple[Tensor, int]:
    """Distinct cells, drawn with the density of `street_points`, in as few samples as leave half of each grid empty.

    Args:
        count: number of pillars M.
        grid: cells (nx, ny).
        seed: of the draw.

    Returns:
        coords (M, 4) int32, (batch, z, y, x), in lexicographic order, and the number of samples.
    """
    nx, ny = grid
    samples = max(1, -(-count // max(nx * ny // 2, 1)))
    draw = torch.Generator().manual_seed(seed)
    y, x = torch.meshgrid(torch.arange(ny) - (ny - 1) / 2, torch.arange(nx) - (nx - 1) / 2, indexing="ij")
    nearest = max(nx, ny) / 2 * NEAREST_M / FARTHEST_M
    density = 1 / (x**2 + y**2).clamp(min=nearest**2).flatten()                          # (ny nx,)
    coords = []
    for sample in range(samples):
        wanted = count // samples + (sample < count % samples)
        order = density / torch.empty(nx * ny).exponential_(generator=draw)              # a draw without replacement
        cells = order.topk(wanted).indices.sort().values
        coords.append(torch.stack([torch.full_like(cells, sample), cells * 0, cells // nx, cells % nx], dim=1))
    return torch.cat(coords).int(), samples


def street_frame(points: int, channels: Sequence[str], classes: Sequence[str], boxes: int = 40) -> Frame:
    """An annotated frame of `street_points`, whose channels after x, y, z lie in [0, 1]."""
    annotations = Annotations(Boxes3D(street_boxes(boxes)), torch.arange(boxes) % len(classes), tuple(classes))
    cloud = PointCloud(street_points(points, len(channels)), tuple(channels))
    return Frame(token="street", timestamp_ns=0, points=cloud, annotations=annotations)


def street_cameras(names: Sequence[str], width: int = 400, height: int = 224, seed: int = 0) -> dict[str, Camera]:
    """Cameras 1.5 m above the ego origin that look around in equal steps, the first one ahead, with random pictures."""
    draw = torch.Generator().manual_seed(seed)
    ego_from_camera = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]], dtype=torch.float64)
    focal = 0.79 * width                                               # nuScenes' cameras but the rear one
    intrinsics = torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
    cameras = {}
    for number, name in enumerate(names):
        turn = SE3.about_z(-2 * math.pi * number / len(names))
        pose = turn @ SE3(ego_from_camera, torch.tensor([0.0, 0.0, 1.5]))
        picture = torch.randint(0, 256, (3, height, width), generator=draw, dtype=torch.uint8)
        cameras[name] = Camera(Calibration(intrinsics, pose, width, height), 0, image=picture)
    return cameras


def street_picture(height: int, width: int, camera: str | None = None) -> Frame:
    """A frame with one random picture, of a camera of the name that is asked for."""
    cameras = street_cameras([camera or "front"], width, height)
    return Frame(token="street", timestamp_ns=0, cameras=cameras)
