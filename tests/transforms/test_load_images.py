"""Pictures are decoded from files and bytes; what is wrong is told by file and camera."""

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scene_frames import scene

from perception.errors import DataError
from perception.structures import Camera, Frame
from perception.transforms.load_images import LoadImages

RNG = np.random.default_rng(0)
PIXELS = np.random.default_rng(1).integers(0, 256, (40, 64, 3), dtype=np.uint8)


def png(pixels: np.ndarray = PIXELS) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()


def frame_of(source: Path | bytes | None) -> Frame:
    given = scene()
    return replace(given, cameras={"front": replace(given.cameras["front"], source=source, image=None)})


@pytest.mark.parametrize("as_file", [True, False])
def test_a_picture_is_decoded_to_channels_rows_columns(as_file, tmp_path):
    path = tmp_path / "front.png"
    path.write_bytes(png())
    image = LoadImages()(frame_of(path if as_file else png()), RNG).cameras["front"].image
    assert image.dtype == torch.uint8
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), PIXELS)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_every_picture_becomes_rgb(mode, tmp_path):
    path = tmp_path / "front.png"
    Image.fromarray(PIXELS).convert(mode).save(path)
    assert LoadImages()(frame_of(path), RNG).cameras["front"].image.shape == (3, 40, 64)


def test_of_sixteen_bits_the_upper_eight_remain(tmp_path):
    wide = (PIXELS[..., 0].astype(np.uint16) << 8) + 99
    Image.fromarray(wide).save(tmp_path / "front.png")
    image = LoadImages()(frame_of(tmp_path / "front.png"), RNG).cameras["front"].image
    assert all(np.array_equal(channel.numpy(), PIXELS[..., 0]) for channel in image)


def test_transparency_is_left_out(tmp_path):
    clear = np.concatenate([PIXELS, np.zeros((40, 64, 1), np.uint8)], axis=2)
    Image.fromarray(clear).save(tmp_path / "front.png")
    image = LoadImages()(frame_of(tmp_path / "front.png"), RNG).cameras["front"].image
    np.testing.assert_array_equal(image.permute(1, 2, 0).numpy(), PIXELS)


@pytest.mark.parametrize("kind", ["png", "jpeg"])
def test_a_picture_that_ends_anywhere_is_told_or_whole(kind, tmp_path):
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, format=kind)
    content = buffer.getvalue()
    ends = [*range(0, len(content) - 20, 97), *range(len(content) - 20, len(content))]
    found = [image_or_none(content[:end]) for end in ends]
    assert found[0] is None
    assert all(image is None or torch.equal(image, image_or_none(content)) for image in found)


def image_or_none(content: bytes) -> torch.Tensor | None:
    try:
        return LoadImages()(frame_of(content), RNG).cameras["front"].image
    except DataError:
        return None


def test_only_named_cameras_are_decoded_and_decoded_ones_stay():
    given = frame_of(png())
    front = given.cameras["front"]
    ready = replace(front, image=torch.zeros(3, 40, 64, dtype=torch.uint8))
    frame = replace(given, cameras={"front": front, "rear": front, "left": ready})
    cameras = LoadImages(("front", "left"))(frame, RNG).cameras
    assert cameras["front"].image is not None
    assert cameras["rear"].image is None
    assert cameras["left"].image is ready.image


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "front.png: picture: expected a whole JPEG or PNG image"),
        (png()[: len(png()) // 2], "front.png: picture: expected a whole"),
        (b"not a picture at all", "front.png: picture: expected a whole"),
        (png(PIXELS[:20]), r"front.png: size: expected 64 x 40 pixels as calibrated, got 64 x 20"),
    ],
    ids=["empty", "truncated", "text", "other size"],
)
def test_a_broken_picture_is_told_by_its_file(content, message, tmp_path):
    path = tmp_path / "front.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        LoadImages()(frame_of(path), RNG)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DataError, match=r"absent.png: picture: expected an image file, got no such file"):
        LoadImages()(frame_of(tmp_path / "absent.png"), RNG)


def test_broken_bytes_are_told_by_frame_and_camera():
    with pytest.raises(DataError, match="frame a, camera front: picture"):
        LoadImages()(frame_of(b"noise"), RNG)


def test_a_camera_without_any_picture_is_told():
    with pytest.raises(DataError, match="frame a, camera front: source"):
        LoadImages()(frame_of(None), RNG)


def test_a_camera_that_the_frame_lacks_is_told():
    with pytest.raises(DataError, match="camera rear: expected one of the cameras front, got no such camera"):
        LoadImages(("rear",))(scene(), RNG)


def test_a_picture_without_calibration_may_have_any_size():
    frame = Frame("a", 0, cameras={"phone": Camera(None, 0, png(PIXELS[:7]))})
    assert LoadImages()(frame, RNG).cameras["phone"].image.shape == (3, 7, 64)
