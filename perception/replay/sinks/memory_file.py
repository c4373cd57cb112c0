"""The memory of a detector in a file, so that a replay that was stopped can go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...models.temporal.memory_state import MemoryState
from ...structures import Frame, FramePredictions


class MemoryFileSink:
    """Saves, behind every frame, what the memory knows then; the file is whole at any time.

    Args:
        path: the file.
        state: gives it.
    """

    def __init__(self, path: Path | str, state: Callable[[], MemoryState]) -> None:
        self.path, self.state = Path(path), state
        self.path.parent.mkdir(parents=True, exist_ok=True)

    def write(self, frame: Frame, predictions: FramePredictions) -> None:
        """Replace the file. Raises CheckpointError if it cannot be written."""
        self.state().save(self.path)
