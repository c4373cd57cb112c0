"""The matrices of range images: serialized ``MatrixFloat`` and ``MatrixInt32`` messages, deflated by zlib or plain.

Their numbers are taken straight from the bytes, since a frame has ten million of them. Written in a way that protobuf
allows and Waymo does not use (numbers not packed, or in several parts), they are read by protobuf itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from zlib_ng import zlib_ng

from ...errors import DataError
from .schema import MatrixFloat, MatrixInt32, MatrixShape, parse_message

_DATA, _SHAPE = 0x0A, 0x12            # keys of the fields 1 and 2, both with a length
_LAST = 0x80                          # a byte below it is the last one of a whole number
_MOST_BYTES = 10                      # of a whole number


def float_matrix(stored: bytes, place: Path | str, field: str) -> np.ndarray:
    """The numbers of a ``MatrixFloat``: float32 of its own shape, read-only.

    Args:
        stored: the message, deflated or plain.
        place: told by the error.
        field: told by the error.

    Raises:
        DataError: the bytes are damaged, or the numbers are not as many as the shape says.
    """
    packed, shape = _split(MatrixFloat, stored, place, field)
    if len(packed) % 4:
        raise DataError(place, field, "numbers of 4 bytes", f"{len(packed)} bytes")
    return np.frombuffer(packed, "<f4").reshape(_checked(shape, len(packed) // 4, place, field))


def int_matrix(stored: bytes, place: Path | str, field: str) -> IntMatrix:
    """The numbers of a ``MatrixInt32``; arguments and errors as of `float_matrix`."""
    packed, shape = _split(MatrixInt32, stored, place, field)
    raw = np.frombuffer(packed, np.uint8)
    if len(raw) and raw[-1] >= _LAST:
        raise DataError(place, field, "whole numbers", "a number that is cut off")
    ends = np.flatnonzero(raw < _LAST)
    return IntMatrix(raw, ends, _checked(shape, len(ends), place, field))


@dataclass(frozen=True, eq=False)
class IntMatrix:
    """A matrix of whole numbers that are decoded where asked for: of most, a few pixels are wanted.

    Args:
        raw: (V,) uint8, the numbers as protobuf writes them: seven bits a byte, the lowest first, and a top bit in all
            but the last byte of each.
        ends: (n,) int64, place of the last byte of each number.
        shape: of the matrix, n numbers in all.
    """

    raw: np.ndarray
    ends: np.ndarray
    shape: tuple[int, ...]

    @cached_property
    def _by_pixel(self) -> np.ndarray:
        return self.ends.reshape(-1, self.shape[-1])

    def at(self, pixels: np.ndarray) -> np.ndarray:
        """(K,) numbers of pixels, row by row -> (K, C) int32."""
        return self._decoded(self._by_pixel.take(pixels, axis=0))

    def array(self) -> np.ndarray:
        """All numbers, int32."""
        return self._decoded(self.ends).reshape(self.shape)

    def _decoded(self, ends: np.ndarray) -> np.ndarray:
        values = self.raw[ends].astype(np.int64)
        goes_on = np.ones(ends.shape, bool)
        for step in range(1, _MOST_BYTES + 1):
            byte = self.raw[ends - step]                   # before the first number stands the last byte, below 128
            goes_on &= byte >= _LAST
            if not goes_on.any():
                break
            values = np.where(goes_on, values << 7 | byte & (_LAST - 1), values)
        else:
            raise ValueError(f"a whole number has more than {_MOST_BYTES} bytes")
        return values.astype(np.int32)                     # of negative ones 64 bits are written


def _split(
    message_class: Any, stored: bytes, place: Path | str, field: str
) -> tuple[memoryview | bytes, tuple[int, ...]]:
    """Packed numbers and shape."""
    message = _inflated(stored, place, field)
    parts = _parts(message)
    if parts is None:
        whole = parse_message(message_class, message, f"{place}: {field}")
        parts = _parts(message_class(data=whole.data, shape=whole.shape).SerializeToString())
        assert parts is not None       # as Waymo writes it
    shape = parse_message(MatrixShape, bytes(parts.get(_SHAPE, b"")), f"{place}: {field}")
    return parts.get(_DATA, b""), tuple(shape.dims)


def _inflated(stored: bytes, place: Path | str, field: str) -> bytes:
    has_window = len(stored) > 1 and stored[0] & 15 == 8 and stored[0] > 8        # no message begins like that
    if not has_window or int.from_bytes(stored[:2], "big") % 31:
        return stored
    try:
        return zlib_ng.decompress(stored)                  # in half the time of zlib
    except zlib_ng.error as error:                         # type: ignore[misc]  # its stub tells no exception
        raise DataError(place, field, "a whole zlib stream", error) from error


def _parts(message: bytes) -> dict[int, memoryview] | None:
    """The fields by key, if they are the two with a length and none stands there twice; None if they are others."""
    view, place = memoryview(message), 0
    parts: dict[int, memoryview] = {}
    while place < len(view):
        key = view[place]
        start, length = _length_at(view, place + 1)
        place = start + length
        if key not in (_DATA, _SHAPE) or key in parts or place > len(view):
            return None
        parts[key] = view[start:place]
    return parts


def _length_at(view: memoryview, place: int) -> tuple[int, int]:
    """The place behind a length, and the length; of one that is cut off, more than there is."""
    length = 0
    for shift, byte in enumerate(view[place : place + _MOST_BYTES]):
        length |= (byte & (_LAST - 1)) << 7 * shift
        if byte < _LAST:
            return place + shift + 1, length
    return place, len(view) + 1


def _checked(shape: tuple[int, ...], count: int, place: Path | str, field: str) -> tuple[int, ...]:
    if not shape or min(shape) < 0 or math.prod(shape) != count:
        raise DataError(place, field, f"numbers of the shape {shape}", f"{count} numbers")
    return shape
