"""What the metrics of pictures have in common: pairing frames with predictions, classes by name, counts by frame."""

from __future__ import annotations

import logging
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from mmengine.evaluator import BaseMetric
from torch import Tensor

from perception.atomic_write import write_json
from perception.errors import suggestion
from perception.structures import Frame, SegmentationPredictions
from perception.structures.segmentation import IGNORE_LABEL

from .segmentation.pair_counts import checked_labels

logger = logging.getLogger(__name__)
Counts = TypeVar("Counts")


@dataclass(frozen=True, eq=False)
class LabelledPicture:
    """True labels and predictions of one picture, on the CPU, with the labels of the metric.

    Args:
        classes: (H, W) int64 true class or `IGNORE_LABEL`.
        instances: (H, W) int64 number of the true instance, 0 for none; None if they are not labelled.
        predictions: what the model says.
        own_labels: (L,) int64 label of the metric by label of the model; K for a class that the metric lacks.
    """

    classes: np.ndarray
    instances: np.ndarray | None
    predictions: SegmentationPredictions
    own_labels: np.ndarray

    def predicted_classes(self) -> np.ndarray:
        """(H, W) int64 predicted class, K for one that the metric lacks."""
        return self.own(self.predictions.classes)

    def own(self, labels: Tensor) -> np.ndarray:
        """Labels of the metric. Raises ValueError if one is not a class of the model."""
        theirs = labels.cpu().numpy()
        return self.own_labels[checked_labels(theirs, 0, len(self.own_labels) - 1, "predicted classes")]

    def true_instances(self) -> np.ndarray:
        """(H, W) int64 numbers. Raises ValueError if instances are not labelled."""
        if self.instances is None:
            raise ValueError("the labels have no instances to score against")
        return self.instances


class SegmentationMetric(BaseMetric, Generic[Counts]):
    """Counts each picture for itself, and sums up the counts of those that were tested.

    Under distributed testing every rank hands in its counts; a frame that came twice counts once.

    Args:
        classes: names of the K classes, in the order of the labels; None takes those of the data set.
        camera: whose picture is scored; None for the only one of each frame.
        output_dir: folder for the file of the scores.
        collect_device: "cpu" or "gpu", see mmengine.
        prefix: of the metric names.
    """

    file_name = "metrics_segmentation.json"

    def __init__(
        self,
        classes: Sequence[str] | None = None,
        *,
        camera: str | None = None,
        output_dir: str = "work_dirs/segmentation",
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        collect_dir = str(Path(output_dir) / ".collect") if collect_device == "cpu" else None
        super().__init__(collect_device=collect_device, prefix=prefix, collect_dir=collect_dir)
        self.camera, self.output_dir = camera, Path(output_dir)
        self._classes = None if classes is None else tuple(classes)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes. Raises ValueError if neither the config nor the data set tells them."""
        if self._classes is not None:
            return self._classes
        classes = (self.dataset_meta or {}).get("classes")
        if not classes:
            raise ValueError(f"{type(self).__name__} needs classes: give them, or a data set that has some")
        return tuple(classes)

    def process(self, data_batch: Sequence[Frame], data_samples: Sequence[SegmentationPredictions]) -> None:
        """Count the pictures of a batch.

        Raises:
            ValueError: a frame has no labels, predictions are of another frame or size, or of unknown classes.
        """
        for frame, sample in zip(data_batch, data_samples, strict=True):
            if frame.token != sample.token:
                raise ValueError(f"predictions of frame {sample.token!r} came with frame {frame.token!r}")
            try:
                self.results.append((frame.token, self.counts_of(self._labelled(frame, sample))))
            except ValueError as error:
                raise ValueError(f"frame {frame.token!r}: {error}") from error

    def compute_metrics(self, results: list[tuple[str, Counts]]) -> dict[str, float]:
        """Scores over the frames that were tested, as far as defined; writes them to a file."""
        scores = self.scores_of(list(dict(results).values()))
        flat = {name: float(value) for name, value in scores.items() if not math.isnan(value)}
        path = write_json(self.output_dir / self.file_name, flat)
        logger.info("wrote %s", path)
        return flat

    @abstractmethod
    def counts_of(self, picture: LabelledPicture) -> Counts:
        """What one picture leaves behind; small."""

    @abstractmethod
    def scores_of(self, counts: Sequence[Counts]) -> Mapping[str, float]:
        """Scores by name of all pictures together; NaN where one is not defined."""

    def labels_of(self, names: Sequence[str]) -> list[int]:
        """Labels of classes by name. Raises ValueError that suggests the nearest name."""
        for name in names:
            if name not in self.classes:
                raise ValueError(f"there is no class {name!r}{suggestion(name, self.classes)} among {self.classes}")
        return [self.classes.index(name) for name in names]

    def _labelled(self, frame: Frame, sample: SegmentationPredictions) -> LabelledPicture:
        name = self.camera
        if name is None:
            if len(frame.cameras) != 1:
                raise ValueError(f"camera must name one of {', '.join(frame.cameras) or 'no cameras'}, got None")
            name = next(iter(frame.cameras))
        labels = frame.cameras[name].labels if name in frame.cameras else None
        if labels is None:
            raise ValueError(f"camera {name!r} has no labels to score against; give the data set labels")
        if labels.classes.shape != sample.classes.shape:
            sizes = f"{tuple(sample.classes.shape)}, the labels {tuple(labels.classes.shape)}"
            raise ValueError(f"the predicted classes are {sizes}: predictions must have the size of the labels")
        classes = labels.classes.cpu().numpy()
        known = classes[classes != IGNORE_LABEL]
        checked_labels(known, 0, len(self.classes) - 1, f"labels other than {IGNORE_LABEL}")
        instances = None if labels.instances is None else labels.instances.cpu().numpy()
        return LabelledPicture(classes, instances, sample, self._own_labels(sample.class_names))

    def _own_labels(self, class_names: Sequence[str]) -> np.ndarray:
        names = tuple(class_names) or self.classes
        missing = [name for name in self.classes if name not in names]
        if missing:
            hint = suggestion(missing[0], names)
            raise ValueError(f"the model has no class {missing[0]!r}{hint}; it has {', '.join(names)}")
        order: dict[str, Any] = {name: label for label, name in enumerate(self.classes)}
        return np.array([order.get(name, len(self.classes)) for name in names], np.int64)


class ThingMetric(SegmentationMetric[Counts]):
    """A metric that tells the instances of some classes apart.

    Args:
        things: names of the classes with instances; None takes the ``things`` of the data set.
        kwargs: see `SegmentationMetric`.
    """

    def __init__(
        self, classes: Sequence[str] | None = None, *, things: Sequence[str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(classes, **kwargs)
        self._things = None if things is None else tuple(things)

    @property
    def things(self) -> tuple[str, ...]:
        """Names of the things. Raises ValueError if neither the config nor the data set tells them."""
        things = (self.dataset_meta or {}).get("things") if self._things is None else self._things
        if things is None:
            raise ValueError(f"{type(self).__name__} needs things: give them, or a data set that has some")
        return tuple(things)
