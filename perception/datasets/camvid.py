"""CamVid: 701 labelled pictures of 960 x 720 pixels from drives in Cambridge (Brostow et al., PRL 2009).

Labels are colours of 32 classes, of which 11 are scored by custom; the others are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import ConfigError
from ..registry import DATASETS
from ..structures import PixelLabels
from .base import Transform
from .label_pictures import Color, classes_of_colors, read_label_colors
from .picture_dataset import PictureDataset, PictureRecord, list_pictures

CLASSES = (                                                 # in the order of their labels
    "Bicyclist", "Building", "Car", "Column_Pole", "Fence", "Pedestrian", "Road", "Sidewalk", "SignSymbol", "Sky",
    "Tree",
)
COLORS: dict[str, Color] = {
    "Animal": (64, 128, 64), "Archway": (192, 0, 128), "Bicyclist": (0, 128, 192), "Bridge": (0, 128, 64),
    "Building": (128, 0, 0), "Car": (64, 0, 128), "CartLuggagePram": (64, 0, 192), "Child": (192, 128, 64),
    "Column_Pole": (192, 192, 128), "Fence": (64, 64, 128), "LaneMkgsDriv": (128, 0, 192),
    "LaneMkgsNonDriv": (192, 0, 64), "Misc_Text": (128, 128, 64), "MotorcycleScooter": (192, 0, 192),
    "OtherMoving": (128, 64, 64), "ParkingBlock": (64, 192, 128), "Pedestrian": (64, 64, 0), "Road": (128, 64, 128),
    "RoadShoulder": (128, 128, 192), "Sidewalk": (0, 0, 192), "SignSymbol": (192, 128, 128), "Sky": (128, 128, 128),
    "SUVPickupTruck": (64, 128, 192), "TrafficCone": (0, 0, 64), "TrafficLight": (0, 64, 64), "Train": (192, 64, 128),
    "Tree": (128, 128, 0), "Truck_Bus": (192, 128, 192), "Tunnel": (64, 0, 64), "VegetationMisc": (192, 192, 0),
    "Void": (0, 0, 0), "Wall": (64, 192, 0),
}
NAMES = {color: name if name in CLASSES else None for name, color in COLORS.items()}
RATE_HZ = 30.0                                              # of the frame numbers


@DATASETS.register_module()
class CamVidDataset(PictureDataset):
    """Pictures of one split; see `PictureDataset`. There are no instances.

    Args:
        root: folder of the data set.
        split: replaces ``{split}`` in the two folders; several make one data set, one after the other.
        pictures: folder of the pictures below the root.
        labels: folder of the label pictures, ``NAME{label_ending}.png`` for each picture; None leaves them unlabelled.
        label_ending: what the names of the label pictures have beside.
        classes: some of the 11 classes, in the order of the labels.

    Raises:
        DataError: the split has no picture.
        ConfigError: a class is unknown.
    """

    METAINFO = {"classes": CLASSES, "things": ()}

    def __init__(
        self,
        root: str | Path,
        *,
        split: str | Sequence[str] = "train",
        pictures: str = "{split}",
        labels: str | None = "{split}_labels",
        label_ending: str = "_L",
        classes: Sequence[str] | None = None,
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        names = (split,) if isinstance(split, str) else tuple(split)
        self.folders = [
            (pictures.format(split=name), None if labels is None else labels.format(split=name)) for name in names
        ]
        if pictures == labels and not label_ending:
            raise ConfigError(f'label_ending must not be empty if pictures and labels lie in one folder, "{pictures}"')
        self.label_ending = label_ending
        super().__init__(root, classes=classes, transforms=transforms, seed=seed)

    def list_records(self) -> list[PictureRecord]:
        """Pictures of each split by name, which begins with that of the drive."""
        return [record for folders in self.folders for record in self._records(*folders)]

    def read_labels(self, path: Path) -> PixelLabels:
        """Classes of one picture."""
        return PixelLabels(torch.from_numpy(classes_of_colors(path, read_label_colors(path), NAMES, self.classes)))

    def _records(self, pictures: str, labels: str | None) -> list[PictureRecord]:
        files = list_pictures(self.root / pictures)
        if labels == pictures:
            files = [path for path in files if not path.stem.endswith(self.label_ending)]
        return [self._record(path, labels) for path in files]

    def _record(self, path: Path, folder: str | None) -> PictureRecord:
        scene, _, number = path.stem.rpartition("_")
        number = number.removeprefix("f")
        time = round(int(number) * 1e9 / RATE_HZ) if number.isdigit() else 0
        labels = None if folder is None else self.root / folder / f"{path.stem}{self.label_ending}.png"
        return PictureRecord(path.stem, path, labels, scene, time)
