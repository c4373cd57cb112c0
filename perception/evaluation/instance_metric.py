"""The metric of instance masks: average precision as Cityscapes scores it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from perception.registry import METRICS
from perception.structures.segmentation import IGNORE_LABEL

from .segmentation.instance_ap import INSTANCE_FACTOR, MIN_REGION, InstanceAP
from .segmentation_metric import LabelledPicture, ThingMetric
from .semantic_metric import places_of_instances

NO_CLASS = 0                                                # region of pixels that no class is known of
FIRST = 1                                                   # region of class 0


@METRICS.register_module()
class InstanceSegmentationMetric(ThingMetric[InstanceAP]):
    """AP and AP50 in 0..1, over the things with true instances, and ``{class}_AP`` and ``{class}_AP50`` of these.

    Pixels of a thing without a number are a group, ignored pixels with a number an instance of a class that is not
    scored; see `InstanceAP` for what follows.

    Args:
        min_region: true instances of fewer pixels are no matter.
        kwargs: see `ThingMetric`.
    """

    default_prefix = "instance"
    file_name = "metrics_instances.json"

    def __init__(
        self, classes: Sequence[str] | None = None, *, min_region: int = MIN_REGION, **kwargs: Any
    ) -> None:
        super().__init__(classes, **kwargs)
        self.min_region = min_region

    def counts_of(self, picture: LabelledPicture) -> InstanceAP:
        """Counts of one picture."""
        found = picture.predictions.instances
        if found is None:
            raise ValueError("the predictions have no instances")
        is_known = picture.classes != IGNORE_LABEL
        region = np.where(is_known, picture.classes + FIRST, NO_CLASS)
        number = places_of_instances(picture.true_instances())
        labels = np.where(is_known, region, FIRST + len(self.classes))
        region = np.where(number > 0, INSTANCE_FACTOR * labels + number - 1, region)
        precision = self._precision()
        precision.update(
            region, found.masks.cpu().numpy(), picture.own(found.labels) + FIRST, found.scores.double().cpu().numpy()
        )
        return precision

    def scores_of(self, counts: Sequence[InstanceAP]) -> dict[str, float]:
        """Means with the number of classes in them, and AP by class."""
        precision = self._precision()
        for part in counts:
            precision.merge(part)
        scores = precision.compute()
        flat = {"AP": scores.mean, "AP50": scores.mean50, "num_classes": scores.num_averaged}
        for name, by_overlap in zip(self.things, scores.ap, strict=True):
            flat |= {f"{name}_AP": by_overlap.mean(), f"{name}_AP50": by_overlap[0]}
        return flat

    def _precision(self) -> InstanceAP:
        class_ids = [label + FIRST for label in self.labels_of(self.things)]
        return InstanceAP(class_ids, [NO_CLASS], min_region=self.min_region)
