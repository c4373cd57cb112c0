"""A metric whose rows go into a `FrameStore`: compact, beyond a bound on disk, and merged across processes."""

from __future__ import annotations

import logging
import secrets
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from mmengine.dist import all_gather_object, broadcast_object_list, get_rank, is_main_process
from mmengine.evaluator import BaseMetric

from perception.atomic_write import atomic_path
from perception.errors import DataError, PerceptionError
from perception.structures import Frame

from .frame_file import Column, read_frame_file
from .frame_store import FrameStore
from .stored_frames import StoredFrames

logger = logging.getLogger(__name__)

FOLDER = ".rows-"                                          # and the name of the run


class HasToken(Protocol):
    """Predictions that tell which frame they are of."""

    @property
    def token(self) -> str: ...


Sample = TypeVar("Sample", bound=HasToken)


class StreamingMetric(BaseMetric):
    """Base of metrics that keep rows of numbers of every frame.

    A subclass says which ``columns`` its rows have, calls `keep` in ``process``, and in ``compute_metrics`` turns
    `StoredFrames` into flat scores; the first process does that for all. Rows lie in ``output_dir/.rows-RUN`` until
    the scores are known. If a process dies before, the folder stays, and `evaluate_stored` scores what was written.

    Args:
        output_dir: folder of the metric's files and of the rows.
        collect_device: "cpu" if all ranks share the file system of ``output_dir``, "gpu" if the rows of other ranks
            must be sent to the first.
        prefix: of the metric names; ``default_prefix`` if not given.
        memory_mb: megabytes of rows that a process keeps in memory, see `FrameStore`.

    Raises:
        ValueError: ``collect_device`` is another word, or ``memory_mb`` is negative.
    """

    columns: Mapping[str, Column]

    def __init__(
        self, output_dir: str, collect_device: str = "cpu", prefix: str | None = None, memory_mb: float = 16.0
    ) -> None:
        if collect_device not in ("cpu", "gpu"):
            raise ValueError(f'collect_device must be "cpu" or "gpu", got {collect_device!r}')
        if memory_mb < 0:
            raise ValueError(f"memory_mb must be >= 0, got {memory_mb}")
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.output_dir, self.memory_mb = Path(output_dir), memory_mb
        self._store: FrameStore | None = None

    @abstractmethod
    def compute_metrics(self, frames: StoredFrames) -> dict[str, float]:
        """Scores by name, without the prefix."""

    def keep(self, token: str, rows: Mapping[str, np.ndarray]) -> None:
        """Store the rows of one frame. Raises ValueError if they are not as ``columns`` say."""
        self._opened().append(token, rows)

    def evaluate(self, size: int) -> dict[str, float]:
        """Scores of the frames of all ranks, the same on all; the metric is empty after it.

        Args:
            size: frames of the data set; fewer are scored with a warning.

        Raises:
            DataError: the first rank cannot read what another has written.
            PerceptionError: the first rank has failed (on the others; there the failure itself is raised).
        """
        store, self._store = self._opened(), None
        store.close()
        written: list[list[str]] = all_gather_object(store.files)                # and all have written by now
        if self.collect_device == "gpu":
            _send_missing(store.folder, written)
        outcome: list[Any] = [None, "interrupted"]
        try:
            if is_main_process():
                outcome = [self._flat(_read_written(store.folder, written, size)), None]
                FrameStore.clear(store.folder)
        except Exception as error:                         # whatever it is, the other ranks wait for an outcome
            outcome[1] = repr(error)
            raise
        finally:
            broadcast_object_list(outcome)
        scores, failure = outcome
        if failure is not None:
            raise PerceptionError(f"the first rank could not score the frames: {failure}")
        FrameStore.clear(store.folder)                     # where the file system is not that of the first rank
        return scores

    def evaluate_stored(self, folder: Path | str) -> dict[str, float]:
        """Scores of the rows that a test left behind which did not come to its end.

        Raises:
            DataError: the folder has no rows, or those of another metric.
        """
        frames = FrameStore.read(folder)
        if frames.layout != self.columns:
            raise DataError(folder, "columns", f"those of {type(self).__name__}", ", ".join(frames.layout))
        return self._flat(frames)

    def _flat(self, frames: StoredFrames) -> dict[str, float]:
        scores = self.compute_metrics(frames)
        return {f"{self.prefix}/{name}" if self.prefix else name: value for name, value in scores.items()}

    def _opened(self) -> FrameStore:
        """The store of this test; ranks agree on its name at their first call, be it in `keep` or in `evaluate`."""
        if self._store is None:
            run = [f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(4)}"]
            broadcast_object_list(run)
            folder = self.output_dir / f"{FOLDER}{run[0]}"
            if is_main_process():
                _tell_of_other_runs(self.output_dir)
            self._store = FrameStore(folder, self.columns, memory_mb=self.memory_mb, rank=get_rank(), run=run[0])
        return self._store


def with_predictions(frames: Sequence[Frame], samples: Sequence[Sample]) -> Iterator[tuple[Frame, Sample]]:
    """The pairs of a batch. Raises ValueError if predictions are of another frame, or not as many."""
    for frame, sample in zip(frames, samples, strict=True):
        if frame.token != sample.token:
            raise ValueError(f"predictions of frame {sample.token!r} came with frame {frame.token!r}")
        yield frame, sample


def _read_written(folder: Path, written: Sequence[Sequence[str]], size: int) -> StoredFrames:
    """All files that the ranks say they have written: none may be missing, none is looked for."""
    files = []
    for rank, names in enumerate(written):
        for name in names:
            if not (folder / name).exists():
                expected = (
                    f"the rows of rank {rank}; output_dir must lie on a file system that all ranks share, "
                    'or collect_device be "gpu"'
                )
                raise DataError(folder / name, "file", expected, "no such file")
            files.append(read_frame_file(folder / name))
    frames = StoredFrames(files)
    if len(frames) < size:
        logger.warning("%d of %d frames were predicted: only they are scored", len(frames), size)
    return frames


def _send_missing(folder: Path, written: Sequence[Sequence[str]]) -> None:
    """Bring the files that the first rank does not see to its disk, one at a time through the process group."""
    missing = [[
        (rank, name) for rank, names in enumerate(written) for name in names if not (folder / name).exists()
    ]]
    broadcast_object_list(missing)
    for rank, name in missing[0]:
        content = [(folder / name).read_bytes() if get_rank() == rank else b""]
        broadcast_object_list(content, src=rank)
        if is_main_process():
            with atomic_path(folder / name) as temporary:
                temporary.write_bytes(content[0])


def _tell_of_other_runs(output_dir: Path) -> None:
    for folder in sorted(output_dir.glob(f"{FOLDER}*")):
        logger.warning(
            "%s holds rows of another test, which still runs or did not come to its end: "
            "`evaluate_stored` scores them; delete the folder if they are of no use", folder,
        )
