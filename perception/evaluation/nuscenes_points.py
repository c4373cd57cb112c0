"""nuScenes lidarseg and panoptic: IoU and panoptic quality of points, computed by the devkit's own code.

Fong et al., "Panoptic nuScenes", RA-L 2022. Classes here are those of `POINT_CLASSES`, with `IGNORE_LABEL` for points
that do not count; the devkit's are one higher, and 0. lidarseg: IoU = TP / (TP + FP + FN) over all points of known
class, the mean is over the classes that occur in truth or predictions. Panoptic: segments of a frame match if they
share the class and their IoU exceeds 0.5; others count if they have at least ``min_points`` points of known class; a
class without any segment counts as 0 in the means of PQ, SQ and RQ.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from mmengine.evaluator import BaseMetric

from perception.atomic_write import write_json
from perception.datasets.nuscenes_point_labels import POINT_CLASSES, THINGS
from perception.registry import METRICS
from perception.structures import Frame, PointLabels, PointPredictions
from perception.structures.segmentation import IGNORE_LABEL

if TYPE_CHECKING:
    from rich.table import Table

logger = logging.getLogger(__name__)

MIN_POINTS = 15                                    # of the official run; the devkit's class itself has 30
METRICS_FILE = "metrics_points.json"
NUM_CODES = len(POINT_CLASSES) + 1                 # of the devkit, 0 among them


@dataclass(frozen=True, eq=False)
class PointCounts:
    """What frames add to the scores; rows and columns are the devkit's 17 classes. Counts of frames add up.

    Args:
        confusion: (17, 17) int64 points by true (row) and predicted class.
        matched, extra, missed: (17,) int64 segments: TP, FP and FN; None without instances.
        iou: (17,) float64 sum of the IoU of matched segments; None likewise.
    """

    confusion: np.ndarray
    matched: np.ndarray | None = None
    extra: np.ndarray | None = None
    missed: np.ndarray | None = None
    iou: np.ndarray | None = None

    def __add__(self, other: PointCounts) -> PointCounts:
        """The counts of both; segments are counted only if both have them."""
        segments = (_sum(getattr(self, name), getattr(other, name)) for name in ("matched", "extra", "missed", "iou"))
        return PointCounts(self.confusion + other.confusion, *segments)

    def flat(self) -> dict[str, float]:
        """mIoU, fwIoU and car_IoU ...; with segments PQ, SQ, RQ, PQ_dagger and car_PQ ... too. 0/0 is left out."""
        confusion = _confusion_matrix()
        confusion.global_cm = self.confusion
        by_class = confusion.get_per_class_iou()
        flat: dict[str, float] = {}
        if np.isfinite(by_class).any():
            flat |= {"mIoU": confusion.get_mean_iou(), "fwIoU": confusion.get_freqweighted_iou()}
        flat |= {f"{name}_IoU": float(by_class[code]) for code, name in enumerate(POINT_CLASSES, 1)}
        if self.matched is not None:
            flat |= self._panoptic()
        return {name: value for name, value in flat.items() if np.isfinite(value)}

    def _panoptic(self) -> dict[str, float]:
        evaluator = _panoptic_evaluator(MIN_POINTS)                   # counts of segments are final: no bound is used
        evaluator.px_iou_conf_matrix = self.confusion.T
        evaluator.pan_tp, evaluator.pan_fp, evaluator.pan_fn = self.matched, self.extra, self.missed
        evaluator.pan_iou = self.iou
        mean_pq, mean_sq, mean_rq, pq, sq, rq = evaluator.getPQ()
        _, iou = evaluator.getSemIoU()
        things = len(THINGS)
        dagger = np.concatenate([pq[1 : things + 1], iou[things + 1 :]]).mean()
        flat = {"PQ": mean_pq, "SQ": mean_sq, "RQ": mean_rq, "PQ_dagger": dagger}
        flat |= {"PQ_things": pq[1 : things + 1].mean(), "PQ_stuff": pq[things + 1 :].mean()}
        for code, name in enumerate(POINT_CLASSES, 1):
            flat |= {f"{name}_PQ": pq[code], f"{name}_SQ": sq[code], f"{name}_RQ": rq[code]}
        return {name: float(value) for name, value in flat.items()}


def count_points(
    truth: np.ndarray,
    predicted: np.ndarray,
    true_instances: np.ndarray | None = None,
    predicted_instances: np.ndarray | None = None,
    min_points: int = MIN_POINTS,
) -> PointCounts:
    """What one frame adds to the scores.

    Args:
        truth: (N,) class in [0, 16), or IGNORE_LABEL.
        predicted: (N,) class in [0, 16); where truth is IGNORE_LABEL it may be anything.
        true_instances, predicted_instances: (N,) instance numbers >= 0, unique within a class; the points of a class
            with the same number are one segment, 0 included. Without both, segments are not counted.
        min_points: unmatched segments of fewer points of known class do not count.

    Raises:
        ValueError: the columns differ in length, or a class is out of range.
    """
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
    confusion = _confusion_matrix()
    confusion.update(true, found)
    if true_instances is None or predicted_instances is None:
        return PointCounts(confusion.global_cm)
    evaluator = _panoptic_evaluator(min_points)
    numbers = [column[known].astype(np.int64) for column in (predicted_instances, true_instances)]
    evaluator.addBatchPanoptic(found, numbers[0], true, numbers[1])
    return PointCounts(
        confusion.global_cm, evaluator.pan_tp, evaluator.pan_fp, evaluator.pan_fn, evaluator.pan_iou
    )


def sum_counts(counts: Iterable[PointCounts]) -> PointCounts:
    """The counts of all frames."""
    return reduce(PointCounts.__add__, counts)


@METRICS.register_module()
class NuScenesPointMetric(BaseMetric):
    """Scores `PointPredictions` against the ``point_labels`` of the frames of the batch: `PointCounts.flat`.

    Panoptic quality is given if truth and predictions have instances. The score is the official one if every labelled
    point comes through the transforms: aggregate sweeps with ``min_radius=0`` and filter no range. Under distributed
    testing every rank hands in its frames; a frame that came twice counts once.

    Args:
        min_points: unmatched segments with fewer points do not count.
        output_dir: folder for ``metrics_points.json``.
        collect_device: "cpu" or "gpu", see mmengine.
        prefix: of the metric names; "points" if not given.
    """

    default_prefix = "points"

    def __init__(
        self,
        min_points: int = MIN_POINTS,
        output_dir: str = "work_dirs/nuscenes_points",
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
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
        flat = sum_counts(dict(results).values()).flat()              # a frame that came twice counts once
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


def _confusion_matrix() -> Any:
    from nuscenes.eval.lidarseg.utils import ConfusionMatrix

    return ConfusionMatrix(NUM_CODES, ignore_idx=0)


def _panoptic_evaluator(min_points: int) -> Any:
    from nuscenes.eval.panoptic.panoptic_seg_evaluator import PanopticEval

    return PanopticEval(NUM_CODES, ignore=[0], min_points=min_points)


def _sum(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    return None if first is None or second is None else first + second


def _array(values: torch.Tensor) -> np.ndarray:
    return values.detach().cpu().numpy()


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
