"""Reading points from files: ``.bin``, ``.npy``, ``.feather``, ``.pcd`` and ``.ply`` to float32 columns with names.

Every reader gives ``(points, names)``: (N, C) float32 and C names. Rows with a NaN or an infinity (lost returns of an
organised cloud) are dropped; the first such file of a folder is told as a warning with their number, the others at
DEBUG. A file whose every row is bad, and one without any row, is an error.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError, suggestion
from .pcd_files import read_pcd
from .ply_files import read_ply
from .point_rows import Points, finite_rows, read_bytes, select_columns


def read_bin(path: Path, columns: Sequence[str]) -> Points:
    """Little-endian float32 rows without a header, as nuScenes and KITTI write them.

    Args:
        path: the file.
        columns: names of the columns in the file, which tell its row length.

    Raises:
        DataError: the file is absent, empty, cut off, or plainly has another number of columns.
    """
    values = np.frombuffer(read_bytes(path), dtype=np.uint8)
    row_bytes = 4 * len(columns)
    if values.size % row_bytes:
        raise DataError(
            path, "points", f"a multiple of {row_bytes} bytes ({len(columns)} float32 columns: {', '.join(columns)})",
            f"{values.size} bytes (cut off, or another number of columns)",
        )
    points = values.view("<f4").reshape(-1, len(columns))                  # (N, C)
    if points.shape[0] and "intensity" in columns:
        _check_intensity(path, points[:, list(columns).index("intensity")], columns)
    return finite_rows(path, points.astype(np.float32)), tuple(columns)


def _check_intensity(path: Path, intensity: np.ndarray, columns: Sequence[str]) -> None:
    """Rows read with a wrong length put coordinates into the intensity column, many of them below zero."""
    if np.mean(intensity < -1e-3) > 0.05:
        raise DataError(
            path, "intensity", f"values >= 0 in column {list(columns).index('intensity') + 1} of {len(columns)}",
            f"a minimum of {np.nanmin(intensity):g} (another number of columns?)",
        )


def read_npy(path: Path, columns: Sequence[str]) -> Points:
    """A numeric (N, C) array of `numpy.save`. Raises DataError if it has another shape, pickled objects or no rows."""
    try:
        array = np.load(io.BytesIO(read_bytes(path)), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(path, "array", "a numeric .npy array", error) from error
    if not isinstance(array, np.ndarray) or array.ndim != 2 or array.shape[1] != len(columns):
        raise DataError(path, "array", f"shape (N, {len(columns)}) for {', '.join(columns)}", np.shape(array))
    if array.dtype.kind not in "fiu":
        raise DataError(path, "array", "numbers", f"dtype {array.dtype}")
    return finite_rows(path, array.astype(np.float32)), tuple(columns)


def read_feather(path: Path, columns: Sequence[str] | None = None) -> Points:
    """Columns of an Arrow IPC file, as Argoverse 2 writes sweeps; those that are asked for, or all.

    Raises:
        DataError: the file is absent or malformed, or lacks a column.
    """
    import pyarrow as pa
    from pyarrow import feather

    if not path.is_file():
        raise DataError(path, "file", "a file", "no such file")
    try:
        table = feather.read_table(path, use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(path, "file", "an Arrow IPC file", error) from error
    names = table.column_names
    if not names:
        raise DataError(path, "columns", "columns of points", "none")
    points = np.stack([table[name].to_numpy().astype(np.float32) for name in names], axis=1)    # (N, C)
    chosen, names = select_columns(path, points, names, columns)
    return finite_rows(path, chosen), names


_NAMED: dict[str, Callable[..., Points]] = {".feather": read_feather, ".pcd": read_pcd, ".ply": read_ply}
_BARE: dict[str, Callable[..., Points]] = {".bin": read_bin, ".npy": read_npy}
SUFFIXES = tuple(sorted([*_NAMED, *_BARE]))


def point_reader(suffix: str, columns: Sequence[str] | None = None) -> Callable[[Path], Points]:
    """The reader for files of a suffix such as ".pcd"; pickles, so data workers can hold it.

    Args:
        suffix: ".bin", ".npy", ".feather", ".pcd" or ".ply".
        columns: names of the columns; ".bin" and ".npy" cannot do without.

    Raises:
        ValueError: the suffix is unknown, or columns are missing.
    """
    if suffix in _NAMED:
        return functools.partial(_NAMED[suffix], columns=columns)
    if suffix not in _BARE:
        raise ValueError(f"points are read from {', '.join(SUFFIXES)}, got {suffix!r}{suggestion(suffix, SUFFIXES)}")
    if columns is None:
        raise ValueError(f"{suffix} files have no column names: give columns, such as ('x', 'y', 'z', 'intensity')")
    return functools.partial(_BARE[suffix], columns=tuple(columns))


def read_points(path: Path, columns: Sequence[str] | None = None) -> Points:
    """Points of any supported file, by its suffix. Raises as the reader of that format does."""
    return point_reader(path.suffix.lower(), columns)(path)
