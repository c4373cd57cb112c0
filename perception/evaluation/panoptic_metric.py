"""The metric of regions: panoptic quality over things and stuff."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from perception.datasets.compact_labels import compact
from perception.registry import METRICS
from perception.structures.segmentation import IGNORE_LABEL

from .segmentation.panoptic_quality import VOID, PanopticQuality, SegmentTable
from .segmentation_metric import LabelledPicture, ThingMetric

PREFIX_OF_GROUP = {"all": "", "things": "things_", "stuff": "stuff_"}


@METRICS.register_module()
class PanopticSegmentationMetric(ThingMetric[PanopticQuality]):
    """PQ, SQ and RQ in 0..1 of all classes, of things and of stuff, and of each class that occurs.

    True segments are each instance of a thing and all pixels of a stuff class; pixels of a thing without a number are
    one crowd a class. See `PanopticQuality` for the rules and `ThingMetric` for the arguments.
    """

    default_prefix = "panoptic"
    file_name = "metrics_panoptic.json"

    def counts_of(self, picture: LabelledPicture) -> PanopticQuality:
        """Counts of one picture."""
        found = picture.predictions.panoptic
        if found is None:
            raise ValueError("the predictions have no panoptic regions")
        labels = np.append(0, picture.own(found.labels))                                 # by id, which begin at 1
        ids = found.ids.cpu().numpy()
        ids = np.where(labels[ids] < len(self.classes), ids, VOID)
        present = _present(ids)                              # regions without a pixel say nothing
        quality = self._quality()
        quality.update(*self.true_segments(picture), ids, SegmentTable(present, labels[present]))
        return quality

    def true_segments(self, picture: LabelledPicture) -> tuple[np.ndarray, SegmentTable]:
        """(H, W) int64 ids of the true segments, and what they are."""
        things = self.labels_of(self.things)
        is_thing = np.isin(picture.classes, things)
        number = np.where(is_thing, picture.true_instances(), 0) if things else np.zeros_like(picture.classes)
        span = int(number.max(initial=0)) + 1
        ids = np.where(picture.classes == IGNORE_LABEL, VOID, (picture.classes + 1) * span + number)
        present = _present(ids)
        classes = present // span - 1
        return ids, SegmentTable(present, classes, np.isin(classes, things) & (present % span == 0))

    def scores_of(self, counts: Sequence[PanopticQuality]) -> dict[str, float]:
        """Means with the number of classes in them, and qualities by class."""
        quality = self._quality()
        for part in counts:
            quality.merge(part)
        scores = quality.compute()
        flat: dict[str, float] = {}
        for group, prefix in PREFIX_OF_GROUP.items():
            mean = scores.averages[group]
            flat |= {f"{prefix}PQ": mean.pq, f"{prefix}SQ": mean.sq, f"{prefix}RQ": mean.rq}
            flat[f"{prefix}num_classes"] = mean.num_averaged
        occurs = scores.tp + scores.fp + scores.fn > 0
        for label in np.flatnonzero(occurs).tolist():
            name = self.classes[label]
            flat |= {f"{name}_PQ": scores.pq[label], f"{name}_SQ": scores.sq[label], f"{name}_RQ": scores.rq[label]}
        return flat

    def _quality(self) -> PanopticQuality:
        things = self.labels_of(self.things)
        return PanopticQuality({label: label in things for label in range(len(self.classes))})


def _present(ids: np.ndarray) -> np.ndarray:
    """(S,) ids of the segments of a map, rising."""
    values = compact(ids)[0]
    return values[values != VOID]
