"""Puts buildings, plants and street furniture along the streets; nothing here is annotated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .lane_graph import Network
from .layout import Style
from .mesh_builder import move_mesh
from .placement import WALKWAY_HEIGHT
from .plant_meshes import bush_mesh
from .plots import Plot
from .scene import Mesh
from .scenery_meshes import (
    LAMP_HEAD,
    SMALL_THINGS,
    building_mesh,
    fence_mesh,
    lamp_post_mesh,
    traffic_light_mesh,
)
from .town_areas import STOP_LINE
from .townscape import Townscape


@dataclass(frozen=True, eq=False)
class Prop:
    """A static thing.

    Args:
        mesh: in the global frame.
        pose: (3,) x, y, yaw of its foot.
        size: length and width that it takes up on the ground [m].
        lamps: (L, 3) global places from which it lights the street.
    """

    mesh: Mesh
    pose: np.ndarray
    size: tuple[float, float]
    lamps: np.ndarray = field(default_factory=lambda: np.zeros((0, 3)))


def make_scenery(
    network: Network, plots: Sequence[Plot], townscape: Townscape, rng: np.random.Generator
) -> list[Prop]:
    """All static things of a town that stand on the ground."""
    plants, furniture = _Plants(townscape, rng), _Furniture(rng)
    style = network.plan.style
    props: list[Prop] = []
    for plot in plots:
        if plot.kind == "building":
            props += _building(plot, style, townscape, plants, rng)
        elif plot.kind == "park":
            props += _park(plot, plants, rng)
    for index in range(len(network.plan.streets)):
        props += _along_street(network, index, plants, furniture, rng)
    return props + _traffic_lights(network)


class _Plants:
    """A few plants that are drawn once and set many times, turned and stretched."""

    def __init__(self, townscape: Townscape, rng: np.random.Generator) -> None:
        self._trees = [make(rng, townscape.leaves) for make in townscape.trees]
        self._bushes = [bush_mesh(rng, townscape.leaves) for _ in range(3)]

    def tree(self, place: np.ndarray, ground: float, rng: np.random.Generator) -> Prop:
        mesh, height = self._trees[int(rng.integers(len(self._trees)))], float(rng.uniform(4.5, 9.0))
        width = height * float(rng.uniform(0.75, 1.0))
        yaw = float(rng.uniform(-np.pi, np.pi))
        moved = move_mesh(mesh, (*place, ground), yaw, (width, width, height))
        return Prop(moved, np.array([*place, yaw]), (0.5, 0.5))

    def bush(self, place: np.ndarray, ground: float, rng: np.random.Generator) -> Prop:
        mesh, size = self._bushes[int(rng.integers(len(self._bushes)))], float(rng.uniform(0.6, 1.5))
        yaw = float(rng.uniform(-np.pi, np.pi))
        moved = move_mesh(mesh, (*place, ground), yaw, (size * 1.2, size * 1.2, size))
        return Prop(moved, np.array([*place, yaw]), (size * 1.2, size * 1.2))


class _Furniture:
    """A few small things of each kind that are made once and set many times."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.lamp = lamp_post_mesh()
        self._small = {name: [make(rng) for _ in range(4)] for name, (make, _) in SMALL_THINGS.items()}

    def draw(self, kind: str, rng: np.random.Generator) -> Mesh:
        return self._small[kind][int(rng.integers(4))]


def _building(
    plot: Plot, style: Style, townscape: Townscape, plants: _Plants, rng: np.random.Generator
) -> list[Prop]:
    height = float(rng.uniform(*style.heights))
    has_gable = bool(rng.random() < style.gables * townscape.gables)
    mesh = building_mesh(*plot.size, height, has_gable, townscape, rng)
    props = [Prop(move_mesh(mesh, (*plot.pose[:2], -0.02), float(plot.pose[2])), plot.pose, plot.size)]
    width, depth = plot.size
    if plot.gap > 2.0 and rng.random() < style.hedges:
        kind = ("hedge", "wall", "fence")[int(rng.integers(3))]
        for start, end in ((-width / 2, -1.2), (1.2, width / 2)):
            pose = plot.place((start + end) / 2, -depth / 2 - plot.gap + 0.5)
            fence = move_mesh(fence_mesh(end - start, kind, townscape), (*pose[:2], -0.02), float(pose[2]))
            props.append(Prop(fence, pose, (end - start, 0.6)))
    if plot.gap > 2.5:
        for _ in range(int(rng.integers(0, 4))):
            x, y = float(rng.uniform(-width, width)) / 2.2, -depth / 2 - float(rng.uniform(0.9, plot.gap - 1.0))
            plant = plants.tree if plot.gap > 4.0 and rng.random() < 0.3 else plants.bush
            props.append(plant(plot.place(x, y)[:2], -0.02, rng))
    return props


def _park(plot: Plot, plants: _Plants, rng: np.random.Generator) -> list[Prop]:
    props = []
    for number in range(16):
        x, y = (float(rng.uniform(-0.46, 0.46)) * size for size in plot.size)
        plant = plants.tree if number < 8 else plants.bush
        props.append(plant(plot.place(x, y)[:2], -0.02, rng))
    return props


def _along_street(
    network: Network, index: int, plants: _Plants, furniture: _Furniture, rng: np.random.Generator
) -> list[Prop]:
    """Lamps, trees and small things near the kerbs, and trees on the median."""
    street, ribbon = network.plan.streets[index], network.ribbons[index]
    first, last = network.cuts[index][0] + 6.0, network.cuts[index][1] - 6.0
    props: list[Prop] = []
    for side in (1, -1):
        lateral = side * (street.half_width + 0.4)
        turn = 0.0 if side > 0 else np.pi
        for station in np.arange(first + 3.0 + 9.0 * (side > 0), last, 27.0):
            props.append(_lamp(furniture.lamp, network, index, float(station), lateral, turn))
        for station in np.arange(first, last, 100.0 / max(network.plan.style.trees, 0.1)):
            if rng.random() < 0.6:
                place = ribbon.at(float(station) + float(rng.uniform(0.0, 6.0)), lateral + side * 0.15)[0]
                props.append(plants.tree(place, WALKWAY_HEIGHT, rng))
        for station in np.arange(first + 2.0, last, 15.0):
            kind = list(SMALL_THINGS)[int(rng.choice(len(SMALL_THINGS), p=(0.5, 0.18, 0.26, 0.06)))]
            size = SMALL_THINGS[kind][1]
            depth = street.walkway - 0.8 if kind in ("bench", "shelter") else 0.4
            place = float(station) + float(rng.uniform(0.0, 8.0))
            reach = side * (street.half_width + depth)
            # A sign looks at those who come along its side of the street.
            heading = np.pi if kind == "sign" and side == network.side else 0.0
            mesh = furniture.draw(kind, rng)
            props.append(_standing(mesh, network, index, place, reach, turn if kind != "sign" else heading, size))
    if street.median > 0:
        for station in np.arange(first + 4.0, last - 2.0, 9.0):
            props.append(plants.tree(ribbon.at(float(station), 0.0)[0], WALKWAY_HEIGHT, rng))
    return props


def _lamp(mesh: Mesh, network: Network, index: int, station: float, lateral: float, turn: float) -> Prop:
    """A street lamp and the place of its light."""
    post = _standing(mesh, network, index, station, lateral, turn, (0.3, 0.3))
    x, y, yaw = post.pose
    head = np.array([x - np.sin(yaw) * LAMP_HEAD[1], y + np.cos(yaw) * LAMP_HEAD[1], WALKWAY_HEIGHT + LAMP_HEAD[2]])
    return replace(post, lamps=head[None])


def _traffic_lights(network: Network) -> list[Prop]:
    """A mast beside every stop line of the large junctions."""
    props = []
    signal = traffic_light_mesh() if network.side < 0 else _mirrored(traffic_light_mesh())
    for arms in network.arms:
        if len(arms) < 4:
            continue
        for arm in arms:
            street = network.plan.streets[arm.street]
            first, last = network.cuts[arm.street]
            station = first + STOP_LINE[1] if arm.at_start else last - STOP_LINE[1]
            # Traffic towards the junction runs along the ribbon at its end, and against it at its start.
            side = network.side * (1 if arm.at_start else -1)
            turn = np.pi if arm.at_start else 0.0
            lateral = side * (street.half_width + 0.35)
            props.append(_standing(signal, network, arm.street, station, lateral, turn, (0.3, 0.3)))
    return props


def _mirrored(mesh: Mesh) -> Mesh:
    """The mesh with left and right exchanged."""
    return Mesh(mesh.vertices * np.array([1, -1, 1], dtype=np.float32), mesh.triangles[:, ::-1].copy(), mesh.colors,
                mesh.semantic, mesh.reflectivity, mesh.texture)


def _standing(
    mesh: Mesh, network: Network, index: int, station: float, lateral: float, turn: float, size: tuple[float, float]
) -> Prop:
    """A thing on the walkway, turned against the street's direction."""
    ribbon = network.ribbons[index]
    place, yaw = ribbon.at(station, lateral)[0], float(ribbon.yaw(station)[0]) + turn
    return Prop(move_mesh(mesh, (*place, WALKWAY_HEIGHT), yaw), np.array([*place, yaw]), size)
