"""Models as a training could leave them."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def lived_in(model: nn.Module, seed: int = 0) -> nn.Module:
    """With other statistics and norms than fresh ones, which hide mistakes of folding; in evaluation mode."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.running_mean.normal_(std=0.3, generator=draw)
                module.running_var.uniform_(0.3, 3.0, generator=draw)
                module.weight.uniform_(0.5, 1.5, generator=draw)
                module.bias.normal_(std=0.3, generator=draw)
    return model.eval()
