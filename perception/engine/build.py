"""From a config to a model or a runner."""

from __future__ import annotations

import copy
import logging
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from ..errors import ConfigError
from ..registry import MODELS
from .checkpoint import latest_checkpoint, load_checkpoint
from .config_mistakes import told_as_config_error
from .runner import Runner

logger = logging.getLogger(__name__)


def build_model(cfg: Mapping[str, Any]) -> nn.Module:
    """Build a model from its config.

    Raises:
        ConfigError: a type is unknown, or an argument of a part is unknown or missing.
    """
    init_default_scope("perception")
    with told_as_config_error("model"):
        return MODELS.build(dict(cfg))


def build_runner(
    cfg: Config,
    work_dir: Path | str,
    *,
    resume: bool | Path | str = False,
    load_from: Path | str | None = None,
    amp: bool = False,
    seed: int | None = None,
    device: str | None = None,
    launcher: str = "none",
) -> Runner:
    """Build the runner that trains or tests a config.

    Args:
        cfg: as `load_config` gives it; left as it is.
        work_dir: folder for checkpoints and logs; made if need be.
        resume: True continues from the newest checkpoint in ``work_dir``, a path from that checkpoint.
        load_from: weights to start from.
        amp: train in bfloat16.
        seed: replaces the config's.
        device: "auto", "cpu", "cuda" or "cuda:N"; replaces the config's.
        launcher: "none", "pytorch" (torchrun) or "slurm".

    Raises:
        ConfigError: ``work_dir`` cannot be written, or the config lacks something.
        CheckpointError: the checkpoint to start from cannot be read.
    """
    cfg = copy.deepcopy(cfg)
    _check_stages(cfg)
    if "model" not in cfg:
        raise ConfigError(f"{cfg.filename or 'config'}: has no model")
    prepare_work_dir(work_dir)
    cfg.work_dir = str(work_dir)
    cfg.launcher = launcher
    if load_from is not None:
        cfg.load_from = str(load_from)
    cfg.setdefault("experiment_name", f"{Path(cfg.filename or 'run').stem}_{time.time_ns()}")   # names the logger
    checkpoint = _checkpoint_to_resume(resume or cfg.get("resume", False), Path(work_dir))
    cfg.resume = checkpoint is not None
    if checkpoint is not None:
        cfg.load_from = str(checkpoint)
    if cfg.get("load_from"):
        load_checkpoint(cfg.load_from)             # before minutes are spent on the data
    if amp:
        cfg.optim_wrapper.type, cfg.optim_wrapper.dtype = "AutocastOptimWrapper", "bfloat16"
    if seed is not None:
        cfg.randomness = {**cfg.get("randomness", {}), "seed": seed}
    if device is not None:
        cfg.device = device
    with told_as_config_error("config"):
        return Runner.from_cfg(cfg)


def _checkpoint_to_resume(resume: bool | Path | str, work_dir: Path) -> Path | None:
    if not isinstance(resume, bool):
        return Path(resume)
    newest = latest_checkpoint(work_dir) if resume else None
    if resume and newest is None:
        logger.warning("no checkpoint in %s to resume from: starting from the beginning", work_dir)
    return newest


def _check_stages(cfg: Config) -> None:
    """Drop the loops of stages that have no data; refuse stages that are half there."""
    for stage in ("val", "test"):
        if cfg.get(f"{stage}_dataloader") is None:
            cfg[f"{stage}_dataloader"] = cfg[f"{stage}_cfg"] = cfg[f"{stage}_evaluator"] = None
    stages = {
        "training": ("train_dataloader", "train_cfg", "optim_wrapper"),
        "evaluation": ("val_dataloader", "val_cfg", "val_evaluator"),
        "test": ("test_dataloader", "test_cfg", "test_evaluator"),
    }
    for stage, keys in stages.items():
        missing = [key for key in keys if cfg.get(key) is None]
        if 0 < len(missing) < len(keys):
            needed, absent = ", ".join(keys), ", ".join(missing)
            raise ConfigError(f"{cfg.filename or 'config'}: {stage} needs {needed}; missing: {absent}")


def prepare_work_dir(path: Path | str) -> None:
    """Make a folder and make sure that it can be written. Raises ConfigError otherwise."""
    try:
        os.makedirs(path, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path, prefix=".writable"):
            pass
    except OSError as error:
        raise ConfigError(f"{path}: the work directory cannot be written: {error.strerror or error}") from error
