"""What lay in view during a drive."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.spatial import cKDTree

from ...structures import SE3


class Views:
    """The region around the ego that every frame of a drive saw.

    Args:
        poses: T poses, global_from_ego.
        region: x_min, y_min, x_max, y_max of the seen rectangle in the ego frame [m].
    """

    def __init__(self, poses: Sequence[SE3], region: tuple[float, float, float, float]) -> None:
        self.rotations = np.stack([pose.rotation.cpu().numpy() for pose in poses]) if poses else np.zeros((0, 3, 3))
        self.positions = np.stack([pose.translation.cpu().numpy() for pose in poses]) if poses else np.zeros((0, 3))
        self.region = region
        self.reach = float(np.hypot(max(abs(region[0]), abs(region[2])), max(abs(region[1]), abs(region[3]))))

    def sees(self, frame: int, points: np.ndarray) -> np.ndarray:
        """(N,) bool, which points (N, 3) of the global frame lie in the region of a frame."""
        local = ((points - self.positions[frame]) @ self.rotations[frame])[:, :2]         # (N, 2), ego frame
        low, high = self.region[:2], self.region[2:]
        return ((local >= low) & (local <= high)).all(axis=1)

    def count(self, points: np.ndarray) -> np.ndarray:
        """(N,) int64, in how many frames each point (N, 3) lay in view."""
        counts = np.zeros(len(points), dtype=np.int64)
        if not len(points) or not len(self.positions):
            return counts
        tree = cKDTree(points[:, :2])
        for frame, near in enumerate(tree.query_ball_point(self.positions[:, :2], self.reach + 1.0)):
            rows = np.array(near, dtype=np.int64)
            counts[rows] += self.sees(frame, points[rows])
        return counts
