"""Frames that a compressor and the clock are given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger
from torch import nn

from ...compression.compressor import Calibration
from ...errors import ConfigError
from ...registry import DATASETS
from ..build import build_runner
from ..calibration import calibration_frames
from ..config_mistakes import told_as_config_error

PREFERRED = ("mAP", "NDS", "mIoU", "PQ", "top1", "accuracy")     # what a model is judged by, the first that is there


def timed_batch(model: Any, cfg: Config) -> dict[str, Any]:
    """The model's batch of the first frame of the test data."""
    return model.data_preprocessor([_dataset(cfg.test_dataloader.dataset)[0]], False)


def calibration_for(model: Any, cfg: Config, count: int, metric: str | None, work_dir: Path) -> Calibration:
    """Batches of one frame each, and what scores a model by the config's test."""

    def score(candidate: nn.Module) -> float:
        return chosen(scores(cfg, None, work_dir, model=candidate), metric)[1]

    frames = calibration_frames(cfg, count) if count > 0 else []
    return Calibration([model.data_preprocessor([frame], False) for frame in frames], score)


def scores(
    cfg: Config, checkpoint: Path | None, work_dir: Path, *, samples: int | None = None, device: str | None = None,
    model: nn.Module | None = None,
) -> dict[str, float]:
    """The metrics of a config's test, as `tools/test.py` gives them.

    Args:
        cfg: with test data and metrics.
        checkpoint: weights that fit; None leaves those of ``model``.
        work_dir: folder for the log.
        samples: the first frames alone; None takes all. Metrics that want a whole split refuse.
        device: see `build_runner`.
        model: takes the place of the one that the config builds.
    """
    if samples is not None:
        cfg = _with_sampler(cfg, samples)
    logger = MMLogger.get_current_instance()
    level = logger.level
    try:
        runner = build_runner(cfg, work_dir, load_from=checkpoint, device=device)
        if model is not None:
            runner.model = model
        return dict(runner.test())
    finally:
        logger.setLevel(level)


def chosen(metrics: Mapping[str, float], name: str | None) -> tuple[str, float]:
    """The metric that counts: the one named, or the first known one, or the first.

    Raises:
        ConfigError: there is none of that name.
    """
    wanted = PREFERRED if name is None else (name,)
    for last in wanted:
        found = next((key for key in metrics if key == last or key.rsplit("/", 1)[-1] == last), None)
        if found is not None:
            return found, float(metrics[found])
    if name is not None or not metrics:
        raise ConfigError(f"no metric is called {name!r}; there are {', '.join(metrics) or 'none'}")
    first = next(iter(metrics))
    return first, float(metrics[first])


def _dataset(cfg: Any) -> Any:
    with told_as_config_error("dataset"):
        return DATASETS.build(cfg)


def _with_sampler(cfg: Config, samples: int) -> Config:
    changed = Config(cfg._cfg_dict.to_dict(), filename=cfg.filename)
    changed.test_dataloader.sampler = {"type": "LeadingSampler", "count": samples}
    return changed
