"""What a synthetic drive is made of: meshes, moving actors, the ego's path; the world builds it, the sensors see it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .town import Town


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles with what the sensors need to know of each.

    Args:
        vertices: (V, 3) float32, metres.
        triangles: (T, 3) uint32 vertex rows, counter-clockwise seen from outside.
        colors: (T, 3) uint8 albedo, RGB.
        semantic: (T,) uint8 nuScenes-lidarseg category index.
        reflectivity: (T,) float32 in [0, 1], share of the beam that comes back at normal incidence.
        texture: (T,) uint8 index into the camera's procedural textures (0: plain).
    """

    vertices: np.ndarray
    triangles: np.ndarray
    colors: np.ndarray
    semantic: np.ndarray
    reflectivity: np.ndarray
    texture: np.ndarray


@dataclass(frozen=True, eq=False)
class Trajectory:
    """A path over time: knots that are interpolated linearly (the yaw along the shorter turn).

    Args:
        times: (K,) float64 seconds since the start of the scene, increasing.
        poses: (K, 4) float64: x, y, z [m] and yaw [rad] in the global frame; of the box centre for an actor, of the
            rear axle's ground point for the ego.
    """

    times: np.ndarray
    poses: np.ndarray

    def at(self, times: np.ndarray) -> np.ndarray:
        """(N,) seconds -> (N, 4) x, y, z, yaw; held at both ends."""
        times = np.asarray(times, dtype=np.float64)
        xyz = [np.interp(times, self.times, self.poses[:, axis]) for axis in range(3)]
        yaw = np.interp(times, self.times, np.unwrap(self.poses[:, 3]))
        return np.stack([*xyz, yaw], axis=-1)


@dataclass(frozen=True, eq=False)
class Actor:
    """One annotated thing of the scene, moving or not.

    Args:
        instance: number from 1, unique in the scene.
        category: nuScenes category, such as "vehicle.car" or "human.pedestrian.adult".
        size: length, width, height [m] of the annotated box.
        mesh: triangles in the box's own frame (origin at the box centre, x forward), lying inside the box by the
            inset that the range noise asks for.
        trajectory: of the box centre; a parked or standing thing has one knot.
        attribute: nuScenes attribute name at a time [s]; "" for a category without attributes.
    """

    instance: int
    category: str
    size: tuple[float, float, float]
    mesh: Mesh
    trajectory: Trajectory
    attribute: Callable[[float], str]


@dataclass(frozen=True, eq=False)
class Scene:
    """A drive through a town.

    Args:
        name: nuScenes scene name.
        town: the static map.
        static: everything that does not move and is not annotated, in the global frame.
        actors: everything annotated.
        ego: path of the vehicle that carries the sensors.
        duration_s: length of the drive [s].
        sun: (3,) float64 unit vector towards the light.
        lamps: (L, 3) float64 global places of the street lamps.
    """

    name: str
    town: Town
    static: Mesh
    actors: tuple[Actor, ...]
    ego: Trajectory
    duration_s: float
    sun: np.ndarray
    lamps: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))
