"""Past frames as sweeps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hand_clock import ListSource

from perception.errors import DataError
from perception.replay.history import recorded_frame, with_history
from perception.transforms.aggregate_sweeps import AggregateSweeps


def test_a_standing_object_stays_in_place_when_sweeps_are_joined():
    """The object is 10 m ahead of the first pose; the vehicle drives 1 m a frame towards it."""
    import numpy as np

    *_, last = with_history(ListSource([0.0, 0.1, 0.2, 0.3]).pending(), length=2)
    joined = AggregateSweeps(num_sweeps=2)(last.load(), np.random.default_rng(0)).points
    assert joined.channel("x").tolist() == [7.0, 7.0, 7.0]
    torch.testing.assert_close(joined.channel("time"), torch.tensor([0.0, 0.1, 0.2]))


def test_sweeps_are_the_frames_before_newest_first():
    frames = [entry.load() for entry in with_history(ListSource([0.0, 0.1, 0.2, 0.3]).pending(), length=2)]
    assert [[sweep.timestamp_ns for sweep in frame.sweeps] for frame in frames] == [
        [], [0], [100_000_000, 0], [200_000_000, 100_000_000],
    ]


def test_points_of_a_past_frame_are_read_once_and_those_of_a_dropped_one_only_when_wanted():
    source = ListSource([0.0, 0.1, 0.2])
    entries = list(with_history(source.pending(), length=5))
    frame = entries[2].load()                              # 0 and 1 were dropped
    assert source.loaded == [2]
    for sweep in frame.sweeps:
        sweep.load(), sweep.load()
    assert source.loaded == [2, 1, 0]


def test_a_frame_by_its_number_has_the_ones_before_it_as_sweeps():
    frame = recorded_frame(ListSource([0.0, 0.1, 0.2, 0.3]), 2)
    assert frame.timestamp_ns == 200_000_000
    assert [sweep.timestamp_ns for sweep in frame.sweeps] == [100_000_000, 0]


@pytest.mark.parametrize("number", [-1, 4])
def test_a_number_beyond_the_recording_is_refused(number: int):
    with pytest.raises(DataError, match=rf"a list of times: frame: expected a number in \[0, 4\), got {number}"):
        recorded_frame(ListSource([0.0, 0.1, 0.2, 0.3]), number)


def test_frames_without_a_pose_get_no_sweeps():
    assert all(not entry.load().sweeps for entry in with_history(ListSource([0, 1], posed=False).pending(), length=5))


def test_frames_with_sweeps_of_their_own_keep_them():
    entries = list(with_history(ListSource([0.0, 0.1]).pending(), length=5))
    own = entries[1].load()
    source = replace(entries[1], load=lambda: replace(own, sweeps=own.sweeps * 3))
    [again] = with_history([source], length=5)
    assert len(again.load().sweeps) == 3


def test_a_past_frame_without_points_is_an_error_when_its_points_are_wanted():
    first, second = ListSource([0.0, 0.1]).pending()
    empty = replace(first, load=lambda: replace(first.load(), points=None))
    *_, last = with_history([empty, second], length=1)
    with pytest.raises(DataError, match="frame at 0 ns: points: expected points to serve as a sweep"):
        last.load().sweeps[0].load()


def test_a_negative_length_is_refused():
    with pytest.raises(ValueError, match="length must be >= 0"):
        next(with_history([], length=-1))
