"""SYNTHIA-RAND-CITYSCAPES: 9,400 labelled pictures of a generated city (Ros et al., CVPR 2016).

Labels are PNG files of 16 bits: the class in the first channel, the number of the object in the second.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..registry import DATASETS
from ..structures import PixelLabels
from .base import Transform
from .cityscapes_labels import CLASSES
from .label_pictures import classes_of_numbers, read_label_channels
from .picture_folder import PictureFolder

ID_OF_CLASS = {
    "road": 3, "sidewalk": 4, "building": 2, "wall": 21, "fence": 5, "pole": 7, "traffic light": 15, "traffic sign": 9,
    "vegetation": 6, "terrain": 16, "sky": 1, "person": 10, "rider": 17, "car": 8, "truck": 18, "bus": 19, "train": 20,
    "motorcycle": 12, "bicycle": 11,
}
OTHERS = (0, 13, 14, 22)                                    # void, parking slot, road works, lane marking


@DATASETS.register_module()
class SynthiaDataset(PictureFolder):
    """Pictures with the classes of Cityscapes, of which terrain, truck and train do not occur; see `PictureFolder`.

    Args:
        root: folder of the data set.
        pictures: folder of the pictures.
        masks: folder of the labels, of the same names; None leaves the pictures unlabelled.

    Raises:
        DataError: there is no picture.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        pictures: str = "RGB",
        masks: str | None = "GT/LABELS",
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        values = [ID_OF_CLASS[name] for name in CLASSES]
        super().__init__(
            root, CLASSES, pictures=pictures, masks=masks, values=values, ignored=OTHERS, transforms=transforms,
            seed=seed,
        )

    def read_labels(self, path: Path) -> PixelLabels:
        """Classes of one picture."""
        numbers = read_label_channels(path)[..., 0].astype(np.int64)
        return PixelLabels(torch.from_numpy(classes_of_numbers(path, numbers, self.numbers, self.classes)))
