"""Small models for fusion, and the same models with their units in another order."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from perception.compression.fusion.declare import plan_of
from perception.compression.fusion.plan import FusionPlan, named_tensors
from perception.engine.config import load_config
from perception.registry import MODELS, load_plugin

ROOT = Path(__file__).resolve().parents[2]
COLUMN: dict[str, Any] = {
    "type": "ColumnarFormer", "depth": 2, "width": 16, "token_mixer": {"type": "AttentionMixer", "heads": 2},
    "channel_mixer": {"type": "FeedForward", "ratio": 2}, "stem": {"type": "PatchEmbedding", "kernel": 4, "stride": 4,
                                                                  "padding": 0},
    "position": (4, 4),
}
STAGED: dict[str, Any] = {
    "type": "MetaFormer", "depths": (1, 1), "widths": (8, 12), "out_indices": (0, 1), "out_norms": True,
    "token_mixer": [{"type": "IdentityMixer"}, {"type": "AttentionMixer", "heads": 3}], "layer_scale": 0.5,
}
POOL: dict[str, Any] = {
    "type": "PoolFormer", "variant": "s12", "depths": (1, 1, 1, 1), "widths": (4, 6, 8, 10), "ratios": (2, 2, 2, 2),
    "layer_scale": 0.5,
}


def classifier(backbone: dict[str, Any], seed: int = 0, **options: Any) -> nn.Module:
    """A classifier whose every weight is of the same order."""
    load_plugin("poolformer")
    torch.manual_seed(seed)
    network = {"type": "BackboneClassifier", "backbone": {**backbone, **options}, "num_classes": 5, "norm": "layer"}
    return lived_in(MODELS.build({"type": "Classifier", "network": network}), seed)


def detector(seed: int = 0, **options: Any) -> Any:
    """The detector of `configs/flatformer/flatformer_tiny.py`."""
    torch.manual_seed(seed)
    return lived_in(MODELS.build(load_config(ROOT / "configs/flatformer/flatformer_tiny.py", options).model), seed)


def lived_in(model: nn.Module, seed: int) -> nn.Module:
    """In evaluation mode, with vectors and statistics that differ from unit to unit."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn(parameter.shape, generator=draw) * 0.3)
            else:
                parameter.copy_(torch.randn(parameter.shape, generator=draw) / parameter[0].numel() ** 0.5)
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.running_mean.normal_(std=0.3, generator=draw)
            module.running_var.uniform_(0.5, 2.0, generator=draw)
    return model.eval()


def orders(plan: FusionPlan, seed: int = 1) -> dict[str, Tensor]:
    """A new order of each set of units; heads go as wholes, with all sets of their attention."""
    draw = torch.Generator().manual_seed(seed)
    of_heads: dict[str, Tensor] = {}
    found = {}
    for name, units in plan.units.items():
        key, width = units.tied or name, units.size // units.heads
        head_order = of_heads.setdefault(key, torch.randperm(units.heads, generator=draw))
        within = [torch.randperm(width, generator=draw) for _ in range(units.heads)]
        found[name] = torch.cat([head * width + within[head] for head in head_order.tolist()])
    return found


def reordered(model: nn.Module, leave: set[str] | None = None) -> tuple[nn.Module, dict[str, Tensor]]:
    """A copy whose units are in another order, but for the sets named, and the orders: copy[i] = model[order[i]]."""
    plan, moved = plan_of(model), copy.deepcopy(model)
    found = {name: order for name, order in orders(plan).items() if name not in plan.pinned | (leave or set())}
    tensors = named_tensors(moved)
    with torch.no_grad():
        for name, sides in plan.sides.items():
            for dim, side in enumerate(sides):
                if side.axis:
                    index, start = [], 0
                    for units in side.axis:
                        size = plan.units[units].size
                        index.append(start + found.get(units, torch.arange(size)))
                        start += size
                    tensors[name].copy_(tensors[name].index_select(dim, torch.cat(index)))
    return moved, found
