"""A tour of a town that sooner or later goes through all its streets in both directions, cut into legs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from ..structures.line_geometry import polyline_length
from .city_plan import SPLITS, TownDrive
from .lane_graph import Network
from .routes import Route, make_route

PITCH_SPEED = 6.0                   # at which an ego gets on in town: the next leg begins where it gets to [m/s]
TOP_SPEED = 9.0                     # for which a leg's way is long enough [m/s]
START = 4.0                         # from the junction to where a leg begins [m]
LEAST_LENGTH = 20.0                 # of the lane in which it begins [m]


def tour_leg(network: Network, drive: TownDrive, duration_s: float) -> tuple[Route, float]:
    """Route of one leg, and the station at which it starts [m].

    Each split has a tour of its own, so that its drives come along in another order, and now and then in another lane.

    Args:
        network: streets and lanes of the town.
        drive: whose leg.
        duration_s: length of each leg [s].
    """
    rng = np.random.default_rng([drive.town.seed, SPLITS.index(drive.split)])
    keys: list[str] = []
    gone, length = 0.0, 0.0
    for key in tour(network, rng):
        lane = network.lanes[key]
        span = polyline_length(lane.centerline)
        can_begin = not lane.is_connector and span >= LEAST_LENGTH and gone >= drive.leg * PITCH_SPEED * duration_s
        if keys or can_begin:
            keys.append(key)
            length += span
        if length > START + TOP_SPEED * (duration_s + 1.0):
            break
        gone += span
    return make_route(network, tuple(keys)), START


def tour(network: Network, rng: np.random.Generator) -> Iterator[str]:
    """Lanes and connectors without end, at each junction into the street and direction that were gone through least."""
    visits: Counter[str] = Counter()
    streets = sorted(key for key, lane in network.lanes.items() if not lane.is_connector)
    key = streets[int(rng.integers(len(streets)))]
    while True:
        visits[_way(key)] += 1
        yield key
        connectors = network.lanes[key].successors
        counts = [visits[_way(network.lanes[connector].successors[0])] for connector in connectors]
        fewest = [connector for connector, count in zip(connectors, counts, strict=True) if count == min(counts)]
        connector = fewest[int(rng.integers(len(fewest)))]
        yield connector
        key = network.lanes[connector].successors[0]


def _way(lane: str) -> str:
    """Street and direction of a lane, whichever of several lanes it is: "3-4+0" -> "3-4+"."""
    return lane.rstrip("0123456789")
