"""Ways through the lane graph, with the speed that their bends allow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .lane_graph import Network
from .ribbon import Ribbon

SIDE_ACCELERATION = 2.2             # that a driver accepts in a bend [m/s^2]
COMFORTABLE_BRAKING = 1.6           # [m/s^2]


@dataclass(frozen=True, eq=False)
class Route:
    """A chain of lanes.

    Args:
        keys: lanes and connectors in driving order.
        ribbon: their joined centre lines.
        ends: stations at which each lane ends [m].
        speed_limit: (V,) speed that the bends ahead allow at each of the ribbon's stations [m/s].
    """

    keys: tuple[str, ...]
    ribbon: Ribbon
    ends: np.ndarray
    speed_limit: np.ndarray

    def limit(self, station: float) -> float:
        """Speed that the bends ahead allow [m/s]."""
        return float(np.interp(station, self.ribbon.stations, self.speed_limit))


def make_route(network: Network, keys: tuple[str, ...], lateral: float = 0.0) -> Route:
    """The route over given lanes, kept ``lateral`` metres to the left of their centre lines."""
    lines = [network.lanes[key].centerline for key in keys]
    joined = np.concatenate([lines[0], *(line[1:] for line in lines[1:])])
    ribbon = Ribbon(joined, spacing=0.5)
    lengths = [float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum()) for line in lines]
    if lateral:
        ribbon = Ribbon(ribbon.at(ribbon.stations, lateral), spacing=0.5)
    ends = np.cumsum(lengths) * (ribbon.length / sum(lengths))
    return Route(keys, ribbon, ends, _speed_limit(ribbon))


def random_keys(
    network: Network, first: str, length: float, rng: np.random.Generator, *, straight: bool = False
) -> tuple[str, ...]:
    """Lanes from ``first`` on until ``length`` metres are filled after it, turning at random or as little as may be."""
    keys, total = [first], 0.0
    while total < length:
        choices = network.lanes[keys[-1]].successors
        if straight:
            following = min(choices, key=lambda key: _turn(network.lanes[key].centerline))
        else:
            following = choices[int(rng.integers(len(choices)))]
        keys.append(following)
        line = network.lanes[following].centerline
        total += float(np.linalg.norm(np.diff(line, axis=0), axis=1).sum())
    return tuple(keys)


def _turn(line: np.ndarray) -> float:
    """How much a line turns from its start to its end [rad]."""
    first, last = line[1] - line[0], line[-1] - line[-2]
    return float(abs(np.arctan2(first[0] * last[1] - first[1] * last[0], first @ last)))


def _speed_limit(ribbon: Ribbon) -> np.ndarray:
    yaw = np.unwrap(ribbon.yaw(ribbon.stations))
    window = np.ones(7) / 7
    turning = np.abs(np.gradient(yaw, ribbon.stations))
    curvature = np.convolve(np.pad(turning, 3, mode="edge"), window, mode="valid")
    # What braking gains on the way to a later bend is linear in the squared speed.
    gain = 2 * COMFORTABLE_BRAKING * ribbon.stations
    square = SIDE_ACCELERATION / np.maximum(curvature, 1e-3) + gain
    return np.sqrt(np.minimum.accumulate(square[::-1])[::-1] - gain)
