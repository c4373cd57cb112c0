"""Coordinate frames as a tree."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from perception.replay.transform_tree import MAX_TIMES, TransformTree
from perception.structures import SE3


def moved(x: float) -> SE3:
    return SE3.about_z(0.0, (x, 0.0, 0.0))


def test_two_branches_meet_at_their_common_ancestor():
    tree = TransformTree("log")
    tree.add("base", "lidar", 0, SE3.about_z(math.pi / 2, (1.0, 0.0, 2.0)))
    tree.add("base", "mast", 0, moved(3.0))
    tree.add("mast", "camera", 0, moved(0.5))
    camera_from_lidar = tree.lookup("camera", "lidar", 0)
    assert camera_from_lidar is not None
    point = camera_from_lidar.apply(torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64))    # at (1, 1, 2) of the base
    torch.testing.assert_close(point, torch.tensor([[-2.5, 1.0, 2.0]], dtype=torch.float64))
    assert tree.root_of("camera") == "base"
    assert tree.frames == {"base", "lidar", "mast", "camera"}


@given(
    times=st.lists(st.integers(0, 10**12), min_size=1, max_size=20, unique=True),
    asked=st.integers(-(10**12), 2 * 10**12),
)
def test_the_transform_nearest_in_time_is_taken(times: list[int], asked: int):
    tree = TransformTree("log")
    for time in times:
        tree.add("map", "base", time, moved(float(time)))
    found = tree.lookup("map", "base", asked)
    assert found is not None
    assert abs(found.translation[0].item() - asked) == min(abs(time - asked) for time in times)


def test_frames_that_are_not_connected_have_no_transform():
    tree = TransformTree("log")
    tree.add("map", "base", 0, moved(1.0))
    assert tree.lookup("map", "lidar", 0) is None
    assert tree.root_of("lidar") == "lidar"


def test_a_frame_in_itself_is_where_it_is():
    found = TransformTree("log").lookup("lidar", "lidar", 0)
    assert found is not None
    torch.testing.assert_close(found.matrix(), torch.eye(4, dtype=torch.float64))


def test_a_frame_may_move_to_another_parent():
    tree = TransformTree("log")
    tree.add("odom", "base", 0, moved(1.0))
    tree.add("map", "base", 1, moved(2.0))
    assert tree.root_of("base") == "map"


def test_old_transforms_are_forgotten():
    tree = TransformTree("log")
    for time in range(MAX_TIMES + 10):
        tree.add("map", "base", time, moved(float(time)))
    found = tree.lookup("map", "base", 0)
    assert found is not None
    assert found.translation[0] == pytest.approx(10.0)
