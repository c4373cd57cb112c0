"""Low-poly cars, trucks, buses and trailers.

Every function builds in its own frame: x forward from 0 at the rear bumper, y left, z up from the ground; the caller
fits the result into the annotated box.
"""

from __future__ import annotations

import numpy as np

from .materials import CHROME, DARK_PLASTIC, GLASS, HEADLIGHT, PLATE, TAILLIGHT, TYRE, Paint, Semantic, Texture
from .mesh_builder import MeshBuilder
from .scene import Mesh

BODY_COLORS = (
    (238, 238, 238), (200, 202, 205), (120, 124, 130), (38, 40, 44), (150, 24, 28), (28, 52, 110), (36, 84, 60),
    (196, 168, 60), (92, 60, 44), (70, 110, 160), (222, 120, 40), (232, 226, 205),
)
CARGO_COLORS = (
    (240, 240, 238), (226, 226, 222), (40, 80, 150), (170, 40, 36), (60, 120, 70), (230, 180, 40), (130, 130, 134),
)

# Shares of length and height: bonnet's front edge and base of the windscreen, roof from front to rear, foot of the rear
# window, then heights of the bonnet, the belt line and the tail.
_CAR_SHAPES = {
    "sedan": ((0.97, 0.70), (0.55, 0.24), 0.08, (0.50, 0.60, 0.58)),
    "hatchback": ((0.97, 0.74), (0.56, 0.13), 0.02, (0.52, 0.60, 0.62)),
    "suv": ((0.97, 0.74), (0.60, 0.08), 0.02, (0.56, 0.62, 0.62)),
    "van": ((0.98, 0.86), (0.70, 0.03), 0.01, (0.50, 0.55, 0.56)),
    "wagon": ((0.97, 0.72), (0.57, 0.07), 0.02, (0.50, 0.58, 0.58)),
}
CAR_KINDS = tuple(_CAR_SHAPES)


def body_paint(rng: np.random.Generator, colors: tuple[tuple[int, int, int], ...] = BODY_COLORS) -> Paint:
    """A lacquer of a random colour; dark ones send less of the beam back."""
    color = np.clip(np.array(colors[int(rng.integers(len(colors)))]) + rng.integers(-10, 11, 3), 5, 250)
    brightness = float(color.mean()) / 255
    return Paint((int(color[0]), int(color[1]), int(color[2])), 0.12 + 0.5 * brightness)


def car_mesh(kind: str, rng: np.random.Generator) -> Mesh:
    """A passenger car of a kind in ``CAR_KINDS``, 4.6 x 1.9 x 1.7 m before it is fitted."""
    length, width, height = 4.6, 1.9, 1.7
    (hood, screen), (roof_front, roof_rear), rear, (hood_z, belt_z, tail_z) = _CAR_SHAPES[kind]
    paint = body_paint(rng)
    builder = MeshBuilder(Semantic.CAR)
    low = 0.16 * height
    builder.profile(
        [(0.03 * length, low), (0.97 * length, low), (length, 0.3 * height), (length * 0.995, 0.42 * height),
         (hood * length, hood_z * height), (screen * length, belt_z * height), (0.02 * length, tail_z * height),
         (0.0, 0.36 * height)], width, paint, top_width=0.94 * width,
    )
    builder.profile(
        [(rear * length, (tail_z - 0.02) * height), (screen * length, (belt_z - 0.02) * height),
         (roof_front * length, 0.985 * height), ((roof_front + roof_rear) / 2 * length, height),
         (roof_rear * length, 0.975 * height)],
        0.92 * width, GLASS, [paint, GLASS, paint, paint, GLASS], top_width=0.72 * width,
    )
    if kind == "van":                                                       # panels in place of the rear windows
        builder.box((0.24 * length, 0, 0.74 * height), (0.42 * length, 0.86 * width, 0.40 * height), paint)
    _wheels(builder, (0.17 * length, 0.81 * length), width, 0.33, 0.22)
    _lights(builder, length, width, 0.40 * height, 0.47 * height)
    return builder.build()


def truck_mesh(kind: str, rng: np.random.Generator) -> Mesh:
    """A lorry ("box", "flatbed", "tanker", "tractor") of 7 x 2.5 x 2.9 m or a "pickup" before it is fitted."""
    builder, paint = MeshBuilder(Semantic.TRUCK), body_paint(rng)
    if kind == "pickup":
        return _pickup(builder, paint)
    length, width = 7.0, 2.5
    cab_length, cab_height = (2.9, 2.9) if kind == "tractor" else (1.9, 2.45)
    builder.box((length / 2 - 0.2, 0, 0.72), (length - 0.5, 0.9, 0.3), DARK_PLASTIC)
    _cab(builder, length, width, cab_length, cab_height, paint)
    bed = length - cab_length - 0.15
    cargo = body_paint(rng, CARGO_COLORS)
    if kind == "box":
        builder.box((bed / 2, 0, 1.94), (bed, width, 1.92), cargo)
        builder.box((bed / 2, 0, 0.93), (bed, 0.96 * width, 0.12), DARK_PLASTIC)
    elif kind == "tanker":
        builder.cylinder((0.0, 0, 1.95), (bed, 0, 1.95), 0.95, Paint((200, 204, 208), 0.55), sides=12)
        builder.box((bed / 2, 0, 0.95), (bed, width, 0.16), DARK_PLASTIC)
    elif kind == "flatbed":
        builder.box((bed / 2, 0, 1.02), (bed, width, 0.2), Paint((110, 86, 58), 0.3))
        for x in np.linspace(0.18, 0.82, 3):
            height = float(rng.uniform(0.6, 1.5))
            load = body_paint(rng, CARGO_COLORS)
            builder.box((x * bed, 0, 1.12 + height / 2), (0.26 * bed, 0.8 * width, height), load)
    else:
        builder.box((0.9, 0, 0.98), (1.5, 1.1, 0.18), DARK_PLASTIC)          # the tractor's coupling
        builder.cylinder((bed, 0.9, 0.9), (bed, 0.9, 2.85), 0.09, CHROME, sides=6)
    _wheels(builder, (0.16 * length, 0.29 * length, 0.84 * length), width, 0.48, 0.34)
    _lights(builder, length, width, 0.75, 0.62)
    return builder.build()


def bus_mesh(rng: np.random.Generator, bendy: bool = False) -> Mesh:
    """A city bus of 11 x 2.9 x 3.4 m before it is fitted; a bendy one has a bellows in the middle."""
    length, width = 11.0, 2.9
    semantic = Semantic.BUS_BENDY if bendy else Semantic.BUS_RIGID
    builder, paint, roof = MeshBuilder(semantic), body_paint(rng), body_paint(rng, CARGO_COLORS)
    builder.profile([(0, 0.35), (length, 0.35), (length, 1.25), (0, 1.25)], width, paint)
    builder.profile([(0.02, 1.25), (length - 0.02, 1.25), (length - 0.12, 2.75), (0.05, 2.75)], 0.985 * width, GLASS,
                    top_width=0.95 * width)
    builder.profile([(0.05, 2.75), (length - 0.12, 2.75), (length - 0.35, 3.1), (0.2, 3.1)], 0.97 * width, roof,
                    top_width=0.88 * width)
    builder.box((0.3 * length, 0, 3.22), (2.6, 1.7, 0.34), roof)             # cooling unit
    for x in np.linspace(0.12, 0.88, 6) * length:                            # pillars between the windows
        for side in (-1, 1):
            builder.box((x, side * 0.482 * width, 2.0), (0.16, 0.06, 1.5), paint)
    for x in (0.93, 0.55):                                                   # doors on one side
        builder.box((x * length - 0.3, -0.497 * width, 1.35), (1.1, 0.02, 2.0), GLASS)
    if bendy:
        builder.box((0.5 * length, 0, 1.75), (1.2, 1.004 * width, 2.74), DARK_PLASTIC)
    _wheels(builder, (0.22 * length, 0.76 * length), width, 0.5, 0.34)
    _lights(builder, length, width, 0.8, 0.9)
    return builder.build()


def trailer_mesh(kind: str, rng: np.random.Generator) -> Mesh:
    """A semi-trailer ("box", "container" or "flatbed") of 12 x 2.9 x 3.9 m before it is fitted."""
    length, width = 12.0, 2.9
    builder, cargo = MeshBuilder(Semantic.TRAILER), body_paint(rng, CARGO_COLORS)
    builder.box((length / 2, 0, 1.08), (length, 0.5 * width, 0.26), DARK_PLASTIC)
    if kind == "flatbed":
        builder.box((length / 2, 0, 1.28), (length, width, 0.16), Paint((110, 86, 58), 0.3))
        builder.box((length - 0.08, 0, 1.95), (0.16, width, 1.3), cargo)
        for x in np.linspace(0.15, 0.8, 4) * length:
            height = float(rng.uniform(1.2, 2.5))
            load = body_paint(rng, CARGO_COLORS)
            builder.box((x, 0, 1.36 + height / 2), (0.17 * length, 0.86 * width, height), load)
    else:
        builder.box((length / 2, 0, 2.55), (length, 0.96 * width, 2.6), cargo)
        ribs = np.linspace(0.04, 0.96, 9 if kind == "container" else 3) * length
        for x in ribs:
            builder.box((x, 0, 2.55), (0.14, width, 2.64), cargo)
    for side in (-1, 1):
        builder.box((0.7 * length, side * 0.3 * width, 0.5), (0.16, 0.16, 1.0), DARK_PLASTIC)        # landing legs
        builder.box((0.03, side * 0.38 * width, 1.1), (0.06, 0.3, 0.2), TAILLIGHT)
    builder.box((0.12, 0, 0.62), (0.1, 0.9 * width, 0.14), Paint((220, 60, 40), 0.8, Texture.STRIPES))
    _wheels(builder, (0.1 * length, 0.21 * length), width, 0.5, 0.36)
    return builder.build()


def _pickup(builder: MeshBuilder, paint: Paint) -> Mesh:
    length, width = 5.6, 2.0
    builder.profile([(0.05, 0.38), (length - 0.1, 0.38), (length, 0.6), (length - 0.05, 1.05), (0.72 * length, 1.15),
                     (0.0, 1.15), (0.0, 0.6)], width, paint, top_width=0.95 * width)
    builder.profile([(0.36 * length, 1.13), (0.74 * length, 1.13), (0.62 * length, 1.86), (0.39 * length, 1.88)],
                    0.92 * width, GLASS, [paint, GLASS, paint, GLASS], top_width=0.75 * width)
    for side in (-1, 1):
        builder.box((0.18 * length, side * 0.44 * width, 1.22), (0.34 * length, 0.1, 0.2), paint)
    _wheels(builder, (0.18 * length, 0.81 * length), width, 0.39, 0.25)
    _lights(builder, length, width, 0.75, 0.85)
    return builder.build()


def _cab(builder: MeshBuilder, length: float, width: float, depth: float, height: float, paint: Paint) -> None:
    rear = length - depth
    builder.profile([(rear, 0.5), (length, 0.5), (length, 1.35), (rear, 1.35)], 0.97 * width, paint)
    builder.profile([(rear, 1.35), (length, 1.35), (length - 0.25, height - 0.35), (rear, height - 0.35)],
                    0.96 * width, paint, [paint, GLASS, paint, paint], top_width=0.92 * width)
    for side in (-1, 1):
        builder.box((length - 0.75, side * 0.467 * width, 1.65), (0.8, 0.05, 0.6), GLASS)
    builder.profile([(rear, height - 0.35), (length - 0.25, height - 0.35), (length - 0.6, height), (rear, height)],
                    0.9 * width, paint)


def _wheels(builder: MeshBuilder, axles: tuple[float, ...], width: float, radius: float, thickness: float) -> None:
    for x in axles:
        for side in (-1, 1):
            inner, outer, hub = side * (width / 2 - thickness), side * (width / 2 - 0.02), side * width / 2
            builder.cylinder((x, inner, radius), (x, outer, radius), radius, TYRE, sides=10)
            builder.cylinder((x, hub - side * 0.07, radius), (x, hub, radius), 0.55 * radius, CHROME, sides=6)


def _lights(builder: MeshBuilder, length: float, width: float, front_z: float, rear_z: float) -> None:
    for side in (-1, 1):
        builder.box((length - 0.02, side * 0.36 * width, front_z), (0.04, 0.2 * width, 0.12), HEADLIGHT)
        builder.box((0.02, side * 0.38 * width, rear_z), (0.04, 0.16 * width, 0.14), TAILLIGHT)
    builder.box((0.015, 0, rear_z - 0.12), (0.03, 0.5, 0.11), PLATE)
    builder.box((length - 0.015, 0, front_z - 0.2), (0.03, 0.5, 0.11), PLATE)
