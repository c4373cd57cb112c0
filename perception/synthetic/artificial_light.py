"""Lamps: what shines by itself, and the light of street lamps and head lamps on everything else.

Lamps throw no shadows; they fade out within a few metres of what could stand in their way.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import cKDTree

from .materials import Texture
from .scene import Actor
from .seen import SeenPoints
from .shading import rgb
from .textures import lattice_noise, wall_coordinates, window_panes

BEAMS = ("vehicle.car", "vehicle.truck", "vehicle.bus.rigid", "vehicle.bus.bendy", "vehicle.motorcycle")
EGO_FRONT = 3.7                 # from the ego's rear axle to its head lamps [m]
HEAD_LAMP_HEIGHT = 0.65
PANE_WIDTH = 2.6                # of the bay that one window of a house has to itself [m]


def is_driving(actor: Actor) -> bool:
    """Whether an actor's lamps are on: those of what stands all the time are off."""
    return len(actor.trajectory.times) > 1


class LampGrid:
    """Finds the street lamps nearest to a point by looking its cell of the ground plane up.

    Args:
        lamps: (L, 3) global places, L >= 1; kept as float32, good to 0.1 mm.
        cell: side of a cell [m].
        nearest: how many lamps a cell knows.
        margin: land around the lamps that has cells [m].
    """

    def __init__(self, lamps: np.ndarray, cell: float = 3.0, nearest: int = 3, margin: float = 24.0) -> None:
        self.lamps, self.cell = lamps.astype(np.float32), cell
        self.low = lamps[:, :2].min(axis=0) - margin
        self.columns, self.rows = (np.ptp(lamps[:, :2], axis=0) + 2.0 * margin) // cell + 1.0
        x, y = np.meshgrid(np.arange(self.columns), np.arange(self.rows))
        middles = np.stack([x, y], axis=-1).reshape(-1, 2) * cell + cell / 2 + self.low
        known = cKDTree(lamps[:, :2]).query(middles, k=np.arange(1, min(nearest, len(lamps)) + 1))[1]
        self._known = known.astype(np.int64)                              # (cells, K)

    def nearest(self, points: np.ndarray) -> np.ndarray:
        """(N, 3) points -> (N, K) int64 rows of ``lamps``; beyond the cells those of the nearest cell."""
        place = np.floor((points[:, :2] - self.low) / self.cell)
        column, row = np.clip(place[:, 0], 0, self.columns - 1), np.clip(place[:, 1], 0, self.rows - 1)
        return self._known[(row * self.columns + column).astype(np.int64)]


@dataclass(frozen=True, eq=False)
class StreetLamps:
    """Light of the lamps along the streets.

    Args:
        color: (3,) float32.
        power: brightness of a white surface one metre below a lamp.
        reach: metres at which the light has faded out.
        visible: metres from the camera up to which it is worked out.
    """

    color: np.ndarray = field(default_factory=lambda: rgb(1.0, 0.74, 0.42))
    power: float = 62.0
    reach: float = 21.0
    visible: float = 110.0

    def __call__(self, color: np.ndarray, seen: SeenPoints) -> np.ndarray:
        """Add what the nearest lamps give to every point below them."""
        grid = seen.snapshot.caster.lamp_grid
        if grid is None:
            return color
        rows = np.flatnonzero((seen.distance < self.visible) & (seen.points[:, 2] < grid.lamps[:, 2].max()))
        points, normals = seen.points[rows], seen.normals[rows]
        brightness = np.zeros(len(rows), np.float32)
        for lamp in grid.nearest(points).T:
            towards = grid.lamps[lamp] - points
            square = np.einsum("ij,ij->i", towards, towards)
            facing = np.maximum(np.einsum("ij,ij->i", towards, normals), 0.0)
            below = np.maximum(towards[:, 2], 0.0)
            fade = np.maximum(1.0 - square / self.reach**2, 0.0)
            brightness += facing * below * fade / np.square(np.maximum(square, 0.25))
        color[rows] += seen.albedo[rows] * (self.power * brightness[:, None] * self.color)
        return color


@dataclass(frozen=True, eq=False)
class Beam:
    """A dipped beam.

    Args:
        place: (3,) float32 of the lamp, global metres.
        heading: (2,) float32 unit vector along which it shines.
    """

    place: np.ndarray
    heading: np.ndarray

    @classmethod
    def mounted(cls, pose: np.ndarray, ahead: float, above: float) -> Beam:
        """The beam of a lamp that far [m] ahead of and above a pose (x, y, z, yaw)."""
        heading = np.array([np.cos(pose[3]), np.sin(pose[3])])
        place = np.array([*(pose[:2] + ahead * heading), pose[2] + above], np.float32)
        return cls(place, heading.astype(np.float32))

    def brightness(self, points: np.ndarray, normals: np.ndarray, reach: float) -> tuple[np.ndarray, np.ndarray]:
        """Rows (R,) of the points (N, 3) with normals (N, 3) that the beam meets, and its brightness there (R,)."""
        offset = points[:, :2] - self.place[:2]
        ahead = offset @ self.heading
        rows = np.flatnonzero((ahead > 0.3) & (ahead < reach))
        aside = offset[rows] @ np.array([-self.heading[1], self.heading[0]])
        within = np.abs(aside) < 1.2 * ahead[rows] + 1.0
        rows, aside = rows[within], aside[within]
        ahead, towards = ahead[rows], self.place - points[rows]
        square = np.einsum("ij,ij->i", towards, towards)
        facing = np.einsum("ij,ij->i", towards, normals[rows]) / np.sqrt(square)
        # A rough road sends more of a grazing beam back than Lambert's law has it.
        returned = np.where(facing > 0.0, 0.12 + 0.88 * facing, 0.0)
        spread = np.exp(-((aside / (ahead + 1.0) / 0.55) ** 2))
        dipped = 0.06 + 0.94 * np.clip(0.6 + 12.0 * towards[:, 2] / (ahead + 2.0), 0.0, 1.0)
        return rows, spread * dipped * returned * (1.0 - ahead / reach) / (square + 30.0)


@dataclass(frozen=True, eq=False)
class HeadLamps:
    """Dipped beams of the ego and of everything that drives.

    Args:
        color: (3,) float32.
        power: brightness of a white wall close to the lamp, times the squared metres by which the beam spreads.
        reach: metres at which the light has faded out.
        visible: metres from the ego up to which vehicles' beams are worked out.
    """

    color: np.ndarray = field(default_factory=lambda: rgb(1.0, 0.96, 0.88))
    power: float = 190.0
    reach: float = 48.0
    visible: float = 80.0

    def __call__(self, color: np.ndarray, seen: SeenPoints) -> np.ndarray:
        """Add what every beam gives to the points ahead of it."""
        for beam in self._beams(seen):
            rows, brightness = beam.brightness(seen.points, seen.normals, self.reach)
            color[rows] += seen.albedo[rows] * (self.power * brightness[:, None].astype(np.float32) * self.color)
        return color

    def _beams(self, seen: SeenPoints) -> list[Beam]:
        """The ego's beam and those of vehicles on the way."""
        scene = seen.snapshot.caster.scene
        ego = scene.ego.at(np.array([seen.time]))[0]
        beams = [Beam.mounted(ego, EGO_FRONT, HEAD_LAMP_HEIGHT)]
        for index in seen.snapshot.indices:
            actor, pose = scene.actors[index], seen.snapshot.poses[index]
            is_near = np.hypot(*(pose[:2] - ego[:2])) < self.visible
            if is_near and actor.category in BEAMS and is_driving(actor):
                beams.append(Beam.mounted(pose, actor.size[0] / 2, HEAD_LAMP_HEIGHT - actor.size[2] / 2))
        return beams


@dataclass(frozen=True, eq=False)
class Glow:
    """What shines by itself: lamps of the streets, of signals and of driving vehicles, and some windows.

    Args:
        lamps: brightness of a lamp of white glass; a coloured one shines in its colour.
        panes: brightness of a lit window.
        lit_share: share of the windows that are lit.
        color: (3,) float32 of the rooms behind the windows.
    """

    lamps: float
    panes: float
    lit_share: float
    color: np.ndarray = field(default_factory=lambda: rgb(1.0, 0.80, 0.50))

    def __call__(self, color: np.ndarray, seen: SeenPoints) -> np.ndarray:
        """Add the light of every lamp and window that a pixel shows."""
        caster = seen.snapshot.caster
        texture = caster.faces.texture[seen.face]
        lamps = np.flatnonzero((texture == Texture.LAMP) & caster.has_lamps_on[seen.actor + 1])
        color[lamps] += self.lamps * seen.albedo[lamps]
        rows, tone = self._windows(seen, texture)
        lit = tone > 1.0 - self.lit_share
        level = self.panes * (0.35 + 0.65 * (tone[lit] - (1.0 - self.lit_share)) / self.lit_share)
        color[rows[lit]] += level[:, None].astype(np.float32) * self.color
        return color

    @staticmethod
    def _windows(seen: SeenPoints, texture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the points on panes, and the number in [0, 1) of the window that each belongs to."""
        walls, panes = np.flatnonzero(texture == Texture.WINDOWS), np.flatnonzero(texture == Texture.PANE)
        _, is_pane, tone = window_panes(seen.local[walls], seen.local_normals[walls])
        run, _ = wall_coordinates(seen.local[panes], seen.local_normals[panes])
        bay = np.stack([np.floor(run / PANE_WIDTH), np.zeros(len(run)), np.zeros(len(run))], axis=-1)
        return np.concatenate([walls[is_pane], panes]), np.concatenate([tone[is_pane], lattice_noise(bay)])
