"""Map lines in pictures: where they land, in which colour, and what is left out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from perception.structures import (
    SE3,
    Calibration,
    Camera,
    Frame,
    GlobalMap,
    LaneGraph,
    MapPredictions,
    Polylines,
    VectorMap,
)
from perception.visualization.bev import render_bev
from perception.visualization.camera_overlay import projected_segments, render_camera
from perception.visualization.frame_pictures import frame_pictures
from perception.visualization.map_picture import render_map
from perception.visualization.palette import class_color, truth_color
from perception.visualization.strokes import strokes_of

AHEAD = torch.tensor([[10.0, 20.0], [40.0, 20.0]])         # 20 m to the left, metres


def true_map(*lines: torch.Tensor, label: int = 1) -> VectorMap:
    return VectorMap(Polylines.from_lines(list(lines)), torch.full((len(lines),), label))


def predicted(line: torch.Tensor, score: float = 0.9, lanes: LaneGraph | None = None) -> MapPredictions:
    lines, scores = Polylines.from_lines([line]), torch.tensor([score])
    return MapPredictions("token", 0, lines, scores, torch.tensor([1]), lanes=lanes)


def camera_on(height: float) -> Calibration:
    """A camera above the ego origin that looks along +x with a focal length of 100 pixels: 200 x 100 pixels."""
    rotation = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    intrinsics = torch.tensor([[100.0, 0, 100], [0, 100.0, 50], [0, 0, 1]])
    return Calibration(intrinsics, SE3(rotation, torch.tensor([0.0, 0.0, height])), 200, 100)


def pixels_of(picture: np.ndarray, color: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Columns and rows of a colour."""
    rows, columns = np.nonzero((picture == np.array(color)).all(axis=2))
    return columns, rows


@pytest.mark.parametrize("truth", [True, False])
def test_a_line_lies_where_it_is_seen_from_above(truth: bool):
    frame = Frame("token", 0, vector_map=true_map(AHEAD) if truth else None)
    picture = render_bev(frame, None if truth else predicted(AHEAD), extent=50.0, size=500)
    columns, rows = pixels_of(picture, truth_color("divider") if truth else class_color("divider"))
    line = columns > 80                                    # right of the legend
    assert np.abs(columns[line] - 5 * (50 - 20)).max() <= 2       # 5 pixels a metre, up to 4 wide
    assert (rows[line].min(), rows[line].max()) == (pytest.approx(50, abs=2), pytest.approx(200, abs=2))


def test_true_lines_are_thin_and_drawn_over_predicted_ones():
    picture = render_bev(Frame("token", 0, vector_map=true_map(AHEAD)), predicted(AHEAD), extent=50.0, size=500)
    row = picture[120]                                     # below the legend
    assert (row == truth_color("divider")).all(axis=1).sum() == 1
    assert (row == class_color("divider")).all(axis=1).sum() >= 2


@pytest.mark.parametrize(("score", "drawn"), [(0.29, False), (0.31, True)])
def test_unlikely_lines_are_left_out(score: float, drawn: bool):
    picture = render_bev(Frame("token", 0), predicted(AHEAD, score), min_score=0.3)
    assert bool(len(pixels_of(picture, class_color("divider"))[0])) == drawn


def test_an_empty_map_changes_nothing():
    bare, empty = render_bev(Frame("token", 0)), render_bev(Frame("token", 0, vector_map=true_map()))
    np.testing.assert_array_equal(bare, empty)


def test_lines_that_are_not_finite_are_skipped():
    frame = Frame("token", 0, vector_map=true_map(torch.tensor([[0.0, math.nan], [1.0, 1.0]])))
    assert (render_bev(frame, size=300)[150:, :100] != truth_color("divider")).any(axis=2).all()
    assert strokes_of(frame, None, 0.3) == []


def test_a_flat_line_lies_on_the_ground_in_a_camera():
    (stroke,) = strokes_of(Frame("token", 0, vector_map=true_map(torch.tensor([[10.0, 1.0], [20.0, 1.0]]))), None, 0.3)
    pixels = projected_segments(stroke.segments, camera_on(1.5))
    assert pixels[0, :2] == pytest.approx([100 - 10.0, 50 + 15.0])          # 10 m ahead, 1 m left, 1.5 m below
    assert pixels[-1, 2:] == pytest.approx([100 - 5.0, 50 + 7.5])
    assert len(pixels) == 10                               # pieces of 1 m


def test_a_line_with_heights_keeps_them():
    line = torch.tensor([[10.0, 0.0, 1.5], [11.0, 0.0, 1.5]])
    (stroke,) = strokes_of(Frame("token", 0, vector_map=true_map(line)), None, 0.3)
    assert projected_segments(stroke.segments, camera_on(1.5))[0, 1] == pytest.approx(50.0)     # on the horizon


def test_of_a_line_that_passes_the_camera_the_part_ahead_is_drawn():
    frame = Frame(
        "token", 0, cameras={"front": Camera(camera_on(1.5), 0, image=torch.zeros(3, 100, 200, dtype=torch.uint8))},
        vector_map=true_map(torch.tensor([[-50.0, 1.0], [50.0, 1.0]]), label=2),
    )
    columns, rows = pixels_of(render_camera(frame, "front"), truth_color("boundary"))
    assert rows.min() == pytest.approx(53, abs=1)          # 50 m ahead, 1.5 m below
    assert rows.max() == 99                                # down to the lower edge of the picture
    assert columns.max() < 100                             # all of it on the left


def test_every_view_takes_map_predictions():
    image = torch.zeros(3, 100, 200, dtype=torch.uint8)
    frame = Frame("token", 0, cameras={"front": Camera(camera_on(1.5), 0, image=image)})
    line = torch.tensor([[5.0, 1.0], [40.0, 1.0]])
    pictures = frame_pictures(frame, predicted(line), backend="software")
    assert list(pictures) == ["bev", "cameras", "scene"]
    for view in ("bev", "scene"):                          # the mosaic of cameras is scaled, which mixes colours
        assert len(pixels_of(pictures[view], class_color("divider"))[0])
    assert pictures["cameras"].any()


def test_lanes_are_drawn_with_their_borders_and_areas():
    x = torch.linspace(5.0, 40.0, 5)
    left, middle, right = (torch.stack([x, torch.full_like(x, y), 0 * x], dim=1)[None] for y in (2.0, 0.0, -2.0))
    area = torch.tensor([[5.0, 5, 0], [9, 5, 0], [9, 9, 0], [5, 5, 0]])
    none = torch.zeros(1, dtype=torch.int64)
    lanes = LaneGraph(
        middle, left, right, none, none, torch.zeros(1, 1), Polylines.from_lines([area]), torch.tensor([0]),
        torch.tensor([0.9]), torch.tensor([0.1]),
    )
    picture = render_bev(Frame("token", 0), predicted(AHEAD, 0.0, lanes), min_score=0.3)
    drawn = {name: bool(len(pixels_of(picture, class_color(name))[0])) for name in ("lane_segment", "divider")}
    assert drawn == {"lane_segment": True, "divider": True}
    assert not len(pixels_of(picture, class_color("ped_crossing"))[0])       # its score is too low


def drive(confidence: float) -> GlobalMap:
    line = torch.tensor([[1000.0, 500, 0], [1080, 500, 0]], dtype=torch.float64)
    way = torch.tensor([[1000.0, 510, 0], [1080, 510, 0]], dtype=torch.float64)
    return GlobalMap(Polylines.from_lines([line]), torch.tensor([2]), torch.tensor([confidence]), way)


def test_the_map_of_a_drive_has_north_up_and_the_way_in_white():
    picture = render_map(drive(1.0), size=1000)            # 100 m with the border: 10 pixels a metre
    columns, rows = pixels_of(picture, class_color("boundary"))
    line = columns > 250                                   # right of the legend
    assert (columns[line].min(), columns[line].max()) == (pytest.approx(251, abs=2), pytest.approx(900, abs=3))
    assert np.median(rows[line]) == pytest.approx(picture.shape[0] - 100, abs=2)
    white = pixels_of(picture, (240, 240, 240))
    assert np.median(white[1][white[0] > 250]) == pytest.approx(picture.shape[0] - 200, abs=2)


@pytest.mark.parametrize(("confidence", "brighter"), [(0.1, False), (0.9, True)])
def test_what_is_less_sure_is_fainter(confidence: float, brighter: bool):
    one, other = (int(render_map(drive(sure), size=1000)[-100, 500].sum()) for sure in (confidence, 0.5))
    assert (one > other) == brighter


def test_the_map_of_no_drive_is_a_picture():
    assert render_map(GlobalMap.empty(), size=200).shape == (200, 200, 3)


def test_a_tiny_picture_is_refused():
    with pytest.raises(ValueError, match="size must be >= 64 pixels, got 10"):
        render_map(GlobalMap.empty(), size=10)
