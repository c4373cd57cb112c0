"""A detector without weights: neighbouring cells with points above the ground are an object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy import ndimage

from perception.structures import Boxes3D, Frame, Predictions


@dataclass
class Cells:
    """What the detector hands from stage to stage."""

    frame: Frame
    xyz: np.ndarray                                        # (N, 3) points above the ground, ego frame
    columns: np.ndarray                                    # (N, 2) int64 cell of each point


class ClusterDetector:
    """Boxes around groups of at least ``min_points`` points; fuller groups come first."""

    classes = ("object",)

    def __init__(self, cell: float = 0.5, extent: float = 40.0, ground: float = 0.3, min_points: int = 20) -> None:
        self.cell, self.extent, self.ground, self.min_points = cell, extent, ground, min_points
        self.frames: list[Frame] = []

    def preprocess(self, frame: Frame) -> Cells:
        self.frames.append(frame)
        assert frame.points is not None
        xyz = frame.points.xyz.numpy()
        xyz = xyz[(np.abs(xyz[:, :2]).max(axis=1, initial=0.0) < self.extent) & (xyz[:, 2] > self.ground)]
        return Cells(frame, xyz, np.floor((xyz[:, :2] + self.extent) / self.cell).astype(np.int64))

    def network(self, cells: Cells) -> np.ndarray:
        side = int(2 * self.extent / self.cell)
        occupied = np.zeros((side, side), dtype=bool)
        occupied[cells.columns[:, 0], cells.columns[:, 1]] = True
        return ndimage.label(occupied)[0]

    def decode(self, groups: np.ndarray, cells: Cells) -> Predictions:
        group_of = groups[cells.columns[:, 0], cells.columns[:, 1]]
        rows, scores = [], []
        for group in range(1, groups.max(initial=0) + 1):
            members = cells.xyz[group_of == group]
            if len(members) >= self.min_points:
                low, high = members.min(axis=0), members.max(axis=0)
                rows.append([*(low + high) / 2, *(high - low + 0.01), 0.0])
                scores.append(len(members) / (len(members) + 100.0))
        order = np.argsort(scores)[::-1].copy()
        boxes = torch.tensor(rows, dtype=torch.float32).view(-1, 7)[order]
        score = torch.tensor(scores, dtype=torch.float32)[order]
        frame, labels = cells.frame, torch.zeros(len(rows), dtype=torch.int64)
        return Predictions(
            frame.token, frame.timestamp_ns, Boxes3D(boxes), score, labels, self.classes, frame.global_from_ego
        )
