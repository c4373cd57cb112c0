"""Pictures whose pixels are numbers: classes, or codes of classes and instances."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import DataError

MODES = ("L", "P", "I", "I;16", "I;16B", "I;16L")    # Pillow's names of one channel of whole numbers


def read_codes(path: Path) -> np.ndarray:
    """(H, W) int64 numbers of a picture of one channel of 8, 16 or 32 bits; of a palette, the indices.

    Raises:
        DataError: the file is absent, truncated or no such picture.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.mode not in MODES:
                raise DataError(path, "labels", "a picture of one channel of whole numbers", f"mode {image.mode}")
            return np.array(image).astype(np.int64)
    except FileNotFoundError as error:
        raise DataError(path, "labels", "a picture of a number a pixel", "no such file") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:   # Pillow's ways to refuse a file
        raise DataError(path, "labels", "a whole PNG picture", error) from error
