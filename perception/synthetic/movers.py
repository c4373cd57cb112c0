"""Puts the ego and the moving vehicles on the lanes and lets them drive."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..structures.line_geometry import polyline_length
from .bodies import CARS, TRAILERS, TRUCKS, Body, draw_body, draw_mix
from .cast import Cast
from .lane_graph import Network
from .routes import Route, make_route, random_keys
from .scene import Trajectory
from .town_areas import STOP_LINE
from .traffic import Driver, RedLight, simulate

EGO_SIZE = (4.1, 1.75, 1.6)
EGO_AXLE_TO_CENTER = 1.3            # from the rear axle forward to the middle of the vehicle [m]
COUPLING_GAP = 0.7                  # between a lorry and its trailer [m]
TRAFFIC_MIX = {"car": 0.58, "truck": 0.09, "bus": 0.06, "rig": 0.05, "motorcycle": 0.09, "bicycle": 0.09,
               "machine": 0.04}
WANTED = ("bus", "truck", "motorcycle", "bicycle", "car", "rig", "machine", "motorcycle", "bicycle", "bus", "car")
VEHICLE_ATTRIBUTES = ("vehicle.moving", "vehicle.stopped")
ATTEMPTS = 4                        # at traffic that does not hold the ego up
LEAST_SPEED = 4.5                   # of the ego over the scene [m/s]
CYCLE_ATTRIBUTES = ("cycle.with_rider", "cycle.with_rider")


@dataclass(frozen=True, eq=False)
class _Mover:
    """Bodies that go along one route; each with the distance of its centre behind the first one's [m]."""

    bodies: tuple[Body, ...]
    behind: tuple[float, ...]
    driver: Driver


def ego_route(network: Network, length: float, rng: np.random.Generator) -> tuple[Route, float]:
    """A route for the ego near the middle of the town, and the station at which it starts [m]."""
    center = network.plan.nodes.mean(axis=0)
    streets = sorted(key for key, lane in network.lanes.items() if not lane.is_connector)
    best: tuple[float, Route, float] | None = None
    for _ in range(24):
        first = streets[int(rng.integers(len(streets)))]
        lane_length = polyline_length(network.lanes[first].centerline)
        start = float(rng.uniform(4.0, max(4.5, lane_length - 16.0)))
        if lane_length - start < 14.0:
            continue
        route = make_route(network, random_keys(network, first, start + length, rng))
        places = route.ribbon.at(start + np.linspace(0.0, length, 20))
        score = float(np.linalg.norm(places - center, axis=1).mean()) * float(rng.uniform(0.7, 1.3))
        if best is None or score < best[0]:
            best = (score, route, start)
    if best is None:
        raise RuntimeError(f"no street of layout {network.plan.layout!r} is long enough for a drive")
    return best[1], best[2]


def add_traffic(
    network: Network, route: Route, start: float, cast: Cast, count: int, rng: np.random.Generator
) -> Trajectory:
    """Drive the ego and other vehicles, and cast those that touch nobody.

    Args:
        network: streets and lanes.
        route: the ego's.
        start: station of its rear axle at first [m].
        cast: takes the vehicles.
        count: vehicles besides the ego that are tried.
        rng: source of all choices.

    Returns:
        The ego's trajectory.
    """
    ego = Driver(
        route, start, min(7.0, route.limit(start)), float(rng.uniform(7.0, 9.0)),
        EGO_AXLE_TO_CENTER + EGO_SIZE[0] / 2, EGO_SIZE[0] / 2 - EGO_AXLE_TO_CENTER, EGO_SIZE[1],
    )
    for _ in range(ATTEMPTS):
        movers = _spawn(network, ego, count, rng)
        lights = _red_lights(network, route, rng)
        drivers = [replace(ego), *(mover.driver for mover in movers)]
        stations = simulate(network, drivers, lights, cast.times[0], cast.times[-1])
        if stations[0, -1] - stations[0, 0] > LEAST_SPEED * (cast.times[-1] - cast.times[0]):
            break
    poses = _poses(route, stations[0])
    trajectory = Trajectory(cast.times, poses)
    cast.occupancy.add(Trajectory(cast.times, _poses(route, stations[0] + EGO_AXLE_TO_CENTER)), EGO_SIZE)
    for mover, path in zip(movers, stations[1:], strict=True):
        _cast_mover(mover, path, cast)
    return trajectory


def _cast_mover(mover: _Mover, path: np.ndarray, cast: Cast) -> None:
    kept = len(cast.actors)
    for body, behind in zip(mover.bodies, mover.behind, strict=True):
        attributes = CYCLE_ATTRIBUTES if "cycle" in body.category else VEHICLE_ATTRIBUTES
        coupled = len(cast.actors) > kept
        if not cast.moving(body, _poses(mover.driver.route, path - behind), attributes, 0.05 if coupled else 0.12):
            break                                            # a lorry drives on without its trailer


def _poses(route: Route, stations: np.ndarray) -> np.ndarray:
    """(T, 4) x, y, 0, yaw at stations."""
    places = route.ribbon.at(stations)
    return np.column_stack([places, np.zeros(len(stations)), np.unwrap(route.ribbon.yaw(stations))])


def _spawn(network: Network, ego: Driver, count: int, rng: np.random.Generator) -> list[_Mover]:
    """Vehicles on free places of the lanes, the more likely the nearer to the ego's way."""
    path = ego.route.ribbon.at(np.linspace(ego.station, ego.station + 80.0, 30))
    lanes, stations, odds = _places(network, path)
    movers: list[_Mover] = []
    taken = [(ego.route.ribbon.at(ego.station)[0], ego.front + 6.0)]
    for _ in range(count * 6):
        if len(movers) >= count:
            break
        kind = WANTED[len(movers)] if len(movers) < len(WANTED) else draw_mix(TRAFFIC_MIX, rng)
        weights = odds**3 if len(movers) < len(WANTED) else odds
        place = int(rng.choice(len(lanes), p=weights / weights.sum()))
        slow_ahead = kind in ("bicycle", "machine", "rig") and lanes[place] in ego.route.keys[:3]
        mover = None if slow_ahead else _mover(network, kind, lanes[place], float(stations[place]), rng)
        if mover is None:
            continue
        driver = mover.driver
        spots = driver.route.ribbon.at(driver.station + np.linspace(-driver.rear, driver.front, 5))
        reach = 2.0 + driver.width
        if any(np.linalg.norm(spots - other, axis=1).min() < reach + radius for other, radius in taken):
            continue
        taken += [(spot, 2.5) for spot in spots]
        movers.append(mover)
    return movers


def _places(network: Network, path: np.ndarray) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Lanes, stations and odds of the places where vehicles may start."""
    lanes: list[str] = []
    stations, odds = [], []
    for key, lane in network.lanes.items():
        if lane.is_connector:
            continue
        length = polyline_length(lane.centerline)
        places = np.arange(2.0, length, 6.0)
        share = places / length
        index = share * (len(lane.centerline) - 1)
        points = lane.centerline[np.round(index).astype(int)]
        away = np.linalg.norm(points[:, None] - path[None], axis=-1).min(axis=1)
        lanes += [key] * len(places)
        stations.append(places)
        odds.append(np.exp(-away / 30.0) * (away < 110.0))
    return lanes, np.concatenate(stations), np.concatenate(odds)


def _mover(
    network: Network, kind: str, lane_key: str, station: float, rng: np.random.Generator
) -> _Mover | None:
    """A vehicle of a kind at a place, or None where its nose would reach beyond the stop line."""
    lane = network.lanes[lane_key]
    bodies, behind = _bodies(kind, rng)
    long = sum(body.size[0] for body in bodies) > 8.5
    front = bodies[0].size[0] / 2
    if station + front > polyline_length(lane.centerline) - STOP_LINE[1] - 1.0:
        return None
    # Cycles keep to the kerb's side of their lane.
    lateral = -network.side * (lane.width / 2 - 0.75) if kind == "bicycle" else 0.0
    route = make_route(network, random_keys(network, lane_key, station + 150.0, rng, straight=long), lateral)
    desired = {"bicycle": 4.5, "machine": 5.0, "rig": 7.0, "bus": 7.5}.get(kind, 9.5) * float(rng.uniform(0.85, 1.15))
    speed = min(desired, route.limit(station)) * float(rng.uniform(0.5, 0.95))
    rear = behind[-1] + bodies[-1].size[0] / 2
    width = max(body.size[1] for body in bodies)
    return _Mover(bodies, behind, Driver(route, station, speed, desired, front, rear, width))


def _bodies(kind: str, rng: np.random.Generator) -> tuple[tuple[Body, ...], tuple[float, ...]]:
    if kind == "rig":
        lorry = draw_body("truck_tractor", rng, moving=True)
        trailer = draw_body(draw_mix(TRAILERS, rng), rng, moving=True)
        return (lorry, trailer), (0.0, (lorry.size[0] + trailer.size[0]) / 2 + COUPLING_GAP)
    if kind == "bus":
        return (draw_body("bus_bendy" if rng.random() < 0.15 else "bus", rng, moving=True),), (0.0,)
    names = {"car": CARS, "truck": TRUCKS, "machine": {"dump_truck": 0.5, "loader": 0.5}}
    name = draw_mix(names[kind], rng) if kind in names else kind
    return (draw_body(name, rng, moving=True),), (0.0,)


def _red_lights(network: Network, route: Route, rng: np.random.Generator) -> list[RedLight]:
    """Closed approaches: at the ego's junctions its cross streets, elsewhere any."""
    passed = {
        (network.lanes[after].road, network.lanes[before].road)
        for before, after in zip(route.keys[:-1], route.keys[1:], strict=True) if network.lanes[after].is_connector
    }
    lights = []
    for node, arms in enumerate(network.arms):
        if len(arms) < 3:
            continue
        for arm in arms:
            road = network.plan.streets[arm.street].key
            if (f"node{node}", road) not in passed and rng.random() < 0.45:
                lights.append(RedLight(f"node{node}", road, float(rng.uniform(2.0, 14.0))))
    return lights


