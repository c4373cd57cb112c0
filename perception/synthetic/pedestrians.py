"""People on the walkways and crossings; they go when the traffic leaves them a gap."""

from __future__ import annotations

import numpy as np

from .bodies import draw_body, draw_mix
from .cast import Cast
from .lane_graph import Network
from .placement import WALKWAY_HEIGHT, kerb_spots
from .town_areas import crossing_stations

PEOPLE = {"adult": 0.84, "child": 0.09, "worker": 0.04, "police": 0.03}
ATTRIBUTES = ("pedestrian.moving", "pedestrian.standing")
CLEARANCE = 0.12                    # between people, and between them and all else [m]
STEP_UP = 0.5                       # way over which somebody climbs a kerb [m]


def walk_along(network: Network, route: np.ndarray, cast: Cast, rng: np.random.Generator, count: int) -> None:
    """People strolling along walkways near the ego's way, some of them in pairs."""
    spots = kerb_spots(network, route, 32.0)
    for _ in range(count):
        index, side, station = spots[int(rng.integers(len(spots)))]
        ribbon, street = network.ribbons[index], network.plan.streets[index]
        speed, heading = float(rng.uniform(0.7, 1.7)), 1 if rng.random() < 0.5 else -1
        lateral = street.half_width + float(rng.uniform(0.55, street.walkway - 0.45))
        pause = float(rng.uniform(0.0, 5.0)) if rng.random() < 0.15 else -10.0
        for friend in range(2 if rng.random() < 0.3 else 1):
            way = _distance(cast.times, speed, pause)
            along = station + heading * (way - way[-1] / 2)
            if along.min() < network.cuts[index][0] - 3.0 or along.max() > network.cuts[index][1] + 3.0:
                break
            offset = side * (lateral + 0.85 * friend * (-1.0 if lateral > street.half_width + 1.6 else 1.0))
            if abs(offset) > street.half_width + street.walkway - 0.3:
                break
            yaw = np.unwrap(ribbon.yaw(along)) + (0.0 if heading > 0 else np.pi)
            poses = np.column_stack([ribbon.at(along, offset), np.full(len(along), WALKWAY_HEIGHT), yaw])
            cast.moving(draw_body(draw_mix(PEOPLE, rng), rng, moving=True), poses, ATTRIBUTES, CLEARANCE)


def walk_across(
    network: Network, route: np.ndarray, cast: Cast, rng: np.random.Generator, count: int, mid_block: np.ndarray
) -> None:
    """People who cross, each waiting at the kerb until the way is free."""
    places = [
        (index, station)
        for index in range(len(network.ribbons))
        for station in [*crossing_stations(network, index), *mid_block[[index]][np.isfinite(mid_block[[index]])]]
        if np.linalg.norm(route - network.ribbons[index].at(station)[0], axis=1).min() < 35.0
    ]
    for _ in range(count if places else 0):
        index, station = places[int(rng.integers(len(places)))]
        _cross(network, index, float(station) + float(rng.uniform(-1.2, 1.2)), cast, rng)


def stand_about(network: Network, route: np.ndarray, cast: Cast, rng: np.random.Generator, count: int) -> None:
    """People standing on walkways, alone or in groups that face each other."""
    spots = kerb_spots(network, route, 28.0)
    for _ in range(count):
        index, side, station = spots[int(rng.integers(len(spots)))]
        street, ribbon = network.plan.streets[index], network.ribbons[index]
        center = ribbon.at(station, side * (street.half_width + float(rng.uniform(0.9, street.walkway - 0.5))))[0]
        group = int(rng.integers(1, 4))
        turn = float(rng.uniform(-np.pi, np.pi))
        for member in range(group):
            angle = turn + member * 2 * np.pi / group
            place = center + (0.62 if group > 1 else 0.0) * np.array([np.cos(angle), np.sin(angle)])
            body = draw_body(draw_mix(PEOPLE, rng), rng)
            cast.still(body, np.array([*place, angle + np.pi]), WALKWAY_HEIGHT, ATTRIBUTES[1], 0.03)


def ride_on_walkways(network: Network, route: np.ndarray, cast: Cast, rng: np.random.Generator, count: int) -> None:
    """Cyclists who use the walkway where it is empty enough."""
    spots = kerb_spots(network, route, 30.0)
    for _ in range(count * 3):
        if count == 0:
            break
        index, side, station = spots[int(rng.integers(len(spots)))]
        street, ribbon = network.plan.streets[index], network.ribbons[index]
        heading, speed = 1 if rng.random() < 0.5 else -1, float(rng.uniform(2.2, 3.6))
        along = station + heading * speed * (cast.times - cast.times.mean())
        if along.min() < network.cuts[index][0] + 2.0 or along.max() > network.cuts[index][1] - 2.0:
            continue
        places = ribbon.at(along, side * (street.half_width + 0.5 * street.walkway))
        yaw = np.unwrap(ribbon.yaw(along)) + (0.0 if heading > 0 else np.pi)
        poses = np.column_stack([places, np.full(len(along), WALKWAY_HEIGHT), yaw])
        body = draw_body("bicycle", rng, moving=True)
        count -= cast.moving(body, poses, ("cycle.with_rider", "cycle.with_rider"), 0.25)


def _cross(network: Network, index: int, station: float, cast: Cast, rng: np.random.Generator) -> None:
    street, ribbon = network.plan.streets[index], network.ribbons[index]
    side, speed = 1 if rng.random() < 0.5 else -1, float(rng.uniform(1.0, 1.9))
    reach = street.half_width + 0.9
    body = draw_body(draw_mix(PEOPLE, rng), rng, moving=True)
    for wait in rng.permutation(np.arange(-6.0, cast.times[-1] - 3.0, 0.8)):
        way = np.clip(speed * (cast.times - float(wait)), 0.0, 2 * reach)
        lateral = side * (reach - way)
        height = WALKWAY_HEIGHT * np.clip((np.abs(lateral) - street.half_width) / STEP_UP + 0.5, 0.0, 1.0)
        yaw = np.full(len(way), float(ribbon.yaw(station)[0]) - side * np.pi / 2)
        poses = np.column_stack([ribbon.at(np.full(len(way), station), lateral), height, yaw])
        if cast.moving(body, poses, ATTRIBUTES, 0.45):
            return


def _distance(times: np.ndarray, speed: float, pause_s: float) -> np.ndarray:
    """(T,) way gone when somebody stands still for two and a half seconds from ``pause_s`` on."""
    walking = speed * np.clip(np.minimum(np.abs(times - pause_s - 1.25) - 1.25, 0.5), 0.0, 0.5) / 0.5
    return np.concatenate([[0.0], np.cumsum((walking[1:] + walking[:-1]) / 2 * np.diff(times))])
