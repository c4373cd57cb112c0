"""The demo's detector with weights that find things, and batches of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from perception.engine.benchmark.models import street_batch
from perception.engine.config import load_config
from perception.engine.inference import InferenceModel, load_model

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
DEMO = CONFIGS / "flatformer/flatformer_synthetic.py"


def lively_detector(config: Path = DEMO, seed: int = 0) -> InferenceModel:
    """Untrained, but with heatmaps about one half and statistics of norms that differ from zero and one."""
    torch.manual_seed(seed)
    loaded = load_model(load_config(config), None)
    for module in loaded.model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.running_mean.normal_(0.0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    nn.init.constant_(loaded.model.head.task_heads[0]["heatmap"][-1].bias, 0.0)
    return loaded


@torch.inference_mode()
def streets(loaded: InferenceModel, *points: int) -> list[dict[str, Any]]:
    """A batch of a seeded frame for each number of points."""
    return [street_batch(loaded.model, loaded.cfg, points=count) for count in points]
