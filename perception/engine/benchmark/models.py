"""A model and the frame it is timed on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from torch import nn

from ...errors import DataError
from ...models.classifier import Classifier
from ...models.segmentor import Segmentor
from ...structures import Frame
from ...transforms.compose import Compose
from ..inference import load_model, load_network
from .clouds import street_cameras, street_frame, street_picture

PICTURE = (512, 1024)                              # height and width
PICTURE_MODELS = (Segmentor, Classifier)           # which take one picture of each frame and nothing else


@dataclass(frozen=True)
class TimedModel:
    """A model with a batch of one frame.

    Args:
        name: of its config.
        model: a task model in evaluation mode, such as a `Detector`.
        batch: what the model is called with, as its data preprocessor gave it.
    """

    name: str
    model: Any
    batch: dict[str, Any]

    @property
    def size(self) -> int:
        """Points that the model is given; of one that takes pictures alone, the pixels of a picture."""
        inputs = self.batch["inputs"]
        if isinstance(self.model, PICTURE_MODELS):
            return inputs["images"][0, 0].numel()
        return sum(len(cloud) for cloud in inputs.get("points", ()))


def num_parameters(module: nn.Module) -> int:
    """Learnt numbers of a module that it predicts with; an ``auxiliary_head`` only helps it to learn."""
    auxiliary = getattr(module, "auxiliary_head", None)
    unused = num_parameters(auxiliary) if isinstance(auxiliary, nn.Module) else 0
    return sum(parameter.numel() for parameter in module.parameters()) - unused


def street_model(
    cfg: Config, device: torch.device, *, points: int = 100_000, picture: Sequence[int] = PICTURE,
    checkpoint: Path | None = None, fuse: bool = False,
) -> TimedModel:
    """A model on a seeded frame that needs no data set; of its transforms only `ResizeImages` is applied.

    Args:
        cfg: with ``model``, a task model.
        device: where it runs.
        points: points of the frame.
        picture: height and width of the only picture of the frame of a `Segmentor` or `Classifier`.
        checkpoint: weights that fit; None takes seeded initial ones.
        fuse: fold batch normalisation into the layers before it.

    Raises:
        ConfigError: the model cannot be built.
        CheckpointError: the weights are unreadable or do not fit.
    """
    torch.manual_seed(0)
    with _few_words():
        model = load_network(cfg, checkpoint, device, fuse=fuse)
    return TimedModel(Path(cfg.filename).stem, model, street_batch(model, cfg, points=points, picture=picture))


def street_batch(
    model: Any, cfg: Config, *, points: int = 100_000, picture: Sequence[int] = PICTURE
) -> dict[str, Any]:
    """The batch of one frame that `street_model` gives a task model; arguments as there."""
    preprocessor = model.data_preprocessor
    if isinstance(model, PICTURE_MODELS):
        return preprocessor([street_picture(picture[0], picture[1], camera=preprocessor.camera)], False)
    frame = street_frame(points, preprocessor.channels, model.classes)
    cameras = getattr(preprocessor, "cameras", ())
    if cameras:
        frame = _resized(replace(frame, cameras=street_cameras(cameras)), cfg)
    return preprocessor([frame], False)


def recorded_model(
    cfg: Config, device: torch.device, frame: Frame, *, checkpoint: Path | None = None, fuse: bool = False
) -> TimedModel:
    """A model on a frame of a recording, after the transforms of its config.

    Args:
        cfg: with ``model``, a task model, and ``test_dataloader.dataset.transforms``.
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
    return TimedModel(Path(cfg.filename).stem, loaded.model, batch)


def _resized(frame: Frame, cfg: Config) -> Frame:
    dataset = (cfg.get("test_dataloader") or {}).get("dataset") or {}
    resize = [entry for entry in dataset.get("transforms", ()) if entry["type"] == "ResizeImages"]
    return Compose(resize)(frame, np.random.default_rng(0))


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
