"""The Parquet index: one row a frame, with every path, pose, calibration and box that loading it takes.

Poses are seven float64 numbers: a unit quaternion (w, x, y, z), then a translation [m]. Paths are relative to the root
of the data set, so a root can be moved. The file carries its schema version and what it was made from.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import dataclass, fields
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..atomic_write import atomic_path
from ..errors import ConfigError, DataError, suggestion
from ..structures import SE3

SCHEMA_VERSION = 1
ROWS_AT_ONCE = 512
_META = b"perception."

Record = TypeVar("Record")


@dataclass(frozen=True)
class IndexSource:
    """What an index was made from.

    Args:
        dataset: "nuscenes", "argoverse2" or "waymo".
        split: name of the split.
        version: version of the tables, "" if the data set has none.
        max_sweeps: earlier sweeps listed with each frame at most.
    """

    dataset: str
    split: str
    version: str = ""
    max_sweeps: int = 10

    def command(self, root: Path, out: Path) -> str:
        """The command line that makes this index."""
        version = f" --version {self.version}" if self.version else ""
        where, file = shlex.quote(str(root)), shlex.quote(str(out))
        return f"python tools/create_data.py index {self.dataset} {where}{version} --split {self.split} --out {file}"

    def default_path(self, root: Path) -> Path:
        """Where the index lies unless told otherwise."""
        name = "-".join(part for part in ("perception", self.dataset, self.version, self.split) if part)
        return root / f"{name}.parquet"


@dataclass(frozen=True)
class SweepRecord:
    """One LiDAR sweep: its file and time, the vehicle's pose at that time, and the LiDAR's on the vehicle if known.

    ``offset`` is the byte at which its record begins in a file of records; None of other files.
    """

    path: str
    timestamp_ns: int
    global_from_ego: Sequence[float]
    ego_from_lidar: Sequence[float] | None
    offset: int | None = None


@dataclass(frozen=True)
class CameraRecord:
    """One picture: ``intrinsics`` is 3x3 row by row [pixels]; ``global_from_ego`` belongs to the picture's own time."""

    name: str
    path: str
    timestamp_ns: int
    width: int
    height: int
    intrinsics: Sequence[float]
    global_from_ego: Sequence[float]
    ego_from_camera: Sequence[float]


@dataclass(frozen=True)
class ObjectRecord:
    """One annotated object in global coordinates: ``size`` is length, width, height [m], ``velocity`` vx, vy [m/s].

    Unknown values: "" in ``token`` and ``attribute``, NaN in ``velocity`` and ``visibility``, -1 in ``num_lidar_pts``.
    """

    token: str
    category: str
    instance: str
    translation: Sequence[float]
    rotation: Sequence[float]
    size: Sequence[float]
    velocity: Sequence[float]
    num_lidar_pts: int
    attribute: str
    visibility: float


@dataclass(frozen=True)
class FrameRecord:
    """One row of the index; ``objects`` is None where the frame is not annotated, ``sweeps`` are newest first.

    ``lidarseg`` and ``panoptic`` are the files of nuScenes' labels of points; None where there are none.
    """

    token: str
    scene: str
    lidar: SweepRecord
    sweeps: Sequence[SweepRecord]
    cameras: Sequence[CameraRecord]
    objects: Sequence[ObjectRecord] | None
    lidarseg: str | None = None
    panoptic: str | None = None


def pose_from_row(row: Sequence[float]) -> SE3:
    """The pose of seven numbers: quaternion (w, x, y, z), translation [m]."""
    return SE3.from_quaternion(row[:4], row[4:])


_NUMBERS = pa.list_(pa.float64())
_SWEEP = pa.struct(
    [("path", pa.string()), ("timestamp_ns", pa.int64()), ("global_from_ego", _NUMBERS), ("ego_from_lidar", _NUMBERS),
     ("offset", pa.int64())]
)
_CAMERA = pa.struct([
    ("name", pa.string()), ("path", pa.string()), ("timestamp_ns", pa.int64()), ("width", pa.int32()),
    ("height", pa.int32()), ("intrinsics", _NUMBERS), ("global_from_ego", _NUMBERS), ("ego_from_camera", _NUMBERS),
])
_OBJECT = pa.struct([
    ("token", pa.string()), ("category", pa.string()), ("instance", pa.string()), ("translation", _NUMBERS),
    ("rotation", _NUMBERS), ("size", _NUMBERS), ("velocity", _NUMBERS), ("num_lidar_pts", pa.int64()),
    ("attribute", pa.string()), ("visibility", pa.float64()),
])
SCHEMA = pa.schema([
    ("token", pa.string()), ("scene", pa.string()), ("lidar", _SWEEP), ("sweeps", pa.list_(_SWEEP)),
    ("cameras", pa.list_(_CAMERA)), ("objects", pa.list_(_OBJECT)), ("lidarseg", pa.string()),
    ("panoptic", pa.string()),
])
LATE_COLUMNS = ("lidarseg", "panoptic")            # an older index of this version lacks them, and so has no such files


def write_index(path: Path, records: Iterable[FrameRecord], source: IndexSource) -> int:
    """Write the rows to a Parquet file that appears whole or not at all, and give their number."""
    meta = {"schema_version": SCHEMA_VERSION, **vars(source)}
    schema = SCHEMA.with_metadata({_META + key.encode(): str(value).encode() for key, value in meta.items()})
    rows, written = iter(records), 0
    with atomic_path(path) as unfinished, pq.ParquetWriter(unfinished, schema, compression="zstd") as writer:
        while batch := list(islice(rows, ROWS_AT_ONCE)):
            writer.write_table(pa.Table.from_pylist([_plain(row) for row in batch], schema=schema))
            written += len(batch)
    return written


def _plain(value: Any) -> Any:
    """Records as dictionaries, however deep."""
    if isinstance(value, (SweepRecord, CameraRecord, ObjectRecord, FrameRecord)):
        return {key: _plain(entry) for key, entry in vars(value).items()}
    if isinstance(value, (list, tuple)) and value and not isinstance(value[0], (float, int)):
        return [_plain(entry) for entry in value]
    return value


class FrameIndex:
    """An index that has been read. Rows become records only when asked for.

    Args:
        path: the Parquet file.
        root: root of the data set, for the command in the error message.
        source: what the index must have been made from.

    Raises:
        DataError: the file is absent, no Parquet, of another schema version or made from something else; names the
            command that makes it.
    """

    def __init__(self, path: Path, root: Path, source: IndexSource) -> None:
        remedy = f"make it with: {source.command(root, path)}"
        if not path.is_file():
            raise DataError(path, "index", "a Parquet file that lists the frames", f"no such file; {remedy}")
        try:
            self.table = pq.read_table(path, use_threads=False)
        except (pa.ArrowInvalid, OSError) as error:
            raise DataError(path, "index", "a Parquet file", f"{error}; {remedy}") from error
        meta = self.table.schema.metadata or {}
        wanted = {"schema_version": SCHEMA_VERSION, **vars(source)}
        for key in ("schema_version", "dataset", "version", "split"):
            got = meta.get(_META + key.encode(), b"none").decode()
            if got != str(wanted[key]):
                raise DataError(path, key, str(wanted[key]) or "none", f"{got or 'none'}; {remedy}")
        if self.table.schema.names not in (SCHEMA.names, SCHEMA.names[: -len(LATE_COLUMNS)]):
            raise DataError(path, "columns", ", ".join(SCHEMA.names), f"{', '.join(self.table.schema.names)}; {remedy}")
        self.path = path
        self.max_sweeps = int(meta[_META + b"max_sweeps"])
        self.tokens: list[str] = self.table["token"].to_pylist()
        self.scenes: list[str] = self.table["scene"].to_pylist()

    def __len__(self) -> int:
        return len(self.tokens)

    def of_scenes(self, names: Sequence[str]) -> FrameIndex:
        """The rows of some drives. Raises ConfigError, which suggests the nearest name, if one is not listed."""
        for name in names:
            if name not in self.scenes:
                raise ConfigError(f'{self.path} has no scene "{name}"{suggestion(name, set(self.scenes))}')
        kept = copy(self)
        kept.table = self.table.filter(pa.array([scene in names for scene in self.scenes]))
        kept.tokens, kept.scenes = kept.table["token"].to_pylist(), kept.table["scene"].to_pylist()
        return kept

    def record(self, index: int) -> FrameRecord:
        """One row."""
        return self._record_of(self.table.slice(index, 1).to_pylist()[0])

    def picture_record(self, index: int) -> FrameRecord:
        """One row without earlier sweeps and objects, which take most of the time to read and no picture needs."""
        row = self.table.drop_columns(["sweeps", "objects"]).slice(index, 1).to_pylist()[0]
        return self._record_of({**row, "sweeps": [], "objects": None})

    @staticmethod
    def _record_of(row: dict[str, Any]) -> FrameRecord:
        return FrameRecord(
            token=row["token"],
            scene=row["scene"],
            lidar=_record(SweepRecord, row["lidar"]),
            sweeps=[_record(SweepRecord, sweep) for sweep in row["sweeps"]],
            cameras=[_record(CameraRecord, camera) for camera in row["cameras"]],
            objects=None if row["objects"] is None else [_record(ObjectRecord, entry) for entry in row["objects"]],
            **{name: row.get(name) for name in LATE_COLUMNS},
        )

    def camera_places(self) -> tuple[np.ndarray, list[str], np.ndarray]:
        """Row of the frame, camera and place of the vehicle of every picture: (P,) int64, P names, (P, 3) float64.

        Pictures stand in the order of the frames; the place is that at the picture's own time, in global coordinates.
        """
        rows, names, places, first = [np.empty(0, np.int64)], [], [np.empty((0, 3))], 0
        for chunk in self.table["cameras"].chunks:
            cameras = chunk.flatten()
            lengths = chunk.value_lengths().fill_null(0).to_numpy()
            rows.append(first + np.repeat(np.arange(len(lengths)), lengths))
            names += cameras.field("name").to_pylist()
            poses = cameras.field("global_from_ego").flatten().to_numpy()
            places.append(poses.reshape(-1, 7)[:, 4:])
            first += len(lengths)
        return np.concatenate(rows), names, np.concatenate(places)

    def categories(self) -> tuple[list[int], list[str]]:
        """Category of every object of all frames, and (frames + 1) offsets of the frames into that list."""
        offsets, names = [0], []
        for chunk in self.table["objects"].chunks:
            names += chunk.flatten().field("category").to_pylist()
            lengths = chunk.value_lengths().fill_null(0).to_pylist()
            for length in lengths:
                offsets.append(offsets[-1] + length)
        return offsets, names


def _record(kind: type[Record], row: dict[str, Any]) -> Record:
    names = [field.name for field in fields(kind)]                            # type: ignore[arg-type]  # a dataclass
    return kind(**{name: row[name] for name in names if name in row})         # an older index lacks the late ones
