"""Low-poly buildings and street furniture, each around its own origin on the ground."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .materials import DARK_PLASTIC, GLASS, METAL_POLE, SIGNAL_BODY, WINDOW_PANE, Paint, Semantic, Texture
from .mesh_builder import MeshBuilder
from .scene import Mesh
from .townscape import Townscape

LAMP_HEAD = (0.0, -1.7, 7.05)       # where a street lamp shines from [m]


def building_mesh(
    width: float, depth: float, height: float, gable: bool, townscape: Townscape, rng: np.random.Generator
) -> Mesh:
    """A house that fills width (x) by depth (y); its front looks to -y."""
    builder = MeshBuilder(Semantic.MANMADE)
    odds = townscape.tall_walls if height > 9 else townscape.low_walls
    texture = list(townscape.walls)[int(rng.choice(3, p=odds))]
    color = townscape.walls[texture][int(rng.integers(len(townscape.walls[texture])))]
    facade = townscape.tall_facade if height > 9 and texture is Texture.PLASTER else texture
    wall = Paint(color, float(rng.uniform(0.25, 0.5)), facade)
    inset = 0.5                                              # leaves room for what juts out of the front
    builder.box((0, inset / 2, height / 2), (width, depth - inset, height), wall, top=townscape.flat_roof)
    if gable:
        rise = float(rng.uniform(0.28, 0.45)) * depth
        outline = np.array([[-depth / 2 + inset, height], [depth / 2, height], [inset / 2, height + rise]])
        rings = [np.column_stack([np.full(3, x), outline]) for x in (-width / 2, width / 2)]
        builder.loft(np.stack(rings), wall, side_paints=[wall, townscape.roof, townscape.roof])
        x = float(rng.uniform(-0.3, 0.3)) * width
        builder.box((x, 0.2 * depth, height + 0.75 * rise), (0.7, 0.7, rise), Paint((120, 70, 56), 0.3, Texture.BRICK))
    else:
        for x in range(int(rng.integers(1, 4))):
            place = rng.uniform(-0.3, 0.3, 2) * (width, depth)
            builder.box((*place, height + 0.6), (2.2 + 0.3 * x, 2.0, 1.2), townscape.flat_roof)
        builder.box((0, -depth / 2 + inset / 2, height - 0.15), (width, 0.5, 0.3), Paint(color, 0.35))
    _front(builder, width, depth, height, inset, townscape.kerb, rng)
    return builder.build()


def _front(
    builder: MeshBuilder, width: float, depth: float, height: float, inset: float, step: Paint,
    rng: np.random.Generator,
) -> None:
    """Door, sills or balconies, and sometimes an awning."""
    face = -depth / 2 + inset
    trim = Paint((220, 216, 208), 0.4)
    door = float(rng.uniform(-0.35, 0.35)) * width
    builder.box((door, face - 0.03, 1.05), (1.1, 0.06, 2.1), Paint((70, 44, 34), 0.3))
    builder.box((door, face - 0.22, 0.08), (1.6, 0.44, 0.16), step)
    if height > 9 and rng.random() < 0.5:
        for z in np.arange(3.2, height - 1.5, 3.0):
            builder.box((0, face - 0.22, z), (float(0.8 * width), 0.44, 0.12), trim)
            builder.box((0, face - 0.42, z + 0.55), (float(0.8 * width), 0.04, 1.0), METAL_POLE)
    else:
        for x in np.arange(-width / 2 + 1.5, width / 2 - 1.2, 2.6):
            if abs(x - door) > 1.2:
                builder.box((float(x), face - 0.02, 1.7), (1.2, 0.05, 1.3), WINDOW_PANE)
                builder.box((float(x), face - 0.08, 1.0), (1.4, 0.16, 0.08), trim)
    if rng.random() < 0.25:
        awning = Paint((int(rng.integers(60, 220)), int(rng.integers(40, 120)), 60), 0.4)
        builder.box((door, face - 0.24, 2.6), (min(4.0, 0.8 * width), 0.48, 0.1), awning)


def fence_mesh(length: float, kind: str, townscape: Townscape) -> Mesh:
    """A "hedge", "wall" or "fence" along x."""
    builder = MeshBuilder(Semantic.MANMADE)
    if kind == "hedge":
        leaves = Paint(townscape.leaves[0], 0.45, Texture.FOLIAGE)
        builder.box((0, 0, 0.55), (length, 0.6, 1.15), leaves, semantic=Semantic.VEGETATION)
    elif kind == "wall":
        builder.box((0, 0, 0.5), (length, 0.25, 1.05), townscape.garden_wall)
    else:
        for x in np.linspace(-length / 2 + 0.05, length / 2 - 0.05, max(int(length / 1.8), 2)):
            builder.box((float(x), 0, 0.55), (0.08, 0.08, 1.15), METAL_POLE)
        for z in (0.35, 0.7, 1.02):
            builder.box((0, 0, z), (length, 0.05, 0.08), METAL_POLE)
    return builder.build()


def lamp_post_mesh() -> Mesh:
    """A street lamp whose arm reaches 1.6 m towards -y."""
    builder = MeshBuilder(Semantic.MANMADE)
    builder.cylinder((0, 0, 0), (0, 0, 0.9), 0.12, METAL_POLE)
    builder.cylinder((0, 0, 0.9), (0, 0, 7.0), 0.075, METAL_POLE, end_radius=0.05)
    builder.cylinder((0, 0, 6.95), (0, -1.6, 7.15), 0.04, METAL_POLE, sides=6)
    builder.box((0, -1.7, 7.12), (0.25, 0.7, 0.12), Paint((220, 220, 210), 0.4, Texture.LAMP))
    return builder.build()


def traffic_light_mesh() -> Mesh:
    """A signal on a mast with an arm of 3 m towards -y; its lamps look to -x."""
    builder = MeshBuilder(Semantic.MANMADE)
    builder.cylinder((0, 0, 0), (0, 0, 5.4), 0.09, METAL_POLE)
    builder.cylinder((0, 0, 5.3), (0, -3.0, 5.5), 0.05, METAL_POLE, sides=6)
    for x, y, z in ((-0.12, 0, 2.7), (-0.05, -2.9, 5.0)):
        builder.box((x, y, z), (0.22, 0.32, 0.95), SIGNAL_BODY)
        for height, color, texture in (
            (0.3, (210, 40, 30), Texture.LAMP), (0.0, (110, 90, 20), Texture.PLAIN), (-0.3, (20, 90, 40), Texture.PLAIN)
        ):
            builder.box((x - 0.12, y, z + height), (0.03, 0.2, 0.2), Paint(color, 0.3, texture))
    return builder.build()


def sign_mesh(rng: np.random.Generator) -> Mesh:
    """A road sign that looks to -x."""
    builder = MeshBuilder(Semantic.MANMADE)
    builder.cylinder((0, 0, 0), (0, 0, 2.7), 0.035, METAL_POLE, sides=6)
    color = ((200, 30, 34), (30, 70, 160), (235, 200, 60), (240, 240, 240))[int(rng.integers(4))]
    corners = int(rng.choice([4, 8, 12]))
    angle = np.arange(corners) * 2 * np.pi / corners + np.pi / corners
    ring = np.stack([0.34 * np.cos(angle), 2.4 + 0.34 * np.sin(angle)], axis=-1)
    rings = [np.column_stack([np.full(corners, x), ring]) for x in (-0.07, -0.04)]
    builder.loft(np.stack(rings), Paint(color, 0.95))
    return builder.build()


def bench_mesh(rng: np.random.Generator) -> Mesh:
    """A bench along x that looks to -y."""
    builder, wood = MeshBuilder(Semantic.MANMADE), Paint((120, 84, 50), 0.35)
    builder.box((0, 0, 0.45), (1.7, 0.45, 0.06), wood)
    builder.box((0, 0.22, 0.75), (1.7, 0.06, 0.4), wood)
    for x in (-0.7, 0.7):
        builder.box((x, 0, 0.21), (0.08, 0.4, 0.42), DARK_PLASTIC)
    return builder.build()


def bin_mesh(rng: np.random.Generator) -> Mesh:
    """A litter bin or a letter box."""
    builder = MeshBuilder(Semantic.MANMADE)
    color = ((40, 70, 50), (150, 30, 30), (70, 72, 76))[int(rng.integers(3))]
    builder.cylinder((0, 0, 0), (0, 0, 1.0), 0.28, Paint(color, 0.35), end_radius=0.3, sides=10)
    builder.cylinder((0, 0, 1.0), (0, 0, 1.15), 0.3, DARK_PLASTIC, end_radius=0.1, sides=10)
    return builder.build()


def shelter_mesh(rng: np.random.Generator) -> Mesh:
    """A bus shelter along x that is open to -y."""
    builder = MeshBuilder(Semantic.MANMADE)
    builder.box((0, 0, 2.45), (3.6, 1.3, 0.12), Paint((70, 74, 80), 0.3))
    builder.box((0, 0.6, 1.25), (3.5, 0.05, 2.0), GLASS)
    builder.box((1.72, 0.1, 1.25), (0.08, 0.95, 2.1), Paint((200, 90, 60), 0.5))
    for x in (-1.7, 1.7):
        builder.box((x, 0.55, 1.2), (0.1, 0.1, 2.4), METAL_POLE)
    builder.box((0, 0.3, 0.48), (2.4, 0.4, 0.06), METAL_POLE)
    return builder.build()


SMALL_THINGS: dict[str, tuple[Callable[[np.random.Generator], Mesh], tuple[float, float]]] = {
    "sign": (sign_mesh, (0.2, 0.7)), "bench": (bench_mesh, (1.75, 0.55)), "bin": (bin_mesh, (0.6, 0.6)),
    "shelter": (shelter_mesh, (3.7, 1.4)),
}
