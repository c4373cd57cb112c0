"""SD maps of OpenLane-V2: as published, and as the authors of MQBank mended them (Liu et al., 2025)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...errors import DataError
from ...structures import SE3, SDMap
from .line_clipping import checked_region
from .sd_lines import SDLines, read_json, read_sd_elements


class SegmentSDMaps:
    """Local SD maps along the segments of one split.

    The published ones are ``SPLIT/SEGMENT/sdmap.json``. The mended ones are the only JSON file of
    ``sdmap_SPLIT_modified/SEGMENT/``, and ``sdmap_SPLIT_modified/info_SPLIT.json`` tells of each segment whether its
    map is usable; that the maps have the form of the published ones is our reading, since theirs is not described.

    Args:
        root: folder that holds ``SPLIT/`` or ``sdmap_SPLIT_modified/``.
        split: "train", "val" or "test".
        modified: take the mended maps.
        region: x0, y0, x1, y1 [m], ego frame.
        lanes_key: name of a road's lane count in the elements, which only the mended maps have; none is published.

    Raises:
        DataError: the flags of the mended maps are absent or malformed.
        ValueError: the region is empty.
    """

    def __init__(
        self,
        root: str | Path,
        split: str,
        *,
        modified: bool = False,
        region: Sequence[float] = (-50.0, -25.0, 50.0, 25.0),
        lanes_key: str = "lanes",
    ) -> None:
        self.folder = Path(root) / (f"sdmap_{split}_modified" if modified else split)
        self.usable = _flags(self.folder / f"info_{split}.json") if modified else None
        self.region = checked_region(region)
        self.lanes_key = lanes_key
        self._lines: dict[str, SDLines | None] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_lines": {}}                    # a worker reads its own

    def local(self, segment: str, global_from_ego: SE3) -> SDMap | None:
        """The map around a pose, in its ego frame; None if the segment has no map or not a usable one.

        Raises:
            DataError: the map is malformed, or marked as usable and absent.
        """
        if segment not in self._lines:
            path = self._path(segment)
            self._lines[segment] = None if path is None else read_sd_elements(path, self.lanes_key)
        lines = self._lines[segment]
        return None if lines is None else lines.around(global_from_ego, self.region)

    def _path(self, segment: str) -> Path | None:
        if self.usable is None:
            path = self.folder / segment / "sdmap.json"
            return path if path.is_file() else None
        if not self.usable.get(segment, False):
            return None
        files = sorted((self.folder / segment).glob("*.json"))
        if len(files) != 1:
            raise DataError(self.folder / segment, "files", "one JSON file, the map being marked as usable", len(files))
        return files[0]


def _flags(path: Path) -> Mapping[str, Any]:
    flags = read_json(path)
    if not isinstance(flags, dict):
        raise DataError(path, "file", "true or false by segment", type(flags).__name__)
    for segment, flag in flags.items():
        if flag not in (True, False):
            raise DataError(path, segment, "true or false", flag)
    return flags
