"""Rows of frames that a test gathers: few in memory, the others in files that outlive a crash."""

from __future__ import annotations

import contextlib
import logging
import secrets
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

import numpy as np

from perception.errors import DataError

from .frame_file import (
    Column,
    FrameFile,
    IncompleteFileError,
    Origin,
    checked_columns,
    checked_rows,
    read_frame_file,
    write_frame_file,
)
from .stored_frames import StoredFrames

logger = logging.getLogger(__name__)

FILES = "rank*.arrow"                                      # see `file_name`
BYTES_OF_AN_ARRAY = 112                                    # that NumPy takes beside the numbers


class FrameStore:
    """Typed columns of the rows of frames, written to a folder whenever they fill the memory they may take.

    Each file appears whole or not at all, so that a process that dies loses only what it had not yet written. Several
    processes write into one folder; files that another test left there are never mixed with the new ones.

    Args:
        folder: of the files; made when the first one is written.
        columns: by name; one or more.
        memory_mb: rows of more than so many megabytes (10^6 bytes) are written at once; 0 writes every frame.
        rank: number of this process.
        run: name of the test, the same on all ranks; without it this process is alone.

    Raises:
        ValueError: the columns do not go together, or a number is negative.
        DataError: the folder holds files of another run or of this rank: read them or clear the folder.
    """

    def __init__(
        self, folder: Path | str, columns: Mapping[str, Column], *, memory_mb: float = 16.0, rank: int = 0,
        run: str | None = None,
    ) -> None:
        if memory_mb < 0 or rank < 0:
            raise ValueError(f"memory_mb and rank must be >= 0, got {memory_mb} and {rank}")
        self.folder, self.columns = Path(folder), checked_columns(columns)
        self.memory_mb, self.rank, self.run = memory_mb, rank, secrets.token_hex(8) if run is None else run
        self.num_frames = 0
        self.files: list[str] = []
        self.pending_bytes = 0
        self._tokens: list[str] = []
        self._rows: list[dict[str, np.ndarray]] = []
        self._is_closed = False
        self._refuse_other_files()

    def append(self, token: str, rows: Mapping[str, np.ndarray]) -> None:
        """Keep copies of the rows of a frame, which may be none.

        Raises:
            ValueError: the store is closed, the token is empty, or the rows are not as the columns say.
        """
        if self._is_closed:
            raise ValueError(f"the store of {self.folder} is closed; frame {token!r} comes too late")
        if not token:
            raise ValueError("token must name the frame, got an empty text")
        kept = checked_rows(self.columns, token, rows)
        self._tokens.append(token)
        self._rows.append(kept)
        self.num_frames += 1
        self.pending_bytes += len(token) + sum(array.nbytes + BYTES_OF_AN_ARRAY for array in kept.values())
        if self.pending_bytes > self.memory_mb * 1e6:
            self.flush()

    def flush(self) -> None:
        """Write what is in memory; without any row so far an empty file, which tells that this rank was there."""
        if not self._tokens and self.files:
            return
        name = file_name(self.rank, len(self.files))
        values: dict[str, np.ndarray] = {}
        starts: dict[str, np.ndarray] = {}
        for column, layout in self.columns.items():
            arrays = [rows[column] for rows in self._rows]
            values[column] = np.concatenate([np.zeros((0, *layout.shape), layout.dtype), *arrays])
            starts[column] = np.cumsum([0, *map(len, arrays)], dtype=np.int64)
        origin = Origin(self.run, self.rank, len(self.files))
        write_frame_file(FrameFile(self.folder / name, origin, self.columns, self._tokens, values, starts))
        self.files.append(name)
        self._tokens, self._rows, self.pending_bytes = [], [], 0

    def close(self) -> None:
        """Write what is in memory and take no more."""
        if not self._is_closed:
            self.flush()
            self._is_closed = True

    def __enter__(self) -> FrameStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @staticmethod
    def read(folder: Path | str) -> StoredFrames:
        """All that has been written, by whatever ranks; what is not complete is named in the log and left out.

        Raises:
            DataError: there is no complete file, or the files are of several runs.
        """
        folder = Path(folder)
        files: list[FrameFile] = []
        left_out = _unfinished(folder)
        for path in sorted(folder.glob(FILES)):
            try:
                files.append(read_frame_file(path))
            except IncompleteFileError:
                left_out.append(path)
        if not files:
            raise DataError(folder, "files", "rows of frames, as FrameStore writes them", "no complete file")
        left_out += _gaps(folder, files, left_out)
        for path in left_out:
            logger.warning("%s is not complete: its frames are left out", path)
        return StoredFrames(files, left_out)

    @staticmethod
    def clear(folder: Path | str) -> int:
        """Delete the files of a store, and the folder if nothing else is in it; how many files there were."""
        folder = Path(folder)
        paths = [*folder.glob(FILES), *_unfinished(folder)]
        for path in paths:
            path.unlink(missing_ok=True)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
        return len(paths)

    def _refuse_other_files(self) -> None:
        """Files of other ranks of this run may be there already, others not."""
        for path in sorted(self.folder.glob(FILES)):
            origin: Origin | None = None
            with contextlib.suppress(IncompleteFileError):
                origin = read_frame_file(path).origin
            if origin is None or origin.run != self.run or origin.rank == self.rank:
                got = "a file that is not complete" if origin is None else f"rank {origin.rank} of run {origin.run!r}"
                wanted = f"none but those of other ranks of run {self.run!r} (FrameStore.read or FrameStore.clear them)"
                raise DataError(path, "rows", wanted, got)


def file_name(rank: int, number: int) -> str:
    """Of the file that a rank writes after ``number`` others."""
    return f"rank{rank:04d}-{number:05d}.arrow"


def _unfinished(folder: Path) -> list[Path]:
    """Files that a process was writing when it died, or is writing now."""
    return sorted(folder.glob(f".{FILES}"))


def _gaps(folder: Path, files: list[FrameFile], known: list[Path]) -> list[Path]:
    """Files that are missing before the last one of their rank."""
    numbers: dict[int, set[int]] = {}
    for file in files:
        numbers.setdefault(file.origin.rank, set()).add(file.origin.number)
    paths = [
        folder / file_name(rank, number)
        for rank, present in sorted(numbers.items()) for number in range(max(present)) if number not in present
    ]
    return [path for path in paths if path not in known]
