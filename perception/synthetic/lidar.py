"""One turn of a spinning LiDAR: every beam fired at its own time from the moving car.

Points are stored in the sensor frame at the sweep's timestamp (mid-turn): the ego's own motion is compensated as in
nuScenes, while moving actors stay where the beam met them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..structures.angles import cos_sin, direction
from .raycast import MISS, Hits, SceneCaster
from .rig import Lidar, pose_matrix

HALF_SIGNAL = 5.0e5            # r^2 / (reflectivity cos) at which every second beam is lost [m^2]
BASE_LOSS = 0.01               # share of beams lost whatever they meet
MIN_RANGE = 0.5                # nearer returns are lost [m]
GRAZING = 0.02                 # least cosine of incidence that counts


@dataclass(frozen=True, eq=False)
class Sweep:
    """The returns of one turn in firing order.

    Args:
        time: timestamp, mid-turn [s].
        points: (N, 5) float32: x, y, z [m, sensor frame at ``time``], intensity 0..255, ring.
        semantic: (N,) uint8 nuScenes-lidarseg category index.
        instance: (N,) int64 number of the actor, 0 for the town.
        beam_time: (N,) float64 when each beam was fired [s].
        global_from_sensor: (4, 4) float64 at ``time``.
    """

    time: float
    points: np.ndarray
    semantic: np.ndarray
    instance: np.ndarray
    beam_time: np.ndarray
    global_from_sensor: np.ndarray


@dataclass(frozen=True, eq=False)
class Beams:
    """All rays of a turn, column by column and within it ring by ring from below: row = column * rings + ring."""

    origins: np.ndarray        # (C * R, 3) float64, global
    directions: np.ndarray     # (C * R, 3) float64, global unit vectors
    times: np.ndarray          # (C,) float64 seconds since the start of the scene
    yaws: np.ndarray           # (C,) float64 headings in the ego frame
    elevations: np.ndarray     # (R,) float64


def scan(caster: SceneCaster, lidar: Lidar, time: float, rng: np.random.Generator) -> Sweep:
    """Turn the LiDAR once around a timestamp.

    Args:
        caster: the scene.
        lidar: the sensor.
        time: mid-turn [s].
        rng: for range noise, lost beams and intensity; drawn from the same number of times whatever is hit.
    """
    beams = fire(caster, lidar, time)
    hits = caster.cast_static(beams.origins, beams.directions)
    hits = hits.nearest(cast_moving(caster, lidar, beams, time))
    noise = np.clip(rng.standard_normal(len(beams.origins)), -3.0, 3.0) * lidar.range_noise
    chance, glitter = rng.random(len(beams.origins)), rng.standard_normal(len(beams.origins))

    incidence = np.abs(np.einsum("ij,ij->i", hits.normal, beams.directions))
    reflectivity = np.where(hits.face == MISS, 0.0, caster.faces.reflectivity[hits.face])
    kept = np.flatnonzero(chance < return_probability(hits.distance, reflectivity, incidence, lidar.max_range))
    distance = hits.distance[kept].astype(np.float64) + noise[kept]
    where = beams.origins[kept] + distance[:, None] * beams.directions[kept]        # (N, 3), global

    global_from_sensor = pose_matrix(caster.scene.ego, time) @ lidar.ego_from_sensor
    local = (where - global_from_sensor[:3, 3]) @ global_from_sensor[:3, :3]
    brightness = intensity(distance, reflectivity[kept], incidence[kept], glitter[kept])
    rings = len(beams.elevations)
    points = np.column_stack([local, brightness, kept % rings]).astype(np.float32)
    semantic, instance = caster.labels(hits.face[kept], hits.actor[kept])
    return Sweep(time, points, semantic, instance, beams.times[kept // rings], global_from_sensor)


def return_probability(distance: np.ndarray, reflectivity: np.ndarray, incidence: np.ndarray,
                       max_range: float) -> np.ndarray:
    """Chance that a beam comes back: falls with the squared range, rises with reflectivity and the cosine of incidence.

    Args:
        distance: (N,) metres, infinite for a miss.
        reflectivity: (N,) in [0, 1].
        incidence: (N,) cosine between beam and surface normal, in [0, 1].
        max_range: metres.
    """
    signal = reflectivity * np.maximum(incidence, GRAZING)
    with np.errstate(divide="ignore", invalid="ignore"):
        chance = (1.0 - BASE_LOSS) / (1.0 + distance.astype(np.float64) ** 2 / (signal * HALF_SIGNAL))
    return np.where((distance > MIN_RANGE) & (distance < max_range) & (signal > 0), chance, 0.0)


def intensity(distance: np.ndarray, reflectivity: np.ndarray, incidence: np.ndarray, glitter: np.ndarray) -> np.ndarray:
    """(N,) whole numbers 0..255: brighter for reflective, near surfaces met at a right angle."""
    ideal = 255.0 * reflectivity * np.sqrt(np.maximum(incidence, GRAZING)) / (1.0 + (distance / 60.0) ** 2)
    return np.clip(np.round(ideal * (1.0 + 0.08 * glitter)), 0.0, 255.0)


def fire(caster: SceneCaster, lidar: Lidar, time: float) -> Beams:
    """Origins and directions of all rays of a turn in the global frame."""
    times, yaws = time + lidar.column_times(), lidar.column_yaws()
    ego = caster.scene.ego.at(times)                                                # (C, 4)
    c, s = cos_sin(ego[:, 3])
    mount = lidar.ego_from_sensor[:3, 3]
    origins = ego[:, :3] + np.stack([c * mount[0] - s * mount[1], s * mount[0] + c * mount[1],
                                     np.full_like(c, mount[2])], axis=-1)           # (C, 3)
    heading = ego[:, 3] + yaws
    flat, rise = np.cos(lidar.elevations), np.sin(lidar.elevations)
    directions = np.stack([np.cos(heading)[:, None] * flat, np.sin(heading)[:, None] * flat,
                           np.broadcast_to(rise, (len(yaws), len(rise)))], axis=-1)  # (C, R, 3)
    return Beams(np.repeat(origins, len(rise), axis=0), directions.reshape(-1, 3), times, yaws, lidar.elevations)


def cast_moving(caster: SceneCaster, lidar: Lidar, beams: Beams, time: float) -> Hits:
    """Nearest actor on every ray, each actor standing where it is at the time of the ray."""
    view = windows(caster, lidar, beams, time)
    which, nth_column = ragged(view.columns)                          # one entry for every actor and column
    column = (view.first_column[which] + nth_column) % len(beams.times)
    pose = caster.paths.at(view.actor[which], beams.times[column])
    pair, nth_ring = ragged(view.rings[which])                        # one entry for every actor, column and ring
    ray = column[pair] * len(beams.elevations) + view.first_ring[which[pair]] + nth_ring
    best = Hits.none(len(beams.origins))
    if not len(ray):
        return best
    hits = caster.cast_actors(beams.origins[ray], beams.directions[ray], view.actor[which[pair]], pose[pair])
    found = np.flatnonzero(np.isfinite(hits.distance))
    order = found[np.argsort(-hits.distance[found], kind="stable")]   # the nearest is written last
    target = ray[order]
    for field in ("distance", "face", "normal", "actor"):
        getattr(best, field)[target] = getattr(hits, field)[order]
    return best


@dataclass(frozen=True, eq=False)
class Windows:
    """For actors in range the columns (cyclic) and rings of a turn that could meet them; all (K,) int64."""

    actor: np.ndarray
    first_column: np.ndarray
    columns: np.ndarray
    first_ring: np.ndarray
    rings: np.ndarray


def windows(caster: SceneCaster, lidar: Lidar, beams: Beams, time: float) -> Windows:
    """Bound every actor by an upright cylinder, as wide as what it and the ego move during the turn asks for."""
    sensor = pose_matrix(caster.scene.ego, time) @ lidar.ego_from_sensor
    turn_ends = caster.scene.ego.at(np.array([time - lidar.period_s / 2, time + lidar.period_s / 2]))
    moved = np.hypot(*(turn_ends[1, :2] - turn_ends[0, :2])) / 2 + 0.5 * lidar.period_s * speeds(caster, time)   # (A,)
    offset = caster.poses(time)[:, :3] - sensor[:3, 3]
    flat, reach = np.hypot(offset[:, 0], offset[:, 1]), caster.radius + moved + 0.1
    actor = np.flatnonzero(flat - reach < lidar.max_range)
    offset, flat, reach = offset[actor], flat[actor], reach[actor]
    bearing = direction(offset[:, 0], offset[:, 1]) - caster.scene.ego.at(np.array([time]))[0, 3]
    first_column, columns = _columns(lidar, flat, reach, bearing)
    first_ring, rings = _rings(beams.elevations, flat, reach, offset[:, 2], caster.half_height[actor] + 0.1)
    return Windows(actor, first_column, columns, first_ring, rings)


def speeds(caster: SceneCaster, time: float, step: float = 0.1) -> np.ndarray:
    """(A,) ground speed of every actor [m/s]."""
    moved = caster.poses(time + step / 2)[:, :2] - caster.poses(time - step / 2)[:, :2]
    return np.hypot(moved[:, 0], moved[:, 1]) / step


def ragged(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Counts (K,) -> for every item of K lists of these lengths the list's number and its place in the list."""
    number = np.repeat(np.arange(len(counts)), counts)
    return number, np.arange(len(number)) - np.repeat(np.cumsum(counts) - counts, counts)


def _columns(lidar: Lidar, flat: np.ndarray, reach: np.ndarray, bearing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First column and number of columns within the angle of a disc of radius ``reach``, with 2 degrees more."""
    half = np.arcsin(np.minimum(reach / np.maximum(flat, 1e-6), 1.0)) + math.radians(2.0)
    per_column = 2.0 * math.pi / lidar.columns
    first = np.floor((lidar.seam_yaw - bearing - half) / per_column - 0.5).astype(np.int64)
    count = np.ceil(2.0 * half / per_column).astype(np.int64) + 2
    inside = flat <= reach * 1.05
    return first % lidar.columns, np.where(inside, lidar.columns, np.minimum(count, lidar.columns))


def _rings(elevations: np.ndarray, flat: np.ndarray, reach: np.ndarray, rise: np.ndarray,
           half_height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First ring and number of rings between the lowest and the highest point of an upright cylinder."""
    near, far = np.maximum(flat - reach, 0.05), flat + reach
    top, bottom = rise + half_height, rise - half_height
    highest = np.arctan2(top, np.where(top > 0, near, far))
    lowest = np.arctan2(bottom, np.where(bottom < 0, near, far))
    first = np.searchsorted(elevations, lowest - 0.01)
    return first, np.maximum(np.searchsorted(elevations, highest + 0.01, side="right") - first, 0)
