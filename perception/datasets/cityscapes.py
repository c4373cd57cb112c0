"""Cityscapes: 5,000 finely labelled pictures of 2048 x 1024 pixels from 50 cities (Cordts et al., CVPR 2016).

Also any other set in the same layout: ``leftImg8bit/SPLIT/CITY/*_leftImg8bit.png`` with labels in
``gtFine/SPLIT/CITY/*_gtFine_labelIds.png`` and ``*_instanceIds.png``, and, made of these by the official converter,
``gtFine/cityscapes_panoptic_SPLIT/*_gtFine_panoptic.png``. Of the 34 labels 19 are scored; the others are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ConfigError, DataError, suggestion
from ..registry import DATASETS
from ..structures import PixelLabels
from .base import Transform
from .cityscapes_labels import INSTANCE_FACTOR, PICTURE_LABELS
from .cityscapes_panoptic import rgb_to_ids
from .class_partners import CLASS_LISTS, class_list, translated
from .compact_labels import compact
from .label_pictures import classes_of_numbers, read_label_colors, read_label_numbers
from .picture_dataset import PictureDataset, PictureRecord, list_pictures

PICTURE_ENDING = "_leftImg8bit"
RATE_HZ = 17.0                                              # of the frame numbers
NAMES = {label.id: label.name if label.is_scored else None for label in PICTURE_LABELS}
LABEL_FILES = {                                             # by where the labels come from, below the root
    "classes": "gtFine/{split}/{city}/{token}_gtFine_labelIds.png",
    "instances": "gtFine/{split}/{city}/{token}_gtFine_instanceIds.png",
    "panoptic": "gtFine/cityscapes_panoptic_{split}/{token}_gtFine_panoptic.png",
}


@DATASETS.register_module()
class CityscapesDataset(PictureDataset):
    """Pictures of one split with classes, and instances unless told otherwise; see `PictureDataset`.

    Objects that were labelled as a group have a class but no instance. Ignored objects (caravans, trailers) keep their
    instances, since the benchmark's AP treats them otherwise than ignored regions.

    Args:
        root: folder holding ``leftImg8bit/`` and ``gtFine/``.
        split: folder below these, such as "train", "val" or "test".
        labels: files that the labels are read from: "classes", "instances" (with classes) or "panoptic" (likewise);
            None leaves the pictures unlabelled.
        classes_of: list that the labels are told in, see `perception.datasets.class_partners`: "cityscapes", the 19
            scored classes, or "nuscenes". Pixels of classes without a partner there are ignored.
        classes: some of that list, in the order of the labels.

    Raises:
        DataError: the split has no picture, or a name tells no city and frame.
        ConfigError: ``labels``, the list or a class is unknown.
    """

    METAINFO = asdict(CLASS_LISTS["cityscapes"])

    def __init__(
        self,
        root: str | Path,
        *,
        split: str = "train",
        labels: str | None = "instances",
        classes_of: str = "cityscapes",
        classes: Sequence[str] | None = None,
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        if labels is not None and labels not in LABEL_FILES:
            raise ConfigError(f'labels must be one of {", ".join(LABEL_FILES)} or None, got "{labels}"'
                              f"{suggestion(labels, LABEL_FILES)}")
        self.METAINFO = asdict(class_list(classes_of))
        self.names = translated(NAMES, "cityscapes", classes_of)
        self.split, self.labels = split, labels
        super().__init__(root, classes=classes, transforms=transforms, seed=seed)

    def list_records(self) -> list[PictureRecord]:
        """Pictures by city, drive and frame number."""
        return [self._record(path) for path in list_pictures(self.root / "leftImg8bit" / self.split, PICTURE_ENDING)]

    def read_labels(self, path: Path) -> PixelLabels:
        """Classes and, but for ``labels="classes"``, instances of one picture."""
        if self.labels == "panoptic":
            values = rgb_to_ids(read_label_colors(path))
        else:
            values = read_label_numbers(path)
        regions = np.where(values >= INSTANCE_FACTOR, values // INSTANCE_FACTOR, values)
        classes = torch.from_numpy(classes_of_numbers(path, regions, self.names, self.classes))
        return PixelLabels(classes, None if self.labels == "classes" else torch.from_numpy(instance_numbers(values)))

    def _record(self, path: Path) -> PictureRecord:
        token = path.stem.removesuffix(PICTURE_ENDING)
        city, _, number = token.partition("_")
        frame = number.rpartition("_")[2]
        if not frame.isdigit():
            raise DataError(path, "name", f"CITY_DRIVE_FRAME{PICTURE_ENDING}", path.name)
        labels = None
        if self.labels is not None:
            file = LABEL_FILES[self.labels].format(split=self.split, city=path.parent.name, token=token)
            labels = self.root / file
        time = round(int(frame) * 1e9 / RATE_HZ)
        return PictureRecord(token, path, labels, token.rpartition("_")[0] or city, time)


def instance_numbers(values: np.ndarray) -> np.ndarray:
    """(H, W) int64 number of each instance, 1, 2, ... by rising value of the instance file; 0 where there is none."""
    known, place = compact(values)
    is_instance = known >= INSTANCE_FACTOR
    return np.where(is_instance, np.cumsum(is_instance), 0)[place]
