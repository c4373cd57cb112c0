"""How large the model of a config is, without any memory for it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..engine.benchmark.flops import count_flops
from ..engine.build import build_model
from ..engine.config import load_config
from ..errors import ConfigError, PerceptionError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ModelSize:
    """Size of a model.

    Args:
        parameters: all of them, those of heads that only help it to learn included.
        flops: operations of one picture, see `count_flops`; None if they were not asked for or cannot be counted.
    """

    parameters: int
    flops: int | None = None


def model_size(config: Path | str, picture: Sequence[int] | None = None) -> ModelSize:
    """Build the model of a config on torch's "meta" device, where tensors have shapes alone, and count.

    Args:
        config: a file.
        picture: height and width of a picture whose operations are counted too; None counts none.

    Raises:
        ConfigError: the file or what it names is missing or broken, it has no model, or the model cannot be built.
    """
    model = shape_of_model(config)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return ModelSize(parameters, None if picture is None else _flops(model, picture, config))


def shape_of_model(config: Path | str) -> nn.Module:
    """The model of a config on the "meta" device; of one that is trained by a teacher, the student alone.

    Raises:
        ConfigError: see `model_size`.
    """
    cfg = load_config(config)
    if "model" not in cfg:
        raise ConfigError(f"{config}: it has no model")
    try:
        with torch.device("meta"):
            model = build_model(cfg.model)
    except (PerceptionError, ValueError, TypeError, NotImplementedError) as error:
        raise ConfigError(f"{config}: {error}") from error
    student = getattr(model, "student", model)
    assert isinstance(student, nn.Module)
    return student.eval()


@torch.no_grad()
def _flops(model: Any, picture: Sequence[int], config: Path | str) -> int | None:
    images = torch.empty(1, 3, *picture, device="meta")
    try:
        return count_flops(lambda: model.network(images))
    except (RuntimeError, ValueError) as error:      # such as an operator that tells no shapes
        logger.warning("%s: operations for a picture of %d x %d cannot be counted: %s", config, *picture, error)
        return None
