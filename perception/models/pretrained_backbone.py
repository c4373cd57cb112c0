"""Weights of a backbone alone, out of the checkpoint of a model that has one."""

from __future__ import annotations

import logging
from pathlib import Path

from torch import nn

from perception.engine.checkpoint import load_checkpoint, load_weights

logger = logging.getLogger(__name__)
PREFIX = "backbone."


def load_backbone(backbone: nn.Module, path: Path | str) -> None:
    """Put the weights ``backbone.*`` of a checkpoint into a backbone, and log what else it holds.

    Keys that begin as one of the backbone's ``dense_only``, such as norms that classifiers lack, may be absent.

    Raises:
        CheckpointError: the file is unreadable, or they do not fit.
    """
    state = load_checkpoint(path)["state_dict"]
    part = {key.removeprefix(PREFIX): value for key, value in state.items() if key.startswith(PREFIX)}
    load_weights(backbone, {"state_dict": part}, str(path), may_lack=getattr(backbone, "dense_only", ()))
    others = dict.fromkeys(key.partition(".")[0] + ".*" for key in state if not key.startswith(PREFIX))
    if others:
        logger.info("%s: left out, since no part of the backbone: %s", path, ", ".join(others))
