"""Low-poly trees and bushes of unit size, each around its own foot, to be stretched."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .materials import BARK, Paint, Semantic, Texture
from .mesh_builder import MeshBuilder
from .scene import Mesh

Color = tuple[int, int, int]
PlantMaker = Callable[[np.random.Generator, Sequence[Color]], Mesh]


def broadleaf_mesh(rng: np.random.Generator, leaves: Sequence[Color]) -> Mesh:
    """A tree of 1 m height and about 0.7 m crown, its leaves of one of some colours."""
    builder = MeshBuilder(Semantic.VEGETATION)
    builder.cylinder((0, 0, -0.01), (0, 0, 0.45), 0.028, BARK, end_radius=0.018, sides=7)
    paint = Paint(leaves[int(rng.integers(len(leaves)))], float(rng.uniform(0.35, 0.55)), Texture.FOLIAGE)
    for _ in range(int(rng.integers(2, 4))):
        place = (float(rng.uniform(-0.12, 0.12)), float(rng.uniform(-0.12, 0.12)), float(rng.uniform(0.6, 0.75)))
        jitter = rng.uniform(0.8, 1.15, (6, 9))
        builder.ellipsoid(place, (0.26, 0.26, 0.25), paint, rings=6, sides=9, jitter=jitter)
    return builder.build()


def conifer_mesh(rng: np.random.Generator, leaves: Sequence[Color]) -> Mesh:
    """A fir of 1 m height and about 0.45 m width, dark green whatever grows around it."""
    builder = MeshBuilder(Semantic.VEGETATION)
    builder.cylinder((0, 0, -0.01), (0, 0, 0.2), 0.025, BARK, sides=6)
    needles = Paint((36, 78, 50), 0.4, Texture.FOLIAGE)
    for low, high, radius in ((0.14, 0.5, 0.23), (0.36, 0.74, 0.18), (0.6, 1.0, 0.12)):
        builder.cylinder((0, 0, low), (0, 0, high), radius, needles, end_radius=0.01, sides=9)
    return builder.build()


def palm_mesh(rng: np.random.Generator, leaves: Sequence[Color]) -> Mesh:
    """A palm of 1 m height: a bare, leaning stem and drooping fronds 0.35 m long."""
    builder = MeshBuilder(Semantic.VEGETATION)
    top = np.array([*rng.uniform(-0.06, 0.06, 2), 0.86])
    builder.cylinder((0, 0, -0.01), top, 0.03, BARK, end_radius=0.02, sides=7)
    paint = Paint(leaves[int(rng.integers(len(leaves)))], float(rng.uniform(0.3, 0.45)), Texture.FOLIAGE)
    builder.ellipsoid(top, (0.05, 0.05, 0.05), paint, rings=4, sides=6)
    for angle in np.arange(9) * 2 * np.pi / 9 + float(rng.uniform(0, 2 * np.pi)):
        outward = np.array([np.cos(angle), np.sin(angle), 0.0])
        knee = top + 0.17 * outward + np.array([0, 0, float(rng.uniform(0.07, 0.13))])
        tip = top + 0.36 * outward - np.array([0, 0, float(rng.uniform(0.0, 0.12))])
        builder.cylinder(top, knee, 0.015, paint, end_radius=0.045, sides=5)
        builder.cylinder(knee, tip, 0.045, paint, end_radius=0.004, sides=5)
    return builder.build()


def cypress_mesh(rng: np.random.Generator, leaves: Sequence[Color]) -> Mesh:
    """A cypress of 1 m height and 0.2 m width, dark whatever grows around it."""
    builder = MeshBuilder(Semantic.VEGETATION)
    builder.cylinder((0, 0, -0.01), (0, 0, 0.12), 0.025, BARK, sides=6)
    needles = Paint((40, 58, 40), float(rng.uniform(0.35, 0.45)), Texture.FOLIAGE)
    jitter = rng.uniform(0.85, 1.1, (7, 8))
    builder.ellipsoid((0, 0, 0.54), (0.11, 0.11, 0.46), needles, rings=7, sides=8, jitter=jitter)
    return builder.build()


def bush_mesh(rng: np.random.Generator, leaves: Sequence[Color]) -> Mesh:
    """A bush of 1 m height and width, its leaves of one of some colours."""
    builder = MeshBuilder(Semantic.VEGETATION)
    paint = Paint(leaves[int(rng.integers(len(leaves)))], 0.45, Texture.FOLIAGE)
    builder.ellipsoid((0, 0, 0.45), (0.5, 0.5, 0.52), paint, rings=5, sides=9, jitter=rng.uniform(0.8, 1.1, (5, 9)))
    return builder.build()
