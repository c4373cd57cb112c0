"""The bodies of annotated things: sizes drawn like those of nuScenes, and meshes that fill them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from .machine_meshes import MACHINE_KINDS, machine_mesh
from .materials import Semantic
from .mesh_builder import fit_mesh
from .people_meshes import barrier_mesh, bicycle_mesh, cone_mesh, motorcycle_mesh, person_mesh, rack_mesh
from .scene import Mesh
from .vehicle_meshes import CAR_KINDS, bus_mesh, car_mesh, trailer_mesh, truck_mesh


@dataclass(frozen=True, eq=False)
class Body:
    """What an actor is, without where it is.

    Args:
        category: nuScenes category.
        size: length, width, height of the annotated box [m].
        make: gives the mesh from a random source and whether it moves, in any size.
        moving: people are in mid-stride and cycles have a rider.
        seed: of the mesh's colours and details.
    """

    category: str
    size: tuple[float, float, float]
    make: Callable[[np.random.Generator, bool], Mesh]
    moving: bool
    seed: int

    @cached_property
    def mesh(self) -> Mesh:
        """Triangles in the box's frame, inside the box; made when asked for, since many bodies find no room."""
        return fit_mesh(self.make(np.random.default_rng(self.seed), self.moving), self.size)


@dataclass(frozen=True)
class _Kind:
    """Mean and relative spread of the size, the slimmest and widest body that is drawn, and the mesh maker."""

    category: str
    mean: tuple[float, float, float]
    spread: float
    mesh: Callable[[np.random.Generator, bool], Mesh]


def draw_body(kind: str, rng: np.random.Generator, *, moving: bool = False) -> Body:
    """Draw a body of a kind in ``KINDS``.

    Args:
        kind: such as "sedan", "truck_box" or "adult".
        rng: source of size and colours.
        moving: people are in mid-stride and cycles have a rider.

    Raises:
        ValueError: the kind is unknown.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r}, choose from {sorted(KINDS)}")
    recipe = KINDS[kind]
    common, own = rng.normal(size=1), rng.normal(size=3)
    factor = 1.0 + recipe.spread * np.clip(0.7 * common + 0.7 * own, -2.0, 2.0)
    length, width, height = (float(value) for value in np.round(np.array(recipe.mean) * factor, 3))
    if moving and kind in ("bicycle", "motorcycle"):
        height = round(height * 1.25, 3)
    return Body(recipe.category, (length, width, height), recipe.mesh, moving, int(rng.integers(2**62)))


def draw_mix(mix: dict[str, float], rng: np.random.Generator) -> str:
    """Draw a name with the given odds."""
    names = list(mix)
    odds = np.array([mix[name] for name in names])
    return names[int(rng.choice(len(names), p=odds / odds.sum()))]


def _car(kind: str) -> Callable[[np.random.Generator, bool], Mesh]:
    return lambda rng, moving: car_mesh(kind, rng)


def _truck(kind: str) -> Callable[[np.random.Generator, bool], Mesh]:
    return lambda rng, moving: truck_mesh(kind, rng)


def _trailer(kind: str) -> Callable[[np.random.Generator, bool], Mesh]:
    return lambda rng, moving: trailer_mesh(kind, rng)


def _machine(kind: str) -> Callable[[np.random.Generator, bool], Mesh]:
    return lambda rng, moving: machine_mesh(kind, rng)


def _person(semantic: Semantic) -> Callable[[np.random.Generator, bool], Mesh]:
    return lambda rng, moving: person_mesh(semantic, moving, rng)


def _barrier(kind: str) -> Callable[[np.random.Generator, bool], Mesh]:
    return lambda rng, moving: barrier_mesh(kind, rng)


_CAR_SIZES = {
    "sedan": (4.68, 1.90, 1.55), "hatchback": (4.10, 1.84, 1.58), "suv": (4.75, 2.00, 1.82), "van": (5.00, 2.02, 2.08),
    "wagon": (4.72, 1.91, 1.62),
}
_TRUCK_SIZES = {
    "pickup": (5.65, 2.08, 1.98), "box": (7.2, 2.45, 3.0), "flatbed": (7.4, 2.45, 2.75), "tanker": (8.0, 2.45, 2.95),
    "tractor": (6.1, 2.5, 3.25),
}
_MACHINE_SIZES = {
    "excavator": (6.7, 2.75, 3.15), "dump_truck": (7.0, 2.75, 3.15), "loader": (6.3, 2.6, 3.15),
    "roller": (5.1, 2.3, 3.0),
}

KINDS: dict[str, _Kind] = {
    **{kind: _Kind("vehicle.car", _CAR_SIZES[kind], 0.035, _car(kind)) for kind in CAR_KINDS},
    **{f"truck_{kind}": _Kind("vehicle.truck", size, 0.05, _truck(kind)) for kind, size in _TRUCK_SIZES.items()},
    "bus": _Kind("vehicle.bus.rigid", (11.0, 2.85, 3.45), 0.04, lambda rng, moving: bus_mesh(rng)),
    "bus_bendy": _Kind("vehicle.bus.bendy", (14.0, 2.85, 3.4), 0.02, lambda rng, moving: bus_mesh(rng, bendy=True)),
    **{
        f"trailer_{kind}": _Kind("vehicle.trailer", size, 0.05, _trailer(kind))
        for kind, size in {
            "box": (11.8, 2.75, 3.9), "container": (12.2, 2.7, 3.85), "flatbed": (11.0, 2.75, 3.4),
        }.items()
    },
    **{kind: _Kind("vehicle.construction", _MACHINE_SIZES[kind], 0.06, _machine(kind)) for kind in MACHINE_KINDS},
    "bicycle": _Kind("vehicle.bicycle", (1.72, 0.62, 1.22), 0.05, lambda rng, moving: bicycle_mesh(moving, rng)),
    "motorcycle": _Kind(
        "vehicle.motorcycle", (2.10, 0.78, 1.40), 0.05, lambda rng, moving: motorcycle_mesh(moving, rng)
    ),
    "adult": _Kind("human.pedestrian.adult", (0.72, 0.68, 1.75), 0.06, _person(Semantic.ADULT)),
    "child": _Kind("human.pedestrian.child", (0.55, 0.54, 1.30), 0.07, _person(Semantic.CHILD)),
    "worker": _Kind(
        "human.pedestrian.construction_worker", (0.74, 0.72, 1.77), 0.05, _person(Semantic.CONSTRUCTION_WORKER)
    ),
    "police": _Kind("human.pedestrian.police_officer", (0.73, 0.72, 1.80), 0.04, _person(Semantic.POLICE_OFFICER)),
    **{
        f"barrier_{kind}": _Kind("movable_object.barrier", (0.55, 2.4, 1.0), 0.05, _barrier(kind))
        for kind in ("board", "plastic", "concrete")
    },
    "cone": _Kind("movable_object.trafficcone", (0.42, 0.42, 1.02), 0.06, lambda rng, moving: cone_mesh(rng)),
    "rack": _Kind("static_object.bicycle_rack", (3.0, 1.75, 1.1), 0.06, lambda rng, moving: rack_mesh(4, rng)),
}

CARS = {"sedan": 0.3, "hatchback": 0.22, "suv": 0.26, "van": 0.12, "wagon": 0.1}
TRUCKS = {"truck_pickup": 0.25, "truck_box": 0.4, "truck_flatbed": 0.2, "truck_tanker": 0.15}
TRAILERS = {"trailer_box": 0.45, "trailer_container": 0.3, "trailer_flatbed": 0.25}
MACHINES = {"excavator": 0.35, "dump_truck": 0.2, "loader": 0.25, "roller": 0.2}
BARRIERS = {"barrier_board": 0.4, "barrier_plastic": 0.35, "barrier_concrete": 0.25}
