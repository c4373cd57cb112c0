"""Binary codes of tokens by kernelised hash functions.

"EcoFormer: Energy-Saving Attention with Linear Complexity" (Liu et al., NeurIPS 2022).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.dist import broadcast
from torch import Tensor, nn
from torch.nn import functional as F

from .hash_learning import HashLearning, draw_anchors, real_rows

LEAST_NORM = 1e-12                                   # a shorter token has no direction
LEAST_BANDWIDTH = 1e-6                               # distances below are rounding


def directions(tokens: Tensor) -> Tensor:
    """Tokens (..., D) at unit length; one without a direction becomes 0, and gets no gradient."""
    norm = tokens.norm(dim=-1, keepdim=True)
    return tokens / norm.masked_fill(norm < LEAST_NORM, math.inf)


def kernel_features(units: Tensor, anchors: Tensor, mask: Tensor | None = None) -> Tensor:
    """Gaussian kernel between tokens and anchors, as wide as their mean distance in each sample and head.

    Args:
        units: (B, heads, N, D), see `directions`.
        anchors: (1, heads, M, D).
        mask: (B, N) bool, False where a token does not count for the width.

    Returns:
        (B, heads, N, M), in [0, 1].
    """
    lengths = units.square().sum(dim=3, keepdim=True) + anchors.square().sum(dim=3)[:, :, None]      # (B, heads, N, M)
    distances = (lengths - 2 * units @ anchors.transpose(2, 3)).clamp(min=0)              # rounding goes below 0
    if mask is None:
        bandwidth = distances.mean(dim=(2, 3), keepdim=True)                               # (B, heads, 1, 1)
    else:
        real = real_rows(mask, units)[..., None]                                           # (B, 1, N, 1)
        total = (distances * real).sum(dim=2, keepdim=True).mean(dim=3, keepdim=True)
        bandwidth = total / real.sum(dim=2, keepdim=True).clamp(min=1)
    return torch.exp(-distances / (2 * bandwidth.clamp(min=LEAST_BANDWIDTH)))


def straight_through_sign(x: Tensor) -> Tensor:
    """The sign of x, -1, 0 or 1; the gradient is that of x where abs(x) < 1, elsewhere 0."""
    passed = F.hardtanh(x)
    return torch.sign(x).detach() + (passed - passed.detach())       # in this order the sum is exact


class KernelHash(nn.Module):
    """Hash functions from tokens to codes of a few bits, of each head its own.

    They are not trained but learned from the attention among the tokens of one batch (`HashLearning`): the first batch
    in training, and again whenever `learn_anew` was called. State that has been learned elsewhere counts as learned.

    Args:
        heads: attention heads.
        head_channels: width D of a head.
        bits: of a code.
        anchors: tokens M that others are compared with.
        learning: arguments of a `HashLearning`.

    Raises:
        ValueError: ``bits`` or ``anchors`` is below 1, or as `HashLearning` does.
    """

    projections: Tensor                              # (heads, bits, M)
    mean: Tensor                                     # (1, heads, 1, M), of the kernel features when it was learned
    anchors: Tensor                                  # (1, heads, M, D), at unit length; 0 before it has learned

    def __init__(
        self, heads: int, head_channels: int, *, bits: int = 16, anchors: int = 25,
        learning: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        for name, value in (("bits", bits), ("anchors", anchors)):
            if value < 1:
                raise ValueError(f"{name} must be >= 1, got {value}")
        self.bits, self.learning = bits, HashLearning(**(learning or {}))
        self.register_buffer("projections", torch.randn(heads, bits, anchors))
        self.register_buffer("mean", torch.zeros(1, heads, 1, anchors))
        self.register_buffer("anchors", torch.zeros(1, heads, anchors, head_channels))
        self.due = True

    def learn_anew(self) -> None:
        """Learn from the next batch in training, beginning with the projections that there are."""
        self.due = True

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Tokens (B, heads, N, D) -> codes (B, heads, N, bits) of -1 and 1, and 0 where a bit is undecided.

        ``mask`` (B, N) bool is False where a token counts for nothing.

        Raises:
            FloatingPointError: it is time to learn, and the steps diverge.
        """
        units = directions(tokens)
        if self.training and self.due:
            self.learn(units, mask)
        return straight_through_sign(self.signed_distances(units, mask))

    def signed_distances(self, units: Tensor, mask: Tensor | None = None) -> Tensor:
        """Unit tokens (B, heads, N, D) -> (B, heads, N, bits), whose signs are the codes."""
        anchors, mean, projections = (part.to(units) for part in (self.anchors, self.mean, self.projections))
        return (kernel_features(units, anchors, mask) - mean) @ projections.transpose(1, 2)

    @torch.compiler.disable
    @torch.no_grad()
    def learn(self, units: Tensor, mask: Tensor | None = None) -> None:
        """Learn from unit tokens (B, heads, N, D); all processes take what the first of them learned.

        Raises:
            FloatingPointError: the steps diverge.
        """
        samples = self.learning.samples
        units, mask = units[:samples], None if mask is None else mask[:samples]
        anchors = draw_anchors(units, self.anchors.shape[2], mask)
        features = kernel_features(units, anchors, mask)                                   # (B, heads, N, M)
        learned = self.learning.fit(units, features, self.projections.to(units), mask)
        for own, value in ((self.anchors, anchors), (self.mean, learned.mean), (self.projections, learned.projections)):
            own.copy_(value)
            broadcast(own)
        self.due = False

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if prefix + "anchors" in state_dict and not self.anchors.is_meta:
            self.due = not bool(self.anchors.any())
