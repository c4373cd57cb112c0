"""What is behind the points of a scene: dark for heights, light for classes, some of whose colours are dark."""

from __future__ import annotations

from dataclasses import dataclass

from .palette import Color


@dataclass(frozen=True)
class Theme:
    """Colours of a scene apart from what is in it.

    Args:
        background: of the picture.
        grid: of rings of distance.
        text: of their labels.
        ego: of the outline of the vehicle.
        point_size: width and height of a point [pixels].
    """

    background: Color
    grid: Color
    text: Color
    ego: Color
    point_size: int


DARK = Theme((14, 17, 23), (38, 44, 54), (110, 118, 130), (240, 240, 240), 1)
LIGHT = Theme((243, 245, 248), (216, 221, 228), (120, 128, 140), (40, 44, 52), 2)
