"""What several processes have written of the frames of one test, put together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from perception.errors import DataError

from .frame_file import Column, FrameFile


class StoredFrames(Mapping[str, Mapping[str, np.ndarray]]):
    """Rows by frame token: ``frames[token]["scores"]`` is mapped into memory and cannot be written to.

    The frames come in the order in which one process would have met them, which is that of a data set whose frames were
    dealt out in turn: the first of each rank, then the second of each ... A token that comes twice counts once, the
    first time: samplers fill up the last batches with frames that another rank has too.

    Args:
        files: of one run, with the same columns; at least one.
        left_out: files that are missing here since they were not complete.

    Raises:
        DataError: the files are of several runs, or their columns differ.
    """

    def __init__(self, files: Sequence[FrameFile], left_out: Sequence[Path] = ()) -> None:
        first = files[0]
        for file in files:
            if file.origin.run != first.origin.run:
                raise DataError(file.path, "run", f"{first.origin.run!r} as in {first.path.name}", file.origin.run)
            if file.columns != first.columns:
                raise DataError(file.path, "columns", f"those of {first.path.name}: {first.columns}", file.columns)
        self.layout: Mapping[str, Column] = first.columns
        self.left_out = tuple(left_out)
        self._places = _first_places(files)
        self._only = first if len(files) == 1 and len(self._places) == len(first.tokens) else None

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __getitem__(self, token: str) -> dict[str, np.ndarray]:
        file, frame = self._places[token]
        return {name: file.values_of(name, frame) for name in self.layout}

    def close(self) -> None:
        """Let go of the files, which else stay in memory as far as they were read; it is empty afterwards."""
        self._places, self._only = {}, None

    @property
    def tokens(self) -> tuple[str, ...]:
        """Names of the F frames."""
        return tuple(self._places)

    @cached_property
    def offsets(self) -> np.ndarray:
        """(F + 1,) int64: frame i has the rows from ``offsets[i]`` to ``offsets[i + 1]``."""
        plain = next(name for name, column in self.layout.items() if column.counted_by is None)
        counts = [len(file.values_of(plain, frame)) for file, frame in self._places.values()]
        return np.cumsum([0, *counts], dtype=np.int64)

    @cached_property
    def columns(self) -> dict[str, np.ndarray]:
        """By name, (N, ...) the rows of all frames, or the values of all rows of a counted column.

        Gathered when first asked for, which takes as much memory as all rows do; if they lie in one file, none.
        """
        return {name: self._gathered(name) for name in self.layout}

    def _gathered(self, name: str) -> np.ndarray:
        if self._only is not None:
            return self._only.values[name]
        column = self.layout[name]
        parts = [file.values_of(name, frame) for file, frame in self._places.values()]
        gathered = np.concatenate([np.zeros((0, *column.shape), column.dtype), *parts])
        gathered.setflags(write=False)
        return gathered


def _first_places(files: Sequence[FrameFile]) -> dict[str, tuple[FrameFile, int]]:
    """File and number of each token where it comes first, by number of the frame in its rank, then by rank."""
    frames: list[tuple[int, int, FrameFile, int]] = []
    met: dict[int, int] = {}
    for file in sorted(files, key=lambda file: (file.origin.rank, file.origin.number)):
        rank = file.origin.rank
        first = met.get(rank, 0)
        frames += [(first + number, rank, file, number) for number in range(len(file.tokens))]
        met[rank] = first + len(file.tokens)
    places: dict[str, tuple[FrameFile, int]] = {}
    for _, _, file, number in sorted(frames, key=lambda frame: frame[:2]):
        places.setdefault(file.tokens[number], (file, number))
    return places

