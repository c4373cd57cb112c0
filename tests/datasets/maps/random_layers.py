"""Map layers of test maps."""

from __future__ import annotations

import numpy as np
from shapely import LineString, Polygon, affinity, box
from shapely.geometry.base import BaseGeometry

from perception.datasets.maps.map_elements import MapLayers, geometry_array


def layers(
    dividers: list[BaseGeometry] | None = None,
    areas: list[BaseGeometry] | None = None,
    crossings: list[BaseGeometry] | None = None,
    edges: list[BaseGeometry] | None = None,
) -> MapLayers:
    return MapLayers(*(geometry_array(shapes or []) for shapes in (dividers, areas, crossings, edges)))


def random_layers(seed: int) -> MapLayers:
    """Lines and turned rectangles in general position, some of them outside of 60 m by 30 m around the origin."""
    rng = np.random.default_rng(seed)

    def rectangles(count: int, size: float) -> list[BaseGeometry]:
        shapes: list[Polygon] = [box(-size * rng.uniform(1, 2), -size, size, size) for _ in range(count)]
        turned = [affinity.rotate(shape, rng.uniform(0, 360), origin=(0, 0)) for shape in shapes]
        return [affinity.translate(shape, *rng.uniform((-35, -20), (35, 20))) for shape in turned]

    walks = [rng.uniform((-40, -20), (40, 20)) + rng.normal(0, 4, (6, 2)).cumsum(axis=0) for _ in range(4)]
    return layers([LineString(walk) for walk in walks], rectangles(5, 7.0), rectangles(4, 2.0))
