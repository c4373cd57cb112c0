"""Bird's-eye and camera pictures: where a box lands, and what is left out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from perception.structures import SE3, Annotations, Boxes3D, Calibration, Camera, Frame, PointCloud, Predictions
from perception.visualization.bev import BACKGROUND, render_bev
from perception.visualization.camera_overlay import mosaic, picture_of, projected_segments, render_camera
from perception.visualization.palette import TRUTH_COLOR, class_color
from perception.visualization.strokes import strokes_of

CLASSES = ("car", "pedestrian")
BOX = torch.tensor([[20.0, 10.0, 1.0, 4.0, 2.0, 1.5, 0.0]])


def frame_with(**parts: object) -> Frame:
    return Frame("token", 0, **parts)


def annotated(boxes: torch.Tensor) -> Annotations:
    return Annotations(Boxes3D(boxes), torch.zeros(len(boxes), dtype=torch.int64), CLASSES)


def predicted(boxes: torch.Tensor, scores: list[float]) -> Predictions:
    labels = torch.zeros(len(boxes), dtype=torch.int64)
    return Predictions("token", 0, Boxes3D(boxes), torch.tensor(scores), labels, CLASSES)


def forward_camera(width: int = 200, height: int = 100) -> Calibration:
    """A camera at the ego origin that looks along +x with a focal length of 100 pixels."""
    rotation = torch.tensor([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    intrinsics = torch.tensor([[100.0, 0, 100], [0, 100.0, 50], [0, 0, 1]])
    return Calibration(intrinsics, SE3(rotation, torch.zeros(3)), width, height)


def columns_and_rows(picture: np.ndarray, color: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.nonzero((picture == np.array(color)).all(axis=2))
    return columns, rows


def test_a_true_box_ahead_and_to_the_left_is_drawn_above_and_left_of_the_centre():
    picture = render_bev(frame_with(annotations=annotated(BOX)), extent=50.0, size=500)
    columns, rows = columns_and_rows(picture, TRUTH_COLOR)
    assert abs(columns.mean() - 5 * (50 - 10)) < 6          # 5 pixels a metre
    assert abs(rows.mean() - 5 * (50 - 20)) < 6


def test_a_point_colours_its_own_pixel():
    points = PointCloud(torch.tensor([[30.0, -20.0, 0.0]]))
    picture = render_bev(frame_with(points=points), extent=50.0, size=100)
    assert tuple(picture[20, 70]) != BACKGROUND


@pytest.mark.parametrize(("score", "drawn"), [(0.29, False), (0.31, True)])
def test_predictions_below_the_least_score_are_left_out(score, drawn):
    picture = render_bev(frame_with(), predicted(BOX, [score]), min_score=0.3)
    assert bool(len(columns_and_rows(picture, class_color("car"))[0])) == drawn


def test_an_empty_frame_gives_a_picture():
    assert render_bev(frame_with(), size=64).shape == (64, 64, 3)


def test_not_finite_points_and_boxes_are_skipped():
    points = PointCloud(torch.tensor([[math.nan, 0.0, 0.0], [math.inf, 1.0, 0.0]]))
    picture = render_bev(frame_with(points=points, annotations=annotated(torch.full((1, 7), math.nan))), size=64)
    assert not len(columns_and_rows(picture, TRUTH_COLOR)[0])


def edges_of(box: Boxes3D) -> np.ndarray:
    """(14, 4) pixels of the edges of one box."""
    (stroke,) = strokes_of(frame_with(annotations=annotated(box.tensor)), None, 0.0)
    return projected_segments(stroke.segments, forward_camera())


def test_edges_of_a_box_ahead_project_as_worked_by_hand():
    box = Boxes3D(torch.tensor([[11.0, 0.0, 0.0, 2.0, 2.0, 2.0, 0.0]]))            # near face at 10 m, far face at 12 m
    corners = edges_of(box).reshape(-1, 2)
    assert corners[:, 0].min() == pytest.approx(100 - 100 / 10)                    # left edge of the near face
    assert corners[:, 1].max() == pytest.approx(50 + 100 / 10)


def test_a_box_behind_the_camera_has_no_edges():
    behind = Boxes3D(BOX * torch.tensor([-1.0, 1, 1, 1, 1, 1, 1]))
    assert np.isnan(edges_of(behind)).all()


def test_an_edge_through_the_image_plane_is_cut_not_mirrored():
    box = Boxes3D(torch.tensor([[0.0, 0.0, -2.0, 20.0, 2.0, 1.0, 0.0]]))    # 10 m behind to 10 m ahead, below
    edges = edges_of(box)
    ends = edges[np.isfinite(edges)].reshape(-1, 2)
    assert (ends[:, 1] > 50).all()                                                 # all below the horizon


def test_a_camera_without_calibration_shows_its_bare_picture():
    image = torch.randint(0, 255, (3, 20, 30), dtype=torch.uint8)
    frame = frame_with(cameras={"cam": Camera(None, 0, image=image)}, annotations=annotated(BOX))
    np.testing.assert_array_equal(render_camera(frame, "cam"), image.permute(1, 2, 0).numpy())


def test_an_undecoded_picture_is_refused():
    with pytest.raises(ValueError, match="not decoded"):
        picture_of(Camera(None, 0, source=b"..."))


@pytest.mark.parametrize(("count", "shape"), [(1, (50, 100)), (3, (50, 300)), (4, (100, 300))])
def test_a_mosaic_fills_rows_from_the_left(count, shape):
    pictures = [np.zeros((100, 200, 3), dtype=np.uint8)] * count
    assert mosaic(pictures, columns=3, width=100).shape[:2] == shape
