"""Looks of the city: hour, weather and style of the same streets, as `--look` names them."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import suggestion
from .artificial_light import Glow, HeadLamps, StreetLamps
from .lens import Glare, RainStreaks, SensorNoise
from .seen import ImageEffect, SurfaceEffect
from .shading import Light, rgb
from .townscape import DRENCHED, SOUTHERN, TEMPERATE, Townscape
from .wet_ground import WetGround


@dataclass(frozen=True, eq=False)
class Look:
    """How a city looks.

    A seed has the same streets in all looks. Looks that plant the same trees also share everything else that stands or
    moves, so their labels are the same too.

    Args:
        name: such as "night".
        words: said of a scene after its town, such as "at night"; "" for the plain look.
        light: what sun and sky give.
        townscape: what the town is paved, built and planted with.
        surface_effects: what lights surfaces beside sun and sky, one after the other.
        image_effects: what happens to the image, one after the other.
    """

    name: str
    words: str
    light: Light
    townscape: Townscape = TEMPERATE
    surface_effects: tuple[SurfaceEffect, ...] = ()
    image_effects: tuple[ImageEffect, ...] = ()


def find_look(name: str) -> Look:
    """The look of a name.

    Raises:
        ValueError: there is none.
    """
    if name not in LOOKS:
        raise ValueError(f"look must be one of {', '.join(LOOKS)}, got {name!r}{suggestion(name, LOOKS)}")
    return LOOKS[name]


DAY = Look("day", "", Light(
    sun=rgb(1.0, 0.95, 0.86), sky_ambient=rgb(0.50, 0.57, 0.68), ground_ambient=rgb(0.34, 0.32, 0.30),
    horizon=rgb(0.80, 0.85, 0.90), zenith=rgb(0.30, 0.50, 0.80)))

NIGHT = Look(
    "night", "at night",
    Light(sun=rgb(0.0, 0.0, 0.0), sky_ambient=rgb(0.030, 0.034, 0.052), ground_ambient=rgb(0.024, 0.021, 0.020),
          horizon=rgb(0.070, 0.058, 0.058), zenith=rgb(0.008, 0.011, 0.024), haze_range=320.0, exposure=1.25),
    surface_effects=(StreetLamps(), HeadLamps(), Glow(lamps=3.2, panes=0.75, lit_share=0.28)),
    image_effects=(Glare(), SensorNoise()))

DUSK = Look(
    "dusk", "at dusk",
    Light(sun=rgb(0.95, 0.50, 0.22), sky_ambient=rgb(0.25, 0.25, 0.36), ground_ambient=rgb(0.17, 0.14, 0.15),
          horizon=rgb(0.92, 0.56, 0.36), zenith=rgb(0.16, 0.20, 0.42), halo=0.45, haze_range=230.0, exposure=1.05,
          sun_heights=(3.0, 9.0)),
    surface_effects=(Glow(lamps=1.6, panes=0.55, lit_share=0.2),),
    image_effects=(Glare(threshold=1.05, strength=0.5), SensorNoise(read=0.004, shot=0.012)))

RAIN = Look(
    "rain", "in rain",
    Light(sun=rgb(0.0, 0.0, 0.0), sky_ambient=rgb(0.47, 0.50, 0.54), ground_ambient=rgb(0.24, 0.25, 0.26),
          horizon=rgb(0.56, 0.59, 0.62), zenith=rgb(0.40, 0.43, 0.47), haze_range=85.0, exposure=1.1),
    townscape=DRENCHED,
    surface_effects=(WetGround(), Glow(lamps=1.3, panes=0.4, lit_share=0.12)),
    image_effects=(Glare(threshold=1.0, strength=0.6), RainStreaks(), SensorNoise(read=0.003, shot=0.010)))

FOREIGN = Look(
    "foreign", "of the south",
    Light(sun=rgb(1.06, 0.98, 0.82), sky_ambient=rgb(0.52, 0.54, 0.56), ground_ambient=rgb(0.42, 0.37, 0.30),
          horizon=rgb(0.92, 0.88, 0.80), zenith=rgb(0.34, 0.56, 0.74), haze_range=200.0),
    townscape=SOUTHERN)

LOOKS = {look.name: look for look in (DAY, NIGHT, RAIN, DUSK, FOREIGN)}
