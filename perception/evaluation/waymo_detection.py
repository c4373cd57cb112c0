"""Waymo detection as a metric of a test run: predictions go into an official ``Objects`` file and are scored."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from perception.registry import METRICS
from perception.structures import Annotations, Boxes3D, Frame, Predictions

from .frame_file import Column
from .stored_frames import StoredFrames
from .streaming_metric import StreamingMetric
from .waymo.detection import evaluate_waymo
from .waymo.objects import TYPES, WaymoObjects
from .waymo.objects_file import read_waymo_objects, write_waymo_objects

logger = logging.getLogger(__name__)

NS_PER_US = 1000
KEPT = ("boxes", "types", "scores", "num_points", "speed")         # columns of `WaymoObjects` that are not the frame's
COLUMNS = {                                                # of the predictions of a frame, then of its truth
    "is_truth": Column("bool"),
    "timestamp_us": Column("int64"),
    "boxes": Column("float64", (7,)),
    "types": Column("int8"),
    "scores": Column("float32"),
    "num_points": Column("int32"),
    "speed": Column("float64", (2,)),
}


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
class WaymoDetectionMetric(StreamingMetric):
    """Writes the official submission file of the tested frames and returns `WaymoScores.flat`.

    Without a ground-truth file the frames' annotations are the truth; they do not tell difficulties, so a box is
    LEVEL_2 if it has at most five LiDAR points. A frame that came twice counts once.

    Args:
        output_dir: folder for ``predictions.bin``.
        ground_truth: an ``Objects`` file with the truth of the tested frames, or None.
        breakdowns: names of Waymo's breakdowns.
        classes: Waymo's type by class name, where they differ; "" for a class that is left out.
        collect_device: "cpu" or "gpu", see `StreamingMetric`.
        prefix: of the metric names; "waymo" if not given.
        memory_mb: megabytes of boxes that a process keeps in memory, see `StreamingMetric`.
    """

    default_prefix = "waymo"
    columns = COLUMNS

    def __init__(
        self,
        output_dir: str = "work_dirs/waymo_detection",
        ground_truth: str | None = None,
        breakdowns: Sequence[str] = ("object_type", "range"),
        classes: Mapping[str, str] | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
        memory_mb: float = 16.0,
    ) -> None:
        super().__init__(output_dir, collect_device, prefix, memory_mb)
        self.breakdowns, self.classes = tuple(breakdowns), classes
        self.ground_truth = None if ground_truth is None else Path(ground_truth)

    def process(self, data_batch: Sequence[Frame], data_samples: Sequence[Predictions]) -> None:
        """Keep the boxes of a batch under their drive and time.

        Raises:
            ValueError: see `waymo_predictions` and `waymo_ground_truth`.
        """
        for frame, sample in zip(data_batch, data_samples, strict=True):
            found = waymo_predictions(sample, frame.scene, self.classes)
            truth = WaymoObjects.empty() if self.ground_truth else waymo_ground_truth(frame, self.classes)
            objects = WaymoObjects.concatenate([found, truth])
            rows = {name: getattr(objects, name) for name in ("timestamp_us", *KEPT)}
            self.keep(
                f"{frame.scene}/{frame.timestamp_ns}", {"is_truth": np.arange(len(objects)) >= len(found), **rows}
            )

    def compute_metrics(self, frames: StoredFrames) -> dict[str, float]:
        """Scores over the tested frames, or over those of the ground-truth file."""
        objects, is_truth = _stored_objects(frames), frames.columns["is_truth"]
        predictions = objects[~is_truth]
        path = write_waymo_objects(self.output_dir / "predictions.bin", predictions)
        logger.info("wrote %s", path)
        truth = read_waymo_objects(self.ground_truth) if self.ground_truth else objects[is_truth]
        return evaluate_waymo(truth, predictions, breakdowns=self.breakdowns).flat()


def _stored_objects(frames: StoredFrames) -> WaymoObjects:
    """The objects of all frames, predictions and truth."""
    scenes = np.array([token.rpartition("/")[0] for token in frames.tokens], np.str_)
    contexts = scenes.repeat(np.diff(frames.offsets))
    boxes, types, *others = (frames.columns[name] for name in KEPT)
    return WaymoObjects.from_columns(
        contexts, frames.columns["timestamp_us"], boxes, types, **dict(zip(KEPT[2:], others, strict=True))
    )


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
