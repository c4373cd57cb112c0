"""Low-poly construction vehicles: excavator, dump truck, wheel loader and roller, 6.4 x 2.8 x 3.2 m before fitting."""

from __future__ import annotations

import numpy as np

from .materials import CHROME, DARK_PLASTIC, GLASS, TYRE, Paint, Semantic
from .mesh_builder import MeshBuilder
from .scene import Mesh

MACHINE_COLORS = ((236, 176, 30), (228, 120, 30), (240, 196, 60), (210, 90, 40))


def machine_mesh(kind: str, rng: np.random.Generator) -> Mesh:
    """A construction vehicle of a kind in ``MACHINE_KINDS``."""
    color = MACHINE_COLORS[int(rng.integers(len(MACHINE_COLORS)))]
    builder = MeshBuilder(Semantic.CONSTRUCTION)
    _MACHINES[kind](builder, Paint(color, 0.5), rng)
    return builder.build()


def _excavator(builder: MeshBuilder, paint: Paint, rng: np.random.Generator) -> None:
    for side in (-1, 1):
        builder.profile([(0.2, 0.25), (0.55, 0.0), (3.2, 0.0), (3.6, 0.25), (3.5, 0.75), (0.3, 0.75)], 0.6,
                        DARK_PLASTIC, y=side * 1.1)
        for x in (0.6, 1.4, 2.2, 3.1):
            builder.cylinder((x, side * 0.82, 0.36), (x, side * 1.4, 0.36), 0.28, TYRE, sides=8)
    builder.cylinder((1.9, 0, 0.7), (1.9, 0, 1.0), 0.7, DARK_PLASTIC)
    builder.box((1.5, 0, 1.35), (3.0, 2.6, 0.75), paint)
    builder.box((0.5, 0, 1.75), (1.0, 2.6, 1.3), paint)                             # counterweight and engine
    builder.profile([(1.6, 1.7), (3.2, 1.7), (3.0, 2.95), (1.7, 2.95)], 1.1, GLASS, [paint, GLASS, paint, paint], y=0.7)
    lift = float(rng.uniform(-0.3, 0.15))
    elbow, wrist = np.array([4.9, -0.3, 3.0 + lift]), np.array([6.0, -0.3, 1.4 + lift])
    builder.cylinder((2.9, -0.3, 1.6), elbow, 0.24, paint, end_radius=0.18, sides=6)
    builder.cylinder(elbow, wrist, 0.17, paint, end_radius=0.13, sides=6)
    builder.cylinder((3.4, -0.3, 1.5), (4.3, -0.3, 2.5 + lift), 0.07, CHROME, sides=5)
    builder.profile([(5.5, 0.5), (6.2, 0.6), (6.35, 1.3), (5.9, 1.5)], 1.0, DARK_PLASTIC, y=-0.3)


def _dump_truck(builder: MeshBuilder, paint: Paint, rng: np.random.Generator) -> None:
    builder.box((3.2, 0, 0.8), (6.0, 1.0, 0.35), DARK_PLASTIC)
    builder.profile([(4.6, 0.6), (6.4, 0.6), (6.4, 1.5), (6.1, 2.6), (4.6, 2.6)], 2.3, paint,
                    [DARK_PLASTIC, paint, GLASS, paint, paint])
    builder.profile([(0.3, 1.1), (4.4, 1.1), (4.6, 2.5), (0.0, 2.6)], 2.4, paint, top_width=2.8)
    builder.profile([(0.4, 2.5), (4.3, 2.5), (3.2, 3.1), (1.4, 3.15)], 2.2, Paint((120, 100, 76), 0.25), top_width=0.8)
    _tyres(builder, (0.9, 2.0, 5.4), 2.6, 0.55)


def _loader(builder: MeshBuilder, paint: Paint, rng: np.random.Generator) -> None:
    builder.box((1.2, 0, 1.4), (2.4, 1.7, 1.1), paint)
    builder.profile([(1.8, 1.5), (3.3, 1.5), (3.2, 3.1), (1.9, 3.1)], 1.5, GLASS, [paint, GLASS, paint, GLASS])
    builder.box((2.55, 0, 3.13), (1.6, 1.7, 0.14), paint)
    builder.box((3.6, 0, 1.1), (1.6, 1.2, 0.8), paint)
    for side in (-1, 1):
        builder.cylinder((3.6, side * 0.6, 1.6), (5.4, side * 0.6, 0.7), 0.15, paint, sides=6)
    builder.profile([(5.2, 0.15), (6.3, 0.1), (6.0, 0.6), (5.3, 1.2)], 2.8, DARK_PLASTIC)
    _tyres(builder, (0.9, 3.9), 2.6, 0.75)


def _roller(builder: MeshBuilder, paint: Paint, rng: np.random.Generator) -> None:
    builder.box((1.7, 0, 1.3), (3.2, 1.9, 1.0), paint)
    builder.profile([(1.9, 1.7), (3.6, 1.7), (3.4, 3.0), (2.0, 3.0)], 1.7, GLASS, [paint, GLASS, paint, GLASS])
    builder.box((2.7, 0, 3.05), (2.1, 2.0, 0.12), paint)
    for side in (-1, 1):
        builder.box((4.6, side * 1.25, 0.9), (2.6, 0.16, 0.4), paint)
    builder.cylinder((5.4, -1.15, 0.8), (5.4, 1.15, 0.8), 0.8, CHROME, sides=14)
    _tyres(builder, (1.0,), 2.4, 0.75)


_MACHINES = {"excavator": _excavator, "dump_truck": _dump_truck, "loader": _loader, "roller": _roller}
MACHINE_KINDS = tuple(_MACHINES)


def _tyres(builder: MeshBuilder, axles: tuple[float, ...], width: float, radius: float) -> None:
    for x in axles:
        for side in (-1, 1):
            inner, outer = side * (width / 2 - 0.5), side * width / 2
            builder.cylinder((x, inner, radius), (x, outer, radius), radius, TYRE, sides=10)
