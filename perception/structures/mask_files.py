"""Files of masks: what is too large for a line of JSON lies beside it as PNG pictures and .npz archives.

The files of ``NAME.jsonl`` lie in the folder ``NAME_masks``, called after the frame's token, whose slashes are folders:

- ``TOKEN.classes.png``: (H, W), 8 or 16 bits, the class of each pixel.
- ``TOKEN.panoptic.png``: COCO's panoptic format, the region of each pixel as R + 256 G + 65536 B; 0 is none.
- ``TOKEN.instances.npz``: ``masks``, (N, H, ceil(W / 8)) uint8, each row of a mask packed to bits as numpy does.
- ``TOKEN.points.npz``: ``classes`` and, if there are any, ``instances``, both (N,) of whole numbers.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import numpy as np
import torch
from torch import Tensor

from ..atomic_write import atomic_path
from ..errors import DataError

LARGEST_CLASS = 65535
NUMBER_MODES = ("L", "I;16", "I;16B", "I")


def mask_file(lines: Path, token: str, ending: str) -> str:
    """Where a file of masks lies, relative to the folder of the lines: distinct for distinct tokens.

    Args:
        lines: file of the lines.
        token: name of the frame.
        ending: what the name ends with, such as ".classes.png".
    """
    parts = [_safe(part) for part in token.split("/")]
    return PurePosixPath(f"{lines.stem}_masks", *parts[:-1], parts[-1] + ending).as_posix()


def _safe(part: str) -> str:
    """One name of a path; nothing, "." and ".." become names too."""
    return quote(part, safe=" +=@,") if part.strip(".") else f"%{part.replace('.', '%2E')}"


def write_classes(path: Path, classes: Tensor) -> None:
    """Write (H, W) classes as PNG.

    Raises:
        ValueError: a class lies outside [0, 65535].
        DataError: the file cannot be written.
    """
    values = classes.cpu().numpy()
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    if low < 0 or high > LARGEST_CLASS:
        raise ValueError(f"classes must lie in [0, {LARGEST_CLASS}] to be written as PNG, got {low} to {high}")
    _write_png(path, values.astype(np.uint8 if high < 256 else np.uint16))


def read_classes(path: Path, size: Sequence[int]) -> Tensor:
    """(H, W) int64 of such a file. Raises DataError if it is absent, damaged or of another size or kind."""
    return torch.from_numpy(_read_png(path, "classes", size, NUMBER_MODES).astype(np.int64))


def write_regions(path: Path, ids: Tensor) -> None:
    """Write (H, W) numbers of regions below 2^24 as COCO's colours. Raises DataError if the file cannot be written."""
    values = ids.cpu().numpy()
    _write_png(path, np.stack([values & 255, values >> 8 & 255, values >> 16 & 255], axis=2).astype(np.uint8))


def read_regions(path: Path, size: Sequence[int]) -> Tensor:
    """(H, W) int64 of such a file; errors as for `read_classes`."""
    colors = _read_png(path, "panoptic", size, ("RGB",)).astype(np.int64)
    return torch.from_numpy(colors @ np.array([1, 256, 65536]))


def write_masks(path: Path, masks: Tensor) -> None:
    """Write (N, H, W) bool. Raises DataError if the file cannot be written."""
    _write_archive(path, masks=np.packbits(masks.cpu().numpy(), axis=2))


def read_masks(path: Path, count: int, size: Sequence[int]) -> Tensor:
    """(N, H, W) bool of such a file. Raises DataError if it is absent, damaged or of another number or size."""
    (packed,) = _read_archive(path, ("masks",))
    height, width = size
    expected = (count, height, -(-width // 8))
    if packed.shape != expected or packed.dtype != np.uint8:
        raise DataError(path, "masks", f"{expected} uint8", f"{packed.shape} {packed.dtype}")
    return torch.from_numpy(np.unpackbits(packed, axis=2, count=width).astype(np.bool_))


def write_rows(path: Path, classes: Tensor, instances: Tensor | None) -> None:
    """Write (N,) classes and instances of points, both >= 0.

    Raises:
        ValueError: a number is negative.
        DataError: the file cannot be written.
    """
    columns = {"classes": classes} if instances is None else {"classes": classes, "instances": instances}
    rows = {name: column.cpu().numpy() for name, column in columns.items()}
    for name, values in rows.items():
        if values.min(initial=0) < 0:
            raise ValueError(f"{name} of points must be >= 0, got {values.min()}")
    _write_archive(path, **{name: row.astype(np.min_scalar_type(row.max(initial=0))) for name, row in rows.items()})


def read_rows(path: Path, count: int) -> tuple[Tensor, Tensor | None]:
    """(N,) int64 classes and instances. Raises DataError if the file is absent, damaged or of another length."""
    columns: list[Tensor | None] = []
    for name, values in zip(("classes", "instances"), _read_archive(path, ("classes",), ("instances",)), strict=True):
        if values is not None and (values.shape != (count,) or values.dtype.kind not in "iu"):
            raise DataError(path, name, f"({count},) whole numbers", f"{values.shape} {values.dtype}")
        columns.append(None if values is None else torch.from_numpy(values.astype(np.int64)))
    classes, instances = columns
    assert classes is not None
    return classes, instances


def _write_png(path: Path, pixels: np.ndarray) -> None:
    from PIL import Image

    _write(path, lambda temporary: Image.fromarray(pixels).save(temporary))


def _write_archive(path: Path, **arrays: np.ndarray) -> None:
    _write(path, lambda temporary: np.savez_compressed(temporary, **arrays))


def _write(path: Path, save: Callable[[Path], Any]) -> None:
    try:
        with atomic_path(path) as temporary:
            save(temporary)
    except OSError as error:
        raise DataError(path, "masks", "a file that can be written", error.strerror or error) from error


def _read_png(path: Path, field: str, size: Sequence[int], modes: Sequence[str]) -> np.ndarray:
    """(H, W) or (H, W, 3) pixels; the size is looked at before the file is decoded."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            mode, (width, height) = picture.mode, picture.size
            if mode in modes and [height, width] == list(size):
                return np.asarray(picture)
    except FileNotFoundError as error:
        raise DataError(path, field, "a PNG file", "no such file") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:     # Pillow's ways to refuse a file
        raise DataError(path, field, "a whole PNG picture", error) from error
    expected = f"{size[1]} x {size[0]} pixels of mode {' or '.join(modes)}"
    raise DataError(path, field, expected, f"{width} x {height} of mode {mode}")


def _read_archive(path: Path, names: Sequence[str], optional: Sequence[str] = ()) -> list[Any]:
    """Arrays by name; None for an optional one that is not there."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return [archive[name] for name in names] + [archive.get(name) for name in optional]
    except FileNotFoundError as error:
        raise DataError(path, names[0], "an .npz file", "no such file") from error
    except (KeyError, ValueError, EOFError, OSError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(path, names[0], "a whole .npz file with that array", error) from error
