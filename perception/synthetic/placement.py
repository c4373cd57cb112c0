"""Parked vehicles, road works, building sites and the other annotated things that stand still."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .bodies import BARRIERS, CARS, MACHINES, TRAILERS, TRUCKS, draw_body, draw_mix
from .cast import Cast
from .lane_graph import Network
from .plots import Plot
from .town_areas import CROSSING_GAP, CROSSING_WIDTH

WALKWAY_HEIGHT = 0.14               # of walkways and medians above the road [m]
PARKED = {"car": 0.83, "truck": 0.06, "bus": 0.02, "trailer": 0.03, "motorcycle": 0.06}
LARGE = ("bus", "truck", "trailer", "machine", "bus")
REACH = 75.0                        # distance from the ego's way up to which things are placed [m]


def park_along_kerbs(
    network: Network, route: np.ndarray, cast: Cast, rng: np.random.Generator, share: float, mid_block: np.ndarray
) -> None:
    """Fill a share of the parking strips within reach of the ego's way, but none of the crossings half-way."""
    for index, street in enumerate(network.plan.streets):
        if street.parking == 0:
            continue
        for side in (1, -1):
            station, last = network.cuts[index][0] + 9.0, network.cuts[index][1] - 9.0
            while station < last:
                kind = draw_mix(PARKED, rng)
                long = kind in ("truck", "bus", "trailer")
                slot = 13.5 if long else 2.5 if kind == "motorcycle" else 6.0
                lateral = side * (street.half_width - 0.25 - street.parking / 2)
                place = network.ribbons[index].at(station + slot / 2, lateral)[0]
                crossing = abs(station + slot / 2 - mid_block[index]) < slot / 2 + CROSSING_WIDTH    # NaN: none
                if rng.random() < share and _away(route, place) < REACH and not crossing:
                    yaw = float(network.ribbons[index].yaw(station + slot / 2)[0])
                    yaw += 0.0 if side == -network.side else np.pi
                    body = draw_body(_parked_kind(kind, rng), rng)
                    pose = np.array([*place, yaw + float(rng.normal(0.0, 0.015))])
                    attribute = "cycle.without_rider" if kind == "motorcycle" else "vehicle.parked"
                    cast.still(body, pose, 0.0, attribute)
                station += slot


def park_large(network: Network, route: np.ndarray, cast: Cast, rng: np.random.Generator) -> None:
    """Large and rare vehicles in the parking strips beside the ego's way, or else of the nearest side streets."""
    near, far = (kerb_spots(network, route, reach, parking=True) for reach in (16.0, 40.0))
    for kind in LARGE:
        for attempt in range(40):
            spots = near if near and attempt < 15 else far
            if not spots:
                break
            index, side, station = spots[int(rng.integers(len(spots)))]
            street, ribbon = network.plan.streets[index], network.ribbons[index]
            place = ribbon.at(station, side * (street.half_width - 0.25 - street.parking / 2))[0]
            yaw = float(ribbon.yaw(station)[0]) + (0.0 if side == -network.side else np.pi)
            if cast.still(draw_body(_parked_kind(kind, rng), rng), np.array([*place, yaw]), 0.0, "vehicle.parked"):
                break


def fill_plots(plots: Sequence[Plot], route: np.ndarray, cast: Cast, rng: np.random.Generator) -> None:
    """Vehicles in the car parks; machines, barriers, cones and workers on the building sites."""
    for plot in plots:
        if _away(route, plot.pose[:2]) > REACH:
            continue
        if plot.kind == "carpark":
            _fill_carpark(plot, cast, rng)
        elif plot.kind == "works":
            _fill_works(plot, cast, rng)


def road_works(network: Network, route: np.ndarray, cast: Cast, rng: np.random.Generator, count: int) -> None:
    """Closed stretches of the parking strips: barriers in a row, cones at the ends, a machine and workers inside."""
    spots = kerb_spots(network, route, 26.0, parking=True)
    done = 0
    for _ in range(count * 8):
        if done == count or not spots:
            break
        index, side, station = spots[int(rng.integers(len(spots)))]
        done += _close_strip(network, index, side, station, cast, rng)


def cycles_on_walkways(network: Network, route: np.ndarray, cast: Cast, rng: np.random.Generator, count: int) -> None:
    """Parked bicycles and motorcycles, and now and then a rack full of bicycles, near the kerb."""
    spots = kerb_spots(network, route, 30.0)
    for number in range(count):
        index, side, station = spots[int(rng.integers(len(spots)))]
        street, ribbon = network.plan.streets[index], network.ribbons[index]
        kind = "rack" if rng.random() < 0.08 else "bicycle" if number % 2 else "motorcycle"
        across = kind != "rack" and rng.random() < 0.5
        lateral = side * (street.half_width + (1.2 if across or kind == "rack" else 0.6))
        yaw = float(ribbon.yaw(station)[0]) + (np.pi / 2 if across else 0.0) + float(rng.normal(0.0, 0.1))
        pose = np.array([*ribbon.at(station, lateral)[0], yaw + (np.pi if rng.random() < 0.5 else 0.0)])
        attribute = "" if kind == "rack" else "cycle.without_rider"
        cast.still(draw_body(kind, rng), pose, WALKWAY_HEIGHT, attribute)


def cones_and_barriers(network: Network, route: np.ndarray, cast: Cast, rng: np.random.Generator, count: int) -> None:
    """Single cones and short rows of barriers on the walkways beside the ego's way."""
    spots = kerb_spots(network, route, 18.0)
    for number in range(count):
        index, side, station = spots[int(rng.integers(len(spots)))]
        street, ribbon = network.plan.streets[index], network.ribbons[index]
        lateral = side * (street.half_width + 0.45)
        kind = draw_mix(BARRIERS, rng)
        for step in range(int(rng.integers(2, 5))):
            along = station + step * (2.65 if number % 2 else 2.0)
            place, yaw = ribbon.at(along, lateral)[0], float(ribbon.yaw(along)[0])
            if number % 2:
                cast.still(draw_body(kind, rng), np.array([*place, yaw + np.pi / 2]), WALKWAY_HEIGHT, "", 0.02)
            else:
                cast.still(draw_body("cone", rng), np.array([*place, yaw]), WALKWAY_HEIGHT, "", 0.1)


def kerb_spots(
    network: Network, route: np.ndarray, reach: float, *, parking: bool = False
) -> list[tuple[int, int, float]]:
    """Street, side and station of kerbs within reach of the ego's way, clear of the crossings.

    Args:
        network: streets.
        route: (V, 2) the ego's way.
        reach: metres.
        parking: only streets with parking strips.
    """
    spots = []
    clear = CROSSING_GAP + CROSSING_WIDTH + 2.0
    for index, street in enumerate(network.plan.streets):
        if parking and street.parking == 0:
            continue
        first, last = network.cuts[index]
        stations = np.arange(first + clear, last - clear, 2.0)
        for side in (1, -1):
            if len(stations):
                places = network.ribbons[index].at(stations, side * street.half_width)
                away = np.linalg.norm(places[:, None] - route[None], axis=-1).min(axis=1)
                spots += [(index, side, float(station)) for station in stations[away < reach]]
    return spots


def _parked_kind(kind: str, rng: np.random.Generator) -> str:
    mixes = {"car": CARS, "truck": TRUCKS, "trailer": TRAILERS, "machine": MACHINES}
    return draw_mix(mixes[kind], rng) if kind in mixes else kind


def _away(route: np.ndarray, place: np.ndarray) -> float:
    return float(np.linalg.norm(route - place, axis=1).min())


def _fill_carpark(plot: Plot, cast: Cast, rng: np.random.Generator) -> None:
    width, depth = plot.size
    for row, facing in ((-depth / 2 + 2.9, np.pi / 2), (depth / 2 - 2.9, -np.pi / 2)):
        for x in np.arange(-width / 2 + 1.6, width / 2 - 1.0, 2.75):
            if (row < 0 and abs(x) < 4.0) or rng.random() > 0.6:           # the entrance stays free
                continue
            turn = facing + (np.pi if rng.random() < 0.4 else 0.0) + float(rng.normal(0.0, 0.02))
            cast.still(draw_body(draw_mix(CARS, rng), rng), plot.place(float(x), row, turn), 0.0, "vehicle.parked")


def _fill_works(plot: Plot, cast: Cast, rng: np.random.Generator) -> None:
    width, depth = plot.size
    machine = draw_body(draw_mix(MACHINES, rng), rng)
    cast.still(machine, plot.place(-width / 4, 0.5, float(rng.uniform(-0.5, 0.5))), 0.0, "vehicle.parked")
    big = draw_body(draw_mix(TRAILERS, rng), rng) if rng.random() < 0.6 else draw_body(draw_mix(MACHINES, rng), rng)
    cast.still(big, plot.place(width / 5, depth / 2 - 2.2, float(rng.normal(0.0, 0.04))), 0.0, "vehicle.parked")
    kind = draw_mix(BARRIERS, rng)
    for x in np.arange(-width / 2 + 1.5, width / 2 - 1.0, 2.7):
        if rng.random() < 0.8:
            body = draw_body(kind, rng)
            cast.still(body, plot.place(float(x), -depth / 2 + 0.5, np.pi / 2), 0.0, "", 0.02)
    for _ in range(5):
        place = plot.place(float(rng.uniform(-width, width)) / 2.2, float(rng.uniform(-depth, depth)) / 2.4)
        cast.still(draw_body("cone", rng), place, 0.0, "")
    for _ in range(3):
        place = plot.place(float(rng.uniform(-width, width)) / 2.2, float(rng.uniform(-depth, depth)) / 2.4,
                           float(rng.uniform(-np.pi, np.pi)))
        cast.still(draw_body("worker", rng), place, 0.0, "pedestrian.standing")


def _close_strip(
    network: Network, index: int, side: int, station: float, cast: Cast, rng: np.random.Generator
) -> bool:
    """One closed stretch; False when not even its first barrier found room."""
    street, ribbon = network.plan.streets[index], network.ribbons[index]
    inner, middle = street.half_width - street.parking + 0.25, street.half_width - 0.25 - street.parking / 2

    def pose(along: float, lateral: float, turn: float = 0.0) -> np.ndarray:
        return np.array([*ribbon.at(along, side * lateral)[0], float(ribbon.yaw(along)[0]) + turn])

    kind, length = draw_mix(BARRIERS, rng), int(rng.integers(3, 6))
    placed = [
        cast.still(draw_body(kind, rng), pose(station + step * 2.65, inner, np.pi / 2), 0.0, "", 0.02)
        for step in range(length)
    ]
    if not placed[0]:
        return False
    end = station + length * 2.65
    for along in (station - 2.0, station - 3.6, end - 0.3, end + 1.3):
        cast.still(draw_body("cone", rng), pose(along, float(rng.uniform(inner, middle))), 0.0, "", 0.1)
    if rng.random() < 0.5:
        cast.still(draw_body("roller", rng), pose((station + end) / 2, middle + 0.4), 0.0, "vehicle.parked", 0.02)
    for _ in range(2):
        worker = pose(float(rng.uniform(station, end)), middle + 0.5, float(rng.uniform(-np.pi, np.pi)))
        cast.still(draw_body("worker", rng), worker, 0.0, "pedestrian.standing", 0.1)
    return True
