"""The point cloud library's ``.pcd`` format 0.7: ASCII, binary, and binary compressed with LZF."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import DataError
from .point_rows import Points, finite_rows, read_bytes, select_columns

_KINDS = {"F": "f", "I": "i", "U": "u"}


@dataclass(frozen=True)
class PcdHeader:
    """What stands above the points: fields with their numpy types and counts, the number of points, the encoding."""

    names: tuple[str, ...]
    types: tuple[str, ...]
    counts: tuple[int, ...]
    num_points: int
    encoding: str

    @property
    def row_type(self) -> np.dtype:
        """One point as it lies in a binary file."""
        pairs = zip(self.types, self.counts, strict=True)
        return np.dtype([(f"f{place}", kind, (count,)) for place, (kind, count) in enumerate(pairs)])


def read_pcd(path: Path, columns: Sequence[str] | None = None) -> Points:
    """Points of a ``.pcd`` file; fields of several elements (``COUNT`` above one) and padding are left out.

    Args:
        path: the file.
        columns: names of the columns wanted, all by default.

    Raises:
        DataError: the file is absent, cut off or malformed, or lacks a column.
    """
    data = read_bytes(path)
    header, body = _parse_header(path, data)
    kept = [i for i, name in enumerate(header.names) if header.counts[i] == 1 and name != "_"]
    if header.encoding == "ascii":
        points = _ascii_rows(path, header, body)[:, [sum(header.counts[:i]) for i in kept]]
    else:
        unpack = _compressed_rows if header.encoding == "binary_compressed" else _rows
        rows = unpack(path, header, body)
        points = np.stack([rows[f"f{i}"][:, 0].astype(np.float32) for i in kept], axis=1)        # (N, C)
    chosen, names = select_columns(path, points, [header.names[i] for i in kept], columns)
    return finite_rows(path, chosen), names


def _parse_header(path: Path, data: bytes) -> tuple[PcdHeader, bytes]:
    entries: dict[str, list[str]] = {}
    stream = io.BytesIO(data)
    while "DATA" not in entries:
        line = stream.readline()
        if not line or len(line) > 4096:
            raise DataError(path, "DATA", "a PCD header that ends in a DATA line", "none")
        words = line.decode("ascii", errors="replace").split()
        if words and not words[0].startswith("#"):
            entries[words[0].upper()] = words[1:]
    try:
        names = entries["FIELDS"]
        types = tuple(_KINDS[kind] + size for kind, size in zip(entries["TYPE"], entries["SIZE"], strict=True))
        counts = tuple(int(count) for count in entries.get("COUNT", ["1"] * len(names)))
        num_points = int(entries["WIDTH"][0]) * int(entries["HEIGHT"][0])
        header = PcdHeader(tuple(names), types, counts, num_points, entries["DATA"][0].lower())
        if not len(names) == len(types) == len(counts) or num_points < 0:
            raise ValueError("FIELDS, TYPE, SIZE and COUNT differ in length")
    except (KeyError, IndexError, ValueError, TypeError) as error:
        raise DataError(path, "header", "FIELDS, SIZE, TYPE, WIDTH, HEIGHT that agree", repr(error)) from error
    if header.encoding not in ("ascii", "binary", "binary_compressed"):
        raise DataError(path, "DATA", "ascii, binary or binary_compressed", header.encoding)
    return header, stream.read()


def _ascii_rows(path: Path, header: PcdHeader, body: bytes) -> np.ndarray:
    try:
        rows = np.array(body.split(), dtype=np.float32)
    except ValueError as error:
        raise DataError(path, "DATA ascii", "numbers", error) from error
    width = sum(header.counts)
    if rows.size != header.num_points * width:
        raise DataError(path, "DATA ascii", f"{header.num_points} points of {width} numbers", f"{rows.size} numbers")
    return rows.reshape(-1, width)


def _rows(path: Path, header: PcdHeader, body: bytes) -> np.ndarray:
    wanted = header.num_points * header.row_type.itemsize
    if len(body) < wanted:
        raise DataError(path, "DATA binary", f"{wanted} bytes ({header.num_points} points)", f"{len(body)} bytes")
    return np.frombuffer(body[:wanted], dtype=header.row_type)


def _compressed_rows(path: Path, header: PcdHeader, body: bytes) -> np.ndarray:
    """Compressed files hold one field after the other instead of one point after the other."""
    if len(body) < 8:
        raise DataError(path, "DATA binary_compressed", "two sizes of 4 bytes", f"{len(body)} bytes")
    packed, unpacked = struct.unpack("<II", body[:8])
    wanted = header.num_points * header.row_type.itemsize
    if unpacked != wanted or len(body) < 8 + packed:
        raise DataError(
            path, "DATA binary_compressed", f"{packed} bytes that unpack to {wanted} ({header.num_points} points)",
            f"{len(body) - 8} bytes that unpack to {unpacked}",
        )
    fields = _unpack_lzf(path, body[8 : 8 + packed], unpacked)
    rows, start = np.empty(header.num_points, dtype=header.row_type), 0
    for name in header.row_type.names or ():
        kind = header.row_type[name]
        size = kind.itemsize * header.num_points
        rows[name] = np.frombuffer(fields[start : start + size], dtype=kind)
        start += size
    return rows


def _unpack_lzf(path: Path, packed: bytes, size: int) -> bytes:
    """LZF: a control byte below 32 precedes that many literal bytes + 1, any other is a reference into the output."""
    out, at, end = bytearray(), 0, len(packed)
    try:
        while at < end:
            control = packed[at]
            at += 1
            if control < 32:
                out += packed[at : at + control + 1]
                at += control + 1
                continue
            length = control >> 5
            if length == 7:
                length += packed[at]
                at += 1
            start = len(out) - ((control & 31) << 8) - packed[at] - 1
            at += 1
            if start < 0:
                raise IndexError("a reference before the start")
            piece = out[start : start + length + 2]
            out += (piece * (-(-(length + 2) // max(len(piece), 1))))[: length + 2]    # a short piece repeats itself
    except IndexError as error:
        raise DataError(path, "DATA binary_compressed", "an LZF stream", error) from error
    if len(out) != size:
        raise DataError(path, "DATA binary_compressed", f"{size} bytes when unpacked", len(out))
    return bytes(out)
