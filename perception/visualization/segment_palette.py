"""Colours of the classes of pixels and points: those of their data set where it has some, else well apart."""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Mapping, Sequence
from functools import lru_cache

from .palette import Color

NUSCENES: Mapping[str, Color] = {                          # the devkit's colours of the categories that a class unites
    "barrier": (112, 128, 144), "bicycle": (220, 20, 60), "bus": (255, 127, 80), "car": (255, 158, 0),
    "construction_vehicle": (233, 150, 70), "motorcycle": (255, 61, 99), "pedestrian": (0, 0, 230),
    "traffic_cone": (47, 79, 79), "trailer": (255, 140, 0), "truck": (255, 99, 71),
    "driveable_surface": (0, 207, 191), "other_flat": (175, 0, 75), "sidewalk": (75, 0, 75), "terrain": (112, 180, 60),
    "manmade": (222, 184, 135), "vegetation": (0, 175, 0),
    "sky": (70, 130, 180),                                 # not labelled there; as in Cityscapes
}
CITYSCAPES: Mapping[str, Color] = {                        # Cordts et al., CVPR 2016, with the labels not scored
    "road": (128, 64, 128), "sidewalk": (244, 35, 232), "parking": (250, 170, 160), "rail track": (230, 150, 140),
    "building": (70, 70, 70), "wall": (102, 102, 156), "fence": (190, 153, 153), "guard rail": (180, 165, 180),
    "bridge": (150, 100, 100), "tunnel": (150, 120, 90), "pole": (153, 153, 153), "traffic light": (250, 170, 30),
    "traffic sign": (220, 220, 0), "vegetation": (107, 142, 35), "terrain": (152, 251, 152), "sky": (70, 130, 180),
    "person": (220, 20, 60), "rider": (255, 0, 0), "car": (0, 0, 142), "truck": (0, 0, 70), "bus": (0, 60, 100),
    "caravan": (0, 0, 90), "trailer": (0, 0, 110), "train": (0, 80, 100), "motorcycle": (0, 0, 230),
    "bicycle": (119, 11, 32), "ground": (81, 0, 81), "dynamic": (111, 74, 0),
}
PALETTES = (NUSCENES, CITYSCAPES)
GOLDEN = 0.6180339887498949                                # steps of it spread hues evenly, however many there are
APART = 60.0                                               # distance of colours that are told from each other at sight
TRIES = 24


@lru_cache(maxsize=64)
def segment_colors(names: tuple[str, ...]) -> tuple[Color, ...]:
    """A colour for each class of a list.

    The palette that knows most of the names (nuScenes-lidarseg's or Cityscapes') colours those that it knows, in any
    case and with "_" for a space. Another name gets a colour that depends on it, moved away from those taken before.
    """
    keys = [name.lower() for name in names]
    palette = max(PALETTES, key=lambda known: sum(key in known or key.replace("_", " ") in known for key in keys))
    found = [palette.get(key, palette.get(key.replace("_", " "))) for key in keys]
    taken = [color for color in found if color is not None]
    colors: list[Color] = []
    for key, color in zip(keys, found, strict=True):
        if color is None:
            color = _free_color(key, taken)
            taken.append(color)
        colors.append(color)
    return tuple(colors)


def instance_color(color: Color, number: int) -> Color:
    """The colour of a class varied for one of its instances: 0 is that of the class, neighbours differ most.

    Args:
        color: of the class.
        number: of the instance within the class.
    """
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255.0 for channel in color))
    if number:
        turn = (number * GOLDEN) % 1.0 - 0.5                                      # in [-0.5, 0.5), spread evenly
        hue, saturation = (hue + 0.2 * turn) % 1.0, min(max(saturation, 0.45), 0.9)
        value = min(max(value, 0.55) * (1.0 + 0.3 * ((number * GOLDEN * GOLDEN) % 1.0 - 0.5)), 1.0)
    return _rgb(hue, saturation, value)


def distance(one: Sequence[float], other: Sequence[float]) -> float:
    """How different two colours look: distance in RGB weighted by the mean of red (T. Riemersma's "redmean")."""
    mean = (one[0] + other[0]) / 2
    red, green, blue = (first - second for first, second in zip(one, other, strict=True))
    return float(((2 + mean / 256) * red**2 + 4 * green**2 + (2 + (255 - mean) / 256) * blue**2) ** 0.5)


def _free_color(key: str, taken: Sequence[Color]) -> Color:
    """The first of the colours that follow from a name which is well apart from those taken, or else the best."""
    code = zlib.crc32(key.encode())
    tried = [
        _rgb((code % 997 / 997 + step * GOLDEN) % 1.0, (0.55, 0.8, 0.95)[(code // 997 + step) % 3],
             (0.95, 0.75, 0.55)[(code // 2991 + step // 3) % 3])
        for step in range(TRIES)
    ]
    gaps = [min((distance(color, other) for other in taken), default=APART) for color in tried]
    good = [color for color, gap in zip(tried, gaps, strict=True) if gap >= APART]
    return good[0] if good else tried[gaps.index(max(gaps))]


def _rgb(hue: float, saturation: float, value: float) -> Color:
    red, green, blue = (round(255 * channel) for channel in colorsys.hsv_to_rgb(hue, saturation, value))
    return red, green, blue
