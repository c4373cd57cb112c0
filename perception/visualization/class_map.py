"""Classes and instances of pixels or points, true or predicted, in the form in which they are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from perception.datasets.compact_labels import compact
from perception.structures import Frame, PixelLabels, PointLabels, PointPredictions, SegmentationPredictions
from perception.structures.segmentation import IGNORE_LABEL

from .palette import Color
from .segment_palette import instance_color, segment_colors

UNKNOWN: Color = (172, 178, 188)                           # of points without a class
INSTANCES_OF_CLASS = 2**40                                 # more than there are numbers of instances


@dataclass(frozen=True, eq=False)
class ClassMap:
    """A class, and where there is one an instance, of each pixel or point.

    Args:
        classes: (H, W) or (N,) int64; IGNORE_LABEL, and any other that has no name, is not drawn.
        instances: the same of instances, 0 for none.
        names: of the classes; "class 3" for those that are unknown.
    """

    classes: np.ndarray
    instances: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def of_pixels(cls, labels: PixelLabels, names: tuple[str, ...] = ()) -> ClassMap:
        """True classes of a picture; ``names`` are taken if the labels have none."""
        return cls._of(labels.classes, labels.instances, labels.names or names)

    @classmethod
    def of_picture(cls, found: SegmentationPredictions, min_score: float = 0.3) -> ClassMap:
        """Predicted classes of a picture, with the regions of things, or else the objects of at least a score."""
        classes, instances = found.classes, torch.zeros_like(found.classes)
        if found.panoptic is not None:
            regions = found.panoptic
            label_of = torch.cat([regions.labels.new_tensor([IGNORE_LABEL]), regions.labels])    # (S + 1,)
            classes = label_of[regions.ids]
            things = torch.tensor(found.things, dtype=torch.int64)
            instances = torch.where(torch.isin(classes, things), regions.ids, 0)
        elif found.instances is not None:
            objects = found.instances
            for place in objects.scores.argsort().tolist():                                      # the best on top
                if objects.scores[place] >= min_score:
                    mask = objects.masks[place]
                    classes = torch.where(mask, objects.labels[place], classes)
                    instances = torch.where(mask, place + 1, instances)
        return cls._of(classes, instances, found.class_names)

    @classmethod
    def of_points(cls, labels: PointLabels | PointPredictions) -> ClassMap:
        """True or predicted classes of points."""
        return cls._of(labels.classes, labels.instances, labels.names)

    @classmethod
    def _of(cls, classes: Tensor, instances: Tensor | None, names: tuple[str, ...]) -> ClassMap:
        numbers = torch.zeros_like(classes) if instances is None else instances
        known = classes[classes != IGNORE_LABEL]
        count = int(known.max()) + 1 if len(known) and not names else 0
        given = names or tuple(f"class {label}" for label in range(count))
        return cls(classes.cpu().numpy(), numbers.cpu().numpy(), given)

    @cached_property
    def is_known(self) -> np.ndarray:
        """(H, W) or (N,) bool, where there is a class to draw."""
        return (self.classes >= 0) & (self.classes < len(self.names))

    @cached_property
    def colors(self) -> np.ndarray:
        """(H, W, 3) or (N, 3) uint8, of the class and varied by instance; `UNKNOWN` where there is no class."""
        table = np.array([*segment_colors(self.names), UNKNOWN], dtype=np.uint8)               # (K + 1, 3)
        colors = table[np.where(self.is_known, self.classes, len(self.names))]
        inside = self.is_known & (self.instances > 0)
        codes, place = compact(self.classes[inside] * INSTANCES_OF_CLASS + self.instances[inside])   # (I,), (inside,)
        labels = codes // INSTANCES_OF_CLASS
        ranks = np.arange(len(codes)) - np.searchsorted(labels, labels)                          # within the class
        palette = segment_colors(self.names)
        varied = [instance_color(palette[label], rank) for label, rank in zip(labels, ranks, strict=True)]
        colors[inside] = np.array(varied, dtype=np.uint8).reshape(-1, 3)[place]
        return colors

    def outlines(self) -> np.ndarray:
        """(H, W) bool: the pixels of instances, of a picture, that border on another instance or on none."""
        key = np.where(self.is_known, self.instances, 0)
        edge = np.zeros(key.shape, dtype=bool)
        for axis in (0, 1):
            before, after = [slice(None)] * 2, [slice(None)] * 2
            before[axis], after[axis] = slice(None, -1), slice(1, None)
            differs = key[tuple(before)] != key[tuple(after)]
            edge[tuple(before)] |= differs
            edge[tuple(after)] |= differs
        return edge & (key > 0)

    def legend(self) -> dict[str, Color]:
        """Colours of the classes that occur, by name, in the order of the classes."""
        colors = segment_colors(self.names)
        return {self.names[label]: colors[label] for label in np.unique(self.classes[self.is_known]).tolist()}

    def resized(self, height: int, width: int) -> ClassMap:
        """That of a picture in another size; each pixel takes what stands at the place of its centre."""
        labels = PixelLabels(torch.from_numpy(self.classes), torch.from_numpy(self.instances)).resized(height, width)
        return self._of(labels.classes, labels.instances, self.names)


def true_points(frame: Frame) -> ClassMap | None:
    """Of a frame whose points are labelled."""
    return None if frame.point_labels is None else ClassMap.of_points(frame.point_labels)
