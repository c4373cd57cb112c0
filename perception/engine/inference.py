"""A trained model for one frame at a time, with the pipeline it was trained with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from torch import nn

from ..compression.batch_norm import fold_batch_norms
from ..errors import ConfigError
from ..models.image_data_preprocessor import ImageDataPreprocessor
from ..structures import Frame, FramePredictions
from ..transforms.compose import Compose
from .build import build_model
from .checkpoint import load_weights
from .config import load_config
from .distributed import resolve_device


class InferenceModel:
    """Frame in, predictions out; the three stages can be called, and timed, one by one.

    Args:
        model: in evaluation mode, on its device.
        transforms: what is done to a frame before the model gets it.
        cfg: the config of the model.
    """

    def __init__(self, model: nn.Module, transforms: Compose, cfg: Config) -> None:
        self.model: Any = model                    # a module's attributes have no types
        self.transforms, self.cfg = transforms, cfg

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the labels."""
        return tuple(getattr(self.model, "classes", ()))

    @property
    def sees_one_picture(self) -> bool:
        """Whether the model sees one picture at a time, so that each camera of a frame has predictions of its own."""
        return self._pictures is not None

    @property
    def streams(self) -> bool:
        """Whether the model has a memory, so that `stream` is to be called in place of `network`."""
        return getattr(self.model, "memory", None) is not None

    @property
    def camera(self) -> str | None:
        """The camera whose picture such a model sees; None if it takes the only one of a frame."""
        return None if self._pictures is None else self._pictures.camera

    @property
    def _pictures(self) -> ImageDataPreprocessor | None:
        parts = self.model.data_preprocessor.modules()
        return next((part for part in parts if isinstance(part, ImageDataPreprocessor)), None)

    @torch.inference_mode()
    def predict(self, frame: Frame) -> FramePredictions:
        """What is in a frame as a data set or a replay source yields it (transforms not yet applied), by itself."""
        batch = self.preprocess(frame)
        return self.decode(self.network(batch), batch)

    @torch.inference_mode()
    def preprocess(self, frame: Frame) -> dict[str, Any]:
        """The model's batch of one: transforms applied, tensors on the model's device."""
        transformed = self.transforms(frame, np.random.default_rng([0, 0, 0]))
        return self.model.data_preprocessor([transformed], False)

    @torch.inference_mode()
    def network(self, batch: dict[str, Any]) -> Any:
        """The model's raw maps for what `preprocess` gave."""
        return self.model(**batch, mode="tensor")

    @torch.inference_mode()
    def stream(self, batch: dict[str, Any], state: Any = None) -> tuple[Any, Any]:
        """The raw maps of the next frame, and what the model's memory knows behind it; None begins anew."""
        return self.model.stream(**batch, state=state)

    @torch.inference_mode()
    def decode(self, maps: Any, batch: dict[str, Any]) -> FramePredictions:
        """Boxes or map elements, best first, or classes of pixels or points, from the raw maps."""
        return self.model.decode(maps, batch["data_samples"])[0]


def load_model(
    config: Path | str | Config, checkpoint: Path | str | None, device: str = "cpu", *, fuse: bool = False
) -> InferenceModel:
    """Load a trained model.

    Args:
        config: a config file, or what `load_config` gave.
        checkpoint: weights that fit it; None leaves the initial ones.
        device: "auto", "cpu", "cuda" or "cuda:N".
        fuse: fold batch normalisation into the layers before it.

    Raises:
        ConfigError: the config is broken, or says nothing of the pipeline (``test_dataloader.dataset.transforms``).
        CheckpointError: the weights are unreadable or do not fit.
    """
    cfg = config if isinstance(config, Config) else load_config(config)
    dataset = (cfg.get("test_dataloader") or {}).get("dataset") or {}
    if "model" not in cfg or "transforms" not in dataset:
        raise ConfigError(f"{cfg.filename}: inference needs model and test_dataloader.dataset.transforms")
    model = load_network(cfg, checkpoint, resolve_device(device), fuse=fuse)
    return InferenceModel(model, Compose(dataset["transforms"]), cfg)


def load_network(cfg: Config, checkpoint: Path | str | None, device: torch.device, *, fuse: bool = False) -> Any:
    """The model of a config by itself, in evaluation mode; arguments and errors as for `load_model`."""
    model: Any = build_model(cfg.model)
    if checkpoint is None:
        model.init_weights()
    else:
        load_weights(model, checkpoint)
    model.to(device).eval()
    if fuse:
        fold_batch_norms(model)
    return model
