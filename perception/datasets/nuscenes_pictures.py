"""Pictures of nuScenes' cameras with a label a pixel, one picture a frame.

nuScenes itself labels no pixels; the synthetic city, which is written in its form, does so beside it: each picture
``samples/CAMERA/NAME.jpg`` has ``image_panoptic/CAMERA/NAME.png``, 16 bits: category * 1000 + number of the instance in
its drive, categories as in nuScenes-lidarseg; 0 is the sky.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch

from ..errors import ConfigError, DataError, suggestion
from ..registry import DATASETS
from ..structures import Frame, PixelLabels
from .base import FrameDataset, Transform
from .index import FrameIndex, pose_from_row
from .indexed_dataset import camera_of_record
from .label_pictures import read_label_numbers
from .nuscenes_index import CAMERAS, index_source
from .nuscenes_point_labels import CLASS_BY_CATEGORY, INSTANCES_OF_CATEGORY, POINT_CLASSES, THINGS

SKY = len(POINT_CLASSES)
PICTURE_CLASSES = (*POINT_CLASSES, "sky")


@DATASETS.register_module()
class NuScenesPictures(FrameDataset):
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
        super().__init__(root, transforms=transforms, seed=seed)
        for name in cameras:
            if name not in CAMERAS:
                raise ConfigError(f'unknown camera "{name}"{suggestion(name, CAMERAS)}; known: {CAMERAS}')
        self.source = index_source(version, split)
        self.index_path = self.source.default_path(self.root) if index is None else Path(index)
        self.only_scenes = None if only_scenes is None else tuple(only_scenes)
        self.cameras, self.labelled = tuple(cameras), labelled
        self.pictures = [(row, name) for row in range(len(self.index)) for name in self.cameras]

    @cached_property
    def index(self) -> FrameIndex:
        """The rows; read again in a worker that was spawned."""
        index = FrameIndex(self.index_path, self.root, self.source)
        return index if self.only_scenes is None else index.of_scenes(self.only_scenes)

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key != "index"}

    @property
    def frame_tokens(self) -> Sequence[str]:
        """TOKEN/CAMERA of each picture."""
        return [f"{self.index.tokens[row]}/{name}" for row, name in self.pictures]

    @property
    def scenes(self) -> Sequence[str]:
        """The drive of every picture."""
        return [self.index.scenes[row] for row, _ in self.pictures]

    def __len__(self) -> int:
        return len(self.pictures)

    def load(self, index: int) -> Frame:
        """One picture, as a file to read later, with its labels."""
        row, name = self.pictures[index]
        record = self.index.record(row)
        pose = pose_from_row(record.lidar.global_from_ego)
        found = {camera.name: camera for camera in record.cameras}
        if name not in found:
            raise DataError(self.index_path, f"cameras of frame {record.token}", name, ", ".join(found) or "none")
        labels = picture_labels(self.root / label_path(found[name].path)) if self.labelled else None
        camera = camera_of_record(found[name], self.root, pose.inverse(), labels)
        return Frame(
            token=f"{record.token}/{name}", timestamp_ns=camera.timestamp_ns, scene=record.scene,
            global_from_ego=pose, cameras={name: camera},
        )


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
