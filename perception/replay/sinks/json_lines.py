"""Predictions as JSON lines: one frame a line, whole lines even if the run is killed; masks as files beside them."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from ...structures import Frame, FramePredictions
from ...structures.prediction_lines import prediction_line


class JsonLinesSink:
    """Appends a line a frame, see `perception.structures.prediction_lines`.

    A line is handed to the system in one write, so a reader sees whole lines at any time, and the files of masks that
    it names are there before it. An older file of that name is replaced.

    Args:
        path: the file.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "wb", buffering=0)    # noqa: SIM115  # closed by close()

    def write(self, frame: Frame, predictions: FramePredictions) -> None:
        """One line, on disk at once. Raises DataError if a file of masks cannot be written."""
        self._file.write((prediction_line(predictions, self.path) + "\n").encode())

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> JsonLinesSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
