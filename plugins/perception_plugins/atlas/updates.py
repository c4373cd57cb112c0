"""How the weights of a memory move while it reads a piece of a sequence, all tokens of the piece at once.

With the gradients taken at fixed weights the momentum is a first-order recurrence with one factor a token, and so are
the weights; both are products with triangles of decays (ATLAS, section 4, the chunk-parallel form).
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from .memories import RankOne
from .newton_schulz import newton_schulz

OPTIMIZERS = ("muon", "momentum", "gd")


class Decay:
    """Products of a token's factors over the stretches of a piece.

    Args:
        log_factor: (B, heads, N), logarithms of factors in (0, 1].
    """

    def __init__(self, log_factor: Tensor) -> None:
        count = log_factor.shape[2]
        later = torch.ones(count, count, dtype=torch.bool, device=log_factor.device).tril(-1)
        sums = torch.where(later, log_factor[..., None], 0.0).cumsum(dim=2)                # (B, heads, t, s), s < t
        self.between = torch.where(later.mT, 0.0, sums.exp())                              # of those from s + 1 to t
        self.from_start = log_factor.cumsum(dim=2).exp()                                   # (B, heads, t)


def window_band(count: int, window: int, like: Tensor) -> Tensor:
    """Which of the ``window - 1`` tokens before a piece and its own ``count`` each of these looks at, (N, I) 0 or 1."""
    ahead = torch.arange(count + window - 1, device=like.device) - torch.arange(count, device=like.device)[:, None]
    return ((ahead >= 0) & (ahead < window)).to(like.dtype)


class Course(Protocol):
    """The course of one weight over a piece."""

    def product(self, x: Tensor) -> Tensor:
        """(B, heads, N, in) -> (B, heads, N, out): the weight behind each token times that token's vector."""
        ...

    def last(self) -> tuple[Tensor, Tensor]:
        """The weight and the momentum behind the last token, (B, heads, out, in) each."""
        ...


class LowRankCourse:
    """Steps along the momentum itself, or along the gradient: sums of rank one that are never written out.

    Args:
        weight, momentum: before the piece, (B, heads, out, in).
        gradient: of each of the I tokens of its windows.
        band: (N, I), see `window_band`.
        keep: of the weights.
        step: (B, heads, N), sizes of the steps.
        carry: of the momentum; None goes without one.
    """

    def __init__(
        self, weight: Tensor, momentum: Tensor, gradient: RankOne, band: Tensor, keep: Decay, step: Tensor,
        carry: Decay | None,
    ) -> None:
        self.weight, self.momentum, self.gradient, self.keep, self.carry = weight, momentum, gradient, keep, carry
        steps = keep.between * step[:, :, None]                                            # (B, heads, N, N)
        self.shares = band.expand(*step.shape[:2], *band.shape) if carry is None else carry.between @ band
        self.taken = steps @ self.shares                                                   # (B, heads, N, I)
        self.old = None if carry is None else (steps @ carry.from_start[..., None])        # (B, heads, N, 1)

    def product(self, x: Tensor) -> Tensor:
        """See `Course`."""
        out = self.keep.from_start[..., None] * (x @ self.weight.mT)
        if self.old is not None:
            out = out - self.old * (x @ self.momentum.mT)
        return out - ((x @ self.gradient.right.mT) * self.taken) @ self.gradient.left

    def last(self) -> tuple[Tensor, Tensor]:
        """See `Course`."""
        weight = self.keep.from_start[:, :, -1, None, None] * self.weight - self._summed(self.taken)
        momentum = self._summed(self.shares)
        if self.carry is not None and self.old is not None:
            weight = weight - self.old[:, :, -1:] * self.momentum
            momentum = momentum + self.carry.from_start[:, :, -1, None, None] * self.momentum
        return weight, momentum

    def _summed(self, shares: Tensor) -> Tensor:
        """Gradients weighted by the last row of shares (B, heads, N, I), (B, heads, out, in)."""
        return (self.gradient.left * shares[:, :, -1, :, None]).mT @ self.gradient.right


class OrthogonalCourse:
    """Steps along the orthogonal part of the momentum, which is written out for each token.

    Args:
        weight, momentum, gradient, band, keep, step: as of `LowRankCourse`.
        carry: of the momentum.
    """

    def __init__(
        self, weight: Tensor, momentum: Tensor, gradient: RankOne, band: Tensor, keep: Decay, step: Tensor, carry: Decay
    ) -> None:
        left, right = gradient
        shares = carry.between @ band                                                      # (B, heads, N, I)
        written = (shares[..., None] * left[:, :, None]).mT @ right[:, :, None]            # (B, heads, N, out, in)
        self.momenta = carry.from_start[..., None, None] * momentum[:, :, None] + written
        steps = keep.between * step[:, :, None]                                            # (B, heads, N, N)
        moved = (steps @ newton_schulz(self.momenta).flatten(3)).view_as(self.momenta)
        self.weights = keep.from_start[..., None, None] * weight[:, :, None] - moved

    def product(self, x: Tensor) -> Tensor:
        """See `Course`."""
        return (self.weights @ x[..., None])[..., 0]

    def last(self) -> tuple[Tensor, Tensor]:
        """See `Course`."""
        return self.weights[:, :, -1].clone(), self.momenta[:, :, -1].clone()              # lets the others go
