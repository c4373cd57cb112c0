from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lane_frames import sd_map

from perception.structures import SE3, SDMap
from perception_plugins.mqbank.lane_targets import crossing_boundaries, runs_backward
from perception_plugins.mqbank.sd_anchors import ANCHOR_CROSSING, ANCHOR_ROAD, forward_crossings, sd_anchors

close = torch.testing.assert_close


def test_a_road_of_unknown_lanes_gives_one_in_each_direction():
    anchors = sd_anchors(sd_map([[0, 0], [18, 0]]))
    assert anchors.kinds.tolist() == [ANCHOR_ROAD, ANCHOR_ROAD]
    ahead, oncoming = anchors.centers                                     # lane 0, right of the middle, comes first
    close(ahead[[0, -1], :2], torch.tensor([[0.0, -1.75], [18.0, -1.75]]))
    close(oncoming[[0, -1], :2], torch.tensor([[18.0, 1.75], [0.0, 1.75]]))
    close(anchors.lefts[..., 1], torch.zeros(2, 10), atol=1e-6, rtol=0)   # both have the middle to their left
    close(anchors.rights[:, 0, 1], torch.tensor([-3.5, 3.5]))


def test_the_middle_one_of_three_lanes_runs_with_the_line():
    middle = sd_anchors(sd_map([[0, 0], [18, 0]], lanes=3)).centers[0]
    close(middle[[0, -1], :2], torch.tensor([[0.0, 0.0], [18.0, 0.0]]))


@pytest.mark.parametrize(("length", "pieces"), [(3.0, 1), (29.9, 1), (30.1, 2), (60.0, 3)])
def test_roads_are_cut_into_pieces_of_about_twenty_metres(length, pieces):
    anchors = sd_anchors(sd_map([[0, 0], [length, 0]], lanes=1))
    starts = anchors.centers[:, 0, 0].sort().values
    close(starts, torch.arange(pieces) * length / pieces, atol=1e-5, rtol=0)


def test_a_crossing_gives_one_anchor_three_metres_wide():
    anchors = sd_anchors(sd_map([[5, -6], [5, 6]], category=1))
    assert anchors.kinds.tolist() == [ANCHOR_CROSSING]
    close(anchors.lefts[0, :, 0], torch.full((10,), 3.5))
    close(anchors.rights[0, :, 0], torch.full((10,), 6.5))


@pytest.mark.parametrize(
    "known", [sd_map(), sd_map([[0, 0], [9, 0]], category=2), sd_map([[1, 1], [1, 1]]), sd_map([[1, 1], [1, 1.009]])],
    ids=["no_line", "side_walk", "no_length", "nine_millimetres"],
)
def test_what_is_no_road_gives_no_anchor(known):
    anchors = sd_anchors(known)
    assert len(anchors) == 0
    assert anchors.centers.shape == (0, 10, 3)


coordinates = st.floats(-50, 50, width=32)
roads = st.lists(st.tuples(coordinates, coordinates), min_size=2, max_size=5)


@given(st.lists(roads, min_size=1, max_size=4), st.integers(0, 4), st.booleans())
def test_nearest_anchors_come_first(lines, lanes, right_hand):
    anchors = sd_anchors(sd_map(*map(list, lines), lanes=lanes, right_hand=right_hand))
    distances = anchors.centers[..., :2].double().mean(dim=1).norm(dim=1)
    assert bool((distances.diff() >= -1e-4).all())                        # float32 metres


@given(st.floats(-3, 3), st.floats(-20, 20), st.floats(-20, 20), st.integers(0, 5), st.booleans())
def test_left_boundaries_lie_left_of_the_driving_direction(yaw, x, y, lanes, right_hand):
    line = sd_map([[0, 0], [9, 2], [25, 3]], lanes=lanes, right_hand=right_hand).moved_by(SE3.about_z(yaw, (x, y, 0.0)))
    anchors = sd_anchors(line)
    ahead = (anchors.centers[:, -1] - anchors.centers[:, 0])[:, :2]
    across = (anchors.lefts - anchors.rights).mean(dim=1)[:, :2]
    assert bool((ahead[:, 0] * across[:, 1] - ahead[:, 1] * across[:, 0] > 0).all())


@given(st.integers(1, 4), st.booleans())
def test_anchors_of_a_mirrored_map_are_the_mirrored_anchors(lanes, right_hand):
    known = sd_map([[-7, 3], [9, 2], [25, -8]], lanes=lanes, right_hand=right_hand)
    ours, mirrored = sd_anchors(known), sd_anchors(known.mirrored_y())
    flip = torch.tensor([1.0, -1.0, 1.0])
    expected = {_key(lines) for lines in zip(ours.centers * flip, ours.rights * flip, ours.lefts * flip, strict=True)}
    assert {_key(lines) for lines in zip(mirrored.centers, mirrored.lefts, mirrored.rights, strict=True)} == expected


def _key(lines: tuple[torch.Tensor, ...]) -> tuple[int, ...]:
    """Three lines to the decimetre, whatever the order of the anchors."""
    return tuple((torch.stack(lines) * 10 + 0.03).round().int().flatten().tolist())


def test_traffic_on_the_left_turns_the_lanes_to_the_right_around():
    ahead = sd_anchors(sd_map([[0, 0], [18, 0]], right_hand=False)).centers[:, :, :2]
    starts = {(round(float(x)), float(y)) for x, y in ahead[:, 0]}
    assert starts == {(18, -1.75), (0, 1.75)}


def test_an_anchor_keeps_the_dtype_of_the_map():
    known = sd_map([[0, 0], [18, 0]])
    double = SDMap(known.lines.to(torch.float64), known.categories, known.lanes)
    assert sd_anchors(double).centers.dtype == torch.float64


@given(st.integers(0, 359).filter(lambda degrees: degrees % 180 != 135), st.booleans())
def test_crossings_run_as_those_to_be_learned_whichever_way_the_navigation_map_has_them(degrees, is_reversed):
    line = [[0.0, 0.0], [10 * math.cos(math.radians(degrees)), 10 * math.sin(math.radians(degrees))]]
    (center,), (left,), (right,) = (
        getattr(forward_crossings(sd_anchors(sd_map(line[::-1] if is_reversed else line, category=1))), name)
        for name in ("centers", "lefts", "rights")
    )
    outline = torch.stack([left[0], left[-1], right[-1], right[0]])
    true_left, true_right = crossing_boundaries(outline, "long")
    assert not runs_backward(center[-1] - center[0])
    close(torch.stack([left[0], left[-1], right[0], right[-1]]), torch.cat([true_left, true_right]), atol=1e-4, rtol=0)


def test_roads_run_as_their_lanes_do():
    anchors = sd_anchors(sd_map([[18, 0], [0, 0]]))
    close(forward_crossings(anchors).centers, anchors.centers)
