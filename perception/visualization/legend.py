"""What the colours of a picture mean."""

from __future__ import annotations

from collections.abc import Mapping

from PIL import ImageDraw

from .palette import Color

LINE_HEIGHT, SWATCH, MARGIN = 16, 22, 10                   # pixels
TEXT = (200, 206, 216)


def draw_legend(draw: ImageDraw.ImageDraw, colors: Mapping[str, Color]) -> None:
    """List names with their colours in the upper left corner, in alphabetical order; nothing for no name."""
    for row, name in enumerate(sorted(colors)):
        middle = MARGIN + row * LINE_HEIGHT + LINE_HEIGHT // 2
        draw.line([(MARGIN, middle), (MARGIN + SWATCH, middle)], fill=colors[name], width=4)
        draw.text((MARGIN + SWATCH + 6, middle - 6), name, fill=TEXT)
