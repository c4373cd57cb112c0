"""Frames with a known vector map, points and cameras."""

from __future__ import annotations

import torch

from perception.structures import SE3, Calibration, Camera, Frame, PointCloud, Polylines, VectorMap

REGION = (-30.0, -15.0, 30.0, 15.0)
CHANNELS = ("x", "y", "z", "intensity")


def map_frame(token: str = "frame-0", lines: int = 3, points: int = 500, seed: int = 0) -> Frame:
    """A boundary, dividers and a closed crossing within `REGION`; the first ``lines`` of them."""
    elements = [
        (2, [[-30.0, 8.0], [0.0, 8.0], [30.0, 9.0]]),
        (1, [[-30.0, 0.0], [30.0, 0.5]]),
        (0, [[10.0, -4.0], [13.0, -4.0], [13.0, 4.0], [10.0, 4.0], [10.0, -4.0]]),
        (1, [[-20.0, 4.0], [-5.0, 4.0], [5.0, 5.0]]),
    ][:lines]
    truth = VectorMap(
        Polylines.from_lines([torch.tensor(line) for _, line in elements]),
        torch.tensor([label for label, _ in elements], dtype=torch.int64),
    )
    draw = torch.Generator().manual_seed(seed)
    cloud = (torch.rand(points, 4, generator=draw) - torch.tensor([0.5, 0.5, 0.5, 0.0])) * torch.tensor([60, 30, 2, 1])
    return Frame(token=token, timestamp_ns=seed, points=PointCloud(cloud, CHANNELS), vector_map=truth)


def front_camera(height: int = 40, width: int = 70, seed: int = 0) -> Camera:
    """A camera 1.5 m above the ego origin that looks along +x, with a random picture."""
    rotation = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    intrinsics = torch.tensor([[50.0, 0.0, width / 2], [0.0, 50.0, height / 2], [0.0, 0.0, 1.0]])
    pose = SE3(rotation, torch.tensor([0.0, 0.0, 1.5]))
    draw = torch.Generator().manual_seed(seed)
    picture = torch.randint(0, 256, (3, height, width), generator=draw, dtype=torch.uint8)
    return Camera(Calibration(intrinsics, pose, width, height), 0, image=picture)


def lidar_encoder(channels: int = 8) -> dict:
    """Config of a small BEV encoder of points: (B, channels, 15, 30) over `REGION`."""
    return {
        "type": "LidarBEVEncoder",
        "voxel_encoder": {
            "type": "DynamicVFE", "in_channels": 4, "channels": (channels,), "voxel_size": (2.0, 2.0, 8.0),
            "point_range": (-30.0, -15.0, -5.0, 30.0, 15.0, 3.0),
        },
        "lidar_backbone": {"type": "PillarScatter", "grid": (30, 15)},
        "bev_backbone": {
            "type": "SECOND", "in_channels": channels, "channels": (channels,), "layers": (1,), "strides": (1,),
        },
        "neck": {"type": "SECONDFPN", "in_channels": (channels,), "channels": (channels,), "upsample": (1,)},
    }
