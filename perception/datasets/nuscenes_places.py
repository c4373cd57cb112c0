"""Pictures of nuScenes' cameras with the place on Earth where each was taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import ConfigError
from ..geo.local_frames import nuscenes_latlng
from ..registry import DATASETS
from .base import Transform
from .indexed_places import IndexedPlaces
from .maps.drives import scene_locations
from .nuscenes_index import CAMERAS, index_source
from .town_places import FILE, read_town_places


@DATASETS.register_module()
class NuScenesPlaces(IndexedPlaces):
    """The pictures of one split, camera by camera within each keyframe; see `IndexedPlaces`.

    Also of any root in the same tables, such as that of the synthetic city. Drives that its ``maps/towns.json`` knows
    lie where that says (see `read_town_places`), other ones by the origins of their maps.

    Args:
        root: folder with ``samples/`` and the tables.
        version: folder of the tables, such as "v1.0-trainval".
        split: an official split of that version ("train", "val", "mini_train", ...), or "all".
        index: Parquet file made by `build_nuscenes_index`; by default it lies in ``root``.
        only_scenes: names of the drives to keep; all of the split by default.
        cameras: some of `CAMERAS`.
        origins: latitude and longitude [deg] of the origin of maps by name, where they are others than
            `NUSCENES_ORIGINS`.

    Raises:
        DataError: the index or a table is absent, malformed or of another version or split.
        ConfigError: a version, split, camera, drive or map is unknown (the nearest one is suggested).
    """

    def __init__(
        self,
        root: str | Path,
        *,
        version: str = "v1.0-trainval",
        split: str = "train",
        index: str | Path | None = None,
        only_scenes: Sequence[str] | None = None,
        cameras: Sequence[str] = ("CAM_FRONT",),
        origins: Mapping[str, tuple[float, float]] | None = None,
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(
            root, index_source(version, split), CAMERAS, index=index, only_scenes=only_scenes, cameras=cameras,
            transforms=transforms, seed=seed,
        )
        self.origins = dict(origins or {})
        self.locations = scene_locations(self.root, version)
        self.towns = read_town_places(self.root / FILE) if (self.root / FILE).is_file() else {}

    def to_latlng(self, xy: np.ndarray, drive: str) -> np.ndarray:
        """As the official devkit exports poses, see `nuscenes_latlng`."""
        if drive in self.towns:
            return self.towns[drive].latlng(xy)
        if drive not in self.locations:
            raise ConfigError(f"{self.index_path} has the drive {drive}, which the tables of {self.root} lack")
        return nuscenes_latlng(xy, self.locations[drive], self.origins)
