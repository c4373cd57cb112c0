from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from random_frames import CHANNELS, random_frame

from perception.models.data_preprocessor import FrameDataPreprocessor
from perception.structures import PointCloud


def test_channels_are_selected_in_the_order_asked_for():
    frame = random_frame(points=3)
    batch = FrameDataPreprocessor(("x", "y", "z", "time", "intensity"))([frame])
    assert torch.equal(batch["inputs"]["points"][0], frame.points.data[:, [0, 1, 2, 4, 3]])
    assert batch["data_samples"][0].token == frame.token


def test_channels_are_scaled_then_squashed():
    frame = random_frame(points=3)
    prepare = FrameDataPreprocessor(("x", "y", "z", "intensity"), scales={"intensity": 2.0}, squashed=("intensity",))
    points = prepare([frame])["inputs"]["points"][0]
    torch.testing.assert_close(points[:, 3], (2 * frame.points.data[:, 3]).tanh())
    assert torch.equal(points[:, :3], frame.points.xyz)


def test_points_with_a_broken_number_in_a_used_channel_are_dropped():
    data = random_frame(points=4).points.data.clone()
    data[0, 2], data[1, 3], data[2, 4] = math.nan, math.inf, math.nan        # z, intensity, time
    frame = replace(random_frame(), points=PointCloud(data, CHANNELS))
    prepare = FrameDataPreprocessor(("x", "y", "z", "intensity"))
    points = prepare([frame])["inputs"]["points"][0]
    assert torch.equal(points, data[2:, :4])
    assert prepare.usable_rows(frame).tolist() == [False, False, True, True]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": ("x", "z", "y")}, "must begin with x, y, z"),
        ({"scales": {"ring": 1.0}}, "'ring' is not among the channels"),
        ({"squashed": ("x",)}, "'x' is not among the channels"),
        ({"scales": {"intensity": math.nan}}, "scales must be finite"),
    ],
)
def test_wrong_options_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        FrameDataPreprocessor(**arguments)


def test_an_absent_channel_is_named():
    with pytest.raises(ValueError, match="no channel 'elongation'"):
        FrameDataPreprocessor(("x", "y", "z", "elongation"))([random_frame()])


def test_a_frame_without_points_is_named():
    with pytest.raises(ValueError, match="frame-0 has no LiDAR points"):
        FrameDataPreprocessor()([replace(random_frame(), points=None)])


def test_a_batch_that_is_no_list_of_frames_is_refused():
    with pytest.raises(TypeError, match="must be a list of Frames, got dict"):
        FrameDataPreprocessor()({"points": []})
