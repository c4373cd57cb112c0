"""Looking up many actors at many times."""

from __future__ import annotations

import numpy as np
import pytest
from handmade import box_mesh

from perception.synthetic.paths import ActorPaths
from perception.synthetic.scene import Actor, Trajectory


def walker(instance: int, times: np.ndarray, seed: int) -> Actor:
    rng = np.random.default_rng(seed)
    poses = np.column_stack([rng.normal(0, 50, (len(times), 3)), rng.uniform(-np.pi, np.pi, len(times))])
    path, mesh = Trajectory(times, poses), box_mesh((1, 1, 1), 17)
    return Actor(instance, "vehicle.car", (4.0, 2.0, 1.5), mesh, path, lambda _: "")


@pytest.fixture
def actors() -> tuple[Actor, ...]:
    shared, own = np.arange(-0.5, 10.5, 0.1), np.array([0.0, 3.0, 9.0])
    return (walker(1, shared, 1), walker(2, np.zeros(1), 2), walker(3, own, 3), walker(4, shared, 4))


def test_poses_are_those_of_each_actors_own_trajectory(actors):
    rng = np.random.default_rng(0)
    which, times = rng.integers(0, 4, 500), rng.uniform(-2.0, 13.0, 500)
    found = ActorPaths(actors).at(which, times)
    truth = np.stack([actors[i].trajectory.at(np.array([t]))[0] for i, t in zip(which, times, strict=True)])
    np.testing.assert_allclose(found, truth, atol=1e-9)


@pytest.mark.parametrize("time", [-5.0, -0.5, 0.0, 4.2, 10.4, 50.0])
def test_all_actors_at_once(actors, time):
    truth = np.stack([actor.trajectory.at(np.array([time]))[0] for actor in actors])
    np.testing.assert_allclose(ActorPaths(actors).all_at(time), truth, atol=1e-9)


def test_a_scene_without_actors_has_no_poses():
    assert ActorPaths(()).all_at(1.0).shape == (0, 4)
