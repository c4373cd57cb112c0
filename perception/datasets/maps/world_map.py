"""The HD map of a whole town or log, from which local maps are cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import shapely
import torch
from shapely import STRtree

from ...errors import ConfigError, DataError
from ...structures import SE3, VectorMap
from .map_elements import MapLayers, map_elements, mended, vector_map
from .window import MapWindow

SEARCH_MARGIN = 1.0                                  # [m] around a region, since a tilted vehicle sees it foreshortened


class WorldMap:
    """Lines and areas in the global frame [m], found by place.

    Args:
        layers: the whole map, all of it with heights or all of it without.
        path: the file that it comes from.

    Raises:
        DataError: a coordinate is not finite.
    """

    def __init__(self, layers: MapLayers, path: Path) -> None:
        self.has_heights = any(bool(shapely.has_z(kind).any()) for kind in vars(layers).values())
        for kind, geometries in vars(layers).items():
            if not np.isfinite(shapely.get_coordinates(geometries, include_z=self.has_heights)).all():
                raise DataError(path, kind, "finite coordinates", "NaN or infinity")
        self.layers = replace(layers, areas=mended(layers.areas), crossings=mended(layers.crossings))
        self.path = path
        self._trees = {kind: STRtree(geometries) for kind, geometries in vars(self.layers).items()}

    def around(self, global_from_ego: SE3, window: MapWindow) -> VectorMap:
        """The elements in a window around a pose, in its ego frame; see `map_elements`.

        A map with heights is moved by the whole pose. One without is turned and shifted in its plane: the vehicle's
        tilt does not change it.

        Raises:
            ConfigError: heights are asked for and the map has none.
        """
        if window.dim == 3 and not self.has_heights:
            raise ConfigError(f"the map {self.path} has no heights: use dim=2")
        return vector_map(map_elements(self._layers_near(global_from_ego, window), window), window.dim)

    def _layers_near(self, global_from_ego: SE3, window: MapWindow) -> MapLayers:
        """What may meet the window, in the ego frame."""
        flat = _flattened(global_from_ego)
        corners = shapely.get_coordinates(window.outer.buffer(SEARCH_MARGIN, join_style="mitre"), include_z=True)
        place = shapely.Polygon(flat.apply(torch.from_numpy(np.nan_to_num(corners))).numpy()[:, :2])
        pose = (global_from_ego if self.has_heights else flat).inverse()
        near = {}
        for kind, tree in self._trees.items():
            chosen = np.sort(tree.query(place, predicate="intersects"))          # in the order of the file
            near[kind] = _moved(getattr(self.layers, kind)[chosen], pose, self.has_heights)
            if window.dim == 2:
                near[kind] = shapely.force_2d(near[kind])
        return MapLayers(**near)


def _flattened(pose: SE3) -> SE3:
    """The pose's heading and place in the xy plane."""
    x, y, _ = pose.translation.tolist()
    return SE3.about_z(pose.yaw, [x, y, 0.0])


def _moved(geometries: np.ndarray, transform: SE3, has_heights: bool) -> np.ndarray:
    rotation, shift = transform.rotation.numpy(), transform.translation.numpy()
    size = 3 if has_heights else 2
    return shapely.transform(
        geometries, lambda points: points @ rotation[:size, :size].T + shift[:size], include_z=has_heights
    )

