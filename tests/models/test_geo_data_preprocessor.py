"""Pictures for a geo-localizer: whole, the middle, or ten crops."""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms.v2 import functional as pictures

from perception.models.geo_data_preprocessor import GeoDataPreprocessor
from perception.structures import Camera, Frame

PLAIN = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def frame(height: int, width: int, token: str = "a") -> Frame:
    image = torch.arange(3 * height * width).remainder(251).view(3, height, width).to(torch.uint8)
    return Frame(token, 0, cameras={"image": Camera(None, 0, image=image)})


def images_of(frames: list[Frame], training: bool = False, **options) -> torch.Tensor:
    return GeoDataPreprocessor(**PLAIN, **options)(frames, training)["inputs"]["images"]


def test_ten_crops_are_corners_middle_and_their_mirror_images():
    one = frame(20, 30)
    image = one.cameras["image"].image.float()
    crops = images_of([one], crop_size=(8, 10), crops="ten")
    assert crops.shape == (1, 10, 3, 8, 10)
    corners = [image[:, :8, :10], image[:, :8, 20:], image[:, 12:, :10], image[:, 12:, 20:], image[:, 6:14, 10:20]]
    for number, expected in enumerate(corners):
        assert torch.equal(crops[0, number], expected)
    mirrored = [part.flip(2) for part in (corners[1], corners[0], corners[3], corners[2], corners[4])]
    for number, expected in enumerate(mirrored, start=5):
        assert torch.equal(crops[0, number], expected)


def test_pictures_of_several_sizes_are_cut_out_of_themselves_not_of_the_padding():
    small, large = frame(16, 24), frame(40, 32)
    crops = images_of([small, large], crop_size=(16, 16), short_side=(16, 1000))
    assert crops.shape == (2, 1, 3, 16, 16)
    assert torch.equal(crops[0, 0], small.cameras["image"].image[:, :, 4:20].float())
    shrunk = pictures.resize(large.cameras["image"].image.float(), [20, 16], antialias=True)
    torch.testing.assert_close(crops[1, 0], shrunk[:, 2:18], atol=1e-3, rtol=0)            # grey values of 0 to 255


def test_training_and_no_crop_size_give_whole_pictures():
    assert images_of([frame(20, 30)], training=True, crop_size=(8, 8), crops="ten").shape == (1, 3, 20, 30)
    assert images_of([frame(20, 30)]).shape == (1, 3, 20, 30)


def test_a_picture_that_is_smaller_than_the_crops_is_refused():
    with pytest.raises(ValueError, match=r"frame a: crops of \(32, 8\) need a larger picture than \(20, 30\)"):
        images_of([frame(20, 30)], crop_size=(32, 8))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"crop_size": (0, 8)}, "crop_size must be two numbers of pixels"),
        ({"crop_size": (8,)}, "crop_size must be two numbers of pixels"),
        ({"crops": "five"}, 'crops must be "center" or "ten", got \'five\''),
    ],
)
def test_bad_arguments_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        GeoDataPreprocessor(**options)


@pytest.mark.parametrize("shape", [(1, 8, 8), (4, 8, 8), (3, 0, 8), (8, 8)])
def test_pictures_of_another_shape_are_refused(shape):
    bad = Frame("a", 0, cameras={"image": Camera(None, 0, image=torch.zeros(shape, dtype=torch.uint8))})
    with pytest.raises(ValueError, match=r"frame a: the picture of camera image must be \(3, H, W\), RGB"):
        GeoDataPreprocessor()([bad], False)
