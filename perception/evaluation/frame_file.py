"""Rows of some frames as one Arrow IPC file, which is mapped into memory when it is read.

A file has one record batch, a line a frame: its token and, for every column, the list of the frame's values. Any Arrow
reader opens it; what the columns mean (`Column`) and who wrote them (`Origin`) stands in the metadata of its schema.
"""

from __future__ import annotations

import errno
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from perception.atomic_write import atomic_path
from perception.errors import DataError

VERSION = 1
METADATA_KEY = b"perception.frames"
TOKEN = "token"
BROKEN_OFF = (None, errno.ENOENT, errno.EINVAL)            # Arrow's own errors, no file, no byte in it
KINDS = "biuf"                                             # bool, integers, floats


class IncompleteFileError(DataError):
    """A file of frames that is absent or breaks off."""


@dataclass(frozen=True)
class Column:
    """What the rows of a frame have under one name.

    Args:
        dtype: NumPy's name of a bool, an integer or a float of at most 64 bits, such as "float32".
        shape: of one value; () for a number.
        counted_by: name of the int64 column that tells how many values a row has, such as the vertices of its polyline;
            None for one value a row.

    Raises:
        ValueError: the dtype is another or the shape is empty in one direction.
    """

    dtype: str
    shape: tuple[int, ...] = ()
    counted_by: str | None = None

    def __post_init__(self) -> None:
        kind = np.dtype(self.dtype)
        if kind.kind not in KINDS or kind.itemsize > 8 or not kind.isnative:
            raise ValueError(f"dtype must be a bool, an integer or a float of at most 64 bits, got {self.dtype!r}")
        if any(length < 1 for length in self.shape):
            raise ValueError(f"shape must have lengths >= 1, got {self.shape}")

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """The dtype in the file, where a bool takes a byte: Arrow's bits could not be mapped."""
        return np.dtype("uint8" if np.dtype(self.dtype).kind == "b" else self.dtype)

    def arrow_type(self) -> pa.DataType:
        """Of one value."""
        number = pa.from_numpy_dtype(self.stored_dtype)
        return pa.list_(number, math.prod(self.shape)) if self.shape else number

    def to_arrow(self, values: np.ndarray) -> pa.Array:
        """(N, *shape) values as an array of N."""
        flat = pa.array(np.ascontiguousarray(values).reshape(-1).view(self.stored_dtype))
        return pa.FixedSizeListArray.from_arrays(flat, math.prod(self.shape)) if self.shape else flat

    def from_arrow(self, array: pa.Array) -> np.ndarray:
        """What `to_arrow` was given, without a copy; it cannot be written to."""
        flat = array.values if self.shape else array
        return flat.to_numpy().view(self.dtype).reshape(-1, *self.shape)


@dataclass(frozen=True)
class Origin:
    """Who wrote a file.

    Args:
        run: name of the test, the same on all ranks.
        rank: the process.
        number: how many files it had written before.
    """

    run: str
    rank: int
    number: int


@dataclass(frozen=True, eq=False)
class FrameFile:
    """The content of a file.

    Args:
        path: where it lies.
        origin: who wrote it.
        columns: by name.
        tokens: names of F frames.
        values: by column, the values of all frames in a row.
        starts: by column, (F + 1,) int64: frame i has the values from ``starts[i]`` to ``starts[i + 1]``.
    """

    path: Path
    origin: Origin
    columns: Mapping[str, Column]
    tokens: Sequence[str]
    values: Mapping[str, np.ndarray] = field(repr=False)
    starts: Mapping[str, np.ndarray] = field(repr=False)

    def values_of(self, name: str, frame: int) -> np.ndarray:
        """One column of the frame of that number, without a copy."""
        starts = self.starts[name]
        return self.values[name][starts[frame] : starts[frame + 1]]


def checked_columns(columns: Mapping[str, Column]) -> dict[str, Column]:
    """The columns if they go together.

    Raises:
        ValueError: there is none, one is called "token", or one is counted by what is no plain int64 column.
    """
    if not columns or TOKEN in columns:
        raise ValueError(f'columns must be one or more, none called "{TOKEN}", got {", ".join(columns) or "none"}')
    for name, column in columns.items():
        if column.counted_by is not None and columns.get(column.counted_by) != Column("int64"):
            raise ValueError(f'column {name!r} must be counted by a column Column("int64"), got {column.counted_by!r}')
    return dict(columns)


def checked_rows(columns: Mapping[str, Column], token: str, rows: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Copies of the rows of one frame, in the order of the columns.

    Raises:
        ValueError: columns are missing or too many, a dtype or shape is another, lengths differ, or a counted column
            has not as many values as the counts add up to.
    """
    frame = f"rows of frame {token!r}"
    if rows.keys() != columns.keys():
        raise ValueError(f"{frame} must have the columns {', '.join(columns)}, got {', '.join(rows) or 'none'}")
    for name, column in columns.items():
        array = rows[name]
        if array.dtype != np.dtype(column.dtype) or array.ndim == 0 or array.shape[1:] != column.shape:
            wanted = f"{column.dtype} (N,{','.join(f' {length}' for length in column.shape)})"
            raise ValueError(f"{frame}: {name} must be {wanted}, got {array.dtype} {tuple(array.shape)}")
    lengths = {name: len(rows[name]) for name, column in columns.items() if column.counted_by is None}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise ValueError(f"{frame} must be equally long in all columns, got {told}")
    for name, column in columns.items():
        if column.counted_by is not None:
            counts = rows[column.counted_by]
            if counts.min(initial=0) < 0 or counts.sum() != len(rows[name]):
                raise ValueError(
                    f"{frame}: {column.counted_by} must be >= 0 and add up to the {len(rows[name])} values of {name}, "
                    f"got {int(counts.sum())}, the least {int(counts.min(initial=0))}"
                )
    return {name: np.array(rows[name], order="C") for name in columns}


def write_frame_file(file: FrameFile) -> Path:
    """Write the content to its path; the file appears whole or not at all."""
    columns = {name: [column.dtype, column.shape, column.counted_by] for name, column in file.columns.items()}
    metadata = json.dumps({"version": VERSION, "origin": astuple(file.origin), "columns": columns})
    schema = _schema(file.columns).with_metadata({METADATA_KEY: metadata.encode()})
    arrays = [pa.array(file.tokens, pa.string())]
    for name, column in file.columns.items():
        starts = pa.array(file.starts[name], pa.int64())
        arrays.append(pa.LargeListArray.from_arrays(starts, column.to_arrow(file.values[name])))
    batch = pa.record_batch(arrays, schema=schema)
    with (
        atomic_path(file.path) as temporary,
        pa.OSFile(str(temporary), "wb") as sink,
        pa.ipc.new_file(sink, schema) as writer,
    ):
        writer.write_batch(batch)
    return file.path


def read_frame_file(path: Path | str) -> FrameFile:
    """Map a file into memory; its arrays cannot be written to.

    Raises:
        IncompleteFileError: the file is absent or breaks off.
        DataError: it is a whole Arrow file, but not of frames.
    """
    batch = _read_batch(path)
    expected = "an Arrow file of frames as FrameStore writes them"
    try:
        metadata = json.loads((batch.schema.metadata or {})[METADATA_KEY])
        version, origin = metadata["version"], Origin(*metadata["origin"])
        columns = {
            name: Column(dtype, tuple(shape), counted_by)
            for name, (dtype, shape, counted_by) in metadata["columns"].items()
        }
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(path, "schema", expected, repr(error)) from error
    if version != VERSION:
        raise DataError(path, "version", str(VERSION), version)
    if not batch.schema.equals(_schema(columns)):
        raise DataError(path, "schema", expected, f"columns {', '.join(batch.schema.names)}")
    values: dict[str, np.ndarray] = {}
    starts: dict[str, np.ndarray] = {}
    for name, column in columns.items():
        lists = batch.column(name)
        values[name] = column.from_arrow(lists.values)
        starts[name] = lists.offsets.to_numpy() if len(batch) else np.zeros(1, np.int64)
        if starts[name][0] != 0 or starts[name][-1] != len(values[name]) or (np.diff(starts[name]) < 0).any():
            raise DataError(path, name, f"lists of {len(values[name])} values in a row", "others")
    return FrameFile(Path(path), origin, columns, batch.column(TOKEN).to_pylist(), values, starts)


def _read_batch(path: Path | str) -> pa.RecordBatch:
    try:
        with pa.memory_map(str(path)) as source:           # what is mapped outlives the open file
            reader = pa.ipc.open_file(source)
            count = reader.num_record_batches
            if count == 1:
                return reader.get_batch(0)
    except (OSError, pa.ArrowInvalid) as error:
        breaks_off = isinstance(error, pa.ArrowInvalid) or error.errno in BROKEN_OFF
        kind = IncompleteFileError if breaks_off else DataError
        raise kind(path, "file", "a whole Arrow file", error) from error
    raise DataError(path, "record batches", "one", count)


def _schema(columns: Mapping[str, Column]) -> pa.Schema:
    lists = [(name, pa.large_list(column.arrow_type())) for name, column in columns.items()]
    return pa.schema([(TOKEN, pa.string()), *lists])
