"""Low-poly people, on foot and on two wheels, and the small things of a street: cycles, racks, barriers, cones."""

from __future__ import annotations

import numpy as np

from .materials import CHROME, DARK_PLASTIC, HEADLIGHT, SKIN, TAILLIGHT, TYRE, Paint, Semantic, Texture
from .mesh_builder import MeshBuilder
from .scene import Mesh

CLOTHES = (
    (40, 50, 80), (150, 40, 44), (60, 60, 64), (210, 206, 198), (48, 96, 70), (120, 90, 60), (190, 150, 60),
    (90, 120, 160), (30, 30, 34), (160, 110, 150),
)
_VESTS = {
    Semantic.CONSTRUCTION_WORKER: Paint((235, 110, 30), 0.9, Texture.STRIPES),
    Semantic.POLICE_OFFICER: Paint((26, 34, 74), 0.2),
}
_HATS = {
    Semantic.CONSTRUCTION_WORKER: Paint((240, 205, 50), 0.6),
    Semantic.POLICE_OFFICER: Paint((18, 22, 44), 0.2),
}


def person_mesh(semantic: Semantic, walking: bool, rng: np.random.Generator) -> Mesh:
    """Somebody of about 0.7 x 0.65 x 1.77 m, in mid-stride or standing still with the arms out a little."""
    builder = MeshBuilder(semantic)
    shirt, trousers = _VESTS.get(semantic, _cloth(rng)), _cloth(rng)
    stride = float(rng.uniform(0.22, 0.32)) if walking else float(rng.uniform(0.02, 0.12))
    for side in (-1, 1):
        foot = np.array([side * stride, side * 0.11, 0.09])
        builder.cylinder((0, side * 0.10, 0.86), foot, 0.095, trousers, end_radius=0.06, sides=6)
        builder.box(foot + np.array([0.05, 0.0, -0.045]), (0.27, 0.10, 0.09), DARK_PLASTIC)
        hand = np.array([-side * stride * 0.9, side * 0.30, 0.82])
        builder.cylinder((0, side * 0.21, 1.40), hand, 0.055, shirt, end_radius=0.04, sides=6)
        builder.ellipsoid(hand, (0.045, 0.03, 0.06), SKIN, rings=4, sides=5)
    _torso(builder, shirt, lean=0.0)
    _head(builder, (0.02, 0, 1.63), rng, _HATS.get(semantic))
    if semantic == Semantic.ADULT and rng.random() < 0.35:
        builder.box((-0.2, 0, 1.2), (0.18, 0.3, 0.42), _cloth(rng))                          # rucksack
    return builder.build()


def bicycle_mesh(rider: bool, rng: np.random.Generator) -> Mesh:
    """A bicycle of about 1.7 x 0.6 m, with somebody on it or without."""
    builder, frame = MeshBuilder(Semantic.BICYCLE), Paint(CLOTHES[int(rng.integers(len(CLOTHES)))], 0.45)
    for x in (0.34, 1.38):
        _thin_wheel(builder, x, 0.34, 0.05)
    joints = {"crank": (0.78, 0, 0.30), "seat": (0.62, 0, 0.88), "head": (1.22, 0, 0.86), "fork": (1.38, 0, 0.34)}
    for first, second in (("crank", "seat"), ("crank", "head"), ("seat", "head"), ("head", "fork")):
        builder.cylinder(joints[first], joints[second], 0.03, frame, sides=5)
    builder.cylinder((0.34, 0, 0.34), joints["crank"], 0.025, frame, sides=5)
    builder.cylinder((0.34, 0, 0.34), joints["seat"], 0.02, frame, sides=5)
    builder.box((0.58, 0, 0.95), (0.27, 0.15, 0.07), DARK_PLASTIC)
    builder.cylinder((1.22, 0, 0.86), (1.20, 0, 1.02), 0.025, CHROME, sides=5)
    builder.cylinder((1.18, -0.3, 1.02), (1.18, 0.3, 1.02), 0.025, DARK_PLASTIC, sides=5)
    builder.box((0.2, 0, 0.72), (0.05, 0.06, 0.05), TAILLIGHT)
    if rider:
        _rider(builder, hip=(0.58, 1.0), hand=(1.16, 1.04), foot=(0.80, 0.22), height=1.72, rng=rng)
    return builder.build()


def motorcycle_mesh(rider: bool, rng: np.random.Generator) -> Mesh:
    """A motorcycle of about 2.1 x 0.75 m, with somebody on it or without."""
    builder, paint = MeshBuilder(Semantic.MOTORCYCLE), Paint(CLOTHES[int(rng.integers(len(CLOTHES)))], 0.5)
    for x in (0.36, 1.74):
        _thin_wheel(builder, x, 0.36, 0.14)
    builder.profile([(0.5, 0.35), (1.4, 0.3), (1.45, 0.7), (0.45, 0.75)], 0.36, DARK_PLASTIC)
    builder.profile([(0.9, 0.68), (1.5, 0.68), (1.42, 1.0), (1.0, 0.98)], 0.34, paint, top_width=0.22)
    builder.profile([(0.05, 0.74), (0.95, 0.68), (0.95, 0.85), (0.1, 0.92)], 0.30, paint)
    builder.cylinder((1.74, 0.09, 0.36), (1.45, 0.09, 1.05), 0.04, CHROME, sides=5)
    builder.cylinder((1.74, -0.09, 0.36), (1.45, -0.09, 1.05), 0.04, CHROME, sides=5)
    builder.cylinder((1.38, -0.37, 1.1), (1.38, 0.37, 1.1), 0.035, DARK_PLASTIC, sides=5)
    for side in (-1, 1):
        builder.cylinder((1.38, side * 0.28, 1.1), (1.42, side * 0.33, 1.3), 0.03, CHROME, sides=5)      # mirrors
        builder.cylinder((0.15, side * 0.17, 0.42), (0.95, side * 0.2, 0.35), 0.06, CHROME, sides=6)    # exhausts
    builder.box((1.56, 0, 0.98), (0.14, 0.22, 0.2), HEADLIGHT)
    builder.box((0.06, 0, 0.8), (0.08, 0.18, 0.1), TAILLIGHT)
    if rider:
        _rider(builder, hip=(0.68, 0.92), hand=(1.36, 1.12), foot=(0.95, 0.36), height=1.62, rng=rng)
    return builder.build()


def rack_mesh(bicycles: int, rng: np.random.Generator) -> Mesh:
    """A row of bicycles between hoops; the row runs along x."""
    builder = MeshBuilder(Semantic.BICYCLE_RACK)
    for index in range(bicycles):
        x = index * 0.7
        builder.cylinder((x - 0.3, -0.35, 0), (x - 0.3, -0.35, 0.8), 0.03, CHROME, sides=5)
        builder.cylinder((x - 0.3, 0.35, 0), (x - 0.3, 0.35, 0.8), 0.03, CHROME, sides=5)
        builder.cylinder((x - 0.3, -0.35, 0.8), (x - 0.3, 0.35, 0.8), 0.03, CHROME, sides=5)
        for y in (-0.52, 0.52):
            builder.cylinder((x - 0.025, y, 0.34), (x + 0.025, y, 0.34), 0.34, TYRE, sides=10)
        frame = Paint(CLOTHES[int(rng.integers(len(CLOTHES)))], 0.4)
        builder.cylinder((x, -0.5, 0.34), (x, 0.3, 0.9), 0.04, frame, sides=5)
        builder.cylinder((x, 0.5, 0.34), (x, 0.35, 0.95), 0.04, frame, sides=5)
        builder.cylinder((x, -0.25, 0.88), (x, 0.35, 0.88), 0.04, frame, sides=5)
        builder.cylinder((x - 0.28, 0.36, 1.0), (x + 0.28, 0.36, 1.0), 0.03, DARK_PLASTIC, sides=5)
    return builder.build()


def barrier_mesh(kind: str, rng: np.random.Generator) -> Mesh:
    """A road barrier, 0.5 m along x and 2.5 m along y: "board" on feet, "plastic" or "concrete"."""
    builder = MeshBuilder(Semantic.BARRIER)
    if kind == "board":
        stripes = Paint((225, 70, 40), 0.85, Texture.STRIPES)
        for z in (0.45, 0.82):
            builder.box((0, 0, z), (0.12, 2.5, 0.28), stripes)
        for y in (-1.0, 1.0):
            builder.box((0, y, 0.5), (0.1, 0.1, 0.96), CHROME)
            builder.box((0, y, 0.04), (0.5, 0.14, 0.08), DARK_PLASTIC)
        return builder.build()
    color = Paint((228, 88, 36) if rng.random() < 0.6 else (235, 235, 232), 0.55)
    paint = color if kind == "plastic" else Paint((168, 166, 160), 0.35)
    rings = [
        [(-half, y, z) for z, half in ((0.0, 0.25), (0.25, 0.22), (0.42, 0.12), (0.98, 0.09))]
        + [(half, y, z) for z, half in ((0.98, 0.09), (0.42, 0.12), (0.25, 0.22), (0.0, 0.25))]
        for y in (-1.25, 1.25)
    ]
    for low, high in ((0, 1), (1, 2), (2, 3)):                       # slices, since the whole outline is not convex
        builder.loft(np.array([[ring[low], ring[high], ring[7 - high], ring[7 - low]] for ring in rings]), paint)
    return builder.build()


def cone_mesh(rng: np.random.Generator) -> Mesh:
    """A traffic cone of 0.4 x 0.4 x 1.0 m with a white sleeve."""
    builder, orange = MeshBuilder(Semantic.TRAFFIC_CONE), Paint((238, 92, 28), 0.55)
    builder.box((0, 0, 0.03), (0.4, 0.4, 0.06), DARK_PLASTIC if rng.random() < 0.5 else orange)
    radii, heights = (0.17, 0.125, 0.085, 0.045), (0.06, 0.40, 0.70, 1.0)
    for index, paint in enumerate((orange, Paint((240, 240, 240), 0.95), orange)):
        builder.cylinder((0, 0, heights[index]), (0, 0, heights[index + 1]), radii[index], paint,
                         end_radius=radii[index + 1], sides=10)
    return builder.build()


def _cloth(rng: np.random.Generator) -> Paint:
    return Paint(CLOTHES[int(rng.integers(len(CLOTHES)))], float(rng.uniform(0.15, 0.55)))


def _torso(builder: MeshBuilder, shirt: Paint, lean: float) -> None:
    angle = np.arange(8) * np.pi / 4
    outline = np.stack([0.13 * np.cos(angle), 0.19 * np.sin(angle)], axis=-1)
    rings = [
        np.column_stack([outline * share + np.array([lean * (z - 0.8), 0.0]), np.full(8, z)])
        for z, share in ((0.80, 0.85), (1.0, 0.9), (1.35, 1.12), (1.48, 0.6))
    ]
    builder.loft(np.stack(rings), shirt)


def _head(
    builder: MeshBuilder, center: tuple[float, float, float], rng: np.random.Generator, hat: Paint | None
) -> None:
    x, y, z = center
    builder.cylinder((x - 0.01, y, z - 0.18), (x, y, z - 0.05), 0.055, SKIN, sides=6)
    builder.ellipsoid(center, (0.105, 0.08, 0.135), SKIN, rings=5, sides=7)
    hair = hat or Paint(((30, 24, 20), (90, 66, 40), (150, 140, 130))[int(rng.integers(3))], 0.15)
    builder.ellipsoid((x - 0.015, y, z + 0.055), (0.115, 0.09, 0.09), hair, rings=4, sides=7)


def _thin_wheel(builder: MeshBuilder, x: float, radius: float, thickness: float) -> None:
    builder.cylinder((x, -thickness / 2, radius), (x, thickness / 2, radius), radius, TYRE, sides=12)


def _rider(
    builder: MeshBuilder, hip: tuple[float, float], hand: tuple[float, float], foot: tuple[float, float],
    height: float, rng: np.random.Generator,
) -> None:
    """Somebody sitting; places are x and z in the cycle's frame."""
    shirt, trousers = _cloth(rng), _cloth(rng)
    shoulder = np.array([hip[0] + 0.22, 0.0, height - 0.30])
    knee = np.array([hip[0] + 0.42, 0.0, hip[1] - 0.18])
    builder.cylinder((hip[0], 0, hip[1] - 0.05), shoulder, 0.15, shirt, end_radius=0.19, sides=8)
    for side in (-1, 1):
        bend = knee + np.array([0.0, side * 0.16, 0.06 * side])
        builder.cylinder((hip[0], side * 0.09, hip[1]), bend, 0.085, trousers, end_radius=0.07, sides=6)
        builder.cylinder(bend, (foot[0], side * 0.14, foot[1] + 0.08 * side), 0.065, trousers, end_radius=0.05, sides=6)
        joint = shoulder + np.array([0.0, side * 0.18, -0.04])
        builder.cylinder(joint, (hand[0], side * 0.24, hand[1]), 0.055, shirt, end_radius=0.04, sides=6)
    helmet = Paint(CLOTHES[int(rng.integers(len(CLOTHES)))], 0.4)
    builder.cylinder(shoulder, (shoulder[0] + 0.06, 0, height - 0.18), 0.06, SKIN, sides=6)
    builder.ellipsoid((shoulder[0] + 0.08, 0, height - 0.12), (0.12, 0.1, 0.13), SKIN, rings=5, sides=7)
    builder.ellipsoid((shoulder[0] + 0.07, 0, height - 0.07), (0.135, 0.115, 0.11), helmet, rings=4, sides=7)
