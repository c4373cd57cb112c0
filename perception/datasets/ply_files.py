"""The Stanford ``.ply`` format: the scalar properties of its vertices, ASCII or binary of either byte order."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import DataError
from .point_rows import Points, finite_rows, read_bytes, select_columns

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "uint8": "u1", "short": "i2", "int16": "i2", "ushort": "u2",
    "uint16": "u2", "int": "i4", "int32": "i4", "uint": "u4", "uint32": "u4", "float": "f4", "float32": "f4",
    "double": "f8", "float64": "f8",
}
_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}


def read_ply(path: Path, columns: Sequence[str] | None = None) -> Points:
    """Vertices of a ``.ply`` file; faces and other elements behind them are left out.

    Args:
        path: the file.
        columns: names of the columns wanted, all scalar properties by default.

    Raises:
        DataError: the file is absent, cut off or malformed, or lacks a column.
    """
    stream = io.BytesIO(read_bytes(path))
    encoding, count, properties = _parse_header(path, stream)
    body = stream.read()
    if encoding == "ascii":
        points = _ascii_rows(path, body, count, len(properties))
    else:
        row = np.dtype([(name, _ORDERS[encoding] + kind) for name, kind in properties])
        if len(body) < count * row.itemsize:
            raise DataError(path, "vertex", f"{count * row.itemsize} bytes ({count} vertices)", f"{len(body)} bytes")
        rows = np.frombuffer(body[: count * row.itemsize], dtype=row)
        points = np.stack([rows[name].astype(np.float32) for name, _ in properties], axis=1)    # (N, C)
    chosen, names = select_columns(path, points, [name for name, _ in properties], columns)
    return finite_rows(path, chosen), names


def _parse_header(path: Path, stream: io.BytesIO) -> tuple[str, int, list[tuple[str, str]]]:
    """Encoding, number of vertices, and name and numpy type of their properties."""
    encoding, elements, properties = "", [], []
    words = stream.readline().split()
    if words != [b"ply"]:
        raise DataError(path, "header", "the word ply", words[:1])
    try:
        while words != [b"end_header"]:
            line = stream.readline()
            if not line or len(line) > 4096:
                raise ValueError("no end_header")
            words = line.split()
            match [word.decode("ascii", errors="replace") for word in words]:
                case ["format", name, _]:
                    encoding = name
                case ["element", name, count]:
                    elements.append((name, int(count)))
                case ["property", kind, name] if len(elements) == 1:
                    properties.append((name, _TYPES[kind]))
                case ["property", *_] if len(elements) == 1:
                    raise ValueError("a list among the properties of a vertex")
    except (ValueError, KeyError) as error:
        raise DataError(path, "header", "a PLY header of scalar vertex properties", repr(error)) from error
    if encoding not in _ORDERS:
        raise DataError(path, "format", f"one of {', '.join(_ORDERS)}", encoding or "none")
    if not elements or elements[0][0] != "vertex" or not properties:
        raise DataError(path, "element", "vertex as the first element", elements[:1])
    return encoding, elements[0][1], properties


def _ascii_rows(path: Path, body: bytes, count: int, width: int) -> np.ndarray:
    words = body.split()[: count * width]
    if len(words) < count * width:
        raise DataError(path, "vertex", f"{count} vertices of {width} numbers", f"{len(words)} numbers")
    try:
        return np.array(words, dtype=np.float32).reshape(count, width)
    except ValueError as error:
        raise DataError(path, "vertex", "numbers", error) from error
