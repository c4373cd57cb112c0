"""What a town is paved with, marked with, built of and planted with; its streets and plots are drawn elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from .materials import (
    ASPHALT,
    GRASS,
    GRAVEL,
    KERB,
    PARKING_ASPHALT,
    PAVING,
    WHITE_MARKING,
    YELLOW_MARKING,
    Paint,
    Texture,
)
from .plant_meshes import Color, PlantMaker, broadleaf_mesh, conifer_mesh, cypress_mesh, palm_mesh

WALL_COLORS: Mapping[Texture, tuple[Color, ...]] = {
    Texture.BRICK: ((150, 72, 54), (172, 96, 70), (120, 64, 52), (186, 130, 96)),
    Texture.PLASTER: ((222, 210, 186), (200, 190, 200), (214, 182, 140), (180, 196, 200), (232, 228, 220)),
    Texture.WINDOWS: ((150, 156, 164), (196, 190, 178), (120, 128, 140), (170, 150, 130)),
}

ROOF = Paint((132, 66, 48), 0.3, Texture.ROOF_TILES)
FLAT_ROOF = Paint((110, 110, 112), 0.25)
GARDEN_WALL = Paint((150, 90, 70), 0.3, Texture.BRICK)
LEAVES: tuple[Color, ...] = ((58, 104, 44), (74, 120, 50), (44, 88, 46), (96, 124, 52), (132, 118, 50))


@dataclass(frozen=True, eq=False)
class Townscape:
    """The style of a town.

    Args:
        asphalt, parking_asphalt, paving, kerb, grass, gravel: of the ground.
        lane_marking: of lane lines, edges, stop lines, crossings and parking places.
        divider_marking: of the line between the driving directions.
        walls: colours by texture of the walls that occur, three textures.
        tall_walls, low_walls: odds of these textures on buildings above and up to 9 m.
        tall_facade: texture that plastered walls above 9 m have in place of plaster.
        roof, flat_roof: of gables and of flat roofs.
        garden_wall: of walls between gardens and walkways.
        gables: factor on the layout's share of pitched roofs.
        leaves: colours of leaves; the first is that of hedges.
        trees: makers of the trees that a street's trees are drawn from.
    """

    asphalt: Paint = ASPHALT
    parking_asphalt: Paint = PARKING_ASPHALT
    paving: Paint = PAVING
    kerb: Paint = KERB
    grass: Paint = GRASS
    gravel: Paint = GRAVEL
    lane_marking: Paint = WHITE_MARKING
    divider_marking: Paint = YELLOW_MARKING
    walls: Mapping[Texture, tuple[Color, ...]] = field(default_factory=lambda: WALL_COLORS)
    tall_walls: tuple[float, float, float] = (0.35, 0.3, 0.35)
    low_walls: tuple[float, float, float] = (0.45, 0.55, 0.0)
    tall_facade: Texture = Texture.WINDOWS
    roof: Paint = ROOF
    flat_roof: Paint = FLAT_ROOF
    garden_wall: Paint = GARDEN_WALL
    gables: float = 1.0
    leaves: tuple[Color, ...] = LEAVES
    trees: tuple[PlantMaker, ...] = (broadleaf_mesh,) * 5 + (conifer_mesh,)


def wetted(paint: Paint, darker: float = 0.55, duller: float = 0.08) -> Paint:
    """A paint under water: darker to the eye, and most of a LiDAR beam glances off."""
    red, green, blue = (round(darker * value) for value in paint.color)
    return Paint((red, green, blue), duller * paint.reflectivity, paint.texture)


TEMPERATE = Townscape()

DRENCHED = replace(
    TEMPERATE,
    asphalt=wetted(ASPHALT),
    parking_asphalt=wetted(PARKING_ASPHALT),
    paving=wetted(PAVING, 0.65, 0.2),
    kerb=wetted(KERB, 0.7, 0.4),
    grass=wetted(GRASS, 0.75, 0.8),
    gravel=wetted(GRAVEL, 0.65, 0.3),
    lane_marking=wetted(WHITE_MARKING, 0.8, 0.15),
    divider_marking=wetted(YELLOW_MARKING, 0.8, 0.15),
)

SOUTHERN = Townscape(
    asphalt=Paint((118, 110, 102), 0.18, Texture.ASPHALT),
    parking_asphalt=Paint((150, 136, 116), 0.22, Texture.ASPHALT),
    paving=Paint((176, 122, 94), 0.30, Texture.PAVING),
    kerb=Paint((206, 196, 176), 0.38),
    grass=Paint((196, 168, 116), 0.36, Texture.GRASS),
    gravel=Paint((120, 112, 104), 0.24, Texture.ASPHALT),
    lane_marking=Paint((236, 190, 60), 0.68),
    divider_marking=Paint((230, 230, 226), 0.75),
    walls={
        Texture.SHUTTERS: ((240, 232, 214), (232, 190, 130), (222, 160, 126), (236, 214, 168)),
        Texture.PLASTER: ((246, 242, 234), (236, 222, 190), (226, 176, 140), (200, 214, 222)),
        Texture.BANDS: ((232, 226, 212), (214, 196, 164), (206, 180, 168)),
    },
    tall_walls=(0.4, 0.1, 0.5),
    low_walls=(0.6, 0.4, 0.0),
    tall_facade=Texture.SHUTTERS,
    roof=Paint((206, 132, 88), 0.32, Texture.ROOF_TILES),
    flat_roof=Paint((214, 204, 186), 0.34),
    garden_wall=Paint((238, 232, 220), 0.4, Texture.PLASTER),
    gables=0.3,
    leaves=((104, 112, 66), (122, 124, 84), (134, 138, 78), (88, 104, 70)),
    trees=(palm_mesh, palm_mesh, palm_mesh, cypress_mesh, cypress_mesh, broadleaf_mesh),
)
