"""Canvas, tokens, keypoints and training targets of VectorMapNet."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from perception.errors import ConfigError
from perception.structures import Frame, Polylines, VectorMap
from perception.structures.vector_map import MAP_CLASSES
from perception_plugins.vectormapnet.keypoints import keypoints_of
from perception_plugins.vectormapnet.targets import MapTargets, cells_of, map_targets, thinned, token_weights
from perception_plugins.vectormapnet.tokens import Canvas, pad_tokens

SMALL = Canvas(region=(0.0, 0.0, 10.0, 4.0), size=(11, 5), margin=0.0)      # a cell is a metre
close = torch.testing.assert_close
coordinates = st.floats(0.0, 1.0)


def frame_of(lines: list[list[list[float]]], labels: list[int], classes: tuple[str, ...] = MAP_CLASSES) -> Frame:
    polylines = Polylines.from_lines([torch.tensor(line) for line in lines])
    return Frame("frame", 0, vector_map=VectorMap(polylines, torch.tensor(labels, dtype=torch.int64), classes))


def targets_of(*frames: Frame, canvas: Canvas = SMALL, max_vertices: int = 50) -> MapTargets:
    return map_targets(frames, canvas, classes=MAP_CLASSES, kind="box", max_vertices=max_vertices)


def test_tokens_of_a_line_worked_by_hand():
    share = SMALL.normalise(torch.tensor([[0.0, 0.0], [2.5, 3.0], [10.0, 4.0]]))
    close(share, torch.tensor([[0.0, 0.0], [0.25, 0.75], [1.0, 1.0]], dtype=torch.float64))
    assert SMALL.tokens_of(share).tolist() == [1, 1, 3, 4, 11, 5, 0]


def test_the_published_canvas_leaves_two_metres_free_and_the_published_frame_forgets_them():
    canvas, corner = Canvas(), torch.tensor([[30.0, 15.0]])
    close(canvas.normalise(corner), torch.tensor([[60 / 62, 30 / 32]], dtype=torch.float64))
    close(canvas.denormalise(canvas.normalise(corner).float()), corner)
    close(canvas.shrunken(corner), torch.tensor([[60 * 60 / 62 - 30, 30 * 30 / 32 - 15]]))


@given(
    vertices=st.lists(st.tuples(coordinates, coordinates), min_size=1, max_size=20),
    offset=st.sampled_from([0.0, 0.5]),
)
def test_a_line_comes_back_from_tokens_within_its_bins(vertices, offset):
    canvas = Canvas(margin=0.0, bin_offset=offset)
    line = torch.tensor(vertices, dtype=torch.float64)
    back = canvas.vertices_of(canvas.tokens_of(line)).double()
    error = (line - back) * torch.tensor([199.0, 99.0])                     # in bins
    assert error.min() >= -offset - 1e-3                                    # float32 steps are 1e-5 of a bin
    assert error.max() <= 1 - offset + 1e-3


def test_vertices_end_at_the_stop_and_an_x_alone_is_no_vertex():
    assert SMALL.vertices_of(torch.tensor([1, 1, 11, 5, 0, 3, 3])).tolist() == [[0.0, 0.0], [1.0, 1.0]]
    assert SMALL.vertices_of(torch.tensor([1, 1, 11])).tolist() == [[0.0, 0.0]]
    assert SMALL.vertices_of(torch.tensor([0, 1, 1])).shape == (0, 2)


def test_a_y_is_never_a_stop_and_stays_on_the_canvas():
    allowed = SMALL.allowed()
    assert allowed[0].all()
    assert allowed[1].nonzero().flatten().tolist() == [1, 2, 3, 4, 5]
    assert Canvas(size=(5, 11)).allowed()[0].nonzero().flatten().tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"region": (3.0, 0.0, 3.0, 1.0)}, "region must be least x"),
        ({"size": (1, 5)}, "size must be two numbers of cells >= 2"),
        ({"margin": -1.0}, "margin must be >= 0 m, got -1.0"),
        ({"bin_offset": 1.0}, r"bin_offset must lie in \[0, 1\), got 1.0"),
    ],
)
def test_a_canvas_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        Canvas(**change)


def line_of(*vertices: tuple[float, float]) -> Tensor:
    return torch.tensor(vertices, dtype=torch.float64)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("box", [[0.1, 0.2], [0.9, 0.6]]),
        ("start_middle_end", [[0.1, 0.2], [0.3, 0.6], [0.9, 0.6]]),        # the middle is 0.6 of 1.2 along
        ("extreme", [[0.1, 0.2], [0.9, 0.6], [0.1, 0.2], [0.1, 0.6]]),
    ],
)
def test_keypoints_worked_by_hand(kind, expected):
    line = line_of((0.1, 0.2), (0.1, 0.6), (0.8, 0.6), (0.9, 0.6))
    close(keypoints_of(line, kind), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(
    "line", [line_of((0.5, 0.5)), line_of((0.5, 0.5), (0.5, 0.5)), line_of((0.2, 0.5), (0.8, 0.5))],
    ids=["a_point", "no_length", "flat"],
)
def test_the_box_of_a_thin_line_is_widened(line):
    low, high = keypoints_of(line, "box")
    length = line[-1, 0] - line[0, 0]
    close(high - low, torch.stack([length + 0.02, length.new_tensor(0.02)]), atol=1e-9, rtol=0)


def test_a_thin_box_at_the_edge_stays_on_the_canvas():
    box = keypoints_of(line_of((0.0, 0.1), (0.0, 0.9)), "box")
    assert box.min() == 0.0
    cells = cells_of(box.flatten()[None], Canvas())
    assert cells[0, 0] == pytest.approx(0.1)                                # a tenth of a cell off the edge


def test_an_unknown_kind_of_keypoints_is_refused():
    with pytest.raises(ValueError, match="kind must be one of box, start_middle_end, extreme, got 'hull'"):
        keypoints_of(line_of((0.0, 0.0)), "hull")


def test_vertices_of_a_boundary_count_by_their_edges():
    weights = token_weights(line_of((0.0, 0.0), (0.1, 0.0), (0.4, 0.0)), by_length=True)
    shares = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float64) / 0.6
    close(weights, torch.cat([shares.repeat_interleave(2) / 2, shares.new_tensor([1 / 6])]))


@pytest.mark.parametrize("line", [line_of((0.3, 0.3)), line_of((0.3, 0.3), (0.3, 0.3))], ids=["one", "two"])
def test_a_boundary_without_length_only_learns_to_stop(line):
    weights = token_weights(line, by_length=True)
    assert weights[:-1].tolist() == [0.0] * (len(weights) - 1)
    assert weights[-1] == 1 / (2 * len(line))


def test_targets_of_a_batch_stand_image_after_image():
    first = frame_of([[[0.0, 0.0], [10.0, 4.0]], [[0.0, 2.0], [5.0, 2.0], [9.0, 2.0]]], [1, 2])
    targets = targets_of(first, frame_of([], []), frame_of([[[2.0, 1.0], [4.0, 3.0]]], [0]))
    assert [labels.tolist() for labels in targets.labels] == [[1, 2], [], [0]]
    assert [len(points) for points in targets.keypoints] == [2, 0, 1]
    assert targets.images.tolist() == [0, 0, 2]
    assert targets.tokens.tolist() == [[1, 1, 11, 5, 0, 0, 0], [1, 3, 6, 3, 10, 3, 0], [3, 2, 5, 4, 0, 0, 0]]
    assert targets.mask.sum(dim=1).tolist() == [5, 7, 5]
    assert (targets.weights[~targets.mask] == 0).all()
    assert targets.conditions[2].tolist() == [2, 1, 4, 3]


def test_frames_without_elements_give_targets_without_rows():
    targets = targets_of(frame_of([], []), frame_of([], []))
    assert targets.conditions.shape == (0, 4)
    assert len(targets.tokens) == len(targets.images) == 0


def test_lines_outside_the_region_are_left_out_and_crossing_ones_come_to_its_edge():
    outside, crossing = [[20.0, 20.0], [21.0, 22.0]], [[9.0, 2.0], [30.0, 2.0]]
    targets = targets_of(frame_of([outside, crossing], [1, 2]))
    assert targets.labels[0].tolist() == [2]
    assert targets.tokens.tolist() == [[10, 3, 11, 3, 0]]


def test_heights_are_not_looked_at():
    flat, high = [[1.0, 1.0], [5.0, 3.0]], [[1.0, 1.0, 7.0], [5.0, 3.0, 900.0]]
    assert torch.equal(targets_of(frame_of([flat], [1])).tokens, targets_of(frame_of([high], [1])).tokens)


def test_a_line_with_too_many_vertices_is_thinned_and_keeps_its_ends():
    line = torch.arange(100.0)[:, None].expand(100, 2)
    kept = thinned(line, 7)
    assert len(kept) == 7
    assert kept[[0, -1], 0].tolist() == [0.0, 99.0]
    assert torch.equal(thinned(line, 100), line)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (Frame("lost", 0), "frame lost has no vector map"),
        (frame_of([], [], ("road",)), "names the map classes ped_crossing, divider, boundary; the data set has road"),
    ],
)
def test_a_frame_without_a_fitting_map_is_refused(frame, message):
    with pytest.raises(ConfigError, match=message):
        targets_of(frame)


def test_padding_no_lines_gives_no_rows():
    assert pad_tokens([]).shape == (0, 1)
