"""Clips of the drives of a data set."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate

from perception.datasets.base import FrameDataset
from perception.datasets.sequences.clips import ClipDataset, clip_starts
from perception.errors import ConfigError
from perception.registry import DATASETS
from perception.structures import SE3, Frame, PointCloud
from perception.transforms.global_rotation import GlobalRotation

SCENES = ("a", "a", "a", "b", "b", "c", "c", "c", "c")
WORLD = torch.tensor([[10.0, 4.0, 0.0], [3.0, -20.0, 1.0]])             # metres, global


class Thinning:
    """Draws as many numbers as there are points, and drops a point of every other frame."""

    def __call__(self, frame: Frame, rng: np.random.Generator) -> Frame:
        rng.random(len(frame.points))
        return frame.with_point_rows(slice(None, 1)) if frame.timestamp_ns % 2 else frame


class Drives(FrameDataset):
    """A vehicle that moves on by two metres a frame and sees two points of the world."""

    METAINFO = {"classes": ("car", "bus")}

    @property
    def frame_tokens(self) -> list[str]:
        return [str(index) for index in range(len(SCENES))]

    @property
    def scenes(self) -> tuple[str, ...]:
        return SCENES

    def load(self, index: int) -> Frame:
        pose = SE3.about_z(0.1 * index, (2.0 * index, 0.0, 0.0))
        seen = Frame(str(index), index, SCENES[index], pose, points=PointCloud(pose.inverse().apply(WORLD)))
        return replace(seen, points=seen.points)

    def class_counts(self, index: int) -> np.ndarray:
        return np.array([index, 0])


def clips(tmp_path, length: int, **options: object) -> ClipDataset:
    transforms = options.pop("transforms", ())
    return ClipDataset(Drives(tmp_path, transforms=transforms), length, **options)


@pytest.mark.parametrize(("length", "stride", "expected"), [
    (1, 1, list(range(9))), (2, 1, [0, 1, 3, 5, 6, 7]), (3, 1, [0, 5, 6]), (2, 2, [0, 3, 5, 7]), (4, 1, [5]),
    (5, 1, []),
])
def test_clips_begin_where_they_fit_into_a_drive(length, stride, expected):
    assert clip_starts(list(SCENES), length, stride) == expected


def test_a_clip_has_consecutive_frames_oldest_first(tmp_path):
    data = clips(tmp_path, 3)
    assert len(data) == 3
    assert [[frame.token for frame in data[index]] for index in range(3)] == [list("012"), list("567"), list("678")]


def test_collated_clips_come_step_by_step(tmp_path):
    data = clips(tmp_path, 3)
    batch = pseudo_collate([data[0], data[1]])
    assert [[frame.token for frame in step] for step in batch] == [list("05"), list("16"), list("27")]


def test_all_frames_of_a_clip_are_turned_alike_whatever_other_transforms_draw(tmp_path):
    data = clips(tmp_path, 3, transforms=[Thinning(), GlobalRotation(3.0)])
    plain = clips(tmp_path, 3)
    turns = [
        (plain_frame.global_from_ego.inverse() @ turned.global_from_ego).yaw
        for turned, plain_frame in zip(data[0, 1], plain[1], strict=True)
    ]
    assert turns == pytest.approx([turns[0]] * 3)
    assert abs(turns[0]) > 0.01
    for frame in data[0, 1]:
        seen = frame.global_from_ego.apply(frame.points.xyz)             # the world stands still
        torch.testing.assert_close(seen, WORLD[: len(seen)], atol=1e-5, rtol=0)


def test_a_clip_depends_on_epoch_and_index_alone(tmp_path):
    data = clips(tmp_path, 2, transforms=[GlobalRotation(3.0)])
    again = pickle.loads(pickle.dumps(data))
    looked_up = (data[1, 2], again[1, 2], data[2, 2])
    first, same, later = ([frame.global_from_ego.yaw for frame in clip] for clip in looked_up)
    assert first == same
    assert first != later


def test_it_tells_what_its_frames_tell(tmp_path):
    data = clips(tmp_path, 3)
    assert data.classes == data.metainfo["classes"] == ("car", "bus")
    assert data.class_counts(1).tolist() == [7, 0]


def test_it_is_built_from_the_config_of_a_data_set(tmp_path):
    DATASETS.register_module("Drives", module=Drives, force=True)
    data = DATASETS.build({"type": "ClipDataset", "length": 2, "dataset": {"type": "Drives", "root": tmp_path}})
    assert len(data) == 6


def test_clips_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(ValueError, match="length must be >= 1, got 0"):
        clips(tmp_path, 0)
    with pytest.raises(ValueError, match="stride must be >= 1, got 0"):
        clips(tmp_path, 2, stride=0)
    with pytest.raises(ConfigError, match="no drive has the 5 frames of a clip"):
        clips(tmp_path, 5)
    with pytest.raises(IndexError, match="clip 3 of a data set of 3 clips"):
        clips(tmp_path, 3)[3]
