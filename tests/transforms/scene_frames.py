"""A small frame with everything in it, for the tests of this folder."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from perception.structures import SE3, Annotations, Boxes3D, Calibration, Camera, Frame, PointCloud, Sweep

CHANNELS = ("x", "y", "z", "intensity")
FORWARD = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]], dtype=torch.float64)


@dataclass(frozen=True)
class StoredPoints:
    """Reads points that are in memory."""

    points: PointCloud

    def __call__(self) -> PointCloud:
        return self.points


def cloud(*rows: tuple[float, ...], channels: tuple[str, ...] = CHANNELS) -> PointCloud:
    return PointCloud(torch.tensor(rows, dtype=torch.float32).reshape(len(rows), len(channels)), channels)


def sweep(age_s: float, points: PointCloud, ego_from_sweep: SE3 | None = None) -> Sweep:
    return Sweep(10**9 - round(age_s * 1e9), ego_from_sweep or SE3.identity(), StoredPoints(points))


def scene(sweeps: tuple[Sweep, ...] = (), cameras: bool = True) -> Frame:
    """Two boxes (a car with two points, a pedestrian with one), a point beside, a camera looking forward."""
    boxes = [[10.0, 2.0, 0.5, 4.0, 2.0, 1.5, 0.3, 5.0, 1.0], [20.0, -5.0, 0.9, 0.8, 0.8, 1.8, 0.0, 1.0, 0.0]]
    intrinsics = torch.tensor([[50.0, 0.0, 32.0], [0.0, 50.0, 20.0], [0.0, 0.0, 1.0]], dtype=torch.float64)
    calibration = Calibration(intrinsics, SE3(FORWARD, torch.tensor([1.0, 0.2, 2.0])), width=64, height=40)
    image = torch.arange(3 * 40 * 64).remainder(256).to(torch.uint8).view(3, 40, 64)
    points = cloud((10.0, 2.0, 0.5, 0.7), (10.5, 2.2, 0.6, 0.2), (20.0, -5.0, 1.0, 0.1), (30.0, 9.0, 0.0, 0.5))
    return Frame(
        token="a",
        timestamp_ns=10**9,
        global_from_ego=SE3.about_z(1.0, [1000.0, 2000.0, 0.0]),
        points=points,
        sweeps=sweeps,
        cameras={"front": Camera(calibration, 10**9, image=image)} if cameras else {},
        annotations=Annotations(
            Boxes3D(torch.tensor(boxes)),
            torch.tensor([0, 1]),
            ("car", "pedestrian", "bus"),
            num_lidar_pts=torch.tensor([2, 1]),
            instance_ids=("first", "second"),
        ),
        ego_from_lidar=SE3.about_z(-0.1, [0.9, 0.0, 1.8]),
    )


def pixels(frame: Frame) -> torch.Tensor:
    """(N, 3) u, v, depth of the points in the front camera."""
    return frame.cameras["front"].calibration.project(frame.points.xyz)


def inside(frame: Frame) -> list[list[bool]]:
    """Which points lie in which box."""
    return frame.annotations.boxes.contains(frame.points.xyz).tolist()
