"""The Argoverse 2 evaluation against av2's own code, on seeded boxes and logs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from perception.evaluation.detection.argoverse2_fast import score_fast
from perception.evaluation.detection.argoverse2_official import LogWorlds, score_officially
from perception.evaluation.detection.argoverse2_settings import Argoverse2Settings

from .argoverse2_logs import seeded_boxes, write_logs
from .rows import Row, compared
from .setting import Setting
from .timing import interleaved_ms

if TYPE_CHECKING:
    import pandas as pd

TOLERANCE = 1e-9


def benchmark_argoverse2(
    setting: Setting, samples: int = 500, predictions: int = 100, *, repeats: int = 3, seed: int = 0
) -> Iterator[Row]:
    """Time the fast evaluation and av2's code in turn, both in this process and with all files in memory.

    Args:
        setting: threads; nothing here runs elsewhere than on the CPU.
        samples: sweeps.
        predictions: detections in each.
        repeats: rounds.
        seed: of the boxes and maps.

    Yields:
        A row for boxes wherever they are and one for those in the region of interest, which the leaderboard scores; the
        size is the number of detections, the score the mean of CDS.
    """
    detections, labels = seeded_boxes(samples, predictions, seed)
    settings = Argoverse2Settings()
    with tempfile.TemporaryDirectory() as folder:
        split_dir = write_logs(Path(folder), samples, seed)
        worlds = LogWorlds.load(split_dir, [*detections["log_id"], *labels["log_id"]])
        for name, place, known in (("argoverse2", None, None), ("argoverse2/region", split_dir, worlds)):
            ours = partial(score_fast, detections, labels, settings, place)
            official = partial(score_officially, detections, labels, settings, place, known)
            tables, wanted = ours(), official()
            times = interleaved_ms([ours, official], repeats, setting.device)            # (rounds, 2)
            score, reference_score = (float(parts[0]["CDS"].mean()) for parts in (tables, wanted))
            row = setting.row(
                name, samples * predictions, **compared(*times.T), samples=samples, score=score,
                reference_score=reference_score,
                identical=all(_are_alike(*pair) for pair in zip(tables, wanted, strict=True)),
            )
            yield replace(row, dtype="float64")


def _are_alike(table: pd.DataFrame, other: pd.DataFrame) -> bool:
    """Whether both have the same rows and columns, numbers to 1e-9."""
    if not (table.index.equals(other.index) and list(table.columns) == list(other.columns)):
        return False
    numbers, others = (frame.select_dtypes("number").to_numpy(np.float64) for frame in (table, other))
    return np.allclose(numbers, others, rtol=0.0, atol=TOLERANCE, equal_nan=True)
