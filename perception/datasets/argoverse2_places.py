"""Pictures of Argoverse 2's cameras with the place on Earth where each was taken."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError
from ..geo.local_frames import ARGOVERSE2_CITIES, argoverse2_latlng
from ..registry import DATASETS
from .argoverse2 import index_source
from .argoverse2_log import CAMERAS
from .base import Transform
from .indexed_places import IndexedPlaces


@DATASETS.register_module()
class Argoverse2Places(IndexedPlaces):
    """The pictures nearest to the sweeps of one split, camera by camera within each sweep; see `IndexedPlaces`.

    Args:
        root: the folder ``sensor``, which holds ``train/``, ``val/`` and ``test/``.
        split: "train", "val" or "test".
        logs: only these logs; all of the split by default.
        index: Parquet file made by `build_argoverse2_index`; by default it lies in ``root``.
        cameras: some of `CAMERAS`.

    Raises:
        DataError: the index is absent, of an older schema or of another split, or a log's map file tells no city.
        ConfigError: a split, log or camera is unknown (the nearest one is suggested).
    """

    def __init__(
        self,
        root: str | Path,
        *,
        split: str = "train",
        logs: Sequence[str] | None = None,
        index: str | Path | None = None,
        cameras: Sequence[str] = ("ring_front_center",),
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(
            root, index_source(split), CAMERAS, index=index, only_scenes=logs, cameras=cameras, transforms=transforms,
            seed=seed,
        )

    def to_latlng(self, xy: np.ndarray, drive: str) -> np.ndarray:
        """From the frame of the log's city, see `argoverse2_latlng`."""
        return argoverse2_latlng(xy, city_of_log(self.root / self.source.split / drive))


def city_of_log(folder: Path) -> str:
    """The city, such as "PIT", by the name of a log's map file. Raises DataError if none or several tell one."""
    names = [path.name for path in sorted((folder / "map").glob("log_map_archive_*.json"))]
    cities = {match[1] for name in names if (match := re.search(r"_([A-Z]{3})_city_", name))}
    if len(cities) != 1 or not cities <= set(ARGOVERSE2_CITIES):
        expected = f"one file log_map_archive_*CITY_city_*.json of {', '.join(ARGOVERSE2_CITIES)}"
        raise DataError(folder / "map", "map", expected, ", ".join(names) or "none")
    return cities.pop()
