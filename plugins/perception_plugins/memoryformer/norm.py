"""The norm of MemoryFormer's blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from perception.registry import MODELS


@MODELS.register_module()
class MemoryRMSNorm(nn.Module):
    """Tokens over the root mean square of their channels, times a learned scale.

    "Root Mean Square Layer Normalization" (Zhang & Sennrich, NeurIPS 2019); ``eps`` is added to the root, not under it,
    as in the authors' code.

    Args:
        channels: width C.
        eps: added to the root mean square.
    """

    def __init__(self, channels: int, eps: float = 1e-8) -> None:
        super().__init__()
        self.scale, self.eps = nn.Parameter(torch.ones(channels)), eps

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C); the mean is float32 at least."""
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        root = wide.norm(dim=-1, keepdim=True) * wide.shape[-1] ** -0.5
        return (self.scale * (wide / (root + self.eps))).to(x.dtype)
