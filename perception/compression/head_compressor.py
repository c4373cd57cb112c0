"""Attention with fewer heads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from ..models.attention.packed import PackedAttention
from ..registry import COMPRESSORS
from .compressor import Calibration, Compression, CompressionReport, Compressor, ConfigChanges
from .hidden_units import head_importance, most_important


@COMPRESSORS.register_module()
class PruneHeads(Compressor):
    """Keeps the heaviest heads of each `PackedAttention`; see `head_importance`. Other attention stays as it is.

    Args:
        share: of the heads of each module that stays, in (0, 1]; one at least.
        heads: heads that stay by the name of the module; replaces ``share``.

    Raises:
        ValueError: the share lies outside.
    """

    def __init__(self, share: float = 0.5, *, heads: Mapping[str, int] | None = None) -> None:
        if not 0.0 < share <= 1.0:
            raise ValueError(f"share must lie in (0, 1], got {share}")
        self.share, self.heads = share, heads

    def apply(self, model: nn.Module, calibration: Calibration) -> Compression:
        """Drop heads; needs no data."""
        found = dict(packed_attentions(model))
        if not found:
            raise ValueError("PruneHeads: the model has no PackedAttention")
        counts = self.heads or {name: max(1, round(self.share * one.heads)) for name, one in found.items()}
        for name, count in counts.items():
            attention = found[name]
            weigh = head_importance(
                attention.in_proj.weight, attention.in_proj.bias, attention.out_proj.weight, attention.heads
            )
            keep_heads(attention, most_important(weigh, count))
        step = {"type": "PruneHeads", "heads": dict(counts)}
        return Compression(model, ConfigChanges(steps=(step,)), CompressionReport(tuple(counts)))

    def restructure(self, model: nn.Module) -> nn.Module:
        """Give the modules as many heads as were kept."""
        for name, attention in packed_attentions(model):
            if self.heads and name in self.heads:
                keep_heads(attention, torch.arange(self.heads[name], device=attention.out_proj.weight.device))
        return model


def packed_attentions(model: nn.Module) -> Iterator[tuple[str, PackedAttention]]:
    """All attention with a packed projection of plain layers, by name."""
    for name, module in model.named_modules():
        if isinstance(module, PackedAttention) and type(module.in_proj) is type(module.out_proj) is nn.Linear:
            yield name, module


@torch.no_grad()
def keep_heads(attention: PackedAttention, kept: Tensor) -> None:
    """Drop all heads but those at places (K,), in place."""
    width = attention.channels // attention.heads
    columns = (kept[:, None] * width + torch.arange(width, device=kept.device)).flatten()      # (K D,)
    rows = torch.cat([columns + part * attention.channels for part in range(3)])               # (3 K D,)
    in_proj, out_proj = attention.in_proj, attention.out_proj
    in_proj.weight = nn.Parameter(in_proj.weight[rows].clone(), in_proj.weight.requires_grad)
    if in_proj.bias is not None:
        in_proj.bias = nn.Parameter(in_proj.bias[rows].clone(), in_proj.bias.requires_grad)
    out_proj.weight = nn.Parameter(out_proj.weight[:, columns].clone(), out_proj.weight.requires_grad)
    attention.heads, attention.channels = len(kept), len(columns)
    in_proj.out_features, out_proj.in_features = len(rows), len(columns)
