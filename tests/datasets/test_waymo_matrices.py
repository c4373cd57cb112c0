"""Matrices of Waymo's range images: every way to write them, and damaged ones."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perception.datasets.waymo.matrices import float_matrix, int_matrix
from perception.datasets.waymo.schema import MatrixFloat, MatrixInt32
from perception.errors import DataError

FLOATS = np.array([[0.0, -1.5], [3.25, np.inf], [1e-3, 7.0]], np.float32)
INTS = np.array([[0, 127, 128], [-1, 2**31 - 1, -(2**31)]], np.int32)
WAYS: dict[str, Callable[[bytes], bytes]] = {"plain": bytes, "deflated": zlib.compress}


def message_of(message_class: Any, values: np.ndarray) -> bytes:
    return message_class(data=values.ravel().tolist(), shape={"dims": values.shape}).SerializeToString()


def varint(value: int) -> bytes:
    """As protobuf writes whole numbers, negative ones as 64 bits."""
    value %= 1 << 64
    parts = []
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


@pytest.mark.parametrize("way", WAYS)
def test_floats_come_back_in_their_shape(way: str):
    found = float_matrix(WAYS[way](message_of(MatrixFloat, FLOATS)), "file", "matrix")
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, FLOATS)


@pytest.mark.parametrize("way", WAYS)
def test_whole_numbers_come_back_in_their_shape(way: str):
    found = int_matrix(WAYS[way](message_of(MatrixInt32, INTS)), "file", "matrix")
    assert found.shape == INTS.shape
    np.testing.assert_array_equal(found.array(), INTS)
    np.testing.assert_array_equal(found.at(np.array([1, 0, 1])), INTS[[1, 0, 1]])
    assert found.at(np.zeros(0, np.int64)).shape == (0, 3)


@given(values=st.lists(st.integers(-(2**31), 2**31 - 1) | st.integers(0, 2000), min_size=1, max_size=40))
def test_any_whole_number_comes_back(values: list[int]):
    matrix = np.array(values, np.int32)[:, None]
    np.testing.assert_array_equal(int_matrix(message_of(MatrixInt32, matrix), "file", "matrix").array(), matrix)


SHAPE = b"\x12\x04\x08\x02\x08\x03"                   # two rows, three columns
UNPACKED = b"".join(b"\x08" + varint(value) for value in INTS.ravel().tolist())
PARTS = [b"".join(map(varint, row)) for row in INTS.tolist()]
PACKED = b"\x0a" + varint(len(b"".join(PARTS))) + b"".join(PARTS)


@pytest.mark.parametrize(
    "message",
    [
        PACKED + SHAPE,
        SHAPE + PACKED,
        UNPACKED + SHAPE,
        b"".join(b"\x0a" + varint(len(part)) + part for part in PARTS) + SHAPE,
        PACKED + b"\x12\x04\x0a\x02\x02\x03",
        PACKED + SHAPE + b"\x1a\x01x",
    ],
    ids=["as Waymo does", "shape first", "not packed", "in two parts", "packed shape", "with an unknown field"],
)
def test_whole_numbers_are_read_however_protobuf_may_write_them(message: bytes):
    np.testing.assert_array_equal(int_matrix(message, "file", "matrix").array(), INTS)


def test_floats_are_read_when_they_are_not_packed():
    message = b"".join(b"\x0d" + struct.pack("<f", value) for value in FLOATS.ravel()) + b"\x12\x04\x08\x03\x08\x02"
    np.testing.assert_array_equal(float_matrix(message, "file", "matrix"), FLOATS)


def test_a_matrix_without_numbers_has_its_shape():
    message = MatrixFloat(shape={"dims": (0, 4)}).SerializeToString()
    assert float_matrix(message, "file", "matrix").shape == (0, 4)
    assert int_matrix(message, "file", "matrix").array().shape == (0, 4)


@pytest.mark.parametrize("read", [float_matrix, int_matrix])
@pytest.mark.parametrize(
    ("stored", "match"),
    [
        (zlib.compress(message_of(MatrixFloat, FLOATS))[:-6], "file: matrix: expected a whole zlib stream"),
        (b"\x0a\x04\x00\x00\x00\x00\x12\x04\x08\x03\x08\x02", r"numbers of the shape \(3, 2\), got [14] numbers"),
        (b"\x0a\x04\x00\x00\x00\x00", r"numbers of the shape \(\), got"),
        (b"\x0a\x04\x00\x00\x00\x00\x12\x0b\x08" + varint(-4), r"numbers of the shape \(-4,\)"),
        (b"\x0a\x7f\x00\x00", "file: matrix: message: expected a serialized Matrix"),
        (b"\x0a\xff\xff\xff", "file: matrix: message: expected a serialized Matrix"),
    ],
    ids=["cut", "too few", "no shape", "negative shape", "ends early", "ends in a length"],
)
def test_damaged_matrices_are_told(read: Callable[..., Any], stored: bytes, match: str):
    with pytest.raises(DataError, match=match):
        read(stored, "file", "matrix")


def test_half_a_float_is_told():
    with pytest.raises(DataError, match="expected numbers of 4 bytes, got 3 bytes"):
        float_matrix(b"\x0a\x03\x00\x00\x00\x12\x02\x08\x01", "file", "matrix")


def test_a_whole_number_that_is_cut_off_is_told():
    with pytest.raises(DataError, match="expected whole numbers, got a number that is cut off"):
        int_matrix(b"\x0a\x02\x01\x80\x12\x02\x08\x02", "file", "matrix")


def test_a_whole_number_of_eleven_bytes_is_told():
    matrix = int_matrix(b"\x0a\x0b" + b"\x80" * 10 + b"\x01\x12\x02\x08\x01", "file", "matrix")
    with pytest.raises(ValueError, match="more than 10 bytes"):
        matrix.array()
