"""What is annotated in a keyframe: boxes at the time the beam met them, point counts, exact visibility."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..structures.angles import cos_sin, direction
from .lidar import Sweep
from .raycast import SceneCaster, Snapshot, bounding_radius
from .rig import Lidar
from .scene import Actor

ANNOTATION_RANGE = 60.0         # visible things without a return are annotated up to here [m]
LEAST_VISIBLE = 0.2             # visible share that such a thing needs
PROBE_COLUMNS, PROBE_ROWS = 12, 8


@dataclass(frozen=True, eq=False)
class Annotation:
    """One box of one keyframe.

    Args:
        actor: index into the scene's actors.
        time: when the beam passed it [s]; the pose is that of this time.
        pose: (4,) float64 x, y, z of the centre and yaw, global frame.
        visible: share of it that the LiDAR's place sees, in [0, 1].
        num_returns: points of the sweep inside the box.
    """

    actor: int
    time: float
    pose: np.ndarray
    visible: float
    num_returns: int


def annotate(caster: SceneCaster, lidar: Lidar, sweep: Sweep, shift: np.ndarray) -> list[Annotation]:
    """All boxes of a keyframe: actors with a return, and those near and visible enough without one.

    Args:
        caster: the scene.
        lidar: the sensor.
        sweep: the keyframe's turn.
        shift: (3,) offset that is added to global coordinates when they are written; boxes are rounded after it.
    """
    eye = sweep.global_from_sensor[:3, 3]
    poses = caster.poses(sweep.time)
    if not len(poses):
        return []
    distance = np.hypot(*(poses[:, :2] - eye[:2]).T)
    near = np.flatnonzero(distance < lidar.max_range + 10.0)
    visible = visible_shares(caster.snapshot(sweep.time, eye), eye, near)
    has_return = np.isin(numbers_of(caster)[near], sweep.instance)
    chosen = has_return | ((distance[near] <= ANNOTATION_RANGE) & (visible >= LEAST_VISIBLE))
    near, visible = near[chosen], visible[chosen]
    times = beam_times(caster, lidar, sweep, near)
    boxes = caster.paths.at(near, times)
    boxes[:, :3] = np.round(boxes[:, :3] + shift, 4) - shift
    points = points_to_global(sweep)
    points = points[np.argsort(points[:, 0], kind="stable")]
    return [Annotation(index, time, pose, share, count_inside(points, pose, caster.scene.actors[index]))
            for index, time, pose, share in zip(near.tolist(), times.tolist(), boxes, visible.tolist(), strict=True)]


def numbers_of(caster: SceneCaster) -> np.ndarray:
    """(A,) int64 instance number of every actor."""
    return np.array([actor.instance for actor in caster.scene.actors], dtype=np.int64)


def beam_times(caster: SceneCaster, lidar: Lidar, sweep: Sweep, actors: np.ndarray) -> np.ndarray:
    """When the turning beam passes the centres of actors (K,): (K,) seconds, in whole microseconds.

    A thing that lies across the seam of the turn is met at both ends of it; there the median of its returns decides.
    """
    times = np.full(len(actors), sweep.time)
    for _ in range(3):                                                # bearing and time depend on each other
        place, ego = caster.paths.at(actors, times), caster.scene.ego.at(times)
        c, s = cos_sin(ego[:, 3])
        x, y = lidar.ego_from_sensor[:2, 3]
        aside = place[:, :2] - ego[:, :2] - np.stack([c * x - s * y, s * x + c * y], axis=-1)
        times = sweep.time + lidar.time_towards(direction(aside[:, 0], aside[:, 1]) - ego[:, 3])
    for row, number in enumerate(numbers_of(caster)[actors]):
        if abs(times[row] - sweep.time) > 0.3 * lidar.period_s:       # towards the rear, where the seam is
            returns = sweep.beam_time[sweep.instance == number]
            median = float(np.median(returns)) if len(returns) else times[row]
            times[row] = median if abs(median - times[row]) > 0.2 * lidar.period_s else times[row]
    return np.round(times, 6)                                         # beyond the rounding of any processor


def count_inside(points: np.ndarray, pose: np.ndarray, actor: Actor) -> int:
    """How many of the points (N, 3), sorted by x, lie in the actor's box at a pose."""
    radius = bounding_radius(actor) + 0.01
    first, last = np.searchsorted(points[:, 0], [pose[0] - radius, pose[0] + radius])
    return int(points_in_box(points[first:last], pose, actor.size).sum())


def points_to_global(sweep: Sweep) -> np.ndarray:
    """(N, 3) float64 stored points in the global frame."""
    local = sweep.points[:, :3].astype(np.float64)
    return local @ sweep.global_from_sensor[:3, :3].T + sweep.global_from_sensor[:3, 3]


def points_in_box(points: np.ndarray, pose: np.ndarray, size: tuple[float, float, float]) -> np.ndarray:
    """(N,) bool: inside the box or on its faces, as nuScenes counts.

    Args:
        points: (N, 3) float64.
        pose: (4,) centre and yaw in the points' frame.
        size: length, width, height [m].
    """
    offset = points - pose[:3]
    c, s = math.cos(pose[3]), math.sin(pose[3])
    along, across = c * offset[:, 0] + s * offset[:, 1], -s * offset[:, 0] + c * offset[:, 1]
    length, width, height = size
    return (np.abs(along) <= length / 2) & (np.abs(across) <= width / 2) & (np.abs(offset[:, 2]) <= height / 2)


def visible_shares(snapshot: Snapshot, eye: np.ndarray, actors: np.ndarray) -> np.ndarray:
    """Share of the rays from ``eye`` that meet an actor when it stands alone and still meet it in the whole scene.

    Args:
        snapshot: the scene at one moment.
        eye: (3,) float64, global.
        actors: (K,) indices.

    Returns:
        (K,) float64 in [0, 1]; 0 for an actor that no ray meets.
    """
    caster = snapshot.caster
    if not len(actors):
        return np.zeros(0)
    directions = np.concatenate([probe_directions(caster.scene.actors[i], snapshot.poses[i], eye) for i in actors])
    owner = np.repeat(actors, PROBE_COLUMNS * PROBE_ROWS)
    origins = np.broadcast_to(eye, directions.shape)
    alone = np.isfinite(caster.cast_actors(origins, directions, owner, snapshot.poses[owner]).distance)
    together = snapshot.cast(origins, directions).actor == owner
    shape = (len(actors), -1)
    met = alone.reshape(shape).sum(axis=1)
    return (alone & together).reshape(shape).sum(axis=1) / np.maximum(met, 1)


def probe_directions(actor: Actor, pose: np.ndarray, eye: np.ndarray) -> np.ndarray:
    """(K, 3) unit directions on a grid over the box as seen from ``eye``."""
    length, width, height = actor.size
    bearing = math.atan2(pose[1] - eye[1], pose[0] - eye[0])
    turned = pose[3] - bearing
    half = 0.5 * (abs(length * math.sin(turned)) + abs(width * math.cos(turned)))
    side = ((np.arange(PROBE_COLUMNS) + 0.5) / PROBE_COLUMNS * 2.0 - 1.0) * half
    rise = ((np.arange(PROBE_ROWS) + 0.5) / PROBE_ROWS - 0.5) * height
    side, rise = (grid.ravel() for grid in np.meshgrid(side, rise))
    aim = pose[:3] - eye + np.column_stack([-math.sin(bearing) * side, math.cos(bearing) * side, rise])
    return aim / np.linalg.norm(aim, axis=1, keepdims=True)
