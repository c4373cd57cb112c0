"""A checkpoint and its config to a compressed checkpoint and the config that builds it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.config import Config
from torch import Tensor

from ...atomic_write import atomic_path
from ...compression.compressed import changed_config
from ...compression.compressor import Calibration, CompressionReport, Compressor
from ...errors import ConfigError
from ...registry import COMPRESSORS
from ..checkpoint import save_checkpoint
from ..config import load_config
from ..config_mistakes import told_as_config_error
from ..distributed import resolve_device
from ..inference import load_network
from .data import calibration_for, chosen, scores, timed_batch
from .measure import REPEATS, Measured, measure

FILES = ("config.py", "weights.pth")
RUN_KEYS = ("load_from", "resume", "work_dir", "launcher", "experiment_name")


@dataclass(frozen=True)
class CompressionTask:
    """What is asked for.

    Args:
        config, checkpoint: of the model.
        out: folder for the new ones.
        methods: configs of compressors, applied in order.
        cfg_options: changes of the config, as ``key=value``.
        calibration: frames of the training data that compressors may look at.
        samples: frames of the test to score; None takes all, 0 none.
        metric: the one that counts; None takes the first that is known.
        device: as in a config.
        repeats: rounds of the clock.
        source_metrics: of the model as it is, if they are known; else it is scored.
    """

    config: Path
    checkpoint: Path
    out: Path
    methods: Sequence[Mapping[str, Any]]
    cfg_options: Sequence[str] = ()
    calibration: int = 8
    samples: int | None = None
    metric: str | None = None
    device: str = "cpu"
    repeats: int = REPEATS
    source_metrics: Mapping[str, float] | None = None


@dataclass(frozen=True)
class CompressionRun:
    """What came of it.

    Args:
        config, checkpoint: the files that were written.
        methods: as given.
        reports: of each compressor that was applied.
        metric: name of the metric that counts; "" if nothing was scored.
        before, after: figures.
    """

    config: Path
    checkpoint: Path
    methods: Sequence[Mapping[str, Any]]
    reports: Sequence[tuple[str, CompressionReport]]
    metric: str
    before: Measured
    after: Measured
    left_float: Sequence[str] = field(default_factory=tuple)


def compress(asked: CompressionTask) -> CompressionRun:
    """Compress, write, and measure what was written beside what it came from.

    Raises:
        ConfigError: a compressor is unknown or does not fit the model, or the source would be overwritten.
        CheckpointError: the weights are unreadable or do not fit.
    """
    config, checkpoint = (asked.out / name for name in FILES)
    for ours, source in ((config, asked.config), (checkpoint, asked.checkpoint)):
        if ours.resolve() == source.resolve():
            raise ConfigError(f"{source}: is the source, which is never overwritten: choose another folder")
    cfg = load_config(asked.config, asked.cfg_options)
    if cfg.get("test_dataloader") is None or "model" not in cfg:
        raise ConfigError(f"{asked.config}: compressing needs a model and a test_dataloader")
    device = resolve_device(asked.device)
    source = load_network(cfg, asked.checkpoint, device)
    log = asked.out / "log"
    data = calibration_for(source, cfg, asked.calibration, asked.metric, log)
    reports = write(cfg, load_network(cfg, asked.checkpoint, device), asked.methods, data, config, checkpoint)
    small_cfg = load_config(config)
    models = [source, load_network(small_cfg, checkpoint, device)]
    metrics: list[Mapping[str, float]] = [{}, {}]
    if asked.samples != 0:
        score = partial(scores, work_dir=log, samples=asked.samples, device=asked.device)
        metrics = [asked.source_metrics or score(cfg, asked.checkpoint), score(small_cfg, checkpoint)]
    name = chosen(metrics[0], asked.metric)[0] if metrics[0] else ""
    batch = timed_batch(source, cfg)
    before, after = measure(models, (asked.checkpoint, checkpoint), batch, metrics, asked.repeats)
    left = tuple(dict.fromkeys(place for _, report in reports for place in report.left_float))
    return CompressionRun(config, checkpoint, asked.methods, reports, name, before, after, left)


def write(
    cfg: Config, model: Any, methods: Sequence[Mapping[str, Any]], data: Calibration, config: Path, checkpoint: Path,
) -> list[tuple[str, CompressionReport]]:
    """Apply compressors to a model and write its config and weights; gives the report of each by its name."""
    reports, weights, model_cfg = [], None, cfg.model.to_dict()
    for name, compressor in with_folding(build_compressors(methods)):
        if weights is not None:
            raise ConfigError(f"{name} cannot follow a compressor that is applied when weights are loaded")
        try:
            model, changes, report, weights = compressor.apply(model, data)
        except ValueError as error:
            raise ConfigError(f"{name}: {error}") from error
        model_cfg = changed_config(model_cfg, changes)
        reports.append((name, report))
    written = copy.deepcopy(cfg)
    for key in RUN_KEYS:
        written.pop(key, None)
    written.model = model_cfg
    state: Mapping[str, Tensor] = model.state_dict() if weights is None else weights
    meta = {"classes": list(getattr(model, "classes", ())), "compression": [dict(method) for method in methods]}
    save_checkpoint({"state_dict": {key: value.cpu() for key, value in state.items()}, "meta": meta}, checkpoint)
    with atomic_path(config) as temporary:
        temporary.write_text(written.pretty_text, encoding="utf-8")
    return reports


def build_compressors(methods: Sequence[Mapping[str, Any]]) -> list[tuple[str, Compressor]]:
    """Compressors by name.

    Raises:
        ConfigError: one is unknown, or its arguments are wrong.
    """
    built = []
    for method in methods:
        try:
            with told_as_config_error(method["type"]):
                built.append((method["type"], COMPRESSORS.build(method)))
        except ValueError as error:
            raise ConfigError(f"{method['type']}: {error}") from error
    return built


def with_folding(compressors: Sequence[tuple[str, Compressor]]) -> list[tuple[str, Compressor]]:
    """The same after the folding of normalisations, if any of them wants that."""
    if not any(compressor.WANTS_FOLDED for _, compressor in compressors):
        return list(compressors)
    others = [entry for entry in compressors if entry[0] != "FoldBatchNorm"]
    return [("FoldBatchNorm", COMPRESSORS.build({"type": "FoldBatchNorm"})), *others]
