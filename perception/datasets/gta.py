"""GTA5: 24,966 labelled pictures of a video game's city (Richter et al., "Playing for Data", ECCV 2016).

Labels are Cityscapes' in PNG files with a palette. Some are of another size than their picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..registry import DATASETS
from .base import Transform
from .cityscapes_labels import CLASSES, SCORED
from .picture_folder import PictureFolder

IDS = tuple(label.id for label in SCORED)
OTHERS = tuple(sorted(set(range(35)) - set(IDS)))           # 34 is the licence plate, as a label of its own


@DATASETS.register_module()
class GTADataset(PictureFolder):
    """Pictures with the 19 classes of Cityscapes; see `PictureFolder`. There are no instances.

    Labels of another size are brought to that of their picture, nearest pixel.

    Args:
        root: folder of the data set.
        pictures: folder of the pictures.
        masks: folder of the labels, of the same names; None leaves the pictures unlabelled.

    Raises:
        DataError: there is no picture.
    """

    resizes_labels = True

    def __init__(
        self,
        root: str | Path,
        *,
        pictures: str = "images",
        masks: str | None = "labels",
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(
            root, CLASSES, pictures=pictures, masks=masks, values=IDS, ignored=OTHERS, transforms=transforms, seed=seed
        )
