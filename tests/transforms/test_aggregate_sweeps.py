"""Sweeps are moved into the frame, aged, freed of the vehicle itself and padded."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scene_frames import cloud, scene, sweep

from perception.structures import SE3, Frame, PointLabels
from perception.structures.segmentation import IGNORE_LABEL
from perception.transforms.aggregate_sweeps import AggregateSweeps
from perception.transforms.global_rotation import GlobalRotation

RNG = np.random.default_rng(0)
FAR = cloud((5.0, 1.0, 0.0, 0.4))


def test_a_sweep_is_moved_and_aged():
    frame = scene((sweep(0.05, FAR, SE3.about_z(np.pi / 2, [1.0, 0.0, 0.0])),))
    points = AggregateSweeps(1, pad_empty=False)(frame, RNG).points
    assert points.channels == ("x", "y", "z", "intensity", "time")
    torch.testing.assert_close(points.data[-1], torch.tensor([0.0, 5.0, 0.0, 0.4, 0.05]))
    assert points.channel("time")[:-1].tolist() == [0.0] * 4


@pytest.mark.parametrize(
    ("num_sweeps", "ages"), [(0, [0.0]), (1, [0.0, 0.1]), (2, [0.0, 0.1, 0.2]), (5, [0.0, 0.1, 0.2])]
)
def test_the_newest_sweeps_are_taken_and_none_is_left(num_sweeps, ages):
    frame = scene((sweep(0.1, FAR), sweep(0.2, FAR)))
    result = AggregateSweeps(num_sweeps, pad_empty=False)(frame, RNG)
    assert result.sweeps == ()
    assert result.points.channel("time").unique().tolist() == pytest.approx(ages)


def test_missing_history_is_padded_with_the_current_sweep():
    frame = scene((sweep(0.1, FAR),))
    times = AggregateSweeps(3, pad_empty=True)(frame, RNG).points.channel("time")
    assert len(times) == 4 + 1 + 2 * 4
    assert (times == 0).sum() == 12


def test_points_on_the_vehicle_are_dropped_in_the_sensors_own_frame():
    mount = SE3.about_z(0.0, [10.0, 0.0, 2.0])
    near, beside = (10.5, 0.5, 0.0, 0.0), (10.5, 1.5, 0.0, 0.0)            # 0.5 m ahead of the sensor; 1.5 m beside it
    earlier = (sweep(0.1, cloud(beside, near)),)
    frame = Frame("a", 10**9, points=cloud(near, beside), sweeps=earlier, ego_from_lidar=mount)
    points = AggregateSweeps(1, min_radius=1.0)(frame, RNG).points
    assert points.xyz.tolist() == [list(beside[:3])] * 2


def test_without_the_sensors_pose_the_ego_frame_serves():
    frame = Frame("a", 0, points=cloud((0.5, 0.5, 0.0, 0.0), (0.5, 1.0, 0.0, 0.0)))
    assert AggregateSweeps(0)(frame, RNG).points.xyz.tolist() == [[0.5, 1.0, 0.0]]


def test_a_rotation_before_or_after_gives_the_same_points():
    frame = scene((sweep(0.1, cloud((5.0, 1.0, 0.0, 0.4), (1.2, 0.7, 0.0, 0.4)), SE3.about_z(0.2, [-1.0, 0.0, 0.0])),))
    aggregate, rotate = AggregateSweeps(1), GlobalRotation()
    before = aggregate(rotate(frame, np.random.default_rng(2)), RNG).points.data
    after = rotate(aggregate(frame, RNG), np.random.default_rng(2)).points.data
    torch.testing.assert_close(before, after, atol=1e-5, rtol=0)


def test_points_that_carry_times_get_the_age_of_their_sweep_added():
    channels = ("x", "y", "z", "time")
    frame = Frame(
        "a", 10**9,
        points=cloud((5.0, 0.0, 0.0, 0.02), channels=channels),
        sweeps=(sweep(0.1, cloud((6.0, 0.0, 0.0, 0.03), channels=channels)),),
    )
    assert AggregateSweeps(1)(frame, RNG).points.channel("time").tolist() == pytest.approx([0.02, 0.13])


@pytest.mark.parametrize("pad_empty", [False, True])
def test_points_of_earlier_sweeps_and_repeated_ones_have_no_label(pad_empty):
    near, far = (0.5, 0.5, 0.0, 0.0), (5.0, 1.0, 0.0, 0.0)
    frame = Frame("a", 10**9, points=cloud(near, far), sweeps=(sweep(0.1, FAR),))
    frame = replace(frame, point_labels=PointLabels(torch.tensor([3, 4]), torch.tensor([0, 8])))
    labels = AggregateSweeps(2, pad_empty=pad_empty)(frame, RNG).point_labels
    assert labels.classes.tolist() == [4, *[IGNORE_LABEL] * (1 + pad_empty)]
    assert labels.instances.tolist() == [8, *[0] * (1 + pad_empty)]


def test_an_empty_sweep_adds_nothing():
    assert len(AggregateSweeps(1)(scene((sweep(0.1, FAR[:0]),)), RNG).points) == 4


def test_a_sweep_with_fewer_channels_is_refused():
    frame = scene((sweep(0.1, cloud((5.0, 1.0, 0.0), channels=("x", "y", "z"))),))
    with pytest.raises(ValueError, match="no channel 'intensity'"):
        AggregateSweeps(1)(frame, RNG)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"num_sweeps": -1}, "num_sweeps must be >= 0, got -1"), ({"min_radius": float("nan")}, "got nan")],
)
def test_negative_numbers_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        AggregateSweeps(**arguments)
