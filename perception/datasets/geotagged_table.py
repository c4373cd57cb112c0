"""A table of pictures with latitude and longitude, as CSV or Parquet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from ..errors import ConfigError, DataError, suggestion
from ..registry import DATASETS
from ..structures import Frame
from ..structures.geo import UNKNOWN_SCENE
from .base import Transform
from .geotagged import GeotaggedDataset, check_places

REQUIRED = {"path": pa.string(), "latitude": pa.float64(), "longitude": pa.float64()}
OPTIONAL = {"altitude": pa.float64(), "scene": pa.string(), "drive": pa.string(), "timestamp_ns": pa.int64()}
DEFAULTS: Mapping[str, Any] = {"altitude": 0.0, "scene": "", "drive": "", "timestamp_ns": 0}


@DATASETS.register_module()
class GeotaggedTable(GeotaggedDataset):
    """The pictures of a table, one row each, named by their paths.

    Columns: ``path`` (relative to the root), ``latitude``, ``longitude`` [deg], and where there are some ``altitude``
    [m], ``scene`` (name of the kind of scene, empty if unknown), ``drive`` and ``timestamp_ns``; further ones are left
    alone. Rows of a drive should stand together, oldest first; train and test on different drives.

    Args:
        root: folder that the paths are relative to.
        table: the file, ``.csv`` or ``.parquet``; relative to ``root`` unless absolute.
        columns: name in the file of a column, such as ``dict(path="IMG_ID", latitude="LAT", longitude="LON")``.
        scene_names: kinds of scenes in the order of their labels; none leaves scenes out.

    Raises:
        DataError: the file or a column is absent or malformed, there is no row, two rows have one path, a place is none
            on Earth (swapped columns are told), or a scene is none of ``scene_names``.
        ConfigError: ``columns`` renames an unknown column.
    """

    def __init__(
        self,
        root: str | Path,
        table: str | Path,
        *,
        columns: Mapping[str, str] | None = None,
        scene_names: Sequence[str] = (),
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(root, transforms=transforms, seed=seed)
        self.path, self.scene_names = self.root / table, tuple(scene_names)
        self.table = read_geotagged_table(self.path, columns or {})
        self.places = np.stack([self.table[name].to_numpy() for name in ("latitude", "longitude", "altitude")], axis=1)
        check_places(self.path, self.places, first_row=1)
        unknown = set(pc.unique(self.table["scene"]).to_pylist()) - {"", *scene_names}
        if scene_names and unknown:
            raise DataError(self.path, "scene", f"one of {', '.join(scene_names)}, or none", sorted(unknown)[0])

    @property
    def frame_tokens(self) -> Sequence[str]:
        """The paths as they stand in the table."""
        return self.table["path"].to_pylist()

    @property
    def scenes(self) -> Sequence[str]:
        """The drive of every picture."""
        return self.table["drive"].to_pylist()

    @property
    def metainfo(self) -> dict[str, Any]:
        """As of every data set, with the kinds of scenes."""
        return {**super().metainfo, "scene_names": self.scene_names}

    def load(self, index: int) -> Frame:
        """One picture, as a file to read later."""
        row = self.table.slice(index, 1).to_pylist()[0]
        scene = self.scene_names.index(row["scene"]) if row["scene"] in self.scene_names else UNKNOWN_SCENE
        return self.frame_of(
            index, row["path"], self.root / row["path"], timestamp_ns=row["timestamp_ns"], drive=row["drive"],
            scene=scene,
        )


def read_geotagged_table(path: Path, names: Mapping[str, str]) -> pa.Table:
    """Columns of `GeotaggedTable`, whole and of their types; those that the file lacks are filled with defaults.

    Args:
        path: CSV or Parquet file.
        names: name in the file by our name, where they differ.

    Raises:
        DataError: see `GeotaggedTable`; places are not checked yet.
        ConfigError: see `GeotaggedTable`.
    """
    known = {**REQUIRED, **OPTIONAL}
    for name in names:
        if name not in known:
            raise ConfigError(f'columns renames "{name}"{suggestion(name, known)}; known: {", ".join(known)}')
    table = _read(path)
    columns = {}
    for name, kind in known.items():
        own = names.get(name, name)
        if own in table.column_names:
            columns[name] = _cast(path, own, table[own], kind, DEFAULTS.get(name))
        elif name in REQUIRED or name in names:
            raise DataError(path, "columns", own, ", ".join(table.column_names))
        else:
            columns[name] = pa.chunked_array([pa.repeat(pa.scalar(DEFAULTS[name], kind), len(table))])
    if not len(table):
        raise DataError(path, "rows", "at least one picture", "none")
    if len(pc.unique(columns["path"])) < len(table):
        counts = pc.value_counts(columns["path"])
        twice = counts.filter(pc.greater(counts.field("counts"), 1))[0].as_py()["values"]
        raise DataError(path, "path", "every picture once", f"{twice} more often")
    return pa.table(columns)


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise DataError(path, "table", "a CSV or Parquet file", "no such file")
    try:
        return pq.read_table(path) if path.suffix == ".parquet" else pyarrow.csv.read_csv(path)
    except (pa.ArrowInvalid, OSError, UnicodeDecodeError) as error:
        raise DataError(path, "table", "a CSV or Parquet file with a row of names", error) from error


def _cast(path: Path, name: str, column: pa.ChunkedArray, kind: pa.DataType, default: Any) -> pa.ChunkedArray:
    """The column in its type; what is missing becomes the default, if there is one."""
    try:
        column = column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(path, name, f"values of type {kind}", error) from error
    if not column.null_count:
        return column
    if default is not None:
        return pc.fill_null(column, default)
    row = pc.index(pc.is_null(column), True).as_py()
    raise DataError(path, name, "a value in every row", f"none in row {row + 1}")
