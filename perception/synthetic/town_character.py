"""What sets towns apart that share a city's building palette: plants, pavements and markings; and the day's weather."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .city_plan import ScenePlan, TownSite
from .looks import Look
from .materials import Paint, Texture
from .plant_meshes import Color, PlantMaker, broadleaf_mesh, conifer_mesh, cypress_mesh, palm_mesh
from .shading import Light
from .townscape import TEMPERATE, Townscape

TREES: tuple[tuple[PlantMaker, ...], ...] = (
    TEMPERATE.trees, (palm_mesh,) * 4 + (broadleaf_mesh,), (conifer_mesh,) * 5 + (broadleaf_mesh,),
    (cypress_mesh,) * 3 + (broadleaf_mesh,) * 3,
)
LEAVES: tuple[tuple[Color, ...], ...] = (
    TEMPERATE.leaves,
    ((176, 92, 40), (194, 128, 44), (150, 60, 38), (168, 142, 60)),                # autumn
    ((128, 146, 58), (146, 160, 72), (112, 134, 50)),
    ((60, 92, 76), (52, 82, 70), (72, 104, 92)),
    ((206, 160, 176), (190, 138, 158), (88, 122, 62)),                             # blossom
)
ASPHALTS: tuple[Color, ...] = ((72, 72, 76), (104, 98, 90), (52, 52, 58))
PAVINGS: tuple[Color, ...] = ((150, 146, 140), (164, 112, 88), (186, 178, 158), (112, 116, 122))
WHITE, YELLOW = TEMPERATE.lane_marking, TEMPERATE.divider_marking
MARKINGS = ((WHITE, YELLOW), (WHITE, WHITE), (YELLOW, WHITE))      # of lanes, between directions
OVERCAST = 0.25                                                    # share of the days


def townscape_of(town: TownSite) -> Townscape:
    """The style of a town; walls and roofs are those of every other one."""
    lane, divider = MARKINGS[town.number % len(MARKINGS)]
    return replace(
        TEMPERATE,
        trees=TREES[town.number % len(TREES)],
        leaves=LEAVES[town.number // 2 % len(LEAVES)],
        asphalt=replace(TEMPERATE.asphalt, color=ASPHALTS[town.number // 3 % len(ASPHALTS)]),
        paving=Paint(PAVINGS[town.number // 2 % len(PAVINGS)], TEMPERATE.paving.reflectivity, Texture.PAVING),
        lane_marking=lane,
        divider_marking=divider,
    )


def look_of(plan: ScenePlan, look: Look) -> Look:
    """What a scene looks like: a drive through a shared town has the town's style and a weather of its own."""
    if plan.drive is None:
        return look
    light = weathered(look.light, np.random.default_rng([plan.seed, 1]))
    return replace(look, townscape=townscape_of(plan.drive.town), light=light)


def weathered(light: Light, rng: np.random.Generator) -> Light:
    """The light of another day: exposure, haze and the colour of the sun vary, and some days are overcast."""
    sky = float(rng.uniform(0.9, 1.1))
    tint = rng.uniform(0.9, 1.05, 3).astype(np.float32)
    changed = replace(
        light, sun=light.sun * tint, sky_ambient=light.sky_ambient * np.float32(sky),
        haze_range=light.haze_range * float(rng.uniform(0.6, 1.4)),
        exposure=light.exposure * float(rng.uniform(0.85, 1.15)),
    )
    if rng.random() >= OVERCAST:
        return changed
    grey = changed.horizon.mean()
    return replace(
        changed, sun=np.zeros_like(light.sun), sky_ambient=changed.sky_ambient * np.float32(1.35),
        horizon=0.4 * changed.horizon + np.float32(0.5) * grey, zenith=0.5 * changed.zenith + np.float32(0.35) * grey,
    )
