"""Pictures of nuScenes' cameras with a label a pixel, one picture a frame.

nuScenes itself labels no pixels; the synthetic city, which is written in its form, does so beside it: each picture
``samples/CAMERA/NAME.jpg`` has ``image_panoptic/CAMERA/NAME.png``, 16 bits: category * 1000 + number of the instance in
its drive, categories as in nuScenes-lidarseg; 0 is the sky.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from ..errors import DataError
from ..registry import DATASETS
from ..structures import PixelLabels
from .base import Transform
from .index import CameraRecord
from .indexed_pictures import IndexedPictures
from .label_pictures import read_label_numbers
from .nuscenes_index import CAMERAS, index_source
from .nuscenes_point_labels import CLASS_BY_CATEGORY, INSTANCES_OF_CATEGORY, POINT_CLASSES, THINGS

SKY = len(POINT_CLASSES)
PICTURE_CLASSES = (*POINT_CLASSES, "sky")


@DATASETS.register_module()
class NuScenesPictures(IndexedPictures):
    """The pictures of one split, camera by camera within each keyframe; a frame is "TOKEN/CAMERA" and has no points.

    Instances are numbered by their codes, so a thing has the same number in all pictures of a drive.

    Args:
        root: folder with ``samples/``, ``image_panoptic/`` and the tables.
        version: folder of the tables, such as "v1.0-trainval".
        split: an official split of that version ("train", "val", "mini_train", ...), or "all".
        index: Parquet file made by `build_nuscenes_index`; by default it lies in ``root``.
        only_scenes: names of the drives to keep; all of the split by default.
        cameras: some of `CAMERAS`.
        labelled: whether the pictures have labels; without, for pictures to adapt to or to look at.

    Raises:
        DataError: the index is absent, of an older schema or of another version or split.
        ConfigError: a version, split, camera or drive is unknown (the nearest one is suggested).
    """

    METAINFO: Mapping[str, Any] = {"classes": PICTURE_CLASSES, "things": THINGS}

    def __init__(
        self,
        root: str | Path,
        *,
        version: str = "v1.0-trainval",
        split: str = "train",
        index: str | Path | None = None,
        only_scenes: Sequence[str] | None = None,
        cameras: Sequence[str] = CAMERAS,
        labelled: bool = True,
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(
            root, index_source(version, split), CAMERAS, index=index, only_scenes=only_scenes, cameras=cameras,
            transforms=transforms, seed=seed,
        )
        self.labelled = labelled

    def list_pictures(self) -> list[tuple[int, str]]:
        """Every camera of every keyframe; one that the index lacks is told when its frame is loaded."""
        return [(row, name) for row in range(len(self.index)) for name in self.cameras]

    def labels_of(self, camera: CameraRecord) -> PixelLabels | None:
        """The labels of the file beside a picture."""
        return picture_labels(self.root / label_path(camera.path)) if self.labelled else None


def label_path(picture: str) -> PurePosixPath:
    """File of the labels of a picture, both below the root."""
    path = PurePosixPath(picture)
    return PurePosixPath("image_panoptic", *path.parts[1:]).with_suffix(".png")


def picture_labels(path: Path) -> PixelLabels:
    """Labels of `PICTURE_CLASSES` of a file of codes.

    Raises:
        DataError: the file is absent, no 16-bit picture, or holds an unknown category.
    """
    codes = read_label_numbers(path)                                                     # (H, W) int64
    category = codes // INSTANCES_OF_CATEGORY
    if codes.min() < 0 or category.max() >= len(CLASS_BY_CATEGORY):
        raise DataError(path, "categories", f"numbers from 0 to {len(CLASS_BY_CATEGORY) - 1}", int(category.max()))
    classes = np.where(codes == 0, SKY, CLASS_BY_CATEGORY[category])
    instances = np.where((codes % INSTANCES_OF_CATEGORY > 0) & (classes < len(THINGS)), codes, 0)
    return PixelLabels(torch.from_numpy(classes), torch.from_numpy(instances), PICTURE_CLASSES)
