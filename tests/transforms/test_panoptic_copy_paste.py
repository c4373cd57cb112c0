"""Segments of another picture: which are pasted, whole and with numbers of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled_frames import labelled_frame
from PIL import Image

from perception.structures import Camera, Frame, PixelLabels
from perception.transforms.panoptic_copy_paste import PanopticCopyPaste

CLASSES = ("road", "sky", "car", "person")
ABOVE = np.array([[0, 0, 1, 1, 2, 2], [0, 0, 1, 1, 2, 2], [3, 3, 255, 255, 2, 2], [3, 3, 255, 255, 2, 2]], np.uint8)
NUMBERS = np.array([[0, 0, 0, 0, 5, 5], [0, 0, 0, 0, 5, 5], [9, 0, 0, 0, 5, 5], [9, 0, 0, 0, 5, 5]], np.uint8)


@pytest.fixture
def config(tmp_path: Path) -> dict[str, object]:
    """A bright picture with road, sky, a car of six pixels, a person of two and a crowd of two."""
    planes = {"images": np.full((4, 6, 3), 200, np.uint8), "masks": ABOVE, "numbers": NUMBERS}
    for folder, pixels in planes.items():
        (tmp_path / folder).mkdir()
        Image.fromarray(pixels).save(tmp_path / folder / "a.png")
    return {"type": "PictureFolder", "root": tmp_path, "classes": CLASSES, "instances": "numbers",
            "things": ("car", "person"), "transforms": [{"type": "LoadImages"}]}


def below(classes: int = 0, instance: int = 0) -> Frame:
    """A dark picture of one class."""
    labels = PixelLabels(torch.full((4, 6), classes), torch.full((4, 6), instance))
    image = torch.full((3, 4, 6), 10, dtype=torch.uint8)
    return Frame("below", 1, cameras={"image": Camera(None, 1, image=image, labels=labels)})


def results(config, frame: Frame, seeds: int = 40) -> list[Camera]:
    paste = PanopticCopyPaste(config)
    return [paste(frame, np.random.default_rng(seed)).cameras["image"] for seed in range(seeds)]


def test_things_are_always_pasted_and_stuff_now_and_then(config):
    shares = dict.fromkeys(CLASSES, 0)
    for camera in results(config, below(classes=1)):
        pasted = camera.image[0] == 200
        for label, name in enumerate(CLASSES):
            place = torch.from_numpy((label == ABOVE) & ((NUMBERS > 0) | (label < 2)))
            assert pasted[place].unique().numel() == 1                 # a segment goes as a whole
            shares[name] += bool(pasted[place].all())
        crowd = torch.from_numpy((ABOVE == 3) & (NUMBERS == 0))
        assert not pasted[crowd | (torch.from_numpy(ABOVE) == 255)].any()
    assert shares["car"] == shares["person"] == 40
    assert 8 < shares["road"] < 32                                     # half: none, one or both of two
    assert 8 < shares["sky"] < 32


def test_labels_are_those_of_the_picture_that_shows(config):
    for camera in results(config, below(classes=1)):
        pasted = camera.image[0] == 200
        assert torch.equal(camera.labels.classes, torch.where(pasted, torch.from_numpy(ABOVE).long(), 1))


def test_instances_keep_apart_from_those_that_were_there(config):
    for camera in results(config, below(classes=2, instance=5), seeds=5):
        car = torch.from_numpy((ABOVE == 2) & (NUMBERS > 0))
        person = torch.from_numpy((ABOVE == 3) & (NUMBERS > 0))
        assert camera.labels.instances[car].unique().tolist() == [10]
        assert camera.labels.instances[person].unique().tolist() == [14]
        rest = ~(car | person) & (camera.image[0] == 10)
        assert camera.labels.instances[rest].unique().tolist() == [5]
        segments = camera.labels.segments(things=(2, 3))
        assert segments.labels.tolist().count(2) == 2                  # the car below and the one above


def test_a_class_of_both_pictures_is_one_segment(config):
    for camera in results(config, below(classes=0), seeds=10):
        assert camera.labels.segments(things=(2, 3)).labels.tolist().count(0) == 1


def test_the_given_frame_is_left_alone_and_the_same_numbers_give_the_same(config):
    frame = below()
    first, again = results(config, frame, 4), results(config, frame, 4)
    assert all(torch.equal(one.image, other.image) for one, other in zip(first, again, strict=True))
    assert (frame.cameras["image"].image == 10).all()
    assert frame.cameras["image"].labels.instances.max() == 0


def test_without_luck_a_frame_stays_as_it_is(config):
    frame = below()
    assert PanopticCopyPaste(config, prob=0.0)(frame, np.random.default_rng(0)) is frame


def without_instances(frame: Frame) -> Frame:
    camera = frame.cameras["image"]
    return replace(frame, cameras={"image": replace(camera, labels=PixelLabels(camera.labels.classes))})


@pytest.mark.parametrize(
    ("frame", "match"),
    [
        (labelled_frame(5, 6), r"must have the size of the other, got \(4, 6\) and \(5, 6\)"),
        (without_instances(below()), "frame below has no pixel labels with instances"),
        (replace(below(), cameras={name: below().cameras["image"] for name in "ab"}), "frames of one picture, got 2"),
        (Frame("a", 0, cameras={"image": Camera(None, 0, source=b"")}), "put LoadImages first"),
    ],
)
def test_frames_that_nothing_can_be_pasted_into_are_refused(config, frame: Frame, match: str):
    with pytest.raises(ValueError, match=match):
        PanopticCopyPaste(config)(frame, np.random.default_rng(0))


def test_a_probability_that_is_none_is_refused(config):
    with pytest.raises(ValueError, match=r"prob must lie in \[0, 1\], got 2"):
        PanopticCopyPaste(config, prob=2)
