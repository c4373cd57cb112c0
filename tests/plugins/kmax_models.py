"""kMaX-DeepLab models of the configs, and small ones that compute."""

from __future__ import annotations

from pathlib import Path

import torch
from mmengine.config import Config

from perception.registry import MODELS, load_plugins
from perception_plugins.kmax import KMaXHead

CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "kmax"
SMALL_STAGES = {"layers": (1, 1, 1, 1), "channels": (8, 8, 4, 2)}
SMALL_DECODER = {"layers": (1, 1, 1), "channels": 16, "base_channels": 8, "heads": 2, "hidden": 32, "mask_channels": 8}


def config_of(name: str) -> Config:
    cfg = Config.fromfile(str(CONFIGS / f"{name}.py"))
    load_plugins(cfg.plugins)
    return cfg


def model_of(cfg: Config) -> torch.nn.ModuleDict:
    """Backbone and head of a config, without memory."""
    with torch.device("meta"):
        backbone = MODELS.build(cfg.model.backbone)
        head = MODELS.build({**cfg.model.head, "in_channels": backbone.channels})
    return torch.nn.ModuleDict({"backbone": backbone, "head": head})


def small_head(**options) -> KMaXHead:
    """A head over maps of 6, 8, 12 and 16 channels, of 5 classes and 7 clusters."""
    defaults = {
        "num_queries": 7, "pixel_decoder": {**SMALL_STAGES, "heads": 2}, "decoder": SMALL_DECODER,
        "semantic_channels": (8, 4, 4), "semantic_branch": "light",
    }
    return KMaXHead((6, 8, 12, 16), 5, **{**defaults, **options})


def random_maps(height: int, width: int, batch: int = 2) -> list[torch.Tensor]:
    """Maps of an image of any size, as backbones that round up give them."""
    strides = zip((6, 8, 12, 16), (4, 8, 16, 32), strict=True)
    return [torch.randn(batch, channels, -(-height // s), -(-width // s)) for channels, s in strides]
