"""Predictions as JSON lines: one frame a line, whole lines even if the run is killed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import TracebackType
from typing import Any

from ...structures import Frame, Predictions


class JsonLinesSink:
    """Appends a line a frame: token, timestamp_ns, boxes, scores, names.

    A box is x y z length width height yaw [m, rad], ego frame, and vx vy [m/s] if known. A line is handed to the system
    in one write, so a reader sees whole lines at any time. An older file of that name is replaced.

    Args:
        path: the file.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "wb", buffering=0)    # noqa: SIM115  # closed by close()

    def write(self, frame: Frame, predictions: Predictions) -> None:
        line = json.dumps(prediction_record(predictions), allow_nan=False) + "\n"
        self._file.write(line.encode())

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> JsonLinesSink:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def prediction_record(predictions: Predictions) -> dict[str, Any]:
    """What a line holds. Lengths are rounded to 0.1 mm, scores to six digits; a velocity that is unknown is null."""
    return {
        "token": predictions.token,
        "timestamp_ns": predictions.timestamp_ns,
        "boxes": [[_number(value) for value in row] for row in predictions.boxes.tensor.tolist()],
        "scores": [round(score, 6) for score in predictions.scores.tolist()],
        "names": predictions.names(),
    }


def _number(value: float) -> float | None:
    return round(value, 4) if math.isfinite(value) else None
