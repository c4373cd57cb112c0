"""Drives over roads whose true lines are known, seen through noise, and the maps that come of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import shapely
import torch

from perception.structures import SE3, MapPredictions, Polylines

REGION = (-30.0, -15.0, 30.0, 15.0)                        # metres, ego frame
CLASSES = ("ped_crossing", "divider", "boundary")
Road = Callable[[float], tuple[float, float, float]]       # way [m] -> x, y [m], heading [rad]


def straight_road(way: float) -> tuple[float, float, float]:
    """East along y = 0, far from the origin as map coordinates are."""
    return 4000.0 + way, 1000.0, 0.0


def curved_road(way: float) -> tuple[float, float, float]:
    """A left bend of 60 m radius."""
    return 60.0 * math.sin(way / 60.0), 60.0 * (1.0 - math.cos(way / 60.0)), way / 60.0


def beside(road: Road, left: float, length: float, start: float = 0.0) -> np.ndarray:
    """(V, 2) a line along a road, ``left`` [m] of it."""
    places = [road(way) for way in np.arange(start, length + 0.5, 1.0)]
    return np.array([(x - left * math.sin(heading), y + left * math.cos(heading)) for x, y, heading in places])


def pose_on(road: Road, way: float, height: float = 12.0) -> SE3:
    x, y, heading = road(way)
    return SE3.about_z(heading, (x, y, height))


def observed(
    pose: SE3, elements: Sequence[tuple[str, np.ndarray]], rng: np.random.Generator, noise: float = 0.0,
    score: float = 0.8, token: str = "frame",
) -> MapPredictions:
    """What a noisy model sees of true elements (class, (V, 2) global line) from a pose.

    ``noise`` [m] is the sigma of a shift of each line as a whole; vertices have half of it besides, and every other
    line runs backwards.
    """
    box, to_ego = shapely.box(*REGION), pose.inverse()
    lines, labels = [], []
    for name, line in elements:
        local = to_ego.apply(torch.from_numpy(np.column_stack([line, np.full(len(line), 12.0)]))).numpy()[:, :2]
        shape = shapely.Polygon(local) if name == "ped_crossing" else shapely.LineString(local)
        for part in shapely.get_parts(shape.intersection(box)):
            outline = part.exterior if part.geom_type == "Polygon" else part
            if part.is_empty or (name == "ped_crossing" and outline is part):      # nothing of it, or a touch
                continue
            points = shapely.get_coordinates(outline)
            points = points + rng.normal(0.0, noise, 2) + rng.normal(0.0, noise / 2, points.shape)
            lines.append(torch.from_numpy(points[:: -1 if rng.random() < 0.5 else 1].copy()).float())
            labels.append(CLASSES.index(name))
    return MapPredictions(
        token, 0, Polylines.from_lines(lines), torch.full((len(lines),), score),
        torch.tensor(labels, dtype=torch.int64), CLASSES, global_from_ego=pose,
    )


def distance_between(line: torch.Tensor, truth: np.ndarray) -> float:
    """Largest distance [m] of a vertex of either line from the other (Hausdorff), in the xy plane."""
    return shapely.hausdorff_distance(shapely.LineString(line[:, :2].numpy()), shapely.LineString(truth), densify=0.05)
