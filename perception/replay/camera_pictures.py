"""Recordings for models that see one picture at a time: each camera of a frame is a frame of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

from ..errors import ConfigError, DataError, suggestion
from ..structures import Frame, FramePredictions, GeoPrediction, SegmentationPredictions
from .source import FrameSource, PendingFrame


class CameraPictures(FrameSource):
    """The pictures of a recording, camera by camera within each frame that has some; see `picture_frame`.

    They bear the time of their frame, so that at the sensor's pace the pictures of a frame are played or dropped
    together. What is read once for a frame serves all of its pictures.

    Args:
        source: the recording. It is gone through once to count its pictures; frames are only read for that if the
            recording does not tell their cameras otherwise.
        cameras: names of those to play, in this order; None plays all that a frame has.

    Raises:
        ConfigError: the recording has none of a camera's name (the nearest one is suggested).
        DataError: it has no pictures.
    """

    LAYOUT = "the pictures of a recording"
    brings_sweeps = True                                   # a picture needs none

    def __init__(self, source: FrameSource, cameras: Sequence[str] | None = None) -> None:
        self.source, self.cameras = source, None if cameras is None else tuple(cameras)
        counts: dict[str, int] = {}
        for entry in source.pending():
            for name in _cameras_of(entry):
                counts[name] = counts.get(name, 0) + 1
        if not counts:
            raise DataError(source.LAYOUT, "cameras", "pictures for the model to look at", "none")
        for name in self.cameras or ():
            if name not in counts:
                known = ", ".join(counts)
                raise ConfigError(f'the recording has no camera "{name}"{suggestion(name, counts)}; it has {known}')
        self._count = sum(count for name, count in counts.items() if self.cameras is None or name in self.cameras)

    @classmethod
    def can_read(cls, path: str) -> bool:
        """Never: it is made of another source."""
        return False

    def __len__(self) -> int:
        return self._count

    def pending(self) -> Iterator[PendingFrame]:
        """A frame for each picture."""
        for entry in self.source.pending():
            moment, present = _Moment(entry), _cameras_of(entry)
            for name in present if self.cameras is None else [name for name in self.cameras if name in present]:
                yield PendingFrame(entry.timestamp_ns, partial(moment.picture, name), entry.global_from_ego, (name,))


class _Moment:
    """A frame that is read once for all of its pictures."""

    def __init__(self, entry: PendingFrame) -> None:
        self.entry = entry
        self._frame: Frame | None = None

    def picture(self, name: str) -> Frame:
        if self._frame is None:
            self._frame = self.entry.load()
        return picture_frame(self._frame, name)


def picture_frame(frame: Frame, name: str) -> Frame:
    """One camera of a frame as a frame called "TOKEN/CAMERA", without sweeps; a frame that is a picture already stays.

    Raises:
        DataError: the frame has no such camera.
    """
    if name not in frame.cameras:
        raise DataError(f"frame {frame.token}", f"camera {name}", "a picture", ", ".join(frame.cameras) or "no camera")
    if is_picture(frame):
        return frame
    return replace(frame, token=f"{frame.token}/{name}", sweeps=(), cameras={name: frame.cameras[name]})


def is_picture(frame: Frame) -> bool:
    """Whether a frame is nothing but the picture of one camera."""
    return len(frame.cameras) == 1 and frame.points is None


class PictureModel(Protocol):
    """What is asked of a model before it is given a recording; `perception.engine.inference.InferenceModel` is one."""

    @property
    def sees_one_picture(self) -> bool:
        """Whether it sees one picture at a time."""
        ...

    @property
    def camera(self) -> str | None:
        """The camera whose picture it sees; None if any will do."""
        ...

    def predict(self, frame: Frame) -> FramePredictions:
        """What is in a frame."""
        ...


def source_for(model: PictureModel, source: FrameSource, cameras: Sequence[str] | None = None) -> FrameSource:
    """The recording as the model takes it: as it is, or picture by picture.

    Raises:
        ConfigError: ``cameras`` are given and the model sees whole frames, or there is no such camera.
        DataError: the recording has no pictures and the model needs some.
    """
    if model.sees_one_picture:
        return CameraPictures(source, cameras or (None if model.camera is None else [model.camera]))
    if cameras:
        raise ConfigError(f"the model sees frames as a whole: --cameras {' '.join(cameras)} cannot be chosen")
    return source


def by_camera(model: PictureModel, frame: Frame) -> dict[str, FramePredictions]:
    """What a model that sees one picture at a time says of the pictures of a frame; {} for a frame without any."""
    names = frame.cameras if model.camera is None else [model.camera]
    return {name: model.predict(picture_frame(frame, name)) for name in names if name in frame.cameras}


def recorded_predictions(
    found: Mapping[str, FramePredictions], frame: Frame
) -> FramePredictions | dict[str, FramePredictions] | None:
    """The predictions of a frame, or of its pictures by camera, by the tokens that a replay gives them.

    Args:
        found: predictions by token.
        frame: as the recording has it.
    """
    pictures = {name: found.get(picture_frame(frame, name).token) for name in frame.cameras}
    known: dict[str, FramePredictions] = {
        name: one for name, one in pictures.items() if isinstance(one, (SegmentationPredictions, GeoPrediction))
    }
    return known or found.get(frame.token)


def with_cameras(frame: Frame, cameras: Sequence[str] | None) -> Frame:
    """A frame with those of its cameras that are named, in that order; None, or a frame without any, leaves all.

    Raises:
        ConfigError: the frame has pictures but none of a camera's name (the nearest one is suggested).
    """
    if cameras is None or not frame.cameras:
        return frame
    for name in cameras:
        if name not in frame.cameras:
            hint, known = suggestion(name, frame.cameras), ", ".join(frame.cameras)
            raise ConfigError(f'frame {frame.token} has no camera "{name}"{hint}; it has {known}')
    return replace(frame, cameras={name: frame.cameras[name] for name in cameras})


def _cameras_of(entry: PendingFrame) -> tuple[str, ...]:
    return tuple(entry.load().cameras) if entry.cameras is None else entry.cameras
