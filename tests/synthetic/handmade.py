"""A tiny scene with known answers: flat ground, one wall and a few box cars."""

from __future__ import annotations

import numpy as np

from perception.synthetic.materials import Semantic, Texture
from perception.synthetic.scene import Actor, Mesh, Scene, Trajectory
from perception.synthetic.town import Area, Divider, Lane, Town

BOX_TRIANGLES = np.array([[0, 2, 1], [1, 2, 3], [4, 5, 6], [5, 7, 6], [0, 1, 4], [1, 5, 4], [2, 6, 3], [3, 6, 7],
                          [0, 4, 2], [2, 4, 6], [1, 3, 5], [3, 7, 5]], np.uint32)


def box_mesh(size: tuple[float, float, float], semantic: int, reflectivity: float = 0.6,
             color: tuple[int, int, int] = (180, 30, 30), texture: int = 0) -> Mesh:
    """A closed box around the origin."""
    corners = np.array([[x, y, z] for z in (-0.5, 0.5) for y in (-0.5, 0.5) for x in (-0.5, 0.5)], np.float32)
    return Mesh(corners * np.array(size, np.float32), BOX_TRIANGLES, np.full((12, 3), color, np.uint8),
                np.full(12, semantic, np.uint8), np.full(12, reflectivity, np.float32), np.full(12, texture, np.uint8))


def moved(mesh: Mesh, shift: tuple[float, float, float]) -> Mesh:
    return Mesh(mesh.vertices + np.array(shift, np.float32), mesh.triangles, mesh.colors, mesh.semantic,
                mesh.reflectivity, mesh.texture)


def joined(*meshes: Mesh) -> Mesh:
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    return Mesh(np.concatenate([mesh.vertices for mesh in meshes]),
                np.concatenate([mesh.triangles + np.uint32(s) for mesh, s in zip(meshes, starts, strict=False)]),
                *(np.concatenate([getattr(mesh, name) for mesh in meshes])
                  for name in ("colors", "semantic", "reflectivity", "texture")))


def car(instance: int, x: float, y: float, yaw: float = 0.0, speed: float = 0.0,
        size: tuple[float, float, float] = (4.4, 1.9, 1.6), category: str = "vehicle.car",
        semantic: int = Semantic.CAR) -> Actor:
    """A box car whose mesh is inset by 7 cm; it drives straight on from its place at t = 0."""
    inset = box_mesh((size[0] - 0.14, size[1] - 0.14, size[2] - 0.14), semantic)
    times = np.array([-1.0, 11.0]) if speed else np.zeros(1)
    heading = np.array([np.cos(yaw), np.sin(yaw)])
    poses = np.array([[*(np.array([x, y]) + speed * t * heading), size[2] / 2, yaw] for t in times])
    return Actor(instance, category, size, inset, Trajectory(times, poses),
                 lambda _: "vehicle.moving" if speed else "vehicle.parked")


def street_town(location: str = "singapore-onenorth") -> Town:
    """One straight two-lane road along x with a crossing and walkways."""
    def rectangle(key: str, x0: float, y0: float, x1: float, y1: float, road: str = "road") -> Area:
        return Area(key, np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]], float), road=road)

    east = Lane("east", np.array([[20.0, 98.0], [180.0, 98.0]]), 4.0, False, "road", right_divider="SINGLE_SOLID_WHITE")
    west = Lane("west", np.array([[180.0, 102.0], [20.0, 102.0]]), 4.0, False, "road", left_divider="NIL")
    road = rectangle("road", 20, 96, 180, 104, road="")
    return Town(location, (200.0, 200.0), {"east": east, "west": west}, (road,), (road,),
                (rectangle("crossing", 130, 96, 134, 104),),
                (rectangle("north", 20, 104, 180, 107, road=""), rectangle("south", 20, 93, 180, 96, road="")),
                (Area("stop", np.array([[128, 96], [129, 96], [129, 100], [128, 100]], float), road="road",
                      kind="PED_CROSSING"),),
                road_dividers=(Divider("middle", np.array([[20.0, 100.0], [180.0, 100.0]]), "SINGLE_SOLID_YELLOW",
                                       "road"),))


def street_scene(name: str = "scene-0001", actors: tuple[Actor, ...] | None = None, speed: float = 8.0,
                 duration_s: float = 2.0, wall: bool = True) -> Scene:
    """The ego drives east along y = 98 from x = 60."""
    ground = moved(box_mesh((400.0, 400.0, 1.0), Semantic.ROAD, 0.15, (90, 90, 92), Texture.ASPHALT), (100, 100, -0.5))
    facade = moved(box_mesh((160.0, 4.0, 9.0), Semantic.MANMADE, 0.4, (170, 110, 90), Texture.WINDOWS), (100, 115, 4.5))
    if actors is None:
        actors = (car(1, 80.0, 98.0), car(2, 95.0, 102.0, np.pi, 9.0), car(3, 70.0, 93.0, 0.3),
                  car(4, 45.0, 98.0, 0.0, 8.0))
    knots = np.array([-1.0, 11.0])
    path = Trajectory(knots, np.array([[60.0 + speed * t, 98.0, 0.0, 0.0] for t in knots]))
    sun = np.array([-0.4, -0.6, 0.7])
    return Scene(name, street_town(), joined(ground, facade) if wall else ground, actors, path, duration_s,
                 sun / np.linalg.norm(sun))
