from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from labelled_frames import labelled_frame

from perception.datasets.base import FrameDataset
from perception.registry import DATASETS
from perception.structures import Camera, Frame
from perception.structures.segmentation import IGNORE_LABEL
from perception.transforms.mosaic import Mosaic
from perception.transforms.random_crop_images import RandomCropImages
from perception.transforms.random_resize_images import RandomResizeImages

close = torch.testing.assert_close
POINT = torch.tensor([6.0, 1.0, -0.5])


@DATASETS.register_module()
class LabelledFrames(FrameDataset):
    """Three frames of one picture each."""

    frame_tokens = ("b", "c", "d")

    def load(self, index: int) -> Frame:
        return labelled_frame(30 + index, 50, self.frame_tokens[index])


def mosaic(**options) -> Mosaic:
    return Mosaic({"type": "LabelledFrames", "root": Path(__file__).parent}, (32, 48), **options)


def front(frame: Frame) -> Camera:
    return frame.cameras["front"]


@given(st.integers(0, 99), st.integers(1, 50), st.integers(1, 80))
def test_a_part_has_its_size_and_labels_stay_on_their_pixels(seed, height, width):
    part = front(RandomCropImages((height, width))(labelled_frame(), np.random.default_rng(seed)))
    assert part.image.shape == (3, height, width)
    inside = part.labels.classes != IGNORE_LABEL
    assert int(inside.sum()) == min(height, 40) * min(width, 60)
    assert torch.equal(part.image[0].long()[inside], part.labels.classes[inside])
    assert torch.equal(part.image[1].long()[inside] + 1, part.labels.instances[inside])
    assert not part.labels.instances[~inside].any()


def test_a_point_stays_on_what_it_fell_on():
    frame, rng = labelled_frame(), np.random.default_rng(3)
    changed = RandomCropImages((20, 30))(RandomResizeImages((0.7, 0.7))(frame, rng), rng)
    before, after = (front(view).calibration.project(POINT) for view in (frame, changed))
    top, left = (int(front(changed).image[channel, 0, 0]) for channel in (0, 1))       # of the whole picture
    close((after[:2] + 0.5) / 0.7 + torch.tensor([left, top]), before[:2] + 0.5, atol=1.0, rtol=0)     # a pixel


def test_parts_of_one_class_are_drawn_again():
    frame = labelled_frame()
    uniform = front(frame).labels.changed(lambda plane: plane.where(torch.arange(60) >= 30, 7))
    frame = replace(frame, cameras={"front": replace(front(frame), labels=uniform)})
    shares = [
        float((front(RandomCropImages((40, 20), share)(frame, np.random.default_rng(seed))).labels.classes == 7)
              .float().mean())
        for share in (1.0, 0.75) for seed in range(30)
    ]
    assert max(shares[:30]) == 1.0
    assert max(shares[30:]) < 0.75


def test_all_pictures_of_a_frame_are_resized_alike_and_fit():
    frame = labelled_frame(40, 60)
    resized = front(RandomResizeImages((2.0, 2.0), size=(20, 90))(frame, np.random.default_rng(0)))
    assert tuple(resized.image.shape) == (3, 40, 60)
    assert resized.labels.classes.shape == (40, 60)


def test_beyond_a_picture_its_part_has_the_grey_that_is_asked_for():
    part = front(RandomCropImages((50, 70), fill=128)(labelled_frame(), np.random.default_rng(0)))
    assert (part.image[:, 40:] == 128).all()
    assert (part.image[:, :, 60:] == 128).all()
    assert (part.labels.classes[:, 60:] == IGNORE_LABEL).all()


@pytest.mark.parametrize(("limit", "size"), [(1000, (80, 120)), (90, (60, 90))])
def test_the_shorter_side_gets_its_length_unless_the_longer_one_is_limited(limit, size):
    resize = RandomResizeImages((2.0, 2.0), short_side=40, long_limit=limit)
    assert tuple(front(resize(labelled_frame(), np.random.default_rng(0))).image.shape[1:]) == size


def test_factors_are_drawn_in_steps():
    resize = RandomResizeImages((0.5, 1.5), steps=3)
    heights = {
        front(resize(labelled_frame(), np.random.default_rng(seed))).image.shape[1] for seed in range(30)
    }
    assert heights == {20, 40, 60}


def test_a_mosaic_shows_four_pictures_with_instances_of_their_own():
    made = front(mosaic(prob=1.0)(labelled_frame(), np.random.default_rng(1)))
    assert made.image.shape == (3, 32, 48)
    assert made.calibration is None
    assert torch.equal(made.image[0].long(), made.labels.classes)
    corners = [made.labels.instances[row, column] for row in (0, -1) for column in (0, -1)]
    assert len({int(corner) for corner in corners}) == 4
    assert int(made.labels.instances.max()) == len(made.labels.instances.unique())      # none is 0 here


def test_without_luck_a_frame_stays_as_it_is():
    frame = labelled_frame()
    assert mosaic(prob=0.0)(frame, np.random.default_rng(0)) is frame


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (lambda: RandomCropImages((0, 5)), "size"),
        (lambda: RandomCropImages((5, 5), 0.0), "max_share"),
        (lambda: RandomResizeImages((2.0, 1.0)), "scales"),
        (lambda: RandomResizeImages(size=(3,)), "size"),
        (lambda: RandomResizeImages(size=(3, 3), short_side=3), "short_side"),
        (lambda: RandomResizeImages(short_side=0), "short_side"),
        (lambda: RandomResizeImages(steps=1), "steps"),
        (lambda: RandomCropImages((5, 5), fill=256), "fill"),
        (lambda: mosaic(prob=2.0), "prob"),
        (lambda: RandomCropImages((4, 4))(Frame("a", 0, cameras={"front": Camera(None, 0)}), None), "LoadImages"),
    ],
)
def test_what_cannot_be_is_refused_by_name(make, named):
    with pytest.raises(ValueError, match=named):
        make()
