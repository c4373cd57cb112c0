"""Builds a scene: a town, the ego's drive through it and everything that lives around it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .cast import Cast
from .city_plan import TownDrive, drives_on_the_right
from .ground_mesh import ground_mesh
from .lane_graph import Network, build_network
from .layout import LAYOUTS, make_plan
from .looks import DAY, Look
from .mesh_builder import merge_meshes
from .movers import add_traffic, ego_route
from .pedestrians import ride_on_walkways, stand_about, walk_across, walk_along
from .placement import cones_and_barriers, cycles_on_walkways, fill_plots, park_along_kerbs, park_large, road_works
from .plots import divide_land
from .scene import Scene, Trajectory
from .scenery import Prop, make_scenery
from .tour import tour_leg
from .town_areas import build_town, make_surfaces

CANVAS = {
    "singapore-onenorth": (1585.6, 2025.0),
    "singapore-hollandvillage": (2808.3, 2922.9),
    "singapore-queenstown": (3228.6, 3687.1),
    "boston-seaport": (2979.5, 2118.1),
}
CELL = 490.0                        # side of the square that a town may use [m]
REACH = 80.0                        # distance from the ego's way within which props keep actors away [m]


def num_slots(location: str) -> int:
    """How many towns find room beside each other on a location's map."""
    width, height = _canvas(location)
    return int(width // CELL) * int(height // CELL)


def slot_corner(location: str, slot: int) -> np.ndarray:
    """(2,) x, y [m] of the corner with the least coordinates of a town's square on its map."""
    columns = int(_canvas(location)[0] // CELL)
    return CELL * np.array([slot % columns, slot // columns], dtype=np.float64)


def build_scene(
    name: str, location: str, seed: int, duration_s: float = 10.0, layout: str | None = None, density: float = 1.0,
    slot: int | None = None, look: Look = DAY, drive: TownDrive | None = None,
) -> Scene:
    """Build a scene from a seed; the same arguments give the same bytes.

    Args:
        name: nuScenes scene name; it does not influence the content.
        location: nuScenes map name; Singapore drives on the left.
        seed: of all random choices, >= 0.
        duration_s: length of the drive [s].
        layout: key of ``LAYOUTS``; by default one after the other with the seed.
        density: factor on the number of vehicles and people, > 0.
        slot: place of the town on the map, in [0, num_slots(location)); by default the seed chooses. Scenes that
            share a map need different ones.
        look: what the town is built of, and how high the sun stands.
        drive: which of the drives through a town this is: its town then has streets, houses and plants of a seed of its
            own, and the way is a leg of the town's tour. None builds a town for this scene alone.

    Raises:
        ValueError: an argument lies outside its range, or the location or layout is unknown.
    """
    slots = num_slots(location)
    if not duration_s > 0 or not density > 0:
        raise ValueError(f"duration_s and density must be > 0, got {duration_s} and {density}")
    if seed < 0:
        raise ValueError(f"seed must be >= 0, got {seed}")
    slot = seed % slots if slot is None else slot
    if not 0 <= slot < slots:
        raise ValueError(f"slot must lie in [0, {slots}) for {location}, got {slot}")
    layout = sorted(LAYOUTS)[seed % len(LAYOUTS)] if layout is None else layout
    place = [sorted(CANVAS).index(location), slot]
    rng = np.random.default_rng([seed, *place])
    if drive is None:
        town_rng = rng
        network = _network(layout, location, slot, town_rng)
        route, start = ego_route(network, 9.0 * (duration_s + 1.0), rng)
    else:
        town_rng = np.random.default_rng([drive.town.seed, *place])
        network = _network(layout, location, slot, town_rng, drive.town.skyline)
        route, start = tour_leg(network, drive, duration_s)
    path = route.ribbon.at(np.linspace(start, start + 8.0 * duration_s, 60))
    surfaces, mid_block = make_surfaces(network), _mid_block(network)
    plots = divide_land(network, surfaces.built, path if drive is None else None, town_rng)
    town = build_town(network, surfaces, location, _canvas(location), plots, mid_block)
    props = make_scenery(network, plots, look.townscape, town_rng)
    cast = Cast(duration_s)
    _keep_clear(cast, props, path)
    ego = add_traffic(network, route, start, cast, round(34 * density), rng)
    way = ego.poses[:, :2]
    park_large(network, way, cast, rng)
    road_works(network, way, cast, rng, 2)
    fill_plots(plots, way, cast, rng)
    cones_and_barriers(network, way, cast, rng, 8)
    cycles_on_walkways(network, way, cast, rng, round(14 * density))
    walk_across(network, way, cast, rng, round(16 * density), mid_block)
    park_along_kerbs(network, way, cast, rng, min(0.55 * density, 0.95), mid_block)
    ride_on_walkways(network, way, cast, rng, round(3 * density))
    walk_along(network, way, cast, rng, round(45 * density))
    stand_about(network, way, cast, rng, round(12 * density))
    ground = ground_mesh(town, network, surfaces, plots, look.townscape)
    static = merge_meshes([ground, *(prop.mesh for prop in props)])
    lamps = np.concatenate([np.zeros((0, 3)), *(prop.lamps for prop in props)])
    return Scene(name, town, static, tuple(cast.actors), ego, duration_s, _sun(look.light.sun_heights, rng), lamps)


def _canvas(location: str) -> tuple[float, float]:
    if location not in CANVAS:
        raise ValueError(f"unknown location {location!r}, choose from {sorted(CANVAS)}")
    return CANVAS[location]


def _network(layout: str, location: str, slot: int, rng: np.random.Generator, skyline: float = 1.0) -> Network:
    """A drawn plan, turned a little, in the middle of its cell; ``skyline`` is a factor on heights."""
    center = slot_corner(location, slot) + 0.5 * CELL
    turn = float(rng.uniform(-0.1, 0.1)) + float(rng.integers(4)) * np.pi / 2
    plan = make_plan(layout, rng).moved(turn, np.zeros(2))
    low, high = plan.style.heights
    plan = replace(plan, style=replace(plan.style, heights=(skyline * low, skyline * high)))
    middle = (plan.nodes.min(axis=0) + plan.nodes.max(axis=0)) / 2
    return build_network(plan.moved(0.0, center - middle), 1 if drives_on_the_right(location) else -1)


def _mid_block(network: Network) -> np.ndarray:
    """Station of a crossing half-way on every second of the long streets, NaN on the others."""
    stations = []
    for index, (first, last) in enumerate(network.cuts):
        crossed = last - first > 58.0 and index % 2 == 0 and network.plan.streets[index].median == 0
        stations.append((first + last) / 2 if crossed else float("nan"))
    return np.array(stations)


def _keep_clear(cast: Cast, props: list[Prop], path: np.ndarray) -> None:
    for prop in props:
        if np.linalg.norm(path - prop.pose[:2], axis=1).min() < REACH:
            knot = np.array([[prop.pose[0], prop.pose[1], 0.0, prop.pose[2]]])
            cast.occupancy.add(Trajectory(np.zeros(1), knot), prop.size)


def _sun(heights: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Unit vector towards a sun that stands between two elevations [deg]."""
    azimuth, height = rng.uniform(-np.pi, np.pi), rng.uniform(*np.radians(heights))
    return np.array([np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height)])
