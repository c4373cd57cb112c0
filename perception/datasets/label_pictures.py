"""Pictures whose pixels are labels: numbers, or colours that stand for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError
from ..structures.segmentation import IGNORE_LABEL
from .compact_labels import compact

NUMBER_MODES = ("1", "L", "P", "I", "I;16", "I;16L", "I;16B")
Color = tuple[int, int, int]


def read_label_numbers(path: Path) -> np.ndarray:
    """(H, W) int64 numbers of a picture with one channel, or with a palette, whose colours are not looked at.

    Raises:
        DataError: the file is absent, unreadable, or has several channels.
    """
    pixels, mode = _read(path)
    if mode not in NUMBER_MODES:
        raise DataError(path, "pixels", f"one channel of numbers ({', '.join(NUMBER_MODES)})", f"mode {mode}")
    return pixels.astype(np.int64)


def read_label_colors(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 colours of a picture, through its palette if it has one. Raises DataError if it has none."""
    pixels, mode = _read(path, colors=True)
    if mode not in ("RGB", "RGBA", "P"):
        raise DataError(path, "pixels", "colours (RGB, RGBA or a palette)", f"mode {mode}")
    return pixels


def read_label_channels(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 or uint16 numbers in red, green and blue of a picture; Pillow would leave eight bits of 16.

    Raises:
        DataError: the file is absent, truncated or no picture, or has one channel.
    """
    import cv2

    if not path.is_file():
        raise DataError(path, "labels", "an image file", "no such file")
    content = np.fromfile(path, np.uint8)
    pixels = cv2.imdecode(content, cv2.IMREAD_UNCHANGED) if content.size else None
    if pixels is None:
        raise DataError(path, "labels", "a whole PNG image", "a truncated or other file")
    if pixels.ndim != 3:
        raise DataError(path, "pixels", "numbers in red, green and blue", "one channel")
    return pixels[..., 2::-1]                              # blue comes first there


def classes_of_numbers(
    path: Path, numbers: np.ndarray, names: Mapping[int, str | None], classes: Sequence[str]
) -> np.ndarray:
    """(H, W) int64 place in ``classes`` of what each number means, `IGNORE_LABEL` for what is not there.

    Args:
        path: told by the error.
        numbers: (H, W) integers.
        names: class by number; None for numbers to be ignored.
        classes: names of the classes, in the order of the labels.

    Raises:
        DataError: a number has no meaning.
    """
    order = {name: label for label, name in enumerate(classes)}
    values, place = compact(numbers)
    for value in values.tolist():
        if value not in names:
            known = ", ".join(str(number) for number in sorted(names))
            raise DataError(path, "pixels", f"labels among {known}", value)
    labels = [order.get(names[value] or "", IGNORE_LABEL) for value in values.tolist()]
    return np.array(labels, np.int64)[place]


def classes_of_colors(
    path: Path, colors: np.ndarray, names: Mapping[Color, str | None], classes: Sequence[str]
) -> np.ndarray:
    """As `classes_of_numbers`, for (H, W, 3) uint8 colours."""
    codes = colors.astype(np.int64) @ [1, 256, 65536]
    by_code = {red + 256 * green + 65536 * blue: name for (red, green, blue), name in names.items()}
    unknown = ~np.isin(codes, list(by_code))
    if unknown.any():
        raise DataError(path, "pixels", f"colours of the {len(names)} known labels", tuple(colors[unknown][0].tolist()))
    return classes_of_numbers(path, codes, by_code, classes)


def _read(path: Path, colors: bool = False) -> tuple[np.ndarray, str]:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            mode = picture.mode
            return np.array(picture.convert("RGB") if colors else picture), mode
    except FileNotFoundError as error:
        raise DataError(path, "labels", "an image file", "no such file") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:     # Pillow's ways to refuse a file
        raise DataError(path, "labels", "a whole PNG image", error) from error
