"""Waymo Open Dataset: pictures of its cameras with panoptic labels (Mei et al., ECCV 2022), taken out of their records.

A picture ``NAME.jpg`` has its labels in ``NAME_panoptic.png`` beside it, the 16-bit picture of the record's
``panoptic_label``: class * divisor + number of the instance, 29 classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import ConfigError
from ..registry import DATASETS
from ..structures import PixelLabels
from .base import Transform
from .class_partners import CLASS_LISTS, WAYMO_LABELS, class_list, translated
from .compact_labels import compact
from .label_pictures import classes_of_numbers, read_label_numbers
from .picture_dataset import PictureDataset, PictureRecord, list_pictures

LABEL_ENDING = "_panoptic"
NAMES: dict[int, str | None] = {0: None, **{number: WAYMO_LABELS[number] for number in range(1, len(WAYMO_LABELS))}}


@DATASETS.register_module()
class WaymoPictures(PictureDataset):
    """Pictures below a folder, in any folders, which are their scenes; see `PictureDataset`.

    An instance has the number that stands in its file, class included, so those of two classes never meet. Pixels of a
    thing without a number, such as cones, have a class alone.

    Args:
        root: folder of the pictures.
        classes_of: list that the labels are told in, see `perception.datasets.class_partners`: "waymo", or that of a
            model that learned elsewhere, "nuscenes" (also the synthetic city's) or "cityscapes". Pixels of classes
            without a partner there are ignored.
        classes: some of that list, in the order of the labels.
        divisor: ``panoptic_label_divisor`` of the records.
        labelled: whether the pictures have labels.

    Raises:
        DataError: there is no picture.
        ConfigError: the list or a class is unknown, or the divisor is below 1.
    """

    METAINFO = asdict(CLASS_LISTS["waymo"])

    def __init__(
        self,
        root: str | Path,
        *,
        classes_of: str = "waymo",
        classes: Sequence[str] | None = None,
        divisor: int = 1000,
        labelled: bool = True,
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        if divisor < 1:
            raise ConfigError(f"divisor must be >= 1, got {divisor}")
        self.METAINFO = asdict(class_list(classes_of))
        self.names = translated(NAMES, "waymo", classes_of)
        self.divisor, self.labelled = divisor, labelled
        super().__init__(root, classes=classes, transforms=transforms, seed=seed)

    def list_records(self) -> list[PictureRecord]:
        """Pictures by path."""
        paths = [path for path in list_pictures(self.root) if not path.stem.endswith(LABEL_ENDING)]
        return [self._record(path) for path in paths]

    def read_labels(self, path: Path) -> PixelLabels:
        """Classes and instances of one picture."""
        codes, place = compact(read_label_numbers(path))                                 # (L,), (H, W)
        classes = classes_of_numbers(path, codes // self.divisor, self.names, self.classes)
        things = [self.classes.index(name) for name in self.metainfo["things"]]
        numbers = np.where((codes % self.divisor > 0) & np.isin(classes, things), codes, 0)
        return PixelLabels(torch.from_numpy(classes[place]), torch.from_numpy(numbers[place]))

    def _record(self, path: Path) -> PictureRecord:
        token = path.relative_to(self.root).with_suffix("")
        scene = "" if token.parent == Path() else token.parent.as_posix()
        labels = path.with_name(f"{path.stem}{LABEL_ENDING}.png") if self.labelled else None
        return PictureRecord(token.as_posix(), path, labels, scene)
