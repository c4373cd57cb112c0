"""From frames to pictures: normalised, padded, fitted; and what cannot be used."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from labelled_pictures import labelled_frame

from perception.models.image_data_preprocessor import ImageDataPreprocessor, PictureSize, fitted
from perception.structures import SE3, Calibration, Frame


def with_image(image: torch.Tensor | None) -> Frame:
    frame = labelled_frame()
    return replace(frame, cameras={"front": replace(frame.cameras["front"], image=image)})


def test_a_picture_is_normalised_and_padded_at_the_right_and_below():
    frame = labelled_frame(height=30, width=40)
    images = ImageDataPreprocessor(mean=(10, 20, 30), std=(2, 4, 5), pad_divisor=32)([frame])["inputs"]["images"]
    expected = (frame.cameras["front"].image.float() - torch.tensor([10, 20, 30]).view(3, 1, 1)) / torch.tensor(
        [2, 4, 5]
    ).view(3, 1, 1)
    assert images.shape == (1, 3, 32, 64)
    torch.testing.assert_close(images[0, :, :30, :40], expected)
    assert images[0, :, 30:].abs().sum() + images[0, :, :, 40:].abs().sum() == 0


@pytest.mark.parametrize(("length", "padded"), [(30, 33), (33, 33), (34, 65), (1, 1)])
def test_corners_that_are_to_meet_leave_one_pixel_over(length, padded):
    preprocessor = ImageDataPreprocessor(pad_divisor=32, pad_remainder=1)
    assert preprocessor([labelled_frame(height=length, width=40)])["inputs"]["images"].shape == (1, 3, padded, 65)
    with pytest.raises(ValueError, match=r"pad_remainder must lie in \[0, 32\), got 32"):
        ImageDataPreprocessor(pad_divisor=32, pad_remainder=32)


def test_blue_comes_first_for_a_model_that_takes_it_so():
    frame = labelled_frame()
    images = ImageDataPreprocessor(mean=(0, 0, 0), std=(1, 1, 1), bgr=True)([frame])["inputs"]["images"]
    assert torch.equal(images[0], frame.cameras["front"].image.flip(0).float())


def test_pictures_are_fitted_outside_training_only():
    preprocessor = ImageDataPreprocessor(fit=(20, 100))
    assert preprocessor([labelled_frame()])["inputs"]["images"].shape == (1, 3, 20, 28)
    assert preprocessor([labelled_frame()], training=True)["inputs"]["images"].shape == (1, 3, 40, 56)


def test_the_shorter_side_gets_its_length_outside_training_only():
    preprocessor = ImageDataPreprocessor(short_side=(20, 100))
    assert preprocessor([labelled_frame()])["inputs"]["images"].shape == (1, 3, 20, 28)
    assert preprocessor([labelled_frame()], training=True)["inputs"]["images"].shape == (1, 3, 40, 56)
    limited = ImageDataPreprocessor(short_side=(20, 14))
    assert limited([labelled_frame()])["inputs"]["images"].shape == (1, 3, 10, 14)


def test_pictures_are_padded_to_a_size_at_least():
    images = ImageDataPreprocessor(pad_size=(49, 33))([labelled_frame()])["inputs"]["images"]
    assert images.shape == (1, 3, 49, 56)
    assert images[0, :, 40:].abs().sum() == 0


def test_cameras_of_any_lens_are_brought_to_one_focal_length_outside_training():
    preprocessor = ImageDataPreprocessor(focal_length=100.0, fit=(20, 100))
    pose = SE3(torch.eye(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    frames = []
    for focal in (50.0, 200.0, 400.0):
        frame = labelled_frame(height=40, width=56)
        calibration = Calibration(torch.tensor([[focal, 0, 28], [0, focal, 20], [0, 0, 1]]), pose, 56, 40)
        frames.append(replace(frame, cameras={"front": replace(frame.cameras["front"], calibration=calibration)}))
    sizes = preprocessor.sizes([*frames, labelled_frame(height=40, width=56)])
    assert [size.used for size in sizes] == [(80, 112), (20, 28), (10, 14), (20, 28)]      # the last one by `fit`
    assert {size.own for size in preprocessor.sizes(frames)} == {(40, 56)}
    assert [size.used for size in preprocessor.sizes(frames, training=True)] == [(40, 56)] * 3


def test_labels_are_padded_with_pixels_to_ignore():
    frames = [labelled_frame(height=30, width=40), labelled_frame(height=32, width=40)]
    first, second = ImageDataPreprocessor(pad_divisor=16).labels(frames)
    assert first.classes.shape == second.classes.shape == (32, 48)
    assert (first.classes[30:] == 255).all()
    assert (second.classes[:, 40:] == 255).all()
    assert first.instances[30:].sum() == 0


def test_maps_of_the_padded_tensor_come_back_to_the_picture():
    columns = torch.arange(16.0).expand(1, 8, 16)
    assert torch.equal(PictureSize((8, 16), (6, 12), (6, 12)).restored(columns)[0], torch.arange(12.0).expand(6, 12))


@given(st.tuples(st.integers(1, 4000), st.integers(1, 4000)), st.tuples(st.integers(1, 2000), st.integers(1, 2000)))
def test_a_fitted_picture_touches_a_limit_and_passes_none(size, limits):
    height, width = fitted(size, limits)
    assert height <= limits[0]
    assert width <= limits[1]
    assert height == limits[0] or width == limits[1]


@pytest.mark.parametrize(("frame", "message"), [
    (Frame("a", 0), "frame a has no camera"),
    (with_image(None), "no decoded picture: put LoadImages first"),
    (with_image(torch.zeros(1, 40, 56, dtype=torch.uint8)), r"must be \(3, H, W\), RGB, got \(1, 40, 56\)"),
    (with_image(torch.zeros(4, 40, 56, dtype=torch.uint8)), r"must be \(3, H, W\), RGB, got \(4, 40, 56\)"),
    (with_image(torch.zeros(3, 0, 56, dtype=torch.uint8)), r"got \(3, 0, 56\)"),
])
def test_a_frame_without_a_usable_picture_is_refused(frame, message):
    with pytest.raises(ValueError, match=message):
        ImageDataPreprocessor()([frame])


def test_one_of_several_cameras_must_be_named():
    frame = labelled_frame()
    both = replace(frame, cameras={"front": frame.cameras["front"], "rear": frame.cameras["front"]})
    with pytest.raises(ValueError, match="front, rear: name one"):
        ImageDataPreprocessor()([both])
    assert ImageDataPreprocessor("rear")([both])["inputs"]["images"].shape == (1, 3, 40, 56)
    with pytest.raises(ValueError, match="has no camera left, only front, rear"):
        ImageDataPreprocessor("left")([both])


def test_labels_of_another_size_than_the_picture_are_refused():
    frame = with_image(torch.zeros(3, 41, 56, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"labels are \(40, 56\), the picture is \(41, 56\)"):
        ImageDataPreprocessor().labels([frame])


def test_a_batch_of_something_else_is_refused():
    with pytest.raises(TypeError, match="list of Frames, got dict"):
        ImageDataPreprocessor()({"img": 1})


@pytest.mark.parametrize("options", [
    {"pad_divisor": 0}, {"fit": (0, 8)}, {"fit": (8,)}, {"short_side": (0, 8)}, {"pad_size": (8,)},
    {"pad_divisor": 8, "pad_remainder": 8}, {"fit": (8, 8), "short_side": (8, 8)}, {"focal_length": 0.0},
    {"focal_length": float("nan")},
])
def test_impossible_settings_are_refused(options):
    with pytest.raises(ValueError, match=r"(pad_\w+|fit|short_side|focal_length) (must|and)"):
        ImageDataPreprocessor(**options)
