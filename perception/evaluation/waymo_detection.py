"""Waymo detection as a metric of a test run: predictions go into an official ``Objects`` file and are scored."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.evaluator import BaseMetric

from perception.registry import METRICS
from perception.structures import Annotations, Boxes3D, Frame, Predictions

from .waymo.detection import evaluate_waymo
from .waymo.objects import TYPES, WaymoObjects
from .waymo.objects_file import read_waymo_objects, write_waymo_objects

logger = logging.getLogger(__name__)

NS_PER_US = 1000
FrameResult = tuple[tuple[str, int], WaymoObjects, WaymoObjects]   # drive and time, predictions, ground truth


def waymo_predictions(
    predictions: Predictions, scene: str, classes: Mapping[str, str] | None = None
) -> WaymoObjects:
    """Boxes of one frame as Waymo wants them: vehicle frame, microseconds, numbered types.

    Args:
        predictions: boxes in the vehicle frame.
        scene: name of the drive.
        classes: Waymo's type by class of the model, "" for one that is left out; by default a class bears the type's
            name, in capitals or not.

    Raises:
        ValueError: a class has no type, or a number is not finite.
    """
    types = _types(predictions.names(), classes or {}, strict=True)
    kept = types > 0
    scores = predictions.scores.detach().cpu().numpy()
    return _objects(predictions.boxes, types, scene, predictions.timestamp_ns, scores=scores)[kept]


def waymo_ground_truth(frame: Frame, classes: Mapping[str, str] | None = None) -> WaymoObjects:
    """Annotated boxes of one frame; objects of other classes than Waymo's are left out, levels are not annotated.

    Args:
        frame: with annotations that tell the LiDAR points in each box.
        classes: as of `waymo_predictions`, by class of the data set.

    Raises:
        ValueError: the frame has no annotations, or they do not tell the points.
    """
    annotations: Annotations | None = frame.annotations
    if annotations is None or annotations.num_lidar_pts is None:
        lacking = "annotations" if annotations is None else "numbers of LiDAR points in its annotations"
        raise ValueError(f"frame {frame.token!r} has no {lacking}, which Waymo's scores ask for")
    types = _types(annotations.names(), classes or {}, strict=False)
    points = annotations.num_lidar_pts.cpu().numpy().clip(min=0)
    return _objects(annotations.boxes, types, frame.scene, frame.timestamp_ns, num_points=points)[types > 0]


@METRICS.register_module()
class WaymoDetectionMetric(BaseMetric):
    """Writes the official submission file of the tested frames and returns `WaymoScores.flat`.

    Without a ground-truth file the frames' annotations are the truth; they do not tell difficulties, so a box is
    LEVEL_2 if it has at most five LiDAR points. A frame that came twice counts once.

    Args:
        output_dir: folder for ``predictions.bin``.
        ground_truth: an ``Objects`` file with the truth of the tested frames, or None.
        breakdowns: names of Waymo's breakdowns.
        classes: Waymo's type by class name, where they differ; "" for a class that is left out.
        collect_device: "cpu" or "gpu", see mmengine.
        prefix: of the metric names; "waymo" if not given.
    """

    default_prefix = "waymo"

    def __init__(
        self,
        output_dir: str = "work_dirs/waymo_detection",
        ground_truth: str | None = None,
        breakdowns: Sequence[str] = ("object_type", "range"),
        classes: Mapping[str, str] | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        collect_dir = str(Path(output_dir) / ".collect") if collect_device == "cpu" else None
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.output_dir, self.breakdowns, self.classes = Path(output_dir), tuple(breakdowns), classes
        self.ground_truth = None if ground_truth is None else Path(ground_truth)

    def process(self, data_batch: Sequence[Frame], data_samples: Sequence[Predictions]) -> None:
        """Keep the boxes of a batch under their drive and time."""
        for frame, sample in zip(data_batch, data_samples, strict=True):
            truth = WaymoObjects.empty() if self.ground_truth else waymo_ground_truth(frame, self.classes)
            key = (frame.scene, frame.timestamp_ns)
            self.results.append((key, waymo_predictions(sample, frame.scene, self.classes), truth))

    def compute_metrics(self, results: list[FrameResult]) -> dict[str, float]:
        """Scores over the tested frames, or over those of the ground-truth file."""
        frames = {key: parts for key, *parts in results}
        predictions, truth = (
            WaymoObjects.concatenate([parts[place] for parts in frames.values()]) for place in range(2)
        )
        path = write_waymo_objects(self.output_dir / "predictions.bin", predictions)
        logger.info("wrote %s", path)
        if self.ground_truth:
            truth = read_waymo_objects(self.ground_truth)
        return evaluate_waymo(truth, predictions, breakdowns=self.breakdowns).flat()


def _objects(boxes: Boxes3D, types: np.ndarray, scene: str, timestamp_ns: int, **columns: np.ndarray) -> WaymoObjects:
    rows = boxes.tensor.detach().to("cpu", torch.float64)
    return WaymoObjects.from_columns(
        [scene] * len(rows), np.full(len(rows), timestamp_ns // NS_PER_US), rows[:, :7].numpy(), types.clip(min=1),
        speed=rows[:, 7:9].nan_to_num(0.0).numpy() if rows.shape[1] > 7 else 0.0, **columns,
    )


def _types(names: Sequence[str], classes: Mapping[str, str], *, strict: bool) -> np.ndarray:
    """(K,) int64 number of Waymo's type; 0 for one that is left out."""
    numbers = {name: number for number, name in enumerate(TYPES, 1)} | {"": 0}
    wanted = [classes.get(name, name).upper() for name in names]
    unknown = sorted(set(wanted) - set(numbers))
    if unknown and strict:
        raise ValueError(
            f"predictions hold the class {unknown[0].lower()!r}, which is none of Waymo's {', '.join(TYPES)}: "
            "name its type in classes"
        )
    return np.array([numbers.get(name, 0) for name in wanted], np.int64)
