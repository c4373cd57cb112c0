"""A partition as a Parquet file: one row a cell, coarse hierarchies first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..atomic_write import atomic_path
from ..errors import DataError
from .cell_list import CellList
from .partition import GeoPartition

SCHEMA_VERSION = 1
_VERSION_KEY = b"perception.geo_partition"
SCHEMA = pa.schema([
    ("hierarchy", pa.int32()), ("cell", pa.uint64()), ("members", pa.int64()), ("latitude", pa.float64()),
    ("longitude", pa.float64()),
])


def save_partition(partition: GeoPartition, path: Path | str) -> Path:
    """Write a partition, whole or not at all; returns the path."""
    tables = [
        pa.table({
            "hierarchy": np.full(len(cells), number, np.int32), "cell": cells.ids, "members": cells.counts,
            "latitude": cells.latlng[:, 0], "longitude": cells.latlng[:, 1],
        }, schema=SCHEMA)
        for number, cells in enumerate(partition.hierarchies)
    ]
    table = pa.concat_tables(tables).replace_schema_metadata({_VERSION_KEY: str(SCHEMA_VERSION).encode()})
    with atomic_path(path) as unfinished:
        pq.write_table(table, unfinished, compression="zstd")
    return Path(path)


def load_partition(path: Path | str) -> GeoPartition:
    """Read what `save_partition` wrote.

    Raises:
        DataError: the file is absent, no partition or of another schema version, or its cells make none (see
            `CellList` and `GeoPartition`).
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(path, "partition", "a Parquet file of save_partition", "no such file")
    try:
        table = pq.read_table(path, use_threads=False)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(path, "partition", "a Parquet file", error) from error
    version = (table.schema.metadata or {}).get(_VERSION_KEY, b"none").decode()
    if version != str(SCHEMA_VERSION):
        raise DataError(path, "schema version", str(SCHEMA_VERSION), version)
    if not table.schema.remove_metadata().equals(SCHEMA):
        raise DataError(path, "columns", ", ".join(SCHEMA.names), ", ".join(table.schema.names))
    if any(column.null_count for column in table.columns):
        raise DataError(path, "columns", "a number in every place", "nulls")
    numbers, ids, members, latitudes, longitudes = (column.to_numpy() for column in table.columns)
    latlng = np.stack([latitudes, longitudes], axis=1)
    hierarchies = []
    try:
        for number in range(int(numbers.max(initial=-1)) + 1):
            rows = numbers == number
            hierarchies.append(CellList(ids[rows], members[rows], latlng[rows]))
        return GeoPartition(tuple(hierarchies))
    except ValueError as error:
        raise DataError(path, f"hierarchy {len(hierarchies)}", "cells of a partition", error) from error
