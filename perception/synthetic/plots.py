"""What the land beside the streets is used for: buildings, car parks, building sites and small parks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from shapely.geometry import Polygon
from shapely.geometry.base import BaseGeometry

from .lane_graph import Network
from .ribbon import rectangle_corners, rectangles_overlap

CARPARK_SIZE = (27.0, 17.5)         # along the street, away from it [m]
WORKS_SIZE = (20.0, 13.0)
PARK_SIZE = (22.0, 16.0)


@dataclass(frozen=True, eq=False)
class Plot:
    """A rectangle of land that fronts a street.

    Args:
        kind: "building", "carpark", "works" or "park".
        pose: (3,) x, y, yaw of its centre; x runs along the street and y away from it.
        size: width along the street and depth away from it [m].
        gap: distance from the walkway to its front [m].
    """

    kind: str
    pose: np.ndarray
    size: tuple[float, float]
    gap: float

    @property
    def outline(self) -> np.ndarray:
        """(4, 2) corners, counter-clockwise."""
        return rectangle_corners(self.pose, np.array(self.size))

    def place(self, x: float, y: float, yaw: float = 0.0) -> np.ndarray:
        """(3,) global pose of a place in the plot: metres along the street and away from it, from its centre."""
        cos, sin = np.cos(self.pose[2]), np.sin(self.pose[2])
        return np.array([
            self.pose[0] + cos * x - sin * y, self.pose[1] + sin * x + cos * y, self.pose[2] + yaw,
        ])


def divide_land(
    network: Network, built: BaseGeometry, route: np.ndarray | None, rng: np.random.Generator
) -> tuple[Plot, ...]:
    """Line the streets with plots that touch neither the roads and walkways nor each other.

    Args:
        network: the streets.
        built: union of roads and walkways.
        route: (V, 2) path of the ego, beside which a building site and a car park are looked for first; None if there
            are several.
        rng: source of all choices.
    """
    taken = _Taken(built)
    plots: list[Plot] = []
    for kind, size, count in (("works", WORKS_SIZE, 2), ("carpark", CARPARK_SIZE, 2), ("park", PARK_SIZE, 1)):
        plots += _special(network, kind, size, count, taken, rng, route)
    for kind, size, count in (("carpark", CARPARK_SIZE, 2), ("park", PARK_SIZE, 3), ("works", WORKS_SIZE, 1)):
        plots += _special(network, kind, size, count, taken, rng, None)
    for index in range(len(network.plan.streets)):
        for side in (1, -1):
            plots += _row_of_buildings(network, index, side, taken, rng)
    return tuple(plots)


class _Taken:
    """Land that is used already."""

    def __init__(self, built: BaseGeometry) -> None:
        self.built = built
        shapely.prepare(self.built)
        self.outlines = np.zeros((0, 4, 2))

    def take(self, plot: Plot, clearance: float = 0.3) -> bool:
        """Claim a plot's land if it is free."""
        grown = rectangle_corners(plot.pose, np.array(plot.size) + 2 * clearance)
        if rectangles_overlap(self.outlines, grown).any() or self.built.intersects(Polygon(plot.outline)):
            return False
        self.outlines = np.concatenate([self.outlines, plot.outline[None]])
        return True


def _special(
    network: Network, kind: str, size: tuple[float, float], count: int, taken: _Taken, rng: np.random.Generator,
    route: np.ndarray | None,
) -> list[Plot]:
    found: list[Plot] = []
    for _ in range(60):
        if len(found) == count:
            break
        index = int(rng.integers(len(network.plan.streets)))
        station = float(rng.uniform(*network.cuts[index]))
        plot = _front(network, index, 1 if rng.random() < 0.5 else -1, station, kind, size, gap=0.4)
        if route is not None and np.linalg.norm(route - plot.pose[:2], axis=1).min() > 27.0:
            continue
        if taken.take(plot):
            found.append(plot)
    return found


def _row_of_buildings(
    network: Network, index: int, side: int, taken: _Taken, rng: np.random.Generator
) -> list[Plot]:
    style = network.plan.style
    first, last = network.cuts[index]
    station, plots = first - 8.0, []
    while station < last + 4.0:
        width, depth = float(rng.uniform(*style.plot)), float(rng.uniform(9.0, 15.0))
        gap = float(rng.uniform(*style.setback)) + 0.2
        plot = _front(network, index, side, station + width / 2, "building", (width, depth), gap)
        if taken.take(plot):
            plots.append(plot)
            station += width + float(rng.uniform(0.4, 4.0 if style.plot[1] > 14 else 1.0))
        else:
            station += 3.0
    return plots


def _front(
    network: Network, index: int, side: int, station: float, kind: str, size: tuple[float, float], gap: float
) -> Plot:
    street, ribbon = network.plan.streets[index], network.ribbons[index]
    lateral = side * (street.half_width + street.walkway + gap + size[1] / 2)
    position = ribbon.at(station, lateral)[0]
    yaw = float(ribbon.yaw(station)[0]) + (0.0 if side > 0 else np.pi)
    return Plot(kind, np.array([*position, yaw]), size, gap)
