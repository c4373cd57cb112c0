"""nuScenes lidarseg and panoptic: IoU and panoptic quality of points, the devkit's numbers.

Fong et al., "Panoptic nuScenes", RA-L 2022. Classes here are those of `POINT_CLASSES`, with `IGNORE_LABEL` for points
that do not count; the devkit's are one higher, and 0. lidarseg: IoU = TP / (TP + FP + FN) over all points of known
class, the mean is over the classes that occur in truth or predictions. Panoptic: segments of a frame match if they
share the class and their IoU exceeds 0.5; others count if they have at least ``min_points`` points of known class; a
class without any segment counts as 0 in the means of PQ, SQ and RQ. Two backends give the same numbers, bit by bit:
"fast" counts with whole columns, "official" is the devkit's own code.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from mmengine.evaluator import BaseMetric

from perception.atomic_write import write_json
from perception.datasets.nuscenes_point_labels import POINT_CLASSES
from perception.registry import METRICS
from perception.structures import Frame, PointLabels, PointPredictions
from perception.structures.segmentation import IGNORE_LABEL

from .nuscenes_point_counts import PointCounts, counted, sum_counts
from .nuscenes_points_official import counted_officially, flat_officially

if TYPE_CHECKING:
    from rich.table import Table

logger = logging.getLogger(__name__)

MIN_POINTS = 15                                    # of the official run; the devkit's class itself has 30
MAX_INSTANCES = 2**32 - 1                          # the devkit's factor, less the one that it adds to a number
METRICS_FILE = "metrics_points.json"
BACKENDS = ("fast", "official")


def count_points(
    truth: np.ndarray,
    predicted: np.ndarray,
    true_instances: np.ndarray | None = None,
    predicted_instances: np.ndarray | None = None,
    min_points: int = MIN_POINTS,
    *,
    backend: str = "fast",
) -> PointCounts:
    """What one frame adds to the scores.

    Args:
        truth: (N,) class in [0, 16), or IGNORE_LABEL.
        predicted: (N,) class in [0, 16); where truth is IGNORE_LABEL it may be anything.
        true_instances, predicted_instances: (N,) instance numbers >= 0, unique within a class; the points of a class
            with the same number are one segment, 0 included. Without both, segments are not counted.
        min_points: unmatched segments of fewer points of known class do not count.
        backend: "fast", or "official" for the devkit's own code.

    Raises:
        ValueError: the columns differ in length, a class or an instance is out of range, or the backend is unknown.
    """
    count = counted if _checked_backend(backend) == "fast" else counted_officially
    columns = {"predicted": predicted, "true_instances": true_instances, "predicted_instances": predicted_instances}
    for name, column in columns.items():
        if column is not None and column.shape != truth.shape:
            raise ValueError(f"{name} must be {truth.shape} as the truth, got {column.shape}")
    known = truth != IGNORE_LABEL
    for name, column in (("truth", truth[known]), ("predicted", predicted[known])):
        if len(column) and not (column.min() >= 0 and column.max() < len(POINT_CLASSES)):
            found = f"{column.min()} to {column.max()}"
            raise ValueError(f"{name} must lie in [0, {len(POINT_CLASSES)}) for points of known class, got {found}")
    true, found = (column[known].astype(np.int64) + 1 for column in (truth, predicted))
    if true_instances is None or predicted_instances is None:
        return count(true, found, None, None, min_points)
    true_numbers, found_numbers = (
        column[known].astype(np.int64) for column in (true_instances, predicted_instances)
    )
    for name, column in (("true_instances", true_numbers), ("predicted_instances", found_numbers)):
        if len(column) and not (column.min() >= 0 and column.max() < MAX_INSTANCES):
            raise ValueError(f"{name} must lie in [0, {MAX_INSTANCES}), got {column.min()} to {column.max()}")
    return count(true, found, true_numbers, found_numbers, min_points)


@METRICS.register_module()
class NuScenesPointMetric(BaseMetric):
    """Scores `PointPredictions` against the ``point_labels`` of the frames of the batch: `PointCounts.flat`.

    Panoptic quality is given if truth and predictions have instances. The score is the official one if every labelled
    point comes through the transforms: aggregate sweeps with ``min_radius=0`` and filter no range. Under distributed
    testing every rank hands in its frames; a frame that came twice counts once.

    Args:
        min_points: unmatched segments with fewer points do not count.
        backend: "fast", or "official" for the devkit's own code.
        output_dir: folder for ``metrics_points.json``.
        collect_device: "cpu" or "gpu", see mmengine.
        prefix: of the metric names; "points" if not given.
    """

    default_prefix = "points"

    def __init__(
        self,
        min_points: int = MIN_POINTS,
        backend: str = "fast",
        output_dir: str = "work_dirs/nuscenes_points",
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        self.backend = _checked_backend(backend)
        collect_dir = str(Path(output_dir) / ".collect") if collect_device == "cpu" else None
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.min_points, self.output_dir = min_points, Path(output_dir)

    def process(self, data_batch: Sequence[Frame], data_samples: Sequence[PointPredictions]) -> None:
        """Count the points and segments of a batch.

        Raises:
            ValueError: a frame has no labels of points, or predictions are of another frame, other points or classes.
        """
        for frame, sample in zip(data_batch, data_samples, strict=True):
            if frame.token != sample.token:
                raise ValueError(f"predictions of frame {sample.token!r} came with frame {frame.token!r}")
            if frame.point_labels is None:
                raise ValueError(f"frame {frame.token!r} has no point_labels to score against")
            try:
                self.results.append((frame.token, self._counts(frame.point_labels, sample)))
            except ValueError as error:
                raise ValueError(f"frame {frame.token!r}: {error}") from error

    def compute_metrics(self, results: list[tuple[str, PointCounts]]) -> dict[str, float]:
        """Scores over the frames that were tested; writes the file."""
        counts = sum_counts(dict(results).values())                   # a frame that came twice counts once
        flat = counts.flat() if self.backend == "fast" else flat_officially(counts)
        write_json(self.output_dir / METRICS_FILE, flat)
        logger.info("wrote %s", self.output_dir / METRICS_FILE)
        return flat

    def _counts(self, labels: PointLabels, sample: PointPredictions) -> PointCounts:
        for owner, names in (("labels", labels.names or POINT_CLASSES), ("model", sample.names)):
            if tuple(names) != POINT_CLASSES:
                raise ValueError(f"classes of the {owner} must be {', '.join(POINT_CLASSES)}, got {', '.join(names)}")
        return count_points(
            _array(labels.classes), _array(sample.classes),
            None if labels.instances is None else _array(labels.instances),
            None if sample.instances is None else _array(sample.instances),
            self.min_points,
            backend=self.backend,
        )


def point_table(metrics: Mapping[str, float], title: str = "nuScenes points") -> Table:
    """A rich table of flat metrics (with or without a ``prefix/``): a line a class, then the means."""
    from rich.table import Table

    flat = {name.rsplit("/", 1)[-1]: value for name, value in metrics.items()}
    columns = ["IoU"] + ["PQ", "SQ", "RQ"] * ("PQ" in flat)
    table = Table(title=title)
    table.add_column("class", no_wrap=True)
    for heading in columns:
        table.add_column(heading, justify="right")
    for name in POINT_CLASSES:
        table.add_row(name, *(_figure(flat.get(f"{name}_{column}")) for column in columns))
    table.add_section()
    means = ("mIoU" if column == "IoU" else column for column in columns)
    table.add_row("mean", *(_figure(flat.get(name)) for name in means), style="bold")
    return table


def _checked_backend(backend: str) -> str:
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
    return backend


def _array(values: torch.Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
