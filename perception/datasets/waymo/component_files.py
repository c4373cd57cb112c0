"""The files of Waymo's second format: one Parquet file for each component of a segment, joined by key columns.

A row belongs to a frame (``key.frame_timestamp_micros``), in some components also to a laser, a camera or an object;
calibrations belong to the segment. Other columns are called ``[ClassName].path.to.field``: here they go by what stands
behind the class. Types differ between releases (a camera's name is a number here and a word there, poses are float32 or
float64), so values are found by name and cast. Columns that nothing asks for, such as an index that pandas left, are
not read.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ...errors import DataError

SEGMENT, TIMESTAMP = "key.segment_context_name", "key.frame_timestamp_micros"
ROWS_AT_ONCE = 8                       # of a row group that holds more than is wanted, such as one of a whole segment
SEGMENTS_KEPT_OPEN = 8
BUFFER_BYTES = 1 << 20

Row: TypeAlias = dict[str, Any]
Casts: TypeAlias = Mapping[str, Callable[[Any], Any]]


class ComponentFile:
    """One component of one segment. Opening it reads its keys; the rest is read when asked for.

    Args:
        path: ``SPLIT/COMPONENT/SEGMENT.parquet``.
        segment: whose rows are meant.

    Raises:
        DataError: the file is absent, no Parquet, or without segments in its rows.
    """

    def __init__(self, path: Path, segment: str) -> None:
        self.path, field = path, f"component {path.parent.name}"
        if not path.is_file():
            raise DataError(path, field, "a Parquet file", "no such file")
        try:
            self.file = pq.ParquetFile(path, buffer_size=BUFFER_BYTES)
        except (pa.ArrowException, OSError) as error:
            raise DataError(path, field, "a Parquet file", error) from error
        self.columns = {name.partition("].")[2] if name.startswith("[") else name: name
                        for name in self.file.schema_arrow.names}
        keys = self._table((SEGMENT, TIMESTAMP) if TIMESTAMP in self.columns else (SEGMENT,))
        self.rows = np.flatnonzero(keys[SEGMENT].to_numpy() == segment)                               # (R,)
        self.timestamps: np.ndarray | None = None
        if TIMESTAMP in self.columns:
            self.timestamps = keys[TIMESTAMP].cast(pa.int64()).to_numpy()[self.rows]                  # (R,)
        counts = [self.file.metadata.row_group(group).num_rows for group in range(self.file.num_row_groups)]
        self.starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)])                        # (groups + 1,)
        self._cursors: dict[tuple[str, ...], _Cursor] = {}

    def read(self, needed: Casts, optional: Casts | None = None) -> list[Row]:
        """All rows of the segment with some columns, whose values are cast; those of optional ones can be absent.

        Raises:
            DataError: a column is absent, or a value can't be read or cast.
        """
        casts = {**needed, **{name: cast for name, cast in (optional or {}).items() if name in self.columns}}
        table = self._table(tuple(casts)).take(pa.array(self.rows))
        columns = {name: self._cast(name, table[name].to_pylist(), cast) for name, cast in casts.items()}
        return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]

    def frame_rows(self, timestamp_micros: int, columns: Sequence[str]) -> pa.Table:
        """Some columns of the rows of one frame, in the order of the file.

        A row group is read only as far as wanted rows lie in it, a few at a time, so a file of large values is never in
        memory as a whole. The rows of a later frame are read on from there, those of an earlier one from the start of
        their group: where all rows are one group, frames in order of time are read far faster than in any other.

        Raises:
            DataError: a column is absent or can't be read.
        """
        names = self._full_names((TIMESTAMP, *columns))[1:]
        assert self.timestamps is not None
        wanted = self.rows[self.timestamps == timestamp_micros]
        groups = np.searchsorted(self.starts, wanted, side="right") - 1
        batches = [batch for group in np.unique(groups)
                   for batch in self._group_rows(int(group), wanted[groups == group] - self.starts[group], names)]
        schema = pa.schema([self.file.schema_arrow.field(name) for name in names])
        return pa.Table.from_batches(batches, schema).rename_columns(list(columns))

    def _group_rows(self, group: int, rows: np.ndarray, names: list[str]) -> list[pa.RecordBatch]:
        found = []
        try:
            while len(rows):
                cursor = self._cursors.get(tuple(names))
                if cursor is None or cursor.group != group or rows[0] < cursor.first:
                    cursor = self._cursors[tuple(names)] = _Cursor(self.file, group, names)
                batch = cursor.batch_of(int(rows[0]))
                here = rows[rows < cursor.first + len(batch)]
                found.append(batch.select(names).take(pa.array(here - cursor.first)))
                rows = rows[len(here) :]
        except (pa.ArrowException, OSError) as error:
            self._cursors.clear()
            raise DataError(self.path, f"row group {group}", "readable columns", error) from error
        return found

    def _table(self, columns: Sequence[str]) -> pa.Table:
        names = self._full_names(columns)
        try:
            return self.file.read(columns=names, use_threads=False).select(names).rename_columns(list(columns))
        except (pa.ArrowException, OSError) as error:
            raise DataError(self.path, ", ".join(columns), "readable columns", error) from error

    def _full_names(self, columns: Sequence[str]) -> list[str]:
        for name in columns:
            if name not in self.columns:
                raise DataError(self.path, name, "a column of this name", f"the columns {', '.join(self.columns)}")
        return [self.columns[name] for name in columns]

    def _cast(self, name: str, values: list[Any], cast: Callable[[Any], Any]) -> list[Any]:
        try:
            return [None if value is None else cast(value) for value in values]
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(self.path, name, f"values that {cast.__name__} takes", error) from error


class _Cursor:
    """A place in a row group, some columns of which are read a few rows at a time."""

    def __init__(self, file: pq.ParquetFile, group: int, names: list[str]) -> None:
        self.group, self.first = group, 0                            # row of the batch's first one in its group
        self._batches = file.iter_batches(ROWS_AT_ONCE, row_groups=[group], columns=names, use_threads=False)
        self._batch: pa.RecordBatch | None = None

    def batch_of(self, row: int) -> pa.RecordBatch:
        """The batch with a row that is not before the last one."""
        while self._batch is None or row >= self.first + len(self._batch):
            self.first += 0 if self._batch is None else len(self._batch)
            self._batch = next(self._batches)
        return self._batch


class SegmentComponents:
    """The components of one segment; a file is opened when it is first asked for.

    Args:
        folder: of the split, which holds a folder for each component.
        segment: its name.
    """

    def __init__(self, folder: Path, segment: str) -> None:
        self.folder, self.segment = folder, segment
        self._files: dict[str, ComponentFile] = {}
        self._small: dict[str, dict[int | None, list[Row]]] = {}

    def path(self, component: str) -> Path:
        """Where the file of a component lies."""
        return self.folder / component / f"{self.segment}.parquet"

    def __contains__(self, component: str) -> bool:
        return self.path(component).is_file()

    def file(self, component: str) -> ComponentFile:
        """The file of a component. Raises DataError if it is absent or malformed."""
        if component not in self._files:
            self._files[component] = ComponentFile(self.path(component), self.segment)
        return self._files[component]

    def rows(
        self, component: str, timestamp_micros: int | None, needed: Casts, optional: Casts | None = None
    ) -> list[Row]:
        """The rows of a frame, or of the segment if it is None; of columns with small values, which are remembered.

        Raises:
            DataError: the component or a column is absent, or a value can't be read or cast.
        """
        if component not in self._small:
            file = self.file(component)
            times = [None] * len(file.rows) if file.timestamps is None else file.timestamps.tolist()
            by_time: dict[int | None, list[Row]] = {}
            for time, row in zip(times, file.read(needed, optional), strict=True):
                by_time.setdefault(time, []).append(row)
            self._small[component] = by_time
        return self._small[component].get(timestamp_micros, [])

    def timestamps(self, component: str) -> list[int]:
        """The times of the frames that a component has rows of, in order."""
        file = self.file(component)
        if file.timestamps is None:
            raise DataError(file.path, TIMESTAMP, "a column of this name", "none")
        return sorted(set(file.timestamps.tolist()))


def open_segment(folder: Path, segment: str) -> SegmentComponents:
    """The components of a segment; the last few segments stay open in a process."""
    return _open_segment(folder, segment, os.getpid())            # a forked worker opens files of its own


@lru_cache(maxsize=SEGMENTS_KEPT_OPEN)
def _open_segment(folder: Path, segment: str, process: int) -> SegmentComponents:
    return SegmentComponents(folder, segment)
