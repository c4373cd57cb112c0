"""Points, pictures and projections as a map model gets them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from map_frames import front_camera, map_frame

from perception.models.map_data_preprocessor import MapDataPreprocessor, image_from_ego

close = torch.testing.assert_close


def test_a_point_is_projected_to_the_pixel_that_the_calibration_gives() -> None:
    camera = front_camera()
    point = torch.tensor([10.0, 2.0, 0.5])
    u, v, depth, one = image_from_ego(camera) @ torch.cat([point, torch.ones(1)]).double()
    close(torch.stack([u / depth, v / depth, depth]), camera.calibration.project(point).double())
    assert one == 1.0


def test_pictures_are_normalised_padded_and_in_the_channel_order_asked_for() -> None:
    frame = replace(map_frame(), cameras={"front": front_camera(40, 70)})
    prepare = MapDataPreprocessor(("front",), mean=(1.0, 2.0, 3.0), std=(2.0, 2.0, 2.0), bgr=True)
    inputs = prepare([frame])["inputs"]
    assert inputs["images"].shape == (1, 1, 3, 64, 96)
    blue = frame.cameras["front"].image[2].float()
    close(inputs["images"][0, 0, 0, :40, :70], (blue - 1.0) / 2.0)
    assert inputs["images"][0, 0, :, 40:].abs().sum() == inputs["images"][0, 0, :, :, 70:].abs().sum() == 0
    close(inputs["image_from_ego"][0, 0], image_from_ego(frame.cameras["front"]).float())


def test_padding_scales_the_projection_only_where_asked_for() -> None:
    frame = replace(map_frame(), cameras={"front": front_camera(32, 70)})
    plain = MapDataPreprocessor(("front",))([frame])["inputs"]["image_from_ego"][0, 0]
    scaled = MapDataPreprocessor(("front",), pad_scales_intrinsics=True)([frame])["inputs"]["image_from_ego"][0, 0]
    close(scaled, plain * torch.tensor([96 / 70, 1.0, 1.0, 1.0])[:, None])


def test_an_absent_camera_is_masked() -> None:
    frames = [replace(map_frame(), cameras={"front": front_camera()}),
              replace(map_frame(), cameras={"front": front_camera(), "rear": front_camera(seed=1)})]
    inputs = MapDataPreprocessor(("front", "rear"))(frames)["inputs"]
    assert inputs["camera_mask"].tolist() == [[True, False], [True, True]]
    assert inputs["images"][0, 1].abs().sum() == 0
    close(inputs["image_from_ego"][0, 1], torch.eye(4))


def test_a_camera_model_takes_frames_without_points() -> None:
    frame = replace(map_frame(), points=None, cameras={"front": front_camera()})
    assert "points" not in MapDataPreprocessor(("front",), use_points=False)([frame])["inputs"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cameras": {}}, "frame frame-0 has none of the cameras front"),
        ({"cameras": {"front": replace(front_camera(), image=None)}}, "camera front has no decoded picture"),
        ({"cameras": {"front": replace(front_camera(), calibration=None)}}, "camera front has no calibration"),
        ({"points": None, "cameras": {"front": front_camera()}}, "frame frame-0 has no LiDAR points"),
    ],
)
def test_what_a_frame_lacks_is_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MapDataPreprocessor(("front",))([replace(map_frame(), **change)])


def test_a_model_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs points, cameras or both"):
        MapDataPreprocessor((), use_points=False)
