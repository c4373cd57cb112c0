"""Checkpoints fused into one that the config of the last of them runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ..compression.compressor import run_frames
from ..compression.fusion.matching import Matching
from ..compression.fusion.models import FusedModels, average_models, fuse_chain, fuse_models
from ..errors import CheckpointError, ConfigError
from ..structures import Frame
from .calibration import calibration_frames
from .checkpoint import load_checkpoint, save_checkpoint
from .config import load_config
from .distributed import resolve_device
from .inference import load_network

BATCH = 2                                          # frames that are run at once
MODES: dict[str, dict[str, Any]] = {               # see `fuse_models`
    "corrected": {"heads": "whole", "scale": "balanced", "statistics": True},
    "parity": {"heads": "mixed", "scale": "code", "statistics": False},
}


@dataclass(frozen=True)
class FuseRequest:
    """What is to be fused, and how.

    Args:
        config: of the last checkpoint, which is the anchor.
        checkpoints: at least two; with more they are fused pair by pair, each with an equal share.
        out: file to write; must not be there.
        config0: of the first checkpoint, if it is of another width.
        options: changes to ``config``, and to ``config0``.
        alpha: weight of the anchor of two; None is a half.
        mode: one of `MODES`: "parity" mixes heads, scales and keeps statistics as the released code does.
        plain: average without matching, for comparison; corrects statistics in the mode "corrected".
        solver: "emd" or "sinkhorn".
        reg: of the latter.
        samples: frames of the training split that units are compared on.
        device: as `resolve_device` takes it.
    """

    config: Path
    checkpoints: Sequence[Path]
    out: Path
    config0: Path | None = None
    options: Sequence[str] = ()
    alpha: float | None = None
    mode: str = "corrected"
    plain: bool = False
    solver: str = "sinkhorn"
    reg: float = 0.08
    samples: int = 32
    device: str = "auto"


@dataclass(frozen=True)
class FuseReport:
    """What was done.

    Args:
        out: the file.
        frames: that were looked at.
        matched: units of each set that was matched, of the first model and the anchor.
        in_place: sets of units that kept their places.
        undeclared: parts whose parameters were averaged as they are.
        moved: share of the units of sets of equal size whose nearest partner stands in another place.
    """

    out: str
    frames: int
    matched: Mapping[str, tuple[int, int]]
    in_place: Sequence[str]
    undeclared: Sequence[str]
    moved: float


def fuse_checkpoints(request: FuseRequest) -> FuseReport:
    """Fuse and write.

    Raises:
        ConfigError: the request makes no sense, the file is there, or a config is broken.
        CheckpointError: weights are unreadable or do not fit, or the models cannot be fused.
        MissingExtraError: POT is not installed.
    """
    _check(request)
    cfg = load_config(request.config, request.options)
    others = cfg if request.config0 is None else load_config(request.config0, request.options)
    device = resolve_device(request.device)
    cfgs = [others, *[cfg] * (len(request.checkpoints) - 1)]
    models = [load_network(one, path, device) for one, path in zip(cfgs, request.checkpoints, strict=True)]
    frames = calibration_frames(cfg, request.samples)
    batches = [frames[start : start + BATCH] for start in range(0, len(frames), BATCH)]
    try:
        fused = _fuse(request, models, batches)
    except ValueError as error:
        names = ", ".join(path.name for path in request.checkpoints)
        raise CheckpointError(f"{names}: cannot be fused: {error}") from error
    meta = load_checkpoint(request.checkpoints[-1]).get("meta", {})
    meta = {**meta, "fused_from": [path.name for path in request.checkpoints], "fused_by": _method(request)}
    save_checkpoint({"state_dict": fused.model.state_dict(), "meta": meta}, request.out)
    return FuseReport(
        str(request.out), len(frames),
        {name: (found.shape[0], found.shape[1]) for name, found in fused.transports.items()},
        fused.pinned, fused.undeclared, _share_moved(fused),
    )


def _check(request: FuseRequest) -> None:
    if len(request.checkpoints) < 2:
        raise ConfigError(f"fusion needs at least two checkpoints, got {len(request.checkpoints)}")
    if len(request.checkpoints) > 2 and (request.alpha is not None or request.plain):
        raise ConfigError("alpha and plain averaging are for two checkpoints; more are fused with equal shares")
    if request.mode not in MODES:
        raise ConfigError(f"mode must be one of {', '.join(MODES)}, got {request.mode!r}")
    if request.samples < 1:
        raise ConfigError(f"samples must be >= 1, got {request.samples}")
    if request.out.exists():
        raise ConfigError(f"{request.out}: is there already; name a new file")


def _fuse(request: FuseRequest, models: Sequence[nn.Module], batches: Sequence[Sequence[Frame]]) -> FusedModels:
    options = dict(MODES[request.mode])
    alpha = 0.5 if request.alpha is None else request.alpha
    if request.plain:
        seen = batches if options["statistics"] else ()
        return FusedModels(average_models(models[0], models[1], seen, run=run_frames, alpha=alpha), {}, (), ())
    options["matching"] = replace(Matching(), solver=request.solver, reg=request.reg, scale=options.pop("scale"))
    if len(models) > 2:
        return fuse_chain(models, batches, run=run_frames, **options)
    return fuse_models(models[0], models[1], batches, run=run_frames, alpha=alpha, **options)


def _method(request: FuseRequest) -> dict[str, Any]:
    names = ("mode", "plain", "solver", "reg", "samples", "alpha")
    return {name: getattr(request, name) for name in names}


def _share_moved(fused: FusedModels) -> float:
    square = [found for found in fused.transports.values() if found.shape[0] == found.shape[1]]
    places = [(found.argmax(dim=1).cpu().numpy() != np.arange(len(found))) for found in square]
    return float(np.concatenate(places).mean()) if places else 0.0
