"""The closed list of Cityscapes labels, with the classes and categories that are scored (Cordts et al., CVPR 2016)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..structures.segmentation import IGNORE_LABEL


@dataclass(frozen=True)
class CityscapesLabel:
    """One label.

    Args:
        name: as in the label files.
        id: value in ``*_labelIds.png``; -1 for one that occurs in polygons alone.
        category: group of labels that it belongs to.
        has_instances: its objects are told apart.
        is_scored: it counts; pixels of the others are ignored in the truth.
        average_size: mean pixels of an instance in the training set; None without instances.
    """

    name: str
    id: int
    category: str
    has_instances: bool = False
    is_scored: bool = True
    average_size: float | None = None


def _ignored(name: str, id: int, category: str = "void", average_size: float | None = None) -> CityscapesLabel:
    return CityscapesLabel(name, id, category, average_size is not None, False, average_size)


def _thing(name: str, id: int, category: str, average_size: float) -> CityscapesLabel:
    return CityscapesLabel(name, id, category, True, True, average_size)


LABELS = (
    _ignored("unlabeled", 0),
    _ignored("ego vehicle", 1),
    _ignored("rectification border", 2),
    _ignored("out of roi", 3),
    _ignored("static", 4),
    _ignored("dynamic", 5),
    _ignored("ground", 6),
    CityscapesLabel("road", 7, "flat"),
    CityscapesLabel("sidewalk", 8, "flat"),
    _ignored("parking", 9, "flat"),
    _ignored("rail track", 10, "flat"),
    CityscapesLabel("building", 11, "construction"),
    CityscapesLabel("wall", 12, "construction"),
    CityscapesLabel("fence", 13, "construction"),
    _ignored("guard rail", 14, "construction"),
    _ignored("bridge", 15, "construction"),
    _ignored("tunnel", 16, "construction"),
    CityscapesLabel("pole", 17, "object"),
    _ignored("polegroup", 18, "object"),
    CityscapesLabel("traffic light", 19, "object"),
    CityscapesLabel("traffic sign", 20, "object"),
    CityscapesLabel("vegetation", 21, "nature"),
    CityscapesLabel("terrain", 22, "nature"),
    CityscapesLabel("sky", 23, "sky"),
    _thing("person", 24, "human", 3462.4756337644),
    _thing("rider", 25, "human", 3930.4788056518),
    _thing("car", 26, "vehicle", 12794.0202738185),
    _thing("truck", 27, "vehicle", 27855.1264367816),
    _thing("bus", 28, "vehicle", 35732.1511111111),
    _ignored("caravan", 29, "vehicle", 36771.8241758242),
    _ignored("trailer", 30, "vehicle", 16926.9763313609),
    _thing("train", 31, "vehicle", 67583.7075812274),
    _thing("motorcycle", 32, "vehicle", 6298.7200839748),
    _thing("bicycle", 33, "vehicle", 4672.3249222261),
    _ignored("license plate", -1, "vehicle"),
)
PICTURE_LABELS = LABELS[:-1]                                # those of label files: their id is their place
SCORED = tuple(label for label in LABELS if label.is_scored)
CLASSES = tuple(label.name for label in SCORED)             # in the order of the train ids
THINGS = tuple(label.name for label in SCORED if label.has_instances)
CATEGORIES = ("void", "flat", "construction", "object", "nature", "sky", "human", "vehicle")
ID_OF_CLASS = {label.name: label.id for label in SCORED}
INSTANCE_FACTOR = 1000                                      # instance files hold 1000 * label id + number


def train_id_table() -> np.ndarray:
    """(34,) int64 train id (place in `CLASSES`) by label id, `IGNORE_LABEL` for those that are not scored."""
    table = np.full(len(PICTURE_LABELS), IGNORE_LABEL, np.int64)
    table[[label.id for label in SCORED]] = np.arange(len(SCORED))
    return table
