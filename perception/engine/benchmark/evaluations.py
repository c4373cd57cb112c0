"""The evaluations that tools/benchmark.py times, each against the official code or a plain form of the same rules.

Waymo's official code reads its own records, so reading them is timed here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from .argoverse2_evaluation import benchmark_argoverse2
from .map_evaluation import benchmark_map_evaluation
from .nuscenes_evaluation import benchmark_nuscenes
from .rows import Row
from .setting import Setting
from .waymo_evaluation import benchmark_waymo_evaluation
from .waymo_reading import benchmark_waymo_reading


@dataclass(frozen=True)
class TimedEvaluation:
    """An evaluation and the set that it is timed on.

    Args:
        benchmark: takes the setting, frames, predictions in each if there are any, ``repeats`` and ``seed``, and yields
            rows.
        samples: frames, unless told otherwise.
        predictions: boxes or map elements in each; 0 where there are none.
    """

    benchmark: Callable[..., Iterator[Row]]
    samples: int
    predictions: int = 0


EVALUATIONS = {
    "nuscenes": TimedEvaluation(benchmark_nuscenes, 6019, 500),        # the validation set, all that may be handed in
    "argoverse2": TimedEvaluation(benchmark_argoverse2, 500, 100),
    "vector-map": TimedEvaluation(benchmark_map_evaluation, 500, 50),
    "waymo": TimedEvaluation(benchmark_waymo_evaluation, 40_000, 30),   # as many as the validation set
    "waymo-reading": TimedEvaluation(benchmark_waymo_reading, 200),     # the frames of a drive
}


def benchmark_evaluations(
    setting: Setting, names: Sequence[str], samples: int | None = None, predictions: int | None = None, *,
    repeats: int = 3, seed: int = 0,
) -> Iterator[Row]:
    """Rows of several evaluations.

    Args:
        setting: threads; nothing here runs elsewhere than on the CPU.
        names: some of `EVALUATIONS`.
        samples: frames, in place of each one's own number.
        predictions: in each frame, likewise.
        repeats: rounds.
        seed: of the boxes and maps.

    Raises:
        PerceptionError: an evaluation gives other scores than its reference.
    """
    for name in names:
        timed = EVALUATIONS[name]
        frames = samples or timed.samples
        counts = (frames, predictions or timed.predictions) if timed.predictions else (frames,)
        for row in timed.benchmark(setting, *counts, repeats=repeats, seed=seed):
            yield replace(row, samples=frames)
