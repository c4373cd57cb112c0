"""From the results file of one data set to that of another."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import torch

from perception.errors import ConfigError, suggestion
from perception.structures import SE3

from .class_partners import partners_of
from .frame_results import FrameResults, FrameSource
from .names import FORMATS


class ResultFormat(Protocol):
    """What a module of a format has."""

    CLASSES: tuple[str, ...]

    @staticmethod
    def read(path: Path, source: FrameSource) -> list[FrameResults]:
        """The detections of every frame."""

    @staticmethod
    def write(frames: Iterable[FrameResults], path: Path) -> list[str]:
        """Write them; returns what a reader should know."""


@dataclass(frozen=True)
class Conversion:
    """What became of the boxes.

    Args:
        frames: that were read, all of which were written.
        boxes: that were written.
        dropped: boxes by class that had no partner.
        notes: what else a reader should know.
    """

    frames: int
    boxes: int
    dropped: Mapping[str, int]
    notes: Sequence[str]


def convert_results(
    path: Path, out: Path, own: str, other: str, *, source: FrameSource | None = None,
    classes: Mapping[str, str] | None = None, drop_unmatched: bool = False, ego_is_global: bool = False,
) -> Conversion:
    """Read results of a data set and write them as another's.

    Args:
        path: results in the format ``own``: a file, or KITTI's folder.
        out: where those in the format ``other`` go.
        own, other: two of `FORMATS`.
        source: where poses and calibrations are.
        classes: partners of classes that go before those of `class_partners.PARTNERS`, see `partners_of`.
        drop_unmatched: leave out boxes whose class has no partner; otherwise they are an error.
        ego_is_global: frames whose pose is unknown are placed at the origin of the global frame.

    Raises:
        ConfigError: a format or class is unknown, boxes have no partner, or a pose is needed and unknown.
        DataError: an input is absent or malformed.
    """
    reader, writer = result_format(own), result_format(other)
    partners = partners_of(own, other, reader.CLASSES, writer.CLASSES, classes)
    frames = reader.read(path, source or FrameSource())
    repeated = [token for token, count in Counter(frame.predictions.token for frame in frames).items() if count > 1]
    if repeated:
        raise ConfigError(f"{path}: {len(repeated)} names belong to several frames, such as {repeated[0]}")
    dropped = Counter(name for frame in frames for name in frame.predictions.names() if name not in partners)
    if dropped and not drop_unmatched:
        listed = ", ".join(f"{name} ({count})" for name, count in sorted(dropped.items()))
        raise ConfigError(
            f"{path}: {sum(dropped.values())} boxes have classes without a partner in {other}: {listed}; "
            "name partners, or ask to drop the unmatched"
        )
    converted = [_converted(frame, partners, writer.CLASSES) for frame in frames]
    if ego_is_global:
        converted = [_at_origin(frame) for frame in converted]
    try:
        notes = writer.write(converted, out)
    except ValueError as error:
        raise ConfigError(f"{out}: {error}") from error
    return Conversion(len(converted), sum(len(frame.predictions) for frame in converted), dict(dropped), notes)


def result_format(name: str) -> ResultFormat:
    """The module of a format, which alone is imported. Raises ConfigError that suggests the nearest name."""
    if name not in FORMATS:
        raise ConfigError(f'unknown format "{name}"{suggestion(name, FORMATS)}; known: {", ".join(FORMATS)}')
    module: ResultFormat = importlib.import_module(f"{__package__}.{name}")  # type: ignore[assignment]  # a module
    return module


def _converted(frame: FrameResults, partners: Mapping[str, str], classes: tuple[str, ...]) -> FrameResults:
    """The boxes that have a partner, under its name."""
    own = frame.predictions
    table = torch.tensor([classes.index(partners[name]) if name in partners else -1 for name in own.classes])
    labels = table[own.labels] if len(own) else own.labels
    keep = labels >= 0
    return replace(frame, predictions=replace(own[keep], labels=labels[keep], classes=classes))


def _at_origin(frame: FrameResults) -> FrameResults:
    if frame.predictions.global_from_ego is not None:
        return frame
    return replace(frame, predictions=replace(frame.predictions, global_from_ego=SE3.identity()))
