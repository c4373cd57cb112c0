"""Small SLAB networks, and networks with the statistics and weights that a training could leave."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from perception.engine.config import load_config
from perception.registry import MODELS
from perception_plugins.slab import RepBN

CONFIGS = Path(__file__).resolve().parents[2] / "configs/slab"
STAGES: dict[str, Any] = {"depths": (2, 1, 2, 1), "heads": (1, 2, 2, 3)}
WIDTHS, RATIOS = (8, 16, 20, 24), (2, 2, 2, 2)
BACKBONES: dict[str, dict[str, Any]] = {
    "deit": {"type": "SlabDeiT", "width": 24, "depth": 2, "heads": 3},
    "deit_softmax": {"type": "SlabDeiT", "width": 24, "depth": 2, "heads": 3, "linear": False},
    "pvt": {"type": "SlabPVT", "widths": WIDTHS, "ratios": RATIOS, **STAGES},
    "pvt_reduced": {
        "type": "SlabPVT", "widths": WIDTHS, "ratios": RATIOS, "linear_reductions": (8, 4, 2, 1), **STAGES
    },
    "pvt_softmax": {"type": "SlabPVT", "widths": WIDTHS, "ratios": RATIOS, "attention": "SSSS", **STAGES},
    "pvtv2": {"type": "SlabPVTv2", "widths": WIDTHS, "ratios": RATIOS, **STAGES},
    "swin": {"type": "SlabSwin", "width": 6, "windows": (8, 4, 3, 3), "ratio": 2.0, **STAGES},
    "swin_shifted": {
        "type": "SlabSwin", "width": 6, "windows": (8, 4, 3, 3), "ratio": 2.0, "shift_all": True, **STAGES
    },
    "cswin": {"type": "SlabCSWin", "width": 8, "ratio": 2.0, "depths": (1, 1, 2, 1), "heads": (1, 2, 2, 4)},
    "cswin_stripes": {
        "type": "SlabCSWin", "width": 8, "ratio": 2.0, "depths": (1, 1, 2, 1), "heads": (2, 2, 2, 4),
        "attention": "SLSL", "splits": (3, 3, 3, 3), "linear_splits": (4, 4, 4, 4),
    },
}
ALIKE = ("pvt", "swin", "cswin")                     # the others have all their layers
DISTINCT = [name for name in BACKBONES if name not in ALIKE]
PYRAMIDS = [name for name in BACKBONES if not name.startswith("deit")]


@cache
def published(name: str) -> Any:
    """The model of a config, its weights without memory; it must not be changed."""
    with torch.device("meta"):
        return MODELS.build(load_config(CONFIGS / f"{name}.py").model)


def backbone(name: str, **options: Any) -> Any:
    """A small backbone, the same each time."""
    torch.manual_seed(0)
    return MODELS.build({**BACKBONES[name], **options})


def classifier(name: str, norm: dict[str, Any], num_classes: int = 5) -> Any:
    """A small classifier with one norm throughout."""
    torch.manual_seed(0)
    kind = "ClassTokenClassifier" if name == "deit_softmax" else "BackboneClassifier"
    final = None if name.startswith("pvt") else norm
    return MODELS.build({
        "type": kind, "num_classes": num_classes, "norm": final, "backbone": {**BACKBONES[name], "norm": norm}
    })


def lived_in(model: nn.Module) -> Any:
    """In evaluation mode, with statistics, scales and shifts that differ by channel, and positions that are not 0."""
    draw = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.normal_(generator=draw)
            module.running_var.uniform_(0.3, 3.0, generator=draw)
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=draw)
            nn.init.normal_(module.bias, generator=draw)
        if isinstance(module, RepBN):
            nn.init.uniform_(module.alpha, 0.2, 0.8, generator=draw)
    for name, parameter in model.named_parameters():
        if name.endswith((".position", ".table", "qkv.bias", "q.bias", "kv.bias", "proj.bias")):
            nn.init.normal_(parameter, std=0.3, generator=draw)
    return model.eval()


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
