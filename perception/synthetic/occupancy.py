"""Who stands where and when: keeps the annotated things of a scene from touching each other."""

from __future__ import annotations

import numpy as np

from .ribbon import rectangle_corners, rectangles_overlap
from .scene import Trajectory

STEP_S = 0.1


class Occupancy:
    """Footprints over time of all that has been placed so far.

    Args:
        start_s, end_s: time span that is watched [s].
        step_s: interval of the samples [s].
    """

    def __init__(self, start_s: float, end_s: float, step_s: float = STEP_S) -> None:
        if not end_s > start_s:
            raise ValueError(f"end_s must be later than start_s, got {start_s} to {end_s}")
        self.times = np.arange(start_s, end_s + step_s / 2, step_s)                  # (T,)
        self._corners = np.zeros((0, len(self.times), 4, 2))                         # (A, T, 4, 2)
        self._low = np.zeros((0, 2))                                                 # bounds over all times
        self._high = np.zeros((0, 2))
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def is_free(self, trajectory: Trajectory, size: tuple[float, ...], margin: float = 0.15) -> bool:
        """Whether a thing with a margin all around [m] would touch nothing at any time."""
        corners = self._footprints(trajectory, (size[0] + 2 * margin, size[1] + 2 * margin))    # (T, 4, 2)
        low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
        near = (self._low[: self._count] < high).all(axis=1) & (self._high[: self._count] > low).all(axis=1)
        others = self._corners[: self._count][near]
        return not rectangles_overlap(others, corners).any()

    def add(self, trajectory: Trajectory, size: tuple[float, ...]) -> None:
        """Put a thing in, wherever it is."""
        if self._count == len(self._corners):
            grow = max(64, self._count)
            self._corners = np.concatenate([self._corners, np.zeros((grow, *self._corners.shape[1:]))])
            self._low = np.concatenate([self._low, np.zeros((grow, 2))])
            self._high = np.concatenate([self._high, np.zeros((grow, 2))])
        corners = self._footprints(trajectory, size)
        self._corners[self._count] = corners
        self._low[self._count], self._high[self._count] = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
        self._count += 1

    def claim(self, trajectory: Trajectory, size: tuple[float, ...], margin: float = 0.15) -> bool:
        """Put a thing in if it is free to be there; says whether it was."""
        if not self.is_free(trajectory, size, margin):
            return False
        self.add(trajectory, size)
        return True

    def _footprints(self, trajectory: Trajectory, size: tuple[float, ...]) -> np.ndarray:
        poses = trajectory.at(self.times)[:, [0, 1, 3]]                              # (T, 3)
        return rectangle_corners(poses, np.array(size[:2]))
