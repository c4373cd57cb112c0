from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from lane_frames import lane_graph, no_lanes

from perception.structures import Polylines
from perception_plugins.mqbank.lane_targets import crossing_boundaries, lane_masks, lane_targets

close = torch.testing.assert_close
CORNERS = torch.tensor([[0.0, 0, 0], [4, 0, 0], [4, -2, 0], [0, -2, 0], [0, 0, 0]])      # clockwise from far left


def test_lanes_come_first_and_crossings_behind_without_line_types():
    targets = lane_targets(lane_graph())
    assert targets.labels.tolist() == [0, 0, 1]
    assert targets.left_types.tolist() == [2, 1, 0]
    assert targets.right_types.tolist() == [1, 0, 0]
    assert targets.lanes().shape == (3, 90)
    assert targets.masks is None


def test_the_centre_line_is_the_mean_of_the_boundaries():
    crooked = replace(lane_graph(), centers=lane_graph().centers + 7.0)
    lanes, crossing = lane_targets(crooked).centers[..., 1].split([2, 1])
    close(lanes, torch.full((2, 10), -1.5))
    close(crossing[0], torch.linspace(-4, 4, 10))


def test_lines_of_other_lengths_are_resampled():
    targets = lane_targets(lane_graph(), line_points=4)
    close(targets.lefts[0, :, 0], torch.tensor([-10.0, -20 / 3, -10 / 3, 0.0]))
    assert targets.lefts.shape == (3, 4, 3)


def test_a_place_without_lanes_has_no_targets():
    targets = lane_targets(no_lanes(), mask_size=(4, 8))
    assert len(targets) == 0
    assert targets.lanes().shape == (0, 90)
    assert targets.masks.shape == (0, 4, 8)


@pytest.mark.parametrize(
    ("turns", "left", "right"),
    [
        (0, [[0, 0], [4, 0]], [[0, -2], [4, -2]]),         # first edge along +x, 0 degrees
        (1, [[0, -2], [0, 0]], [[4, -2], [4, 0]]),         # along -y, -90: the third edge is left, turned forward
        (2, [[0, 0], [4, 0]], [[0, -2], [4, -2]]),         # along -x, 180
        (3, [[0, -2], [0, 0]], [[4, -2], [4, 0]]),         # along +y, 90
    ],
)
def test_boundaries_of_a_crossing_point_forward_wherever_its_corners_begin(turns, left, right):
    ring = CORNERS[:4].roll(-turns, 0)
    sides = crossing_boundaries(torch.cat([ring, ring[:1]]))
    close(torch.stack(sides)[..., :2], torch.tensor([left, right], dtype=torch.float32))


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("turned_over", [False, True])
def test_long_edges_do_not_depend_on_where_the_corners_begin(turns, turned_over):
    ring = CORNERS[:4].roll(-turns, 0)
    left, right = crossing_boundaries(ring.flip(0) if turned_over else ring, "long")
    close(left[:, :2], torch.tensor([[0.0, 0], [4, 0]]))
    close(right[:, :2], torch.tensor([[0.0, -2], [4, -2]]))


def test_an_outline_of_many_vertices_stands_for_its_rectangle_in_its_own_order():
    many = Polylines.from_lines([CORNERS]).resampled(21)[0]
    for outline in (many, many.flip(0)):
        others = CORNERS[1:4] if float(outline[1, 0]) > 0 else CORNERS[1:4].flip(0)
        corners = torch.cat([outline[:1], others])
        fine, coarse = crossing_boundaries(outline), crossing_boundaries(corners)
        close(torch.stack(fine), torch.stack(coarse), atol=1e-5, rtol=0)


@given(st.lists(st.tuples(st.floats(-9, 9, width=32), st.floats(-9, 9, width=32)), min_size=1, max_size=7))
def test_any_outline_gives_finite_boundaries(vertices):
    outline = torch.tensor([[x, y, 0.0] for x, y in vertices])
    for edges in ("annotated", "long"):
        left, right = crossing_boundaries(outline, edges)
        assert left.shape == right.shape == (2, 3)
        assert bool(torch.isfinite(torch.stack([left, right])).all())


def test_a_mask_covers_the_cells_between_the_boundaries():
    left, right = (torch.tensor([[[-2.0, y, 0], [1.9, y, 0]]]) for y in (1.5, -0.5))
    mask = lane_masks(left, right, (4, 8), (-4.0, -2.0, 4.0, 2.0))                # cells of one metre
    expected = torch.zeros(4, 8)
    expected[1:4, 2:6] = 1                       # -0.5 m is row 1.5, cut to 1; 1.5 m is row 3.5, cut to 3
    assert torch.equal(mask[0], expected)
