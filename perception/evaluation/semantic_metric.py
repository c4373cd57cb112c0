"""Metrics of the classes of pixels: IoU by class, by boundary, and the scores of Cityscapes' benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from perception.datasets.cityscapes_labels import CATEGORIES, CLASSES, ID_OF_CLASS, INSTANCE_FACTOR
from perception.datasets.compact_labels import compact
from perception.registry import METRICS
from perception.structures.segmentation import IGNORE_LABEL

from .segmentation.boundary_iou import DILATION_RATIO, BoundaryIoU
from .segmentation.cityscapes_iou import CityscapesIoU
from .segmentation.pair_counts import PairCounts, mean_or_nan, pair_counts
from .segmentation.semantic_iou import SemanticIoU
from .segmentation_metric import LabelledPicture, SegmentationMetric

UNLABELLED = 0                                              # Cityscapes' label id of what is none of its classes


@METRICS.register_module()
class SemanticSegmentationMetric(SegmentationMetric[tuple[PairCounts, PairCounts | None]]):
    """mIoU, fwIoU, mACC and pACC in 0..1 as `SemanticIoU` counts them, and ``{class}_IoU`` of classes that occur.

    Args:
        boundary: also mBIoU and ``{class}_BIoU``, see `BoundaryIoU`.
        dilation_ratio: width of a boundary as a share of the picture's diagonal.
        kwargs: see `SegmentationMetric`.

    Raises:
        ValueError: the ratio is not positive.
    """

    default_prefix = "semantic"
    file_name = "metrics_semantic.json"

    def __init__(
        self,
        classes: Sequence[str] | None = None,
        *,
        boundary: bool = False,
        dilation_ratio: float = DILATION_RATIO,
        **kwargs: Any,
    ) -> None:
        super().__init__(classes, **kwargs)
        BoundaryIoU(1, dilation_ratio=dilation_ratio)                # a bad ratio shall be told at once
        self.boundary, self.dilation_ratio = boundary, dilation_ratio

    def counts_of(self, picture: LabelledPicture) -> tuple[PairCounts, PairCounts | None]:
        """Pairs of true and predicted class, of all pixels and of those at boundaries."""
        predicted = picture.predicted_classes()
        rims = self._boundary_iou().pairs(picture.classes, predicted) if self.boundary else None
        return pair_counts(picture.classes, predicted), rims

    def scores_of(self, counts: Sequence[tuple[PairCounts, PairCounts | None]]) -> dict[str, float]:
        """Means, the number of classes in them, and IoU by class."""
        iou, boundary_iou = SemanticIoU(len(self.classes)), self._boundary_iou()
        for pairs, rims in counts:
            iou.add(pairs)
            if rims is not None:
                boundary_iou.add(rims)
        scores = iou.compute()
        flat = {"mIoU": scores.miou, "fwIoU": scores.fwiou, "mACC": scores.macc, "pACC": scores.pacc}
        flat["num_classes"] = scores.num_averaged
        flat |= {f"{name}_IoU": value for name, value in zip(self.classes, scores.iou, strict=True)}
        if self.boundary:
            by_class = boundary_iou.compute()
            flat["mBIoU"] = mean_or_nan(by_class)
            flat |= {f"{name}_BIoU": value for name, value in zip(self.classes, by_class, strict=True)}
        return flat

    def _boundary_iou(self) -> BoundaryIoU:
        return BoundaryIoU(len(self.classes), dilation_ratio=self.dilation_ratio)


@METRICS.register_module()
class CityscapesPixelMetric(SegmentationMetric[CityscapesIoU]):
    """Class and category IoU and iIoU of Cityscapes' pixel-level benchmark, see `CityscapesIoU`.

    The classes must be some of Cityscapes' 19; those that the data set lacks are left out. It needs labels with
    instances; objects without a number are groups.
    """

    default_prefix = "cityscapes"
    file_name = "metrics_cityscapes_pixels.json"

    def counts_of(self, picture: LabelledPicture) -> CityscapesIoU:
        """Counts of one picture."""
        table = self._label_ids()
        truth = np.where(picture.classes == IGNORE_LABEL, len(self.classes), picture.classes)
        labels = table[truth]
        number = places_of_instances(picture.true_instances())
        regions = np.where((number > 0) & (labels > 0), INSTANCE_FACTOR * labels + number - 1, labels)
        iou = CityscapesIoU()
        iou.update(labels, regions, table[picture.predicted_classes()])
        return iou

    def scores_of(self, counts: Sequence[CityscapesIoU]) -> dict[str, float]:
        """The four means, then IoU and iIoU by class and category."""
        iou = CityscapesIoU()
        for part in counts:
            iou.merge(part)
        scores = iou.compute()
        names = ("mIoU", "miIoU", "category_mIoU", "category_miIoU")
        flat = dict(zip(names, scores.averages().tolist(), strict=True))
        flat["num_classes"] = int((~np.isnan(scores.class_iou)).sum())
        for kind, by_class, by_category in (
            ("IoU", scores.class_iou, scores.category_iou), ("iIoU", scores.class_iiou, scores.category_iiou),
        ):
            flat |= {f"{name}_{kind}": by_class[ID_OF_CLASS[name]] for name in CLASSES}
            flat |= {f"category_{name}_{kind}": value for name, value in zip(CATEGORIES, by_category, strict=True)}
        return flat

    def _label_ids(self) -> np.ndarray:
        """(K + 1,) label id by class; the last is for pixels of none."""
        unknown = [name for name in self.classes if name not in ID_OF_CLASS]
        if unknown:
            raise ValueError(f"classes must be those of Cityscapes ({', '.join(CLASSES)}), got {unknown[0]!r}")
        return np.array([*(ID_OF_CLASS[name] for name in self.classes), UNLABELLED], np.int64)


def places_of_instances(instances: np.ndarray) -> np.ndarray:
    """(H, W) numbers of instances -> 1, 2, ... by rising number, 0 where there is none.

    Raises:
        ValueError: there are more than an instance file can tell apart.
    """
    values, place = compact(instances)
    rank = np.cumsum(values > 0) * (values > 0)
    if rank[-1:].sum() > INSTANCE_FACTOR:
        raise ValueError(f"instances must be at most {INSTANCE_FACTOR} a picture, got {rank[-1]}")
    return rank[place]
