"""Off-screen scenes: both renderers draw the same box in the same place."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from perception.structures import Annotations, Boxes3D, Frame, PointCloud, PointLabels
from perception.visualization.class_map import ClassMap
from perception.visualization.scene3d import BACKGROUND, chase_camera, open3d_renders, render_scene
from perception.visualization.segment_palette import segment_colors
from perception.visualization.theme import LIGHT


def one_box_frame() -> Frame:
    boxes = Boxes3D(torch.tensor([[15.0, 3.0, 1.0, 4.5, 2.0, 1.6, 0.3]]))
    points = PointCloud(torch.randn(500, 3) * torch.tensor([10.0, 10.0, 0.1]))
    return Frame("token", 0, points=points, annotations=Annotations(boxes, torch.zeros(1, dtype=torch.int64), ("car",)))


def green(picture: np.ndarray) -> np.ndarray:
    red, middle, blue = (picture[..., channel].astype(int) for channel in range(3))
    return (middle > red + 60) & (middle > blue + 60)


def test_the_chase_camera_looks_down_on_the_road_ahead():
    view = chase_camera(960, 540, ahead=12.0)
    assert view.project(torch.tensor([12.0, 0.0, 0.0], dtype=torch.float64))[:2].tolist() == pytest.approx([480, 270])


def test_the_software_renderer_draws_the_box_where_its_centre_projects():
    frame = one_box_frame()
    picture = render_scene(frame, backend="software")
    rows, columns = np.nonzero(green(picture))
    u, v, _ = chase_camera(960, 540).project(frame.annotations.boxes.centers[0].double()).tolist()
    assert abs(columns.mean() - u) < 12
    assert abs(rows.mean() - v) < 12


def test_both_renderers_agree_on_the_box():
    if not open3d_renders():
        pytest.skip("Open3D cannot render off screen on this machine (no EGL)")
    frame = one_box_frame()
    pictures = [render_scene(frame, backend=backend) for backend in ("software", "open3d")]
    places = [np.argwhere(green(picture)).mean(axis=0) for picture in pictures]
    np.testing.assert_allclose(places[0], places[1], atol=6)


def test_both_renderers_give_points_the_colours_of_their_classes():
    if not open3d_renders():
        pytest.skip("Open3D cannot render off screen on this machine (no EGL)")
    points = PointCloud(torch.randn(2000, 3) * torch.tensor([10.0, 10.0, 0.1]))
    labels = PointLabels(torch.arange(2000) % 2, names=("driveable_surface", "car"))
    frame = Frame("token", 0, points=points)
    for backend in ("software", "open3d"):
        picture = render_scene(frame, backend=backend, classes=ClassMap.of_points(labels)).astype(int)
        for color in (LIGHT.background, *segment_colors(labels.names)):
            assert (np.abs(picture - np.array(color)).max(axis=2) <= 2).sum() > 100      # Open3D rounds its own way


def test_an_empty_frame_is_background():
    assert (render_scene(Frame("token", 0), backend="software") == np.array(BACKGROUND)).all()


def test_an_unknown_backend_is_refused():
    with pytest.raises(ValueError, match='backend must be "auto"'):
        render_scene(Frame("token", 0), backend="vulkan")
