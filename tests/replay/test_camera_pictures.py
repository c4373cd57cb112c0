"""Recordings picture by picture: names, times, order, what is dropped, and predictions that come back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hand_clock import HandClock, ListSource
from PIL import Image

from perception.errors import ConfigError, DataError
from perception.replay.camera_pictures import (
    CameraPictures,
    by_camera,
    picture_frame,
    recorded_predictions,
    source_for,
    with_cameras,
)
from perception.replay.pipeline import Replay
from perception.replay.sinks.json_lines import JsonLinesSink
from perception.replay.sinks.pictures import PictureSink
from perception.replay.source import PendingFrame, open_source
from perception.structures import Camera, Frame, SegmentationPredictions
from perception.structures.prediction_lines import read_prediction_lines

CAMERAS = ("left", "front", "right")


class Rig(ListSource):
    """Three cameras; every other frame has points alone, as between keyframes."""

    def __init__(self, times: Sequence[float], *, is_told: bool = True) -> None:
        super().__init__(times)
        self.is_told = is_told

    def pending(self) -> Iterator[PendingFrame]:
        for index, entry in enumerate(super().pending()):
            names = () if index % 2 else CAMERAS
            yield replace(entry, cameras=names if self.is_told else None)

    def load(self, index: int) -> Frame:
        frame = super().load(index)
        image = torch.full((3, 4, 6), index, dtype=torch.uint8)
        cameras = {} if index % 2 else {name: Camera(None, frame.timestamp_ns + 1, image=image) for name in CAMERAS}
        return replace(frame, cameras=cameras)


class HalfLit:
    """Calls pixels 1 in the left half of a picture and 0 in the right one; takes its time on a clock."""

    sees_one_picture, camera = True, None

    def __init__(self, clock: HandClock | None = None, seconds: float = 0.0) -> None:
        self.clock, self.seconds = clock, seconds

    def preprocess(self, frame: Frame) -> Frame:
        assert len(frame.cameras) == 1
        return frame

    def network(self, frame: Frame) -> torch.Tensor:
        if self.clock is not None:
            self.clock.work(self.seconds)
        (camera,) = frame.cameras.values()
        height, width = (4, 6) if camera.image is None else camera.image.shape[1:]
        return (torch.arange(width) < width // 2).long().expand(height, width)

    def decode(self, classes: torch.Tensor, frame: Frame) -> SegmentationPredictions:
        return SegmentationPredictions(
            frame.token, frame.timestamp_ns, classes.contiguous(), class_names=("dark", "light")
        )

    def predict(self, frame: Frame) -> SegmentationPredictions:
        return self.decode(self.network(self.preprocess(frame)), frame)


class WholeFrames:
    sees_one_picture, camera = False, None

    def predict(self, frame: Frame) -> SegmentationPredictions:
        raise AssertionError("not asked here")


@pytest.mark.parametrize("is_told", [True, False])
def test_each_picture_is_a_frame_with_the_name_of_its_camera_and_the_time_of_its_frame(is_told: bool):
    pictures = CameraPictures(Rig([0.0, 0.1, 0.2], is_told=is_told))
    frames = list(pictures)
    assert len(pictures) == len(frames) == 6
    assert [frame.token for frame in frames] == [f"frame-{index}/{name}" for index in (0, 2) for name in CAMERAS]
    assert [frame.timestamp_ns for frame in frames] == [0] * 3 + [200_000_000] * 3
    assert all(tuple(frame.cameras) == (frame.token.partition("/")[2],) for frame in frames)
    assert [entry.timestamp_ns for entry in pictures.pending()] == [frame.timestamp_ns for frame in frames]


def test_a_frame_is_read_once_for_all_of_its_pictures():
    rig = Rig([0.0, 0.1, 0.2])
    list(CameraPictures(rig))
    assert rig.loaded == [0, 2]


def test_cameras_are_chosen_and_ordered():
    pictures = CameraPictures(Rig([0.0, 0.1]), ["right", "left"])
    assert len(pictures) == 2
    assert [frame.token for frame in pictures] == ["frame-0/right", "frame-0/left"]


def test_a_camera_that_the_recording_lacks_is_named_with_the_nearest():
    with pytest.raises(ConfigError, match=r'no camera "fornt" \(did you mean "front"\?\); it has left, front, right'):
        CameraPictures(Rig([0.0]), ["fornt"])


def test_a_recording_without_pictures_is_refused():
    with pytest.raises(DataError, match="a list of times: cameras: expected pictures for the model to look at"):
        CameraPictures(ListSource([0.0, 0.1]))


def test_pictures_of_a_frame_are_played_or_dropped_together():
    """Three pictures of 0.11 s each at 5 frames a second: busy to 0.33, when 0.2 is out, and to 0.66, when 0.6 is."""
    clock = HandClock()
    source = CameraPictures(Rig([0.0, 0.05, 0.2, 0.25, 0.4, 0.45, 0.6, 0.65]))
    sink = Seen()
    report = Replay(HalfLit(clock, 0.11), [sink], clock=clock).run(source)
    assert sink.tokens == [f"frame-{index}/{name}" for index in (0, 2, 6) for name in CAMERAS]
    assert (report.frames, report.dropped) == (9, 3)
    assert report.latency_ms["network"]["p50"] == pytest.approx(110.0)
    assert report.recorded_s == pytest.approx(0.6)


class Seen:
    def __init__(self) -> None:
        self.tokens: list[str] = []

    def write(self, frame: Frame, predictions: SegmentationPredictions) -> None:
        assert frame.token == predictions.token
        self.tokens.append(frame.token)


def test_a_replay_writes_masks_that_come_back_for_the_cameras_of_each_frame(tmp_path: Path):
    rig, clock = Rig([0.0, 0.1, 0.2]), HandClock()
    pictures = PictureSink(tmp_path / "pictures", count=2, every=3)
    with JsonLinesSink(tmp_path / "predictions.jsonl") as lines:
        Replay(HalfLit(), [lines, pictures], clock=clock).run(CameraPictures(rig), rate=0)
    assert [path.name for path in pictures.paths] == ["0000_cameras.png", "0003_cameras.png"]
    found = read_prediction_lines(lines.path)
    assert len(found) == 6
    first, second, third = rig
    masks = recorded_predictions(found, third)
    assert list(masks) == list(CAMERAS)
    assert torch.equal(masks["front"].classes, HalfLit().predict(picture_frame(third, "front")).classes)
    assert recorded_predictions(found, second) is None
    assert list(recorded_predictions(found, with_cameras(first, ["right"]))) == ["right"]
    assert with_cameras(second, ["right"]) is second
    with pytest.raises(ConfigError, match=r'frame frame-0 has no camera "rihgt" \(did you mean "right"\?\)'):
        with_cameras(first, ["rihgt"])


def test_a_model_of_pictures_says_something_of_each_camera():
    [frame] = Rig([0.0])
    found = by_camera(HalfLit(), frame)
    assert {name: one.token for name, one in found.items()} == {name: f"frame-0/{name}" for name in CAMERAS}
    only_front = HalfLit()
    only_front.camera = "front"
    assert list(by_camera(only_front, frame)) == ["front"]


def test_a_picture_that_a_frame_lacks_is_named():
    with pytest.raises(DataError, match="frame frame-0: camera up: expected a picture, got left, front, right"):
        picture_frame(next(iter(Rig([0.0]))), "up")


def test_a_model_of_whole_frames_gets_the_recording_as_it_is_and_no_choice_of_cameras():
    rig = Rig([0.0])
    assert source_for(WholeFrames(), rig) is rig
    with pytest.raises(ConfigError, match="the model sees frames as a whole: --cameras front cannot be chosen"):
        source_for(WholeFrames(), rig, ["front"])
    assert len(source_for(HalfLit(), rig)) == 3


@pytest.mark.parametrize(
    ("path", "camera", "count"),
    [("mcap/kitti_3frames.mcap", "", 3), ("kitti/raw_2011_09_26_sequence", "image_02", 11),
     ("nuscenes/devkit_root", "CAM_FRONT", 6), ("kitti/object_root", "image_2", 1)],
)
def test_real_recordings_are_played_picture_by_picture(shared_data: Path, path: str, camera: str, count: int):
    pictures = CameraPictures(open_source(shared_data / path))
    assert len(pictures) == count
    frame = next(iter(pictures))
    [(name, picture)] = frame.cameras.items()
    assert frame.token.endswith(f"/{name}")
    assert name.startswith(camera)
    assert picture.source is not None


# Folders of pictures.

@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Pictures of several sizes and formats, named so that the order of numbers is not that of letters."""
    path = tmp_path / "drive"
    path.mkdir()
    for name, width in (("2.png", 8), ("10.jpg", 6), ("1.PNG", 4)):
        Image.fromarray(np.full((4, width, 3), width, np.uint8)).save(path / name)
    (path / "notes.txt").write_text("no picture")
    return path


def test_a_folder_of_pictures_is_played_in_the_order_of_its_names(folder: Path):
    source = open_source(folder)
    assert source.NAME == "pictures"
    assert [frame.token for frame in source] == ["1", "2", "10"]
    assert [frame.timestamp_ns for frame in source] == [0, 100_000_000, 200_000_000]
    assert all(frame.points is None and tuple(frame.cameras) == ("image",) for frame in source)


def test_the_rate_of_pictures_can_be_said(folder: Path):
    assert [entry.timestamp_ns for entry in open_source(folder, fps=25.0).pending()] == [0, 40_000_000, 80_000_000]


@pytest.mark.parametrize("fps", [0.0, -1.0, float("nan"), float("inf")])
def test_a_rate_out_of_range_is_refused(folder: Path, fps: float):
    with pytest.raises(ConfigError, match="fps must be a number > 0, got"):
        open_source(folder, fps=fps)


def test_pictures_keep_their_names_in_a_replay_and_masks_have_their_sizes(folder: Path, tmp_path: Path):
    with JsonLinesSink(tmp_path / "predictions.jsonl") as lines:
        Replay(Decoding(), [lines]).run(CameraPictures(open_source(folder)), rate=0)
    found = read_prediction_lines(lines.path)
    assert {token: tuple(one.classes.shape) for token, one in found.items()} == {"1": (4, 4), "2": (4, 8), "10": (4, 6)}


class Decoding(HalfLit):
    """Decodes pictures as a pipeline would."""

    def preprocess(self, frame: Frame) -> Frame:
        from perception.transforms.load_images import LoadImages

        return LoadImages()(frame, np.random.default_rng(0))


def test_two_pictures_of_one_name_are_named(folder: Path):
    (folder / "2.png").rename(folder / "10.png")
    with pytest.raises(DataError, match=r"picture 10: expected one file, got 10\.\w+ and 10\.\w+"):
        open_source(folder)


def test_a_folder_of_pictures_and_clouds_asks_which_is_meant(folder: Path):
    (folder / "1.bin").write_bytes(np.zeros((3, 4), np.float32).tobytes())
    with pytest.raises(ConfigError, match=r"could be read as .*; say pictures:.* or folder:"):
        open_source(folder)


def test_a_folder_without_pictures_is_refused(tmp_path: Path):
    with pytest.raises(DataError, match=r"folder: expected pictures \(.png, .jpg"):
        open_source(f"pictures:{tmp_path}")
