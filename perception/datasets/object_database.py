"""A database of annotated objects with their points, cut out of a data set for ground-truth pasting.

A folder holds ``objects.parquet`` (one row an object: class, box, number of points, first row, frame token; schema
version and channels in its metadata) and ``points.bin`` (float32 rows of all objects, ego frame of their own frame).
SECOND (Yan et al., Sensors 2018), section 3.4, introduced the augmentation.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from ..errors import DataError
from ..structures import Boxes3D, Frame, PointCloud
from ..structures.point_cloud import XYZ

logger = logging.getLogger(__name__)
SCHEMA_VERSION = 1
OBJECTS, POINTS = "objects.parquet", "points.bin"
BOX_COLUMNS = ("x", "y", "z", "length", "width", "height", "yaw", "vx", "vy")
SCHEMA = pa.schema(
    [("class", pa.string()), *((name, pa.float32()) for name in BOX_COLUMNS),
     ("num_points", pa.int64()), ("first_point", pa.int64()), ("token", pa.string())]
)


def build_object_database(
    dataset: Iterable[Frame],
    folder: Path | str,
    min_points: int = 5,
    channels: Sequence[str] | None = None,
) -> int:
    """Cut every annotated object out of its frame and write the database; an older one is replaced when all is written.

    Args:
        dataset: frames with points and annotations, sweeps aggregated if the detector is to see several.
        folder: the database.
        min_points: objects with fewer points are left out, >= 1.
        channels: channels to keep, all of the first frame's by default; they must include those of the frames that
            objects are pasted into.

    Returns:
        Number of objects.

    Raises:
        ValueError: ``min_points`` < 1, or a frame has no points, lacks a channel or has sweeps left to aggregate.
        DataError: ``folder`` is something else than a database.
    """
    if min_points < 1:
        raise ValueError(f"min_points must be >= 1, got {min_points}")
    folder = Path(folder)
    if folder.exists() and not (folder / OBJECTS).is_file():
        raise DataError(folder, "folder", "absent, or an object database to replace", "something else")
    frames = iter(dataset)
    head = list(islice(frames, 1))
    if channels is None:
        channels = head[0].points.channels if head and head[0].points is not None else XYZ
    partial = folder.with_name(f".{folder.name}.partial-{os.getpid()}")
    partial.mkdir(parents=True)
    try:
        with (partial / POINTS).open("wb") as file:
            rows = list(_write_objects(chain(head, frames), file, min_points, tuple(channels)))
            _sync(file)
        metadata = {"schema_version": str(SCHEMA_VERSION), "channels": json.dumps(list(channels))}
        with (partial / OBJECTS).open("wb") as file:
            pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA.with_metadata(metadata)), file)
            _sync(file)
        _put_in_place(partial, folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    logger.info("wrote %d objects to %s", len(rows), folder)
    return len(rows)


def _write_objects(
    dataset: Iterable[Frame], file: BinaryIO, min_points: int, channels: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    first = 0
    for frame in dataset:
        for name, box, points in _objects_of(frame, channels):
            if len(points) >= min_points:
                file.write(points.numpy().tobytes())
                numbers = dict(zip(BOX_COLUMNS, box.tolist(), strict=True))
                yield {"class": name, **numbers, "num_points": len(points), "first_point": first, "token": frame.token}
                first += len(points)


def _objects_of(frame: Frame, channels: tuple[str, ...]) -> Iterator[tuple[str, torch.Tensor, torch.Tensor]]:
    """Class, box (9,) and points (P, C) of every object of a known class."""
    if frame.points is None or frame.sweeps:
        wrong = "has no points" if frame.points is None else "has sweeps left: put AggregateSweeps into its transforms"
        raise ValueError(f"frame {frame.token} {wrong}")
    if frame.annotations is None:
        return
    annotations = frame.annotations[frame.annotations.labels >= 0]
    boxes = annotations.boxes.to(torch.float32).with_columns(9)
    data = frame.points.select(channels)                                          # (N, C)
    inside = boxes.points_inside(frame.points.xyz)
    for name, box, rows in zip(annotations.names(), boxes.tensor, inside, strict=True):
        yield name, box, data[rows]


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _put_in_place(partial: Path, folder: Path) -> None:
    """Rename ``partial`` to ``folder``; an older database goes only once the new one stands."""
    if not folder.exists():
        partial.rename(folder)
        return
    old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
    folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old)


class ObjectDatabase:
    """Objects of a database by row; files are opened at the first use, in each process anew.

    Args:
        folder: what `build_object_database` wrote.

    Raises:
        DataError: at the first use: a file is absent, of another schema version, or truncated.
    """

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)
        self._table: pa.Table | None = None

    def __len__(self) -> int:
        return self._open().num_rows

    def __getstate__(self) -> dict[str, Any]:
        return {"folder": self.folder, "_table": None}         # a data worker opens the files itself

    def rows_of(self, name: str) -> np.ndarray:
        """(R,) int64 rows of one class."""
        self._open()
        return self._rows.get(name, np.zeros(0, dtype=np.int64))

    def boxes(self, rows: np.ndarray) -> Boxes3D:
        """Boxes (len(rows), 9), each in the ego frame of the frame it was cut from."""
        self._open()
        return Boxes3D(torch.from_numpy(self._boxes[rows]))

    def points(self, row: int) -> PointCloud:
        """Points of one object, in the ego frame of the frame it was cut from."""
        table = self._open()
        first, count = table["first_point"][row].as_py(), table["num_points"][row].as_py()
        return PointCloud(torch.from_numpy(np.array(self._points[first : first + count])), self.channels)

    def class_name(self, row: int) -> str:
        """The class of an object."""
        return self._open()["class"][row].as_py()

    def token(self, row: int) -> str:
        """The frame an object was cut from."""
        return self._open()["token"][row].as_py()

    def _open(self) -> pa.Table:
        if self._table is not None:
            return self._table
        table, self.channels = _read_table(self.folder / OBJECTS)
        names = table["class"].to_numpy()
        self._rows = {name: np.flatnonzero(names == name) for name in np.unique(names)}
        self._boxes = np.stack([table[name].to_numpy() for name in BOX_COLUMNS], axis=1)      # (R, 9)
        self._points = _map_points(self.folder / POINTS, len(self.channels), sum(table["num_points"].to_pylist()))
        self._table = table
        return table


def _read_table(path: Path) -> tuple[pa.Table, tuple[str, ...]]:
    try:
        table = pq.read_table(path)
    except FileNotFoundError as error:
        raise DataError(path, "file", "an object database made by build_object_database", "no such file") from error
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(path, "file", "a whole Parquet file", error) from error
    metadata = table.schema.metadata or {}
    version = metadata.get(b"schema_version", b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise DataError(path, "schema_version", f"{SCHEMA_VERSION}: build the database again", version)
    if table.schema.names != SCHEMA.names:
        raise DataError(path, "columns", ", ".join(SCHEMA.names), ", ".join(table.schema.names))
    return table, tuple(json.loads(metadata[b"channels"]))


def _map_points(path: Path, columns: int, rows: int) -> np.ndarray:
    size = path.stat().st_size if path.is_file() else -1
    if size != rows * columns * 4:
        got = "no such file" if size < 0 else f"{size} bytes"
        raise DataError(path, "points", f"{rows} rows of {columns} float32, {rows * columns * 4} bytes", got)
    if rows == 0:
        return np.zeros((0, columns), dtype=np.float32)
    return np.memmap(path, dtype=np.float32, mode="r", shape=(rows, columns))
