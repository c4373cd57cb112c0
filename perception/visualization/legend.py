"""What the colours of a picture mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .palette import Color

LINE_HEIGHT, SWATCH, MARGIN = 16, 22, 10                   # pixels
TEXT = (200, 206, 216)
STRIP = (24, 28, 36)                                       # background of a strip
STRIP_LINE, STRIP_FONT = 24, 15                            # pixels


def draw_legend(draw: ImageDraw.ImageDraw, colors: Mapping[str, Color]) -> None:
    """List names with their colours in the upper left corner, in alphabetical order; nothing for no name."""
    for row, name in enumerate(sorted(colors)):
        middle = MARGIN + row * LINE_HEIGHT + LINE_HEIGHT // 2
        draw.line([(MARGIN, middle), (MARGIN + SWATCH, middle)], fill=colors[name], width=4)
        draw.text((MARGIN + SWATCH + 6, middle - 6), name, fill=TEXT)


def legend_strip(colors: Mapping[str, Color], names: Sequence[str], width: int) -> np.ndarray:
    """A strip to put under a picture that lists the classes in it.

    Every class has a place of its own whether it is listed or not, so that entries stand still in a video.

    Args:
        colors: of the classes to list.
        names: of all classes.
        width: of the strip [pixels].

    Returns:
        (h, width, 3) uint8; the height depends on ``names`` and ``width`` alone.
    """
    font = ImageFont.load_default(STRIP_FONT)
    column = round(max((font.getlength(name) for name in names), default=0)) + SWATCH + 20
    columns = max(1, (width - 2 * MARGIN) // column)
    rows = -(-len(names) // columns)
    picture = Image.new("RGB", (width, rows * STRIP_LINE + 8), STRIP)
    draw = ImageDraw.Draw(picture)
    for place, name in enumerate(names):
        if name in colors:
            left, top = MARGIN + place % columns * column, 4 + place // columns * STRIP_LINE
            draw.rectangle([left, top + 5, left + SWATCH - 6, top + STRIP_LINE - 6], fill=colors[name], outline=TEXT)
            draw.text((left + SWATCH, top + STRIP_LINE // 2), name, fill=TEXT, font=font, anchor="lm")
    return np.asarray(picture)


def with_caption(picture: np.ndarray, text: str) -> np.ndarray:
    """(H, W, 3) uint8 with a line of text on a strip above it."""
    strip = Image.new("RGB", (picture.shape[1], STRIP_LINE), STRIP)
    font = ImageFont.load_default(STRIP_FONT)
    ImageDraw.Draw(strip).text((MARGIN, STRIP_LINE // 2), text, fill=TEXT, font=font, anchor="lm")
    return np.concatenate([np.asarray(strip), picture])
