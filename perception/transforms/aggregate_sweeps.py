"""Join earlier LiDAR sweeps to the current one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from ..registry import TRANSFORMS
from ..structures import SE3, Frame, PointCloud, PointLabels, Sweep


@TRANSFORMS.register_module()
class AggregateSweeps:
    """Read up to ``num_sweeps`` earlier sweeps, move them into the frame and mark each point's age.

    The result has the channel ``time``: seconds before the frame, 0 for the current sweep; if the points have that
    channel already, the age of their sweep is added to it. Sweeps beyond ``num_sweeps`` are forgotten. Points that are
    added, repeated ones too, have no label: the class is IGNORE_LABEL, the instance 0.

    Args:
        num_sweeps: earlier sweeps to add, newest first.
        min_radius: points of all sweeps whose x and y in the sensor's own frame are both nearer to 0 than this [m] are
            dropped: they lie on the vehicle itself. The ego frame serves when the sensor's pose is unknown.
        pad_empty: repeat the current sweep where history is missing, so the density does not depend on it.
    """

    def __init__(self, num_sweeps: int = 9, min_radius: float = 1.0, pad_empty: bool = True) -> None:
        if num_sweeps < 0:
            raise ValueError(f"num_sweeps must be >= 0, got {num_sweeps}")
        if not min_radius >= 0.0:
            raise ValueError(f"min_radius must be >= 0 m, got {min_radius}")
        self.num_sweeps, self.min_radius, self.pad_empty = num_sweeps, min_radius, pad_empty

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        """The frame with one cloud and no sweeps; a frame without points loses its sweeps only."""
        if frame.points is None:
            return replace(frame, sweeps=())
        frame = frame.with_point_rows(self._off_vehicle(frame.points, frame.ego_from_lidar))
        assert frame.points is not None
        current, labels = aged(frame.points, 0.0), frame.point_labels
        clouds = [current]
        for sweep in frame.sweeps[: self.num_sweeps]:
            clouds.append(self._read(sweep, frame))
        if self.pad_empty:
            clouds += [current] * (self.num_sweeps + 1 - len(clouds))
        points = PointCloud.cat(clouds)
        if labels is not None:
            labels = PointLabels.cat([labels, labels.filled(len(points) - len(current))])
        return replace(frame, points=points, point_labels=labels, sweeps=())

    def _read(self, sweep: Sweep, frame: Frame) -> PointCloud:
        points = sweep.load()
        points = points[self._off_vehicle(points, frame.ego_from_lidar)]
        age = (frame.timestamp_ns - sweep.timestamp_ns) * 1e-9
        return aged(points.moved_by(sweep.ego_from_sweep), age)

    def _off_vehicle(self, points: PointCloud, ego_from_lidar: SE3 | None) -> Tensor:
        """(N,) bool."""
        xyz = points.xyz if ego_from_lidar is None else ego_from_lidar.inverse().apply(points.xyz)   # (N, 3), sensor
        return ~(xyz[:, :2].abs() < self.min_radius).all(dim=1)

    def __repr__(self) -> str:
        arguments = f"num_sweeps={self.num_sweeps}, min_radius={self.min_radius}, pad_empty={self.pad_empty}"
        return f"AggregateSweeps({arguments})"


def aged(points: PointCloud, seconds: float) -> PointCloud:
    """The points with ``time`` set to ``seconds``, or raised by it if they carry times."""
    times = points.channel("time") if "time" in points.channels else torch.zeros_like(points.data[:, 0])   # (N,)
    return points.with_channel("time", times + seconds)
