"""Collects the annotated things of a scene, numbering them and keeping them apart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .bodies import Body
from .occupancy import STEP_S, Occupancy
from .scene import Actor, Trajectory

MARGIN_S = 0.5                      # that moving things are known before the start and after the end of a scene
MOVING_SPEED = 0.3                  # from which a vehicle or person counts as moving [m/s]


class Cast:
    """The actors of a scene.

    Args:
        duration_s: length of the scene [s].
    """

    def __init__(self, duration_s: float) -> None:
        self.occupancy = Occupancy(-MARGIN_S, duration_s + MARGIN_S)
        self.actors: list[Actor] = []

    @property
    def times(self) -> np.ndarray:
        """(T,) seconds at which moving things have their knots."""
        return self.occupancy.times

    def still(self, body: Body, pose: np.ndarray, ground: float, attribute: str, margin: float = 0.15) -> bool:
        """Place something that does not move, if there is room.

        Args:
            body: what it is.
            pose: (3,) x, y, yaw of the box centre.
            ground: height of the surface under it [m].
            attribute: nuScenes attribute, or "".
            margin: free space asked for around it [m].
        """
        knot = np.array([[pose[0], pose[1], ground + body.size[2] / 2, pose[2]]])
        return self._take(body, Trajectory(np.zeros(1), knot), lambda time: attribute, margin)

    def moving(
        self, body: Body, poses: np.ndarray, attributes: tuple[str, str], margin: float = 0.15
    ) -> bool:
        """Place something that moves, if its way is free at all times.

        Args:
            body: what it is.
            poses: (T, 4) x, y, ground height, yaw at ``times``.
            attributes: when it moves and when it does not.
            margin: free space asked for around it [m].
        """
        knots = np.concatenate([poses[:, :2], poses[:, 2:3] + body.size[2] / 2, poses[:, 3:]], axis=1)
        trajectory = Trajectory(self.times, knots)
        return self._take(body, trajectory, speed_attribute(trajectory, attributes), margin)

    def _take(self, body: Body, trajectory: Trajectory, attribute: Callable[[float], str], margin: float) -> bool:
        if not self.occupancy.claim(trajectory, body.size, margin):
            return False
        self.actors.append(Actor(len(self.actors) + 1, body.category, body.size, body.mesh, trajectory, attribute))
        return True


def speed_attribute(trajectory: Trajectory, attributes: tuple[str, str]) -> Callable[[float], str]:
    """The first attribute at times when a trajectory moves, the second when it stands."""

    def attribute(time: float) -> str:
        around = trajectory.at(np.array([time - STEP_S, time + STEP_S]))[:, :2]
        speed = float(np.linalg.norm(around[1] - around[0])) / (2 * STEP_S)
        return attributes[0] if speed > MOVING_SPEED else attributes[1]

    return attribute
