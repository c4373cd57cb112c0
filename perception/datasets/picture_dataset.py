"""Data sets of single pictures, each with its labels in a file beside it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..structures import Camera, Frame, PixelLabels
from ..structures.segmentation import IGNORE_LABEL
from .base import FrameDataset, Transform

CAMERA = "image"                                            # its name in the frames
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp")


@dataclass(frozen=True)
class PictureRecord:
    """One picture of a data set.

    Args:
        token: its name, unique in the data set.
        picture: its file.
        labels: file of its labels; None if it is not labelled.
        scene: name of the drive it belongs to.
        timestamp_ns: its time [ns], counted from the begin of the drive.
    """

    token: str
    picture: Path
    labels: Path | None = None
    scene: str = ""
    timestamp_ns: int = 0


class PictureDataset(FrameDataset):
    """Frames with one camera, `CAMERA`, without calibration; its labels are read at once, its picture later.

    Pixels of classes that are left out are ignored. ``METAINFO["things"]`` names the classes with instances.

    Args:
        root: folder of the data set.
        classes: some of ``METAINFO["classes"]``, in the order of the labels.
    """

    METAINFO: Mapping[str, Any] = {"classes": (), "things": ()}
    resizes_labels = False                                  # those of another size than the picture are an error

    def __init__(
        self,
        root: str | Path,
        *,
        classes: Sequence[str] | None = None,
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(root, classes=classes, transforms=transforms, seed=seed)
        self.records = self.list_records()

    @abstractmethod
    def list_records(self) -> list[PictureRecord]:
        """The pictures in order, called once when the data set is opened. Raises DataError if there is none."""

    @abstractmethod
    def read_labels(self, path: Path) -> PixelLabels:
        """The labels of one picture. Raises DataError if the file is absent, malformed or has unknown labels."""

    @property
    def frame_tokens(self) -> Sequence[str]:
        """Names of the pictures, in order."""
        return [record.token for record in self.records]

    @property
    def scenes(self) -> Sequence[str]:
        """Name of the drive of every picture, in order."""
        return [record.scene for record in self.records]

    @property
    def metainfo(self) -> dict[str, Any]:
        """As of every data set, with the things among the classes."""
        things = tuple(name for name in self.METAINFO["things"] if name in self.classes)
        return {**super().metainfo, "things": things}

    def __len__(self) -> int:
        return len(self.records)

    def load(self, index: int) -> Frame:
        """Read the labels of one picture, and where the picture lies."""
        record = self.records[index]
        height, width = picture_size(record.picture)
        labels = None if record.labels is None else replace(self.read_labels(record.labels), names=self.classes)
        if labels is not None and self.resizes_labels:
            labels = labels.resized(height, width)
        if labels is not None and tuple(labels.classes.shape) != (height, width):
            got = f"{labels.classes.shape[1]} x {labels.classes.shape[0]}"
            raise DataError(str(record.labels), "size", f"{width} x {height} pixels as the picture", got)
        camera = Camera(None, record.timestamp_ns, source=record.picture, labels=labels)
        return Frame(record.token, record.timestamp_ns, scene=record.scene, cameras={CAMERA: camera})

    def class_counts(self, index: int) -> np.ndarray:
        """(len(classes),) int64 pixels of each class in a picture; zeros if it is not labelled."""
        labels = self.records[index].labels
        if labels is None:
            return np.zeros(len(self.classes), np.int64)
        classes = self.read_labels(labels).classes.numpy()
        return np.bincount(classes[classes != IGNORE_LABEL], minlength=len(self.classes)).astype(np.int64)


def picture_size(path: Path) -> tuple[int, int]:
    """Height and width, from the header alone. Raises DataError if the file is absent or no picture."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as picture:
            return picture.height, picture.width
    except FileNotFoundError as error:
        raise DataError(path, "picture", "an image file", "no such file") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:     # Pillow's ways to refuse a file
        raise DataError(path, "picture", "a readable image", error) from error


def list_pictures(folder: Path, ending: str = "") -> list[Path]:
    """Picture files below a folder, by name, whose stem has an ending.

    Raises:
        DataError: the folder is absent or holds none.
    """
    if not folder.is_dir():
        raise DataError(folder, "folder", "pictures", "no such folder")
    files = [path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES]
    files = sorted(path for path in files if path.stem.endswith(ending))
    if not files:
        raise DataError(folder, "folder", f"pictures *{ending} ({', '.join(PICTURE_SUFFIXES)})", "none")
    return files
