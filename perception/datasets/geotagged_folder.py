"""A folder of pictures whose EXIF data tell where they were taken, as phones and dashboard cameras write them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..geo.exif import read_exif_position
from ..registry import DATASETS
from ..structures import Frame
from .base import Transform
from .geotagged import GeotaggedDataset, check_places
from .picture_dataset import list_pictures


@DATASETS.register_module()
class GeotaggedFolder(GeotaggedDataset):
    """The pictures of a folder and those below it, by path; the drive of a picture is the folder it lies in.

    Opening reads the EXIF data of every picture; make a table of many pictures, see `GeotaggedTable`.

    Args:
        root: the folder.

    Raises:
        DataError: there is no picture, or one tells no place on Earth.
    """

    def __init__(
        self, root: str | Path, *, transforms: Sequence[Mapping[str, Any] | Transform] = (), seed: int = 0
    ) -> None:
        super().__init__(root, transforms=transforms, seed=seed)
        self.files = list_pictures(self.root)
        self.tokens = [path.relative_to(self.root).as_posix() for path in self.files]
        self.places = np.array([read_exif_position(path) for path in self.files], np.float64)
        for row, path in enumerate(self.files):
            check_places(path, self.places[row : row + 1])

    @property
    def frame_tokens(self) -> Sequence[str]:
        """Paths below the root."""
        return self.tokens

    @property
    def scenes(self) -> Sequence[str]:
        """Folder of every picture, relative to the root."""
        return [self._drive(path) for path in self.files]

    def load(self, index: int) -> Frame:
        """One picture, as a file to read later."""
        path = self.files[index]
        return self.frame_of(index, self.tokens[index], path, drive=self._drive(path))

    def _drive(self, path: Path) -> str:
        return path.parent.relative_to(self.root).as_posix()
