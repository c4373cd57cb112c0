"""Vehicles that follow lanes: car following after the intelligent driver model, and junctions that are reserved.

Treiber, Hennecke, Helbing, "Congested traffic states in empirical observations and microscopic simulations", 2000.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from .lane_graph import Network
from .routes import Route
from .town_areas import STOP_LINE

STEP_S = 0.1
ACCELERATION = 1.8                  # [m/s^2]
BRAKING = 2.5
HARDEST_BRAKING = 7.0
HEADWAY_S = 1.2
STANDSTILL_GAP = 2.2                # [m]
LOOK_AHEAD = 45.0                   # [m]
PROBE_STEP = 1.5                    # distance of the places looked at ahead [m]
COVER = 8                           # discs that stand for a vehicle
STOP_MARGIN = 0.6                   # before the stop line [m]


@dataclass(eq=False)
class Driver:
    """A vehicle on its route.

    Args:
        route: lanes that it follows.
        station: where its reference point starts [m].
        speed: at the start [m/s].
        desired_speed: on a free, straight road [m/s].
        front, rear: reach of the vehicle ahead of and behind its reference point [m].
        width: metres.
    """

    route: Route
    station: float
    speed: float
    desired_speed: float
    front: float
    rear: float
    width: float
    granted: set[int] = field(default_factory=set)          # indices into route.keys


@dataclass(frozen=True)
class RedLight:
    """A junction that may not be entered from a street until a time [s]."""

    node: str
    road: str
    until_s: float


def simulate(
    network: Network, drivers: list[Driver], red_lights: list[RedLight], start_s: float, end_s: float
) -> np.ndarray:
    """Drive everybody.

    Args:
        network: for the conflicts between connectors.
        drivers: the first ones have priority at junctions; their state is moved on.
        red_lights: closed approaches.
        start_s, end_s: time span [s].

    Returns:
        (D, T) float64 stations of the reference points, every 0.1 s.
    """
    steps = round((end_s - start_s) / STEP_S)
    junctions = _Junctions(network, drivers, red_lights)
    stations = np.zeros((len(drivers), steps + 1))
    stations[:, 0] = [driver.station for driver in drivers]
    for step in range(steps):
        gaps, leader_speeds = _leaders(drivers)
        stops = junctions.stops(drivers, start_s + step * STEP_S)
        for index, driver in enumerate(drivers):
            acceleration = min(
                _follow(driver, gaps[index], leader_speeds[index]), _follow(driver, stops[index], 0.0),
            )
            speed = max(0.0, driver.speed + STEP_S * max(acceleration, -HARDEST_BRAKING))
            driver.station += STEP_S * (driver.speed + speed) / 2
            driver.speed = speed
        stations[:, step + 1] = [driver.station for driver in drivers]
    return stations


def _follow(driver: Driver, gap: float, leader_speed: float) -> float:
    """Acceleration [m/s^2] behind something ``gap`` metres ahead."""
    wanted = max(min(driver.desired_speed, driver.route.limit(driver.station)), 0.5)
    free = 1.0 - (driver.speed / wanted) ** 4
    if not np.isfinite(gap):
        return ACCELERATION * max(free, -2.0)
    closing = driver.speed * (driver.speed - leader_speed) / (2 * np.sqrt(ACCELERATION * BRAKING))
    spacing = STANDSTILL_GAP + max(0.0, driver.speed * HEADWAY_S + closing)
    return float(ACCELERATION * (max(free, -2.0) - (spacing / max(gap, 0.1)) ** 2))


def _leaders(drivers: list[Driver]) -> tuple[np.ndarray, np.ndarray]:
    """Free distance ahead of each driver [m] (inf if nothing is near) and the speed of what is there [m/s]."""
    covers = np.stack([
        driver.route.ribbon.at(driver.station + np.linspace(-driver.rear, driver.front, COVER)) for driver in drivers
    ])                                                                               # (D, K, 2)
    half = np.array([driver.width / 2 for driver in drivers])
    speeds = np.array([driver.speed for driver in drivers])
    ahead = np.arange(0.5, LOOK_AHEAD, PROBE_STEP)
    gaps, leader_speeds = np.full(len(drivers), np.inf), np.zeros(len(drivers))
    centers = covers.mean(axis=1)
    for index, driver in enumerate(drivers):
        near = np.flatnonzero(((centers - centers[index]) ** 2).sum(axis=1) < (LOOK_AHEAD + 15.0) ** 2)
        near = near[near != index]
        if not len(near):
            continue
        probes = driver.route.ribbon.at(driver.station + driver.front + ahead)       # (P, 2)
        x, y = (probes[:, axis, None, None] - covers[near, :, axis] for axis in range(2))         # (P, N, K)
        apart = (x * x + y * y).min(axis=2)
        blocked = apart < (half[near] + driver.width / 2 + 0.25) ** 2
        if blocked.any():
            first = int(np.argmax(blocked.any(axis=1)))
            who = near[np.flatnonzero(blocked[first])]
            gaps[index] = max(ahead[first] - PROBE_STEP, 0.05)
            met = driver.station + driver.front + ahead[first]
            leader_speeds[index] = _speed_along(driver, drivers, who, speeds, met)
    return gaps, leader_speeds


def _speed_along(
    driver: Driver, drivers: list[Driver], who: np.ndarray, speeds: np.ndarray, station: float
) -> float:
    """Slowest speed of some others in the direction in which a driver will pass a station."""
    yaw = float(driver.route.ribbon.yaw(station)[0])
    along = [
        speeds[other] * np.cos(float(drivers[other].route.ribbon.yaw(drivers[other].station)[0]) - yaw)
        for other in who
    ]
    return max(float(min(along)), 0.0)


class _Junctions:
    """Hands out ways through the junctions, one at a time of those that cross or merge."""

    def __init__(self, network: Network, drivers: list[Driver], red_lights: list[RedLight]) -> None:
        self._network = network
        self._red = {(light.node, light.road): light.until_s for light in red_lights}
        self._conflicts: dict[tuple[str, str], bool] = {}
        self._crossings = {
            f"node{node}": network.has_crossings(node) for node in range(len(network.arms))
        }
        for driver in drivers:
            driver.granted.clear()

    def stops(self, drivers: list[Driver], time_s: float) -> np.ndarray:
        """(D,) distance to the stop line of the next junction that a driver may not enter yet [m]; inf if free."""
        distances = np.full(len(drivers), np.inf)
        for driver in drivers:
            for index in list(driver.granted):
                if driver.station - driver.rear > driver.route.ends[index] + 0.5:
                    driver.granted.discard(index)
        order = sorted(range(1, len(drivers)), key=lambda index: self._way_to(drivers[index])[1])
        for index in [0, *order]:
            driver = drivers[index]
            connector, distance = self._way_to(driver)
            if connector is None or distance > LOOK_AHEAD:
                continue
            if distance < 30.0 and self._may_enter(driver, connector, drivers, time_s):
                driver.granted.add(connector)
            else:
                distances[index] = max(distance, 0.05)
        return distances

    def _way_to(self, driver: Driver) -> tuple[int | None, float]:
        """The next connector that a driver does not hold, and how far the place to stop before it is [m]."""
        for index, key in enumerate(driver.route.keys):
            lane = self._network.lanes[key]
            if not lane.is_connector or index in driver.granted:
                continue
            start = driver.route.ends[index - 1] if index else 0.0
            setback = STOP_LINE[1] + STOP_MARGIN if self._crossings[lane.road] else STOP_MARGIN
            distance = float(start - setback - driver.station - driver.front)
            if start > driver.station - driver.rear:
                return index, distance
        return None, np.inf

    def _may_enter(self, driver: Driver, index: int, drivers: list[Driver], time_s: float) -> bool:
        key = driver.route.keys[index]
        lane = self._network.lanes[key]
        road = self._network.lanes[driver.route.keys[index - 1]].road
        if time_s < self._red.get((lane.road, road), -np.inf):
            return False
        for other in drivers:
            if other is driver:
                continue
            for taken in other.granted:
                if self._conflict(key, other.route.keys[taken]):
                    return False
        return True

    def _conflict(self, first: str, second: str) -> bool:
        """Whether two connectors of one junction cross or merge (those from one lane only part)."""
        pair = (first, second) if first < second else (second, first)
        if pair not in self._conflicts:
            a, b = self._network.lanes[first], self._network.lanes[second]
            same_source = first.split(">")[0] == second.split(">")[0]
            if a.road != b.road or same_source:
                self._conflicts[pair] = False
            else:
                gaps = np.linalg.norm(a.centerline[:, None] - b.centerline[None], axis=-1)
                self._conflicts[pair] = bool(gaps.min() < 2.7)
        return self._conflicts[pair]
