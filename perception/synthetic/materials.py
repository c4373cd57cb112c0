"""What surfaces are made of: lidarseg categories, texture ids and the paints that meshes are built with."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Semantic(IntEnum):
    """nuScenes-lidarseg category indices that occur in a town."""

    ADULT = 2
    CHILD = 3
    CONSTRUCTION_WORKER = 4
    POLICE_OFFICER = 6
    BARRIER = 9
    TRAFFIC_CONE = 12
    BICYCLE_RACK = 13
    BICYCLE = 14
    BUS_BENDY = 15
    BUS_RIGID = 16
    CAR = 17
    CONSTRUCTION = 18
    MOTORCYCLE = 21
    TRAILER = 22
    TRUCK = 23
    ROAD = 24
    OTHER_FLAT = 25
    SIDEWALK = 26
    TERRAIN = 27
    MANMADE = 28
    STATIC_OTHER = 29
    VEGETATION = 30


class Texture(IntEnum):
    """Patterns that the camera paints over a triangle's colour, by position in the world or in the actor's frame."""

    PLAIN = 0
    ASPHALT = 1        # fine grain
    PAVING = 2         # slabs of about half a metre
    GRASS = 3          # blotches
    BRICK = 4          # courses of bricks
    WINDOWS = 5        # rows of window panes, one floor every three metres
    PLASTER = 6        # faint stains
    FOLIAGE = 7        # strong blotches
    BARK = 8           # vertical streaks
    STRIPES = 9        # diagonal warning stripes
    ROOF_TILES = 10    # rows of tiles
    LAMP = 11          # plain; shines when lamps are on
    PANE = 12          # plain; a house's window that may be lit from within
    SHUTTERS = 13      # tall windows between shutters
    BANDS = 14         # galleries, one floor every three metres


@dataclass(frozen=True)
class Paint:
    """The look of a surface.

    Args:
        color: albedo, RGB in 0..255.
        reflectivity: share of a LiDAR beam that comes back at normal incidence, in [0, 1].
        texture: pattern for the camera.
    """

    color: tuple[int, int, int]
    reflectivity: float
    texture: Texture = Texture.PLAIN


GLASS = Paint((28, 34, 42), 0.04)
WINDOW_PANE = Paint((28, 34, 42), 0.04, Texture.PANE)
TYRE = Paint((24, 24, 26), 0.06)
CHROME = Paint((150, 152, 156), 0.45)
DARK_PLASTIC = Paint((40, 41, 44), 0.10)
PLATE = Paint((235, 235, 225), 0.95)
HEADLIGHT = Paint((240, 240, 220), 0.60, Texture.LAMP)
TAILLIGHT = Paint((170, 20, 20), 0.55, Texture.LAMP)
SKIN = Paint((198, 150, 120), 0.45)
ASPHALT = Paint((72, 72, 76), 0.12, Texture.ASPHALT)
PARKING_ASPHALT = Paint((84, 82, 82), 0.14, Texture.ASPHALT)
WHITE_MARKING = Paint((225, 225, 220), 0.75)
YELLOW_MARKING = Paint((222, 178, 48), 0.65)
PAVING = Paint((150, 146, 140), 0.28, Texture.PAVING)
KERB = Paint((176, 174, 168), 0.32)
GRASS = Paint((88, 122, 62), 0.38, Texture.GRASS)
GRAVEL = Paint((140, 122, 98), 0.26, Texture.ASPHALT)
BARK = Paint((92, 72, 54), 0.25, Texture.BARK)
METAL_POLE = Paint((110, 114, 118), 0.40)
SIGNAL_BODY = Paint((30, 32, 30), 0.12)
