"""Where all actors are at any time, looked up for many at once."""

from __future__ import annotations

import numpy as np

from .scene import Actor


class ActorPaths:
    """The trajectories of a scene's actors, gathered by common knots so that a look-up is a few array operations.

    Args:
        actors: the scene's actors; `Trajectory.at` of each is what `at` gives.
    """

    def __init__(self, actors: tuple[Actor, ...]) -> None:
        members: dict[bytes, list[int]] = {}
        for index, actor in enumerate(actors):
            members.setdefault(actor.trajectory.times.astype(np.float64).tobytes(), []).append(index)
        self.count = len(actors)
        self._group = np.zeros(len(actors), np.int64)
        self._row = np.zeros(len(actors), np.int64)
        self._knots: list[np.ndarray] = []                     # (K,) seconds
        self._poses: list[np.ndarray] = []                     # (A, K, 4), yaw unwrapped
        for number, (key, indices) in enumerate(members.items()):
            self._group[indices] = number
            self._row[indices] = np.arange(len(indices))
            poses = np.stack([actors[index].trajectory.poses for index in indices]).astype(np.float64)
            poses[..., 3] = np.unwrap(poses[..., 3], axis=1)
            self._knots.append(np.frombuffer(key))
            self._poses.append(poses)

    def at(self, actor: np.ndarray, times: np.ndarray) -> np.ndarray:
        """Poses of actors (N,) at times (N,) [s]: (N, 4) x, y, z, yaw."""
        result = np.empty((len(actor), 4))
        group = self._group[actor]
        for number, (knots, poses) in enumerate(zip(self._knots, self._poses, strict=True)):
            mine = np.flatnonzero(group == number)
            if len(mine):
                result[mine] = _interpolate(knots, poses, self._row[actor[mine]], times[mine])
        return result

    def all_at(self, time: float) -> np.ndarray:
        """(A, 4) poses of all actors at one time [s]."""
        return self.at(np.arange(self.count), np.full(self.count, time))


def _interpolate(knots: np.ndarray, poses: np.ndarray, row: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Linear between knots (K,) of poses (A, K, 4), held at both ends."""
    if len(knots) == 1:
        return poses[row, 0]
    left = np.clip(np.searchsorted(knots, times, side="right") - 1, 0, len(knots) - 2)
    share = np.clip((times - knots[left]) / (knots[left + 1] - knots[left]), 0.0, 1.0)[:, None]
    return poses[row, left] * (1.0 - share) + poses[row, left + 1] * share
