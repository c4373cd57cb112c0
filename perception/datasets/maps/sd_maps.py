"""SD maps along the drives of a nuScenes root."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError, DataError, suggestion
from ...structures import SE3, SDMap
from .drives import scene_locations, scene_starts
from .line_clipping import checked_region
from .sd_lines import SDLines, SDMapErrors, read_sd_geojson

OLV2_REGION = (-50.0, -25.0, 50.0, 25.0)
ELSEWHERE_M = 200.0                 # how far away another place is at least


class SDMaps:
    """Local SD maps from ``maps/sd_map/LOCATION.json`` of a root, as the synthetic city has them.

    Args:
        root: folder of the data set.
        version: folder of the tables, such as "v1.0-trainval".
        region: x0, y0, x1, y1 [m], ego frame.
        errors: arguments of `SDMapErrors` (an empty mapping takes its defaults); None gives the exact map.
        elsewhere: give the map of another place: the drive is carried, as a whole, to where the next other drive of the
            root starts (on the same location's map if it can be, at least 200 m away). A model that trusts its SD map
            ought to be seen with a wrong one.

    Raises:
        DataError: the root has no SD maps, or a table is absent or malformed.
        ValueError: the region or an argument of the errors is out of range.
        ConfigError: ``elsewhere`` is asked for and there is no other place.
    """

    def __init__(
        self,
        root: str | Path,
        version: str = "v1.0-trainval",
        region: Sequence[float] = OLV2_REGION,
        *,
        errors: Mapping[str, Any] | None = None,
        elsewhere: bool = False,
    ) -> None:
        self.folder = Path(root) / "maps/sd_map"
        if not self.folder.is_dir():
            raise DataError(self.folder, "folder", "SD maps (LOCATION.json)", "no such folder")
        self.region = checked_region(region)
        self.errors = None if errors is None else SDMapErrors(**errors)
        self.locations = scene_locations(Path(root), version)
        self.elsewhere = other_places(self.locations, scene_starts(Path(root), version)) if elsewhere else None
        self._lines: dict[str, SDLines | None] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_lines": {}}                    # a worker reads its own

    def local(self, scene: str, global_from_ego: SE3) -> SDMap | None:
        """The map around a pose, in its ego frame: empty if nothing lies in the region, None if the location has none.

        Raises:
            ConfigError: the root has no such drive.
            DataError: the map is malformed.
        """
        if scene not in self.locations:
            raise ConfigError(f'no scene "{scene}" in the tables beside {self.folder}'
                              f"{suggestion(scene, self.locations)}")
        if self.elsewhere is not None:
            scene, there_from_here = self.elsewhere[scene]
            global_from_ego = there_from_here @ global_from_ego
        lines = self.lines(self.locations[scene])
        return None if lines is None else lines.around(global_from_ego, self.region)

    def lines(self, location: str) -> SDLines | None:
        """The whole map of a location, errors included; None if there is no file of it."""
        if location not in self._lines:
            path = self.folder / f"{location}.json"
            lines = read_sd_geojson(path) if path.is_file() else None
            self._lines[location] = lines if lines is None or self.errors is None else self.errors.applied_to(lines)
        return self._lines[location]


def other_places(locations: Mapping[str, str], starts: Mapping[str, SE3]) -> dict[str, tuple[str, SE3]]:
    """For every drive another one, and the transform that carries the first one's start to the other's.

    Args:
        locations: map name by drive.
        starts: first pose by drive.

    Raises:
        ConfigError: a drive has no other one on another map or 200 m away.
    """
    names = sorted(starts)
    found = {}
    for place, name in enumerate(names):
        following = (*names[place + 1 :], *names[:place])
        others = [other for other in following if _is_elsewhere(name, other, locations, starts)]
        if not others:
            raise ConfigError(f'no other place for scene "{name}": {len(names)} drives, none on another map or '
                              f"{ELSEWHERE_M:g} m away")
        others.sort(key=lambda other: locations[other] != locations[name])         # stable: the next one of them
        found[name] = (others[0], starts[others[0]] @ starts[name].inverse())
    return found


def _is_elsewhere(name: str, other: str, locations: Mapping[str, str], starts: Mapping[str, SE3]) -> bool:
    if locations[name] != locations[other]:
        return True
    step = (starts[name].translation - starts[other].translation)[:2].numpy()
    return bool(np.linalg.norm(step) >= ELSEWHERE_M)
