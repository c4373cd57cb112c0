"""A folder of point clouds in files of one format, without poses, pictures or labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ..errors import ConfigError, DataError
from ..registry import DATASETS
from ..structures import SE3, Frame, PointCloud
from .base import FrameDataset, Transform
from .point_files import SUFFIXES, point_reader

# Smallest plausible stamp in each unit (all in 1973), and nanoseconds in the unit; below them it is a frame number.
STAMP_UNITS = ((10**17, 1), (10**14, 10**3), (10**11, 10**6), (10**8, 10**9))


@DATASETS.register_module()
class PointCloudFolder(FrameDataset):
    """The clouds of a folder in the order of their numbers, or of their names if one is not a number.

    A name that is a number tells the time if it is large enough for a Unix time (in s, ms, us or ns; seconds may have
    decimals); other frames follow each other at ``rate_hz``.

    Args:
        root: the folder.
        columns: names of the columns; ``.bin`` and ``.npy`` need them, of other formats they choose columns.
        suffix: format, such as ".pcd"; by default the only known one in the folder.
        ego_height: height of the sensor above the ground [m]; the ego frame is the sensor's, put on the ground.
        intensity_max: largest intensity of the files, which becomes 1.
        rate_hz: frames a second where names tell no time.

    Raises:
        DataError: there is no point cloud, or files of several formats; or a file is malformed.
        ConfigError: ``suffix`` is unknown, columns are missing, or a number is out of range.
    """

    def __init__(
        self,
        root: str | Path,
        columns: Sequence[str] | None = None,
        *,
        suffix: str | None = None,
        ego_height: float = 0.0,
        intensity_max: float = 1.0,
        rate_hz: float = 10.0,
        transforms: Sequence[Mapping[str, Any] | Transform] = (),
        seed: int = 0,
    ) -> None:
        super().__init__(root, transforms=transforms, seed=seed)
        if not (intensity_max > 0 and rate_hz > 0 and math.isfinite(ego_height)):
            raise ConfigError(
                "intensity_max and rate_hz must be > 0 and ego_height finite, "
                f"got {intensity_max}, {rate_hz} and {ego_height}"
            )
        suffix = _only_suffix(self.root) if suffix is None else suffix
        try:
            self.read = point_reader(suffix, columns)
        except ValueError as error:
            raise ConfigError(f"{self.root}: {error}") from error
        self.files = in_order([path for path in self.root.iterdir() if path.suffix.lower() == suffix])
        if not self.files:
            raise DataError(self.root, "folder", f"files *{suffix}", "none")
        self.timestamps = timestamps_of([path.stem for path in self.files], rate_hz)
        self.intensity_max = intensity_max
        self.ego_from_lidar = SE3.about_z(0.0, (0.0, 0.0, ego_height))

    @property
    def frame_tokens(self) -> Sequence[str]:
        """File names without suffix, in order."""
        return [path.stem for path in self.files]

    @property
    def scenes(self) -> Sequence[str]:
        """The folder's own name, once a file."""
        return [self.root.name] * len(self.files)

    def load(self, index: int) -> Frame:
        """Read one cloud; the ego frame is that of the sensor, lowered by its height."""
        path = self.files[index]
        points, names = self.read(path)
        if names[:3] != ("x", "y", "z"):
            raise DataError(path, "columns", "x, y, z first (choose and order them by columns)", ", ".join(names))
        if "intensity" in names:
            column = points[:, names.index("intensity")]
            column /= self.intensity_max
            if column.max() > 1.0 + 1e-6:
                top = column.max() * self.intensity_max
                raise DataError(path, "intensity", f"at most intensity_max = {self.intensity_max:g}", f"{top:g}")
        return Frame(
            token=path.stem,
            timestamp_ns=self.timestamps[index],
            scene=self.root.name,
            points=PointCloud(torch.from_numpy(points), names).moved_by(self.ego_from_lidar),
            ego_from_lidar=self.ego_from_lidar,
        )


def timestamps_of(stems: Sequence[str], rate_hz: float) -> list[int]:
    """Times [ns] told by file names that are Unix times; else by the position in the list."""
    times = [_unix_time_ns(stem) for stem in stems]
    known = [time for time in times if time is not None]
    if len(known) == len(stems) == len(set(known)):
        return known
    return [round(place * 1e9 / rate_hz) for place in range(len(stems))]


def _unix_time_ns(stem: str) -> int | None:
    whole, point, decimals = stem.partition(".")
    if not whole.isdigit() or (point and not decimals.isdigit()):
        return None
    for smallest, unit in STAMP_UNITS:
        if int(whole) >= smallest:
            return int(whole) * unit + (int(f"{decimals:0<9}"[:9]) * unit // 10**9 if decimals else 0)
    return None


def in_order(files: Sequence[Path]) -> list[Path]:
    """Files by the numbers that their names are, or by name if one is not a number."""
    if all(_is_number(path.stem) for path in files):
        return sorted(files, key=lambda path: (float(path.stem), path.stem))
    return sorted(files)


def _is_number(stem: str) -> bool:
    return stem.replace(".", "", 1).isdigit()


def _only_suffix(root: Path) -> str:
    found = sorted({path.suffix.lower() for path in root.iterdir()} & set(SUFFIXES))
    if len(found) != 1:
        wanted = f"point clouds of one format ({', '.join(SUFFIXES)})"
        raise DataError(root, "folder", wanted, ", ".join(found) or "none")
    return found[0]
