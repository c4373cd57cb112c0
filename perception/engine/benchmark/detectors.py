"""A detector and the frame it is timed on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from torch import nn

from ...errors import DataError
from ...structures import Frame
from ..inference import load_model, load_network
from .clouds import street_frame


@dataclass(frozen=True)
class TimedDetector:
    """A detector with a batch of one frame.

    Args:
        name: of its config.
        model: a `Detector` in evaluation mode.
        batch: what the model is called with, as its data preprocessor gave it.
    """

    name: str
    model: Any
    batch: dict[str, Any]

    @property
    def num_points(self) -> int:
        """Points of the frame."""
        return len(self.batch["inputs"]["points"][0])


def num_parameters(module: nn.Module) -> int:
    """Learnt numbers of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def street_detector(
    cfg: Config, device: torch.device, *, points: int = 100_000, checkpoint: Path | None = None, fuse: bool = False
) -> TimedDetector:
    """A detector on a seeded cloud that needs no data set; its transforms are left out.

    Args:
        cfg: with ``model``, a `Detector`.
        device: where it runs.
        points: points of the frame.
        checkpoint: weights that fit; None takes seeded initial ones.
        fuse: fold batch normalisation into the layers before it.

    Raises:
        ConfigError: the model cannot be built.
        CheckpointError: the weights are unreadable or do not fit.
    """
    torch.manual_seed(0)
    with _few_words():
        model = load_network(cfg, checkpoint, device, fuse=fuse)
    frame = street_frame(points, model.data_preprocessor.channels, model.classes)
    return TimedDetector(Path(cfg.filename).stem, model, model.data_preprocessor([frame], False))


def recorded_detector(
    cfg: Config, device: torch.device, frame: Frame, *, checkpoint: Path | None = None, fuse: bool = False
) -> TimedDetector:
    """A detector on a frame of a recording, after the transforms of its config.

    Args:
        cfg: with ``model``, a `Detector`, and ``test_dataloader.dataset.transforms``.
        device: where it runs.
        frame: as the recording gave it.
        checkpoint: weights that fit; None takes seeded initial ones.
        fuse: fold batch normalisation into the layers before it.

    Raises:
        ConfigError: the model cannot be built, or the config has no transforms.
        CheckpointError: the weights are unreadable or do not fit.
        DataError: the frame lacks what the model takes, such as a channel of the points.
    """
    torch.manual_seed(0)
    with _few_words():
        loaded = load_model(cfg, checkpoint, str(device), fuse=fuse)
    try:
        batch = loaded.preprocess(frame)
    except ValueError as error:
        raise DataError(f"frame {frame.token}", "content", f"what {cfg.filename} takes", str(error)) from error
    return TimedDetector(Path(cfg.filename).stem, loaded.model, batch)


@contextmanager
def _few_words() -> Iterator[None]:
    """mmengine tells of every initial weight otherwise, in lines among the tables."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)
