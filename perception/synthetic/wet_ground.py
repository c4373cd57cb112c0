"""Reflections on wet streets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from . import shading
from .materials import Semantic
from .seen import SeenPoints
from .textures import flat_noise

WETTED = (Semantic.ROAD, Semantic.OTHER_FLAT, Semantic.SIDEWALK)


@dataclass(frozen=True, eq=False)
class WetGround:
    """A film of water on roads and walkways that mirrors what is above it, most at a grazing view and in puddles.

    Args:
        film: how strongly the ground outside puddles mirrors, relative to still water.
        ripple: how far the film's normals stray from the vertical; a puddle's stray a quarter of that.
        puddles: share of the ground that lies under puddles, about.
    """

    film: float = 0.4
    ripple: float = 0.035
    puddles: float = 0.3

    def __call__(self, color: np.ndarray, seen: SeenPoints) -> np.ndarray:
        """Blend the mirrored town, actors and sky into the colours of wet ground."""
        caster = seen.snapshot.caster
        wet = np.isin(caster.faces.semantic[seen.face], WETTED) & (seen.normals[:, 2] > 0.9)
        rows = np.flatnonzero(wet)
        if not len(rows):
            return color
        points, views = seen.points[rows], seen.views[rows]
        puddle = np.clip((flat_noise(points, 0.22) - (1.0 - self.puddles) + 0.1) * 5.0, 0.0, 1.0)      # (R,) in [0, 1]
        normals = self._film(points, puddle, seen.distance[rows])
        steep = np.abs(np.einsum("ij,ij->i", views, normals))
        reflectance = (0.02 + 0.98 * (1.0 - np.minimum(steep, 1.0)) ** 5) * (self.film + (1.0 - self.film) * puddle)
        mirrored = shading.mirror(views, normals)
        mirrored[:, 2] = np.maximum(mirrored[:, 2], 0.005)
        reflected = self._reflected(seen, points, mirrored.astype(np.float32))
        share = np.minimum(reflectance + 0.10 * puddle, 0.85)[:, None].astype(np.float32)
        color[rows] = (1.0 - share) * color[rows] + share * reflected
        return color

    def _film(self, points: np.ndarray, puddle: np.ndarray, distance: np.ndarray) -> np.ndarray:
        """(N, 3) unit normals of the water; far away ripples are too small to be seen one by one."""
        sway = self.ripple * (1.0 - 0.75 * puddle) / (1.0 + (distance / 15.0) ** 2)
        tilt = [(flat_noise(points + shift, 9.0) - 0.5) * 2.0 * sway for shift in (0.0, 71.3)]
        normals = np.stack([*tilt, np.ones(len(points))], axis=-1)
        return normals / np.linalg.norm(normals, axis=1, keepdims=True)

    @staticmethod
    def _reflected(seen: SeenPoints, points: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """(N, 3) float32 what is seen in the mirror: plain colours under the sky's light, without textures."""
        caster = seen.snapshot.caster
        light = caster.look.light
        color = shading.sky(directions, caster.scene.sun.astype(np.float32), light)
        hits = seen.snapshot.cast(points + np.array([0.0, 0.0, 0.03]), directions)
        found = np.flatnonzero(np.isfinite(hits.distance))
        plain = caster.faces.colors[hits.face[found]] * (0.5 * (light.sky_ambient + light.ground_ambient))
        color[found] = shading.hazed(plain, hits.distance[found], light)
        return color
